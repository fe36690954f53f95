"""`vistadpo bench`: its arithmetic, its errors, its shapes, and one true benchmark of a tiny model."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from commands.bench_made import TINY, workers_here

from vistadpo_plugin.bench import decode, worker
from vistadpo_plugin.bench.build import RUNS
from vistadpo_plugin.bench.presets import PRESETS, Preset
from vistadpo_plugin.bench.report import Result, collect, table, utilisation, write
from vistadpo_plugin.commands.bench import main

FRAMES, FRAME_TOKENS = 8, 5  # 2 x 2 patches and the class token


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "tiny", TINY)


# --- arithmetic ------------------------------------------------------------------------------------------------------


def measured(steps: list[float], peak: float, **changes: Any) -> dict[str, Any]:
    """One round as the worker writes it."""
    figures = {"encodes_per_row": 4.0, "tokens_per_row": 100.0, "data_seconds_per_row": 0.5, "device": "cpu"}
    figures["padding"] = 0.25
    return {"steps": steps, "peak_mib": peak, **figures, **changes}


def result(run: str, steps: list[float], peak: float = 100.0, **changes: Any) -> Result:
    return collect(run, [measured(steps, peak, **changes)])


def test_rounds_of_a_run_become_one_result() -> None:
    """Steps 1..8 s: median 4.5; quartiles at places 2 and 6 of the sorted list, 3 and 7: half of 4 over 4.5."""
    rounds = [
        measured([8.0, 1.0, 6.0], 300.0, data_seconds_per_row=0.1),
        measured([3.0, 4.0], 100.0, data_seconds_per_row=0.2),
        measured([5.0, 2.0, 7.0], 110.0, data_seconds_per_row=0.9, encodes_per_row=5.0),
    ]
    made = collect("cold", rounds)
    assert made.seconds == 4.5
    assert made.spread == pytest.approx(2 / 4.5)
    assert (made.peak_mib, made.data_seconds_per_row, made.encodes_per_row) == (110.0, 0.2, 5.0)
    assert made.peak_flops is None


def cells(text: str, name: str) -> list[str]:
    """The cells of the line of one run."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_table_compares_with_its_first_run() -> None:
    """2 rows a step: 300 positions a row in 5 s are 120 a second; 5 / 2 = 2.5; 250 / 100 = 2.5."""
    results = [
        result("host", [2.0, 2.0, 2.0, 2.0], 100.0),
        result("cold", [4.0, 5.0, 5.0, 6.0], 250.0, encodes_per_row=5.0, tokens_per_row=300.0),
        result("separate", [10.0]),
        result("released", [20.0]),
        result("four", [5.25]),
        result("five", [6.3]),
    ]
    text = table(results, TINY, {"views_seconds": 0.3, "host_seconds": 1.2})
    assert cells(text, RUNS["host"])[1:] == ["2.00", "± 0%", "1.00", "100", "100", "1.00", "4", "100", "25.0%", "0.500"]
    # Sorted 4 5 5 6: the quartiles are at places 1 and 3, so half of 6 - 5 over 5.
    assert cells(text, RUNS["cold"])[1:] == [
        "5.00",
        "± 10%",
        "2.50",
        "120",
        "250",
        "2.50",
        "5",
        "300",
        "25.0%",
        "0.500",
    ]
    header, rule = text.splitlines()[:2]
    assert header.count("|") == rule.count("|") == text.splitlines()[2].count("|")
    assert "separate rows / ours 2.00; released schedule / ours 4.00" in text
    assert "a fourth answer on the full video +5.0%; a fifth answer on the full video +20.0%" in text
    assert "in 0.30 s, the host's decode of the file once 1.20 s: 0.25" in text
    assert "utilisation" not in text


def test_ratios_that_were_not_measured_are_left_out() -> None:
    text = table([result("host", [2.0]), result("five", [3.0])], TINY, None)
    assert "answer on the full video" not in text and "ours" not in text and "720p" not in text
    assert "1.50" in cells(text, RUNS["five"])


def test_utilisation_counts_what_is_done() -> None:
    """A layer has 4 * 64^2 + 3 * 64 * 128 = 40,960 weights, two layers 81,920, 2 rows of 100 positions: 16,384,000.

    Reference and policy forward and the policy's gradients: 2 operations a weight for the half that is the reference's,
    4 for the policy's, 3 on average. With a cache all positions are the policy's, 4.
    """
    known = {"peak_flops": 1e9, "tokens_per_row": 100.0}
    assert utilisation(result("cold", [0.5], **known), TINY) == pytest.approx(3 * 16_384_000 / 0.5 / 1e9)
    assert utilisation(result("warm", [0.5], **known), TINY) == pytest.approx(4 * 16_384_000 / 0.5 / 1e9)
    assert utilisation(result("cold", [0.5]), TINY) is None
    assert "utilisation, the host's own stage dpo: two answers: 10% of the measured peak" in table(
        [result("host", [0.49152], **known)], TINY, None
    )


def test_files_hold_what_was_measured(tmp_path: Path) -> None:
    results = [result("host", [2.0, 4.0]), result("cold", [6.0], 150.0)]
    write(tmp_path, results, TINY, None, {"preset": "tiny", "machine": "here"})
    content = json.loads((tmp_path / "bench.json").read_text())
    assert (content["preset"], content["machine"], content["decode"]) == ("tiny", "here", None)
    assert [entry["steps"] for entry in content["results"]] == [[2.0, 4.0], [6.0]]
    assert content["results"][1]["peak_mib"] == 150.0
    assert (tmp_path / "bench.md").read_text() == table(results, TINY, None) + "\n"
    assert (tmp_path / "bench.png").read_bytes()[:4] == b"\x89PNG"


# --- errors ----------------------------------------------------------------------------------------------------------


def test_unknown_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "host,colder", "--folder", str(tmp_path / "bench")]) == 2
    message = capsys.readouterr().err
    assert "unknown runs colder;" in message and all(run in message for run in RUNS)
    assert not (tmp_path / "bench").exists()


def test_unknown_preset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--preset", "13b"])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "13b" in message and all(name in message for name in PRESETS)


def test_a_run_that_fails(tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The worker is a process of its own, which knows no preset `tiny`."""
    model = tmp_path / "tiny" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    stale = tmp_path / "tiny" / "runs" / "cold" / "result.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    assert main(["--preset", "tiny", "--runs", "cold", "--no-decode", "--folder", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    log = stale.parent / "log.txt"
    assert f"the run cold failed with code 1, see {log}" in message
    assert "KeyError: 'tiny'" in message and "KeyError: 'tiny'" in log.read_text()
    assert not stale.exists(), "what an earlier benchmark measured must not pass for this one's"
    assert not (tmp_path / "tiny" / "bench.json").exists()


# --- one true benchmark ----------------------------------------------------------------------------------------------

MEASURED = ("host", "cold", "warm", "dpo", "released", "five")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """bench.json of a tiny model."""
    folder = tmp_path_factory.mktemp("bench")
    with workers_here():
        arguments = ["--preset", "tiny", "--runs", ",".join(MEASURED), "--no-decode", "--folder", str(folder)]
        assert main(arguments) == 0
    return {**json.loads((folder / "tiny" / "bench.json").read_text()), "folder": folder / "tiny"}


def test_time_that_is_over_leaves_what_is_known(
    bench: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first run is measured and profiled, the second does not end, the third is not begun."""
    shutil.copytree(bench["folder"], tmp_path / "tiny")
    (tmp_path / "tiny" / "bench.json").unlink()
    arguments = ["--preset", "tiny", "--runs", "dpo,cold,warm", "--steps", "2", "--profile", "--no-decode"]
    with workers_here(endless="cold"):
        assert main([*arguments, "--time-limit", "600", "--folder", str(tmp_path)]) == 0
    assert "--time-limit 600: over in round 1, at the run cold" in capsys.readouterr().out
    (entry,) = json.loads((tmp_path / "tiny" / "bench.json").read_text())["results"]
    assert entry["run"] == "dpo" and len(entry["steps"]) == 2, "the profiled step is not timed"
    assert "aten::mm" in (tmp_path / "tiny" / "dpo.profile.txt").read_text()
    assert not (tmp_path / "tiny" / "cold.profile.txt").exists()


def test_no_time_at_all(tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiny" / "model").mkdir(parents=True)
    (tmp_path / "tiny" / "model" / "config.json").write_text("{}")
    assert main(["--preset", "tiny", "--no-decode", "--time-limit", "0", "--folder", str(tmp_path)]) == 1
    assert "the time was over before the first run ended" in capsys.readouterr().err


def test_kernels_by_the_time_they_take() -> None:
    """Two kernels for 3 + 1 of 10 microseconds, and one wait; by hand."""

    def event(name: str, start: float, end: float, device: Any) -> Any:
        span = SimpleNamespace(start=start, end=end, elapsed_us=lambda: end - start)
        return SimpleNamespace(name=name, device_type=device, time_range=span)

    cuda, cpu = torch.autograd.DeviceType.CUDA, torch.autograd.DeviceType.CPU
    events = [event("a", 0, 1, cuda), event("b", 2, 3, cuda), event("b", 8, 10, cuda)]
    events += [event("cudaStreamSynchronize", 4, 5, cpu), event("cudaLaunchKernel", 0, 1, cpu)]
    first, *lines = worker._kernels(events).splitlines()
    assert first == "0.000 s of kernels in 0.000 s, 3 launches; waits: cudaStreamSynchronize 1"
    assert [line.split() for line in lines] == [
        ["75.0%", "0.0000", "s", "2", "x", "b"],
        ["25.0%", "0.0000", "s", "1", "x", "a"],
    ]


@pytest.fixture
def runs(bench: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["run"]: entry for entry in bench["results"]}


def test_benchmark_measures_every_run(bench: dict[str, Any], runs: dict[str, dict[str, Any]]) -> None:
    assert tuple(runs) == MEASURED
    for name, entry in runs.items():
        assert len(entry["steps"]) == 1, name
        for value in (*entry["steps"], entry["peak_mib"], entry["tokens_per_row"], entry["data_seconds_per_row"]):
            assert math.isfinite(value) and value > 0, name
    assert bench["command"] == f"vistadpo bench --preset tiny --runs {','.join(MEASURED)} --rounds 1"
    # Rows of one length: the host's are padded to multiples of 8, packed rows not at all.
    assert runs["cold"]["padding"] == runs["dpo"]["padding"] == 0 < runs["host"]["padding"] < 8 / 48
    assert bench["versions"].keys() == {"vistadpo-plugin", "llamafactory", "torch", "transformers", "peft"}
    lines = (bench["folder"] / "bench.md").read_text().splitlines()
    assert len([line for line in lines if line.startswith("| ")]) == 1 + len(MEASURED)


@pytest.mark.parametrize(
    ("run", "encodes"), [("host", 4), ("cold", 5), ("warm", 5), ("five", 5), ("dpo", 1), ("released", 32)]
)
def test_encodes_a_row(runs: dict[str, dict[str, Any]], run: str, encodes: int) -> None:
    """Host: 2 answers, for policy and reference. Ours: two mates' 6 views, of which each other's video is one's own.

    Released: 8 passes of 2 sequences, for policy and reference.
    """
    assert runs[run]["encodes_per_row"] == encodes


def test_positions_a_row(bench: dict[str, Any], runs: dict[str, dict[str, Any]]) -> None:
    """From the tokens of the rows alone, the host's padding to multiples of 8 included."""
    from transformers import AutoTokenizer

    from vistadpo_plugin.demo.tiny_model import encode_turn

    tokenizer = AutoTokenizer.from_pretrained(bench["folder"] / "model")
    rows = [json.loads(line) for line in (bench["folder"] / "data" / "rows.jsonl").read_text().splitlines()]
    video = FRAMES * FRAME_TOKENS
    prompts = {len(encode_turn(tokenizer, row["prompt"], row["chosen"], video)[0]) for row in rows}
    assert prompts == {video + TEXT}
    (prompt,) = prompts
    answers = [TINY.answer_tokens - 1, TINY.answer_tokens + 1]
    host = runs["host"]["tokens_per_row"]
    # Two answers, policy and reference, each at least as long as its tokens and less than 8 longer than the longest.
    assert 4 * (prompt + min(answers)) <= host < 4 * (prompt + max(answers) + 8)
    dpo = runs["dpo"]["tokens_per_row"]
    # The prompt once, both answers without their last token, policy and reference; the system prompt is shared by rows.
    assert dpo <= 2 * (prompt + sum(answers)) < host
    assert runs["warm"]["tokens_per_row"] == runs["cold"]["tokens_per_row"] / 2
    # Two more answers but for their last tokens, for policy and reference; the first is the fourth's and fifth's turn.
    more = runs["five"]["tokens_per_row"] - runs["cold"]["tokens_per_row"]
    assert 0 < more <= 2 * 2 * (TINY.answer_tokens - 1)
    # 16 full sequences, for policy and reference.
    assert 32 * (prompt + min(answers)) <= runs["released"]["tokens_per_row"] < 32 * (prompt + max(answers) + 8)


# --- shapes ----------------------------------------------------------------------------------------------------------

TEXT = 42  # tokens of system, question and turn around the video, see `test_positions_a_row`


def layer(preset: Preset) -> int:
    """Weights of a decoder layer's matrices: q, k, v, o, and gate, up, down."""
    return 4 * preset.hidden**2 + 3 * preset.hidden * preset.ffn


def tower(preset: Preset) -> int:
    """Weights of a tower's matrices: q, k, v, o and an MLP four times as wide as the tower."""
    return preset.tower_layers * 12 * preset.tower_hidden**2 + 3 * preset.patch**2 * preset.tower_hidden


def parameters(preset: Preset) -> int:
    """Language model with its two vocabulary tables, one tower for images and one for videos, the projector."""
    projector = preset.tower_hidden * preset.hidden + preset.hidden**2
    return preset.layers * layer(preset) + 2 * preset.vocabulary * preset.hidden + 2 * tower(preset) + projector


def test_cpu_preset_has_a_7bs_proportions() -> None:
    cpu = PRESETS["cpu"]
    assert 55e6 < parameters(cpu) < 70e6
    assert (cpu.batch, cpu.video_tokens) == (2, 8 * 65)
    head = cpu.vocabulary * cpu.hidden
    assert head / (head + cpu.layers * layer(cpu)) <= 0.04
    assert (cpu.video_tokens + TEXT) / cpu.answer_tokens == pytest.approx(30, rel=0.1)


def test_cpu_preset_spends_its_step_as_a_7b_does() -> None:
    """Products of one answer of the host's step: attention about 15 %, the tower about 5 %.

    Policy: forward, forward again (checkpointing) and backward, which is one product a weight, frozen as it is, and two
    for attention; the head is not computed again. Reference: forward. The tower is frozen: forward only, twice.
    """
    cpu = PRESETS["cpu"]
    length = cpu.video_tokens + TEXT + cpu.answer_tokens
    linear = 4 * length * cpu.layers * layer(cpu)
    attention = 5 * cpu.layers * 2 * length**2 * cpu.hidden
    head = 3 * length * cpu.vocabulary * cpu.hidden
    inside = cpu.tower_layers * 2 * cpu.frame_tokens**2 * cpu.tower_hidden
    seen = 2 * cpu.frames * (cpu.frame_tokens * tower(cpu) + inside)
    whole = linear + attention + head + seen
    assert attention / whole == pytest.approx(0.15, abs=0.03)
    assert seen / whole == pytest.approx(0.05, abs=0.0125)
    assert head / whole < 0.04


def test_cpu_head_preset() -> None:
    preset = PRESETS["cpu-head"]
    assert parameters(preset) == pytest.approx(59e6, rel=0.03)
    assert (preset.vocabulary, preset.image, preset.video_tokens, preset.answer_tokens, preset.batch) == (
        32064, 224, 2056, 32, 1,
    )  # fmt: skip
    assert 2 * preset.vocabulary * preset.hidden > parameters(preset) / 2, "most of it is vocabulary"


def test_7b_preset_is_video_llavas_shape() -> None:
    """vicuna-7b-v1.5 with 32,064 words, and CLIP-L/14 at 224 px."""
    preset = PRESETS["7b"]
    assert (preset.hidden, preset.layers, preset.heads, preset.ffn) == (4096, 32, 32, 11008)
    assert (preset.vocabulary, preset.video_tokens, preset.bf16) == (32064, 2056, True)
    assert (preset.image, preset.patch) == (224, 14)
    assert (preset.tower_hidden, preset.tower_layers, preset.tower_heads) == (1024, 24, 16)


# --- decoding --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 s still, at 5 frames a second and 320 x 240 pixels, which is above the host's 256 x 256."""
    for name, value in (("FPS", 5), ("WIDTH", 320), ("HEIGHT", 240), ("ROUNDS", 1)):
        monkeypatch.setattr(decode, name, value)


def test_the_hosts_decode_is_the_hosts(small_videos: None, tmp_path: Path) -> None:
    """Against the plugin the template uses, told to take 8 frames."""
    from llamafactory.data.mm_plugin import get_mm_plugin

    path = tmp_path / "video.mp4"
    decode.write_video(path)
    plugin = get_mm_plugin("video_llava", image_token="<image>", video_token="<video>")
    settings = {"image_max_pixels": 256 * 256, "image_min_pixels": 16 * 16, "video_fps": 2.0, "video_maxlen": 8}
    (expected,) = plugin._regularize_videos([str(path)], **settings)["videos"]
    frames = decode._host_decode(path)
    assert len(frames) == len(expected) == 8
    assert len({np.asarray(frame).tobytes() for frame in frames}) == 8
    for frame, host in zip(frames, expected, strict=True):
        assert frame.size == host.size and frame.mode == host.mode == "RGB"
        assert (np.asarray(frame) == np.asarray(host)).all()


def test_decoding_is_compared(small_videos: None, tmp_path: Path) -> None:
    for _ in range(2):
        seconds = decode.compare(tmp_path)
        assert seconds.keys() == {"views_seconds", "host_seconds"}
        assert all(math.isfinite(value) and value > 0 for value in seconds.values())
    assert [path.name for path in tmp_path.iterdir()] == ["video_720p.mp4"]
