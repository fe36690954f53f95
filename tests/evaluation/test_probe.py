"""The probe: its arithmetic by hand, its log-probabilities against plain transformers, its command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import FRAME_TOKENS, Demo, write_rows
from PIL import Image

from vistadpo_plugin.evaluation.probe.plot import plot_probe
from vistadpo_plugin.evaluation.probe.table import (
    ProbedRow,
    Spread,
    format_table,
    margins_of,
    spread,
    summarize,
    write_json,
)


def row(name: str, base: dict[str, float], tuned: dict[str, float] | None = None) -> ProbedRow:
    return ProbedRow(name, {}, {}, {"base": base} if tuned is None else {"base": base, "tuned": tuned})


TWO = [
    row("one", {"video": 1.0, "clip": -2.0}, {"video": 2.0, "clip": 0.0}),
    row("two", {"video": 3.0}, {"video": 1.0}),
]


def test_spread_by_hand() -> None:
    """1, 2, 6: mean 3, squared deviations 4 + 1 + 9 = 14, over n - 1 is 7, over n is 7/3."""
    assert spread([1.0, 2.0, 6.0]) == Spread(3, 3.0, pytest.approx(math.sqrt(7 / 3)), 1.0)
    assert spread([-1.0, 0.0, 1.0, 4.0]).above_zero == 0.5  # 0 is not above 0
    assert spread([-4.0]) == Spread(1, -4.0, None, 0.0)


def test_change_is_taken_row_by_row() -> None:
    """Video: 2 - 1 = 1 and 1 - 3 = -2, mean -0.5, deviations ±1.5, variance 4.5, over two rows 2.25."""
    summary = summarize(TWO)
    assert list(summary) == ["video", "clip"]
    assert summary["video"] == {
        "base": Spread(2, 2.0, pytest.approx(1.0), 1.0),
        "tuned": Spread(2, 1.5, pytest.approx(0.5), 1.0),
        "change": Spread(2, -0.5, pytest.approx(1.5), 0.5),
    }
    assert margins_of(TWO, "clip", "change") == [2.0]


def test_table_has_a_line_a_level_and_no_column_for_a_model_that_is_not_there() -> None:
    lines = {line.split()[0]: line.split() for line in format_table(TWO).splitlines()[:6]}
    assert lines["level"] == ["level", "rows", "base", "above", "0", "tuned", "above", "0", "change", "above", "0"]
    assert lines["video"][1:5] == ["2", "+2.000", "±", "1.000"] and lines["video"][-1] == "50.0%"
    assert lines["clip"][1:5] == ["1", "-2.000", "±", "-"]
    assert lines["object"] == ["object", "0", *["-"] * 6]
    alone = format_table([row("one", {"video": 1.0})])
    assert "tuned" not in alone and "change" not in alone


def test_json_has_an_entry_a_row_and_the_picture_is_one(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "probe.json", TWO, {"model": "m"})
    written = json.loads((tmp_path / "new" / "probe.json").read_text())
    assert [entry["row"] for entry in written["rows"]] == ["one", "two"]
    assert written["rows"][1]["margins"] == {"base": {"video": 3.0}, "tuned": {"video": 1.0}}
    assert written["levels"]["video"]["change"]["mean"] == -0.5 and written["about"] == {"model": "m"}
    plot_probe(TWO, tmp_path / "probe.png")
    two_levels = Image.open(tmp_path / "probe.png")
    plot_probe([row("one", {"video": 1.0})], tmp_path / "one.png")
    assert two_levels.format == "PNG" and two_levels.height > Image.open(tmp_path / "one.png").height


@pytest.fixture(scope="module")
def adapters(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`untrained`: as LoRA begins, B is 0; `moved`: B is drawn at random."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    folder = tmp_path_factory.mktemp("adapters")
    torch.manual_seed(0)
    base = AutoModelForImageTextToText.from_pretrained(demo.model)
    # The language model's names; the towers have such projections too, and stay as they are.
    config = LoraConfig(r=4, target_modules=r".*language_model.*\.(q_proj|v_proj|down_proj)", task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    model.save_pretrained(folder / "untrained")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    model.save_pretrained(folder / "moved")
    return {name: folder / name for name in ("untrained", "moved")}


def probe(demo: Demo, data: Path, output: Path, *words: Any) -> dict[str, Any]:
    """What the command wrote."""
    from vistadpo_plugin.commands.probe import main

    options = ["--model_name_or_path", demo.model, "--template", "video_llava", "--output_dir", output]
    keys = [f"media_dir={demo.data}", "use_cpu=true"]
    assert main([str(word) for word in (data, *options, *words, *keys)]) == 0
    return json.loads((output / "probe.json").read_text())


def shown(batch: dict[str, Any]) -> dict[tuple[int, str], Any]:
    """Pixels (frames, 3, h, w) by (row of the batch, name), of a batch with one answer a row of its groups."""
    pixels = {}
    for group in batch["groups"]:
        places = zip(group["answers"]["sequence"].tolist(), group["answers"]["row"].tolist(), strict=True)
        for number, place in dict(places).items():
            pixels[batch["names"][number]] = batch["views"][group["views"][place]]["pixel_values_videos"][0]
    return pixels


def test_numbers_are_those_of_plain_transformers(
    demo: Demo, adapters: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both models, every level of a row that has all, with prefixes shared and without; the latter shows the pixels."""
    import torch
    from capture import record_scores
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText, AutoTokenizer
    from truth import answer_distributions, log_prob

    full = next(one for one in demo.rows if {"box", "event", "keyframe", "rejected_irrelevant"} <= one.keys())
    other = next(one for one in demo.rows if one["video"] != full["video"])
    data = write_rows(tmp_path / "rows", [full, other])
    adapter = ["--adapter_name_or_path", adapters["moved"]]
    passes = record_scores(monkeypatch)
    separate = probe(demo, data, tmp_path / "separate", *adapter, "vista_prefix_sharing=false")
    pixels = shown(passes[0].batch)
    shared = probe(demo, data, tmp_path / "shared", *adapter)
    assert ["forest" in one.batch["groups"][0] for one in passes] == [False, False, True, True]

    tokenizer = AutoTokenizer.from_pretrained(demo.model)
    texts = {"chosen": full["chosen"], "rejected": full["rejected"], "irrelevant": full["rejected_irrelevant"]}
    names = ["full/chosen", "full/rejected", "full/irrelevant", "video_negative/chosen", "clip/chosen"]
    names += ["clip_negative/chosen", "keyframe/chosen", "keyframe_negative/chosen"]
    truth: dict[str, dict[str, float]] = {}
    for which in ("base", "tuned"):
        model = AutoModelForImageTextToText.from_pretrained(demo.model)
        if which == "tuned":
            model = PeftModel.from_pretrained(model, adapters["moved"])
        model.eval()
        truth[which] = {}
        for name in names:
            view = pixels[0, name]
            answer = texts[name.split("/")[1]]
            ids, distributions = answer_distributions(
                model, tokenizer, full["prompt"], answer, view, len(view) * FRAME_TOKENS
            )
            truth[which][name] = log_prob(ids, distributions)
            assert shared["rows"][0]["tokens"][name.split("/")[1]] == len(ids)
        said = truth[which]
        margins = {
            "relevant": said["full/chosen"] - said["full/rejected"],
            "irrelevant": said["full/chosen"] - said["full/irrelevant"],
            "video": said["full/chosen"] - said["video_negative/chosen"],
            "clip": said["clip/chosen"] - said["clip_negative/chosen"],
            "object": said["keyframe/chosen"] - said["keyframe_negative/chosen"],
        }
        for found in (separate, shared):
            assert found["rows"][0]["log_probs"][which] == pytest.approx(said, abs=5e-4)
            assert found["rows"][0]["margins"][which] == pytest.approx(margins, abs=1e-3)
    # The adapter says something else, and the views look different, so that a mix-up would show.
    assert abs(truth["base"]["full/chosen"] - truth["tuned"]["full/chosen"]) > 0.01
    distinct = [pixels[0, name] for name in names if name.endswith("/chosen")]
    assert all(
        one.shape != two.shape or not torch.equal(one, two)
        for place, one in enumerate(distinct)
        for two in distinct[place + 1 :]
    )


def test_untrained_adapter_changes_nothing_and_levels_count_the_rows_that_have_them(
    demo: Demo, adapters: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five rows over at least two videos: all whole but one without box, one without event, one without irrelevant."""
    whole = [one for one in demo.rows if {"box", "event", "keyframe", "rejected_irrelevant"} <= one.keys()][:5]
    rows = [
        whole[0],
        {key: value for key, value in whole[1].items() if key != "box"},
        {key: value for key, value in whole[2].items() if key != "event"},
        {key: value for key, value in whole[3].items() if key != "rejected_irrelevant"},
        whole[4],
    ]
    data = write_rows(tmp_path / "rows", rows)
    found = probe(demo, data, tmp_path / "out", "--adapter_name_or_path", adapters["untrained"])
    assert {level: entry["base"]["rows"] for level, entry in found["levels"].items()} == {
        "relevant": 5,
        "irrelevant": 4,
        "video": 5,
        "clip": 4,
        "object": 4,
    }
    assert [entry["row"].split()[0] for entry in found["rows"]] == [f"rows.jsonl:{line}" for line in range(1, 6)]
    for entry in found["rows"]:
        assert entry["log_probs"]["tuned"] == entry["log_probs"]["base"]
    assert all(entry["change"]["mean"] == 0 for entry in found["levels"].values())
    printed = capsys.readouterr().out
    assert "probe.png" in printed and f"{found['levels']['clip']['base']['mean']:+.3f}" in printed
    assert found["about"]["views"]["full video"] == f"8 frames, {8 * FRAME_TOKENS} video tokens"


def test_base_of_a_tuned_model_is_the_ref_model(demo: Demo, tmp_path: Path) -> None:
    """A copy with its language model shaken stands for the model before tuning."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    shaken = AutoModelForImageTextToText.from_pretrained(demo.model)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in shaken.model.language_model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    shaken.save_pretrained(tmp_path / "before")
    AutoProcessor.from_pretrained(demo.model).save_pretrained(tmp_path / "before")
    data = write_rows(tmp_path / "rows", demo.rows[:2])
    alone = probe(Demo(demo.data, tmp_path / "before"), data, tmp_path / "alone")["rows"]
    both = probe(demo, data, tmp_path / "both", f"ref_model={tmp_path / 'before'}")["rows"]
    for before, pair in zip(alone, both, strict=True):
        assert set(before["margins"]) == {"base"}
        assert pair["log_probs"]["base"] == pytest.approx(before["log_probs"]["base"], abs=1e-4)
        assert pair["log_probs"]["base"] != pytest.approx(pair["log_probs"]["tuned"], abs=1e-2)


def test_rows_that_cannot_be_used_stop_it_or_are_counted(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from vistadpo_plugin.commands.probe import main

    data = write_rows(tmp_path / "rows", [demo.rows[0], {**demo.rows[1], "chosen": ""}, demo.rows[2]])
    words = [str(data), "--model_name_or_path", str(demo.model), "--template", "video_llava"]
    words += ["--output_dir", str(tmp_path / "stopped"), f"media_dir={demo.data}", "use_cpu=true"]
    assert main(words) == 2
    assert "rows.jsonl:2" in capsys.readouterr().err
    assert not (tmp_path / "stopped" / "probe.json").exists()
    found = probe(demo, data, tmp_path / "skipped", "vista_on_bad_row=skip")
    assert len(found["rows"]) == 2 and [where.split()[0] for where, _ in found["about"]["skipped"]] == ["rows.jsonl:2"]
    assert "1 row was skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stage=sft"], "`stage`"),
        (["dataset=other"], "`dataset`"),
        (["vista_clip_wieght=1"], "Did you mean `vista_clip_weight`?"),
    ],
)
def test_keys_that_are_not_for_the_probe_are_refused(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    from vistadpo_plugin.commands.probe import main

    options = ["--model_name_or_path", str(demo.model), "--template", "video_llava", "--output_dir", str(tmp_path)]
    assert main([str(demo.data / "rows.jsonl"), *options, *words]) == 2
    assert said in capsys.readouterr().err


def test_wrong_words_and_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vistadpo_plugin.commands.probe import main

    options = ["--model_name_or_path", "m", "--template", "video_llava"]
    assert main([str(tmp_path / "none.jsonl"), *options]) == 2
    assert "none.jsonl" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "none.jsonl"), *options, "video_maxlen:8"])
    assert stopped.value.code == 2 and "key=value" in capsys.readouterr().err
