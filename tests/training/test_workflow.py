"""A run from its data to its log: the host's data keys, mixing, bad rows, the summary, the plots."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Demo, Run, keep_log, write_dataset_info, write_rows
from data.barcode_video import break_pictures
from PIL import Image
from rounding import BETA, LOSS, NATS

from vistadpo_plugin.data.video.video import FrameSource
from vistadpo_plugin.training.bad_rows import SKIPPED_ROWS


@pytest.fixture
def host_log() -> Any:
    """Messages of our logger in the host."""
    with keep_log([]) as messages:
        yield messages


def test_summary_says_terms_weights_rows_reasons_and_tokens(
    demo: Demo, train: Callable[..., Run], host_log: list[str]
) -> None:
    """The expected counts are read off the demo's rows by plain JSON."""
    rows = demo.rows
    train(max_steps=1, vista_clip_weight=0.0)
    text = "\n".join(host_log)
    boxed = sum("box" in row for row in rows)
    videos = len({row["video"] for row in rows})
    assert f"VistaDPO train dataset: {len(rows)} rows, {videos} videos" in text
    lines = {line.split()[0]: line.split(maxsplit=3) for line in text.splitlines() if line.startswith("  ")}
    assert lines["response"][1:3] == ["1", str(len(rows))]
    assert lines["object"][1:] == ["0.2", str(boxed), f"{len(rows) - boxed} no box"]
    assert lines["clip"][1] == "off"
    assert "full video: 8 frames, 40 video tokens" in text  # 8 * (2 * 2 patches + 1)
    assert "keyframe: 1 frame, 5 video tokens" in text


def test_terms_that_are_off_are_neither_logged_nor_decoded(
    demo: Demo, train: Callable[..., Run], tmp_path: Path
) -> None:
    """The keyframe image is cut off behind its header: with object and token terms off nobody reads its pixels."""
    folder = tmp_path / "rows"
    folder.mkdir()
    Image.new("RGB", (160, 120), (200, 10, 10)).save(folder / "key.png")
    (folder / "key.png").write_bytes((folder / "key.png").read_bytes()[:60])
    write_rows(folder, [{**row, "keyframe": str(folder / "key.png")} for row in demo.rows[:4]])
    run = train(dataset="rows", dataset_dir=str(folder), vista_object_weight=0.0, vista_token_weight=0.0)
    assert not any("object" in key or "token" in key or "kl_" in key for key in run.log[0])
    with pytest.raises(ValueError, match="key.png"):
        train(dataset="rows", dataset_dir=str(folder))


def test_response_term_alone_with_one_negative_is_the_hosts_dpo(
    demo: Demo, train: Callable[..., Run], tmp_path: Path
) -> None:
    """Same rows, same order, same seed: the host's own trainer and ours log the same losses."""
    keys = ("id", "video", "prompt", "chosen", "rejected")
    write_rows(tmp_path / "rows", [{key: row[key] for key in keys} for row in demo.rows])
    changes = {"dataset": "rows", "dataset_dir": str(tmp_path / "rows"), "disable_shuffling": True, "max_steps": 4}
    off = {f"vista_{term}_weight": 0.0 for term in ("video", "clip", "object", "token")}
    ours = train(**changes, **off, output_dir=str(tmp_path / "ours"))
    host = train(**changes, stage="dpo", output_dir=str(tmp_path / "host"))
    assert ours.series("loss") == pytest.approx(host.series("loss"), abs=LOSS)
    assert ours.series("rewards/margins") == pytest.approx(host.series("rewards/margins"), abs=BETA * NATS)
    assert ours.series("loss")[1:] != ours.series("loss")[:-1]


def test_host_data_keys(demo: Demo, train: Callable[..., Run], tmp_path: Path, host_log: list[str]) -> None:
    """max_samples, preprocessing_num_workers, val_size, tokenized_path; the second run reads what the first wrote."""
    tokenized = tmp_path / "tokenized"
    changes = {"max_samples": 12, "val_size": 4, "preprocessing_num_workers": 2, "tokenized_path": str(tokenized)}
    first = train(**changes)
    assert "VistaDPO train dataset: 8 rows" in host_log[-2]
    assert "VistaDPO eval dataset: 4 rows" in host_log[-1]
    assert tokenized.is_dir()
    again = train(**changes, output_dir=str(tmp_path / "again"))
    assert again.series("loss") == first.series("loss")


def test_eval_datasets_by_name(demo: Demo, train: Callable[..., Run], tmp_path: Path) -> None:
    write_rows(tmp_path / "rows", demo.rows[:8])
    write_dataset_info(tmp_path / "rows", rows="rows.jsonl", one="rows.jsonl", two="rows.jsonl")
    run = train(
        dataset="rows", eval_dataset="one,two", eval_on_each_dataset=True, dataset_dir=str(tmp_path / "rows"),
        eval_strategy="steps", eval_steps=2, plot_loss=True,
    )  # fmt: skip
    keys = {key for entry in run.log for key in entry}
    assert {"eval_one_loss", "eval_two_loss", "eval_one_vista/clip_margin", "eval_two_rewards/margins"} <= keys
    assert (run.folder / "training_eval_one_loss.png").is_file()


def test_tokenized_path_of_another_stage_is_refused(train: Callable[..., Run], tmp_path: Path) -> None:
    tokenized = str(tmp_path / "tokenized")
    train(stage="dpo", tokenized_path=tokenized, max_steps=1)
    with pytest.raises(ValueError, match="not written by a `stage: vistadpo` run"):
        train(tokenized_path=tokenized)


@pytest.mark.parametrize("mix", ["concat", "interleave_under"])
def test_plain_preference_rows_mix_in(
    demo: Demo, train: Callable[..., Run], tmp_path: Path, host_log: list[str], mix: str
) -> None:
    """Host-format rows: those with a video gain a video and a token term, those without have the response term."""
    folder = tmp_path / "mixed"
    write_rows(folder, demo.rows[:4])
    video, text = [], []
    for row in demo.rows[:4]:
        turn = [{"from": "human", "value": "<video>" + row["prompt"]}]
        answers = {key: {"from": "gpt", "value": row[key]} for key in ("chosen", "rejected")}
        video.append({"conversations": turn, **answers, "videos": [row["video"]]})
        text.append({"instruction": "Is water wet?", "input": "", "chosen": "Yes, it is.", "rejected": "No."})
    (folder / "video.json").write_text(json.dumps(video))
    (folder / "text.json").write_text(json.dumps(text))
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "videos": "videos"}
    plain = {"prompt": "instruction", "query": "input", "chosen": "chosen", "rejected": "rejected"}
    info = {
        "rows": {"file_name": "rows.jsonl", "formatting": "vistadpo"},
        "video": {"file_name": "video.json", "formatting": "sharegpt", "ranking": True, "columns": columns},
        "text": {"file_name": "text.json", "ranking": True, "columns": plain},
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    run = train(
        dataset="rows,video,text",
        dataset_dir=str(folder),
        mix_strategy=mix,
        per_device_train_batch_size=12,
        max_steps=1,
    )
    first = run.log[0]
    assert first["vista/response_rows"] == 12
    assert (first["vista/video_rows"], first["vista/token_rows"]) == (8, 8)
    assert (first["vista/clip_rows"], first["vista/object_rows"]) == (4, 4)
    assert "4 not a row with one video" in host_log[-1]
    for term in ("response", "video", "clip", "object", "token"):  # a mean over the rows that have the term
        assert first[f"vista/{term}_loss"] == pytest.approx(0.693147, abs=1e-3)
    # 12 response terms, 8 video and token, 4 clip and object, over 12 rows, each log 2 at the first step.
    share = (12 * 1 + 8 * (1 + 0.1) + 4 * (0.4 + 0.2)) / 12
    assert first["loss"] == pytest.approx(share * 0.693147, abs=1e-3)


def test_rows_in_the_released_samples_layout(demo: Demo, train: Callable[..., Run], tmp_path: Path) -> None:
    """Folders of frames for video, clips and keyframe, and the box as a string without braces: all five terms."""
    folder = tmp_path / "released"
    rows = []
    for row in demo.rows[:4]:
        name = f"star/{row['id']}"
        source = FrameSource(str(demo.data / row["video"]), 2.0)
        _, frames = source.read(lambda times: set(range(0, len(times), 4)), lambda image: image)
        pictures = [frames[index] for index in sorted(frames)]
        folders = {"": pictures, "clip/clip_w/": pictures[2:6], "clip/clip_l/": pictures[6:], "frame/": pictures[4:5]}
        for place, images in folders.items():
            (folder / place / name).mkdir(parents=True)
            for number, image in enumerate(images):
                image.save(folder / place / name / f"{number}.jpg")
        x, y, w, h = row["box"]
        rows.append(
            {
                "id": name, "video": name, "prompt": row["prompt"], "chosen": row["chosen"],
                "rejected": row["rejected"], "rejected_2": "It is raining.",
                "bbox": f"'x': {x}.0, 'y': {y}.0, 'w': {w}.0, 'h': {h}.0",
                "clip_w": f"clip/clip_w/{name}", "clip_l": f"clip/clip_l/{name}", "frame": f"frame/{name}",
            }
        )  # fmt: skip
    write_rows(folder, rows)
    data = {"dataset": "rows", "dataset_dir": str(folder), "media_dir": str(folder)}
    first = train(**data, per_device_train_batch_size=4, max_steps=1).log[0]
    assert first["loss"] == pytest.approx(1.8715, abs=1e-4)
    for term in ("response", "video", "clip", "object", "token"):
        assert first[f"vista/{term}_rows"] == 4
    plain = train(**data, stage="dpo", max_steps=1, output_dir=str(tmp_path / "plain")).log[0]
    assert plain["loss"] == pytest.approx(0.693147, abs=1e-5)


def test_workers_give_the_same_run(train: Callable[..., Run], tmp_path: Path) -> None:
    alone = train(max_steps=3).series("loss")
    assert train(max_steps=3, dataloader_num_workers=2, output_dir=str(tmp_path / "w")).series("loss") == alone


def test_plots_and_saved_files(train: Callable[..., Run]) -> None:
    run = train(plot_loss=True, max_steps=3)
    for name in ("training_loss.png", "training_vista_margins.png", "adapter_model.safetensors", "trainer_log.jsonl"):
        assert (run.folder / name).stat().st_size > 0, name


BAD = {
    "missing file": ({"video": "videos/nowhere.mp4"}, "video not found"),
    "unreadable video": ({"video": "dataset_info.json"}, "cannot open the video"),
    "empty answer": ({"rejected": "  "}, "`rejected` is empty"),
    "event outside the duration": ({"event": [100, 110]}, "lies outside the video"),
    "keyframe outside the duration": ({"keyframe": 99.5}, "lies outside the video"),
    "misspelt field": ({"rejectd": "x"}, "did you mean `rejected`"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_stops_the_run_before_its_first_step(
    demo: Demo, train: Callable[..., Run], tmp_path: Path, kind: str
) -> None:
    """The message names the place, the id and what is wrong."""
    change, message = BAD[kind]
    rows = demo.rows[:3] + [{**demo.rows[3], **change}]
    write_rows(tmp_path / "rows", rows)
    with pytest.raises(ValueError, match=rf"(?s)1 of 4 rows.*rows.jsonl:4 \(id {rows[3]['id']}\).*{message}.*skip"):
        train(dataset="rows", dataset_dir=str(tmp_path / "rows"))
    assert not (tmp_path / "out" / "trainer_state.json").exists()


def test_bad_rows_are_skipped_counted_and_listed(
    demo: Demo, train: Callable[..., Run], tmp_path: Path, host_log: list[str]
) -> None:
    rows: list[Any] = demo.rows[:4]
    rows += [{**demo.rows[4], **change} for change, _ in BAD.values()] + [[1, 2], "text"]
    write_rows(tmp_path / "rows", rows)
    run = train(dataset="rows", dataset_dir=str(tmp_path / "rows"), vista_on_bad_row="skip", max_steps=1)
    skipped = [json.loads(line) for line in (run.folder / SKIPPED_ROWS).read_text().splitlines()]
    assert [entry["row"].split(" ")[0] for entry in skipped] == [f"rows.jsonl:{line}" for line in range(5, 13)]
    for entry, (_, message) in zip(skipped, BAD.values(), strict=False):
        assert message in entry["reason"]
    assert "must be a JSON object" in skipped[-1]["reason"]
    assert "8 of 12 rows" in "\n".join(host_log)
    assert "train dataset: 4 rows" in host_log[-1]


def test_a_bad_box_takes_only_the_object_term(
    demo: Demo, train: Callable[..., Run], tmp_path: Path, host_log: list[str]
) -> None:
    rows = demo.rows[:4]
    rows[0]["box"], rows[1]["box"] = [5000, 5000, 10, 10], [10, 10, 0, 0]
    write_rows(tmp_path / "rows", rows)
    first = train(dataset="rows", dataset_dir=str(tmp_path / "rows"), per_device_train_batch_size=4, max_steps=1).log[0]
    assert (first["vista/object_rows"], first["vista/response_rows"]) == (2, 4)
    assert "2 no box with an area inside the frame" in host_log[-1]
    assert "note: a box shares less than a pixel with the frame and is left out (1 row)" in host_log[-1]


@pytest.fixture
def broken_inside(demo: Demo, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """Data keys of 4 rows, and the id of the third, whose video has a whole header and index around broken pictures."""
    folder = tmp_path / "rows"
    rows = demo.rows[:4]
    write_rows(folder, rows)
    shutil.copytree(demo.data / "videos", folder / "videos")
    path = folder / rows[2]["video"]
    break_pictures(path, 1 / 3, 2 / 3)
    assert len(FrameSource(str(path), 2.0).times()) > 8, "the header must be whole for these tests to mean anything"
    return {"dataset": "rows", "dataset_dir": str(folder), "media_dir": str(folder)}, rows[2]["id"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_video_that_breaks_further_in_is_named_at_its_batch(
    train: Callable[..., Run], broken_inside: tuple[dict[str, Any], str], workers: int
) -> None:
    """Only decoding can tell; the message has the row and the file, also when it comes out of a worker process."""
    data, row = broken_inside
    with pytest.raises((ValueError, RuntimeError), match=rf"(?s)id {row}.*0002.mp4 breaks off"):
        train(**data, per_device_train_batch_size=4, max_steps=1, dataloader_num_workers=workers)


def test_a_video_that_breaks_further_in_is_skipped_once(
    train: Callable[..., Run], broken_inside: tuple[dict[str, Any], str], host_log: list[str]
) -> None:
    """Batches of one row: the broken row's step trains nothing, its mate loses the video term only, the run goes on.

    Two epochs of 4 rows, paired two by two; the broken row is written down once. A step without rows has no loss.
    """
    data, row = broken_inside
    run = train(**data, per_device_train_batch_size=1, max_steps=8, vista_on_bad_row="skip")
    steps = [entry for entry in run.log if "loss" in entry]
    assert sorted(entry["vista/response_rows"] for entry in steps) == [0, 0, 1, 1, 1, 1, 1, 1]
    assert sum(entry["vista/video_rows"] for entry in steps) == 4
    assert [math.isnan(entry["loss"]) for entry in steps] == [not entry["vista/response_rows"] for entry in steps]
    (skipped,) = [json.loads(line) for line in (run.folder / SKIPPED_ROWS).read_text().splitlines()]
    assert row in skipped["row"]
    assert "0002.mp4" in skipped["reason"]
    assert sum("is skipped: " in message and "breaks off" in message for message in host_log) == 1


def test_cutoff_len_is_refused_with_one_that_would_do(train: Callable[..., Run]) -> None:
    with pytest.raises(ValueError, match=r"tokens but `cutoff_len` is 64.*Set `cutoff_len: 128`"):
        train(cutoff_len=64)


def test_streaming_is_refused(train: Callable[..., Run]) -> None:
    with pytest.raises(ValueError, match="`streaming: true` does not go with `stage: vistadpo`"):
        train(streaming=True)


def test_a_data_set_of_one_video_has_no_video_term(
    demo: Demo, train: Callable[..., Run], tmp_path: Path, host_log: list[str]
) -> None:
    """Nobody to pair with: the term is off and the log says why."""
    row = demo.rows[0]
    write_rows(tmp_path / "rows", [{**row, "id": str(number)} for number in range(4)])
    first = train(dataset="rows", dataset_dir=str(tmp_path / "rows"), max_steps=1).log[0]
    assert first["vista/video_rows"] == 0
    assert first["vista/video_loss"] != first["vista/video_loss"]  # NaN: no row to average over
    assert "4 no other video in the data set" in host_log[-1]
    assert first["loss"] == pytest.approx(1.7 * 0.693147, abs=1e-3)
