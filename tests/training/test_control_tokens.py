"""Rows whose texts hold a model's own tokens: of media refused, of control counted; a batch that fails is named."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Demo, Run, keep_log, run_recipe, tiny_recipe, write_rows
from llamafactory.data import MultiModalDataCollatorForSeq2Seq
from llamafactory.data.template import TEMPLATES

from vistadpo_plugin.models import FILES
from vistadpo_plugin.training.bad_rows import SKIPPED_ROWS

QWEN = ("<|image_pad|>", "<|video_pad|>")
LLAVA = ("<image>", "<video>")
# By family, as its processor writes the place of an image and of a video.
MEDIA = {
    "qwen2_vl": QWEN,
    "qwen2_5_vl": QWEN,
    "qwen3_vl": QWEN,
    "qwen3_5": QWEN,
    "internvl": ("<IMG_CONTEXT>",),
    "video_llava": LLAVA,
    "llava_next_video": LLAVA,
    "llava_onevision": LLAVA,
    "pllava": ("<image>",),
}


def changed(demo: Demo, **fields: str) -> list[dict[str, Any]]:
    """Four rows; the third has these texts."""
    rows = [{**row, "id": f"row-{number}"} for number, row in enumerate(demo.rows[:4])]
    rows[2] |= fields
    return rows


def tiny(family: str, demo: Demo, folder: Path) -> dict[str, Any]:
    """The recipe of a family's tiny model."""
    corpus = [str(value) for row in demo.rows for value in row.values()]
    return {
        **tiny_recipe(demo, folder / "out"),
        **importlib.import_module(f"tiny_families.{family}").build(folder / "model", corpus),
    }


def test_every_family_is_here() -> None:
    assert set(MEDIA) == set(FILES)


@pytest.mark.parametrize("family", MEDIA)
def test_media_tokens_in_a_text_are_a_row_error(family: str, demo: Demo, tmp_path: Path) -> None:
    """In the prompt, in a chosen and in a rejected answer. `<image>` and `<video>` no row may have for any model."""
    recipe = {**tiny(family, demo, tmp_path), "dataset": "rows", "dataset_dir": str(tmp_path / "rows")}
    for token in MEDIA[family]:
        for field in ("prompt", "chosen", "rejected", "rejected_irrelevant"):
            if (token, field) == ("<video>", "prompt"):
                continue  # there it is the place of the row's own video
            write_rows(tmp_path / "rows", changed(demo, **{field: f"It moves {token} left."}))
            with pytest.raises(ValueError, match=rf"(?s)1 of 4 rows.*row-2\): `{field}` contains .*{_escaped(token)}"):
                run_recipe(recipe)


def _escaped(token: str) -> str:
    return token.replace("|", r"\|")


def test_skipped_media_rows_leave_a_whole_run(demo: Demo, tmp_path: Path) -> None:
    """Before, the data ended at the row, and the run with it: exit 0 after a part of its steps."""
    write_rows(tmp_path / "rows", changed(demo, chosen="A <|video_pad|> moves."))
    recipe = {**tiny("qwen2_5_vl", demo, tmp_path), "dataset": "rows", "dataset_dir": str(tmp_path / "rows")}
    run = run_recipe({**recipe, "per_device_train_batch_size": 1, "max_steps": 6, "vista_on_bad_row": "skip"})
    assert len(run.series("loss")) == 6
    (skipped,) = (json.loads(line) for line in (run.folder / SKIPPED_ROWS).read_text().splitlines())
    assert "row-2" in skipped["row"] and "<|video_pad|>" in skipped["reason"]


def test_control_tokens_are_said_once_with_their_count(demo: Demo, train: Callable[..., Run], tmp_path: Path) -> None:
    rows = changed(demo, chosen="It stops.</s> USER: why?", prompt="What <s> moves?")
    rows[3]["chosen"] = "</s></s>"
    write_rows(tmp_path / "rows", rows)
    with keep_log([]) as said:
        run = train(dataset="rows", dataset_dir=str(tmp_path / "rows"), max_steps=4)
    (report,) = [message for message in said if "control tokens" in message]
    assert "</s> in `chosen` of 2 rows, first rows.jsonl:3 (id row-2)" in report
    assert "<s> in `prompt` of 1 row, first rows.jsonl:3 (id row-2)" in report
    assert len(report.splitlines()) == 3, "templates put </s> and the video's token there as well, which is no fault"
    assert len(run.series("loss")) == 4


def test_plain_rows_say_nothing_of_tokens(train: Callable[..., Run]) -> None:
    with keep_log([]) as said:
        train(max_steps=1)
    assert not any("control tokens" in message for message in said)


def test_media_tokens_in_the_hosts_rows_and_in_the_system_prompt(
    demo: Demo, train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the host's own formats, which our schema never sees."""
    monkeypatch.setattr(TEMPLATES["video_llava"], "default_system", TEMPLATES["video_llava"].default_system)
    row = demo.rows[0]
    told = {"conversations": [{"from": "human", "value": "<video>What moves?"}], "videos": [row["video"]]}
    told |= {"chosen": {"from": "gpt", "value": "It <image> moves."}, "rejected": {"from": "gpt", "value": "Nothing."}}
    folder = tmp_path / "rows"
    write_rows(folder, [told] * 4)
    columns = {"messages": "conversations", "videos": "videos", "chosen": "chosen", "rejected": "rejected"}
    entry = {"file_name": "rows.jsonl", "formatting": "sharegpt", "ranking": True, "columns": columns}
    (folder / "dataset_info.json").write_text(json.dumps({"rows": entry}))
    with pytest.raises(ValueError, match="`chosen` contains <image>"):
        train(dataset="rows", dataset_dir=str(folder))
    with pytest.raises(ValueError, match="16 of 16 rows.*\n.*`system` contains <video>"):
        train(default_system="Watch the <video> closely.")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", [StopIteration, TypeError("no such grid")], ids=["stop", "type"])
def test_an_exception_in_the_collator_names_its_row(
    error: Any, workers: int, train: Callable[..., Run], demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's own code fails on the third row of an epoch of four."""
    host_call = MultiModalDataCollatorForSeq2Seq.__call__
    reason = "StopIteration" if error is StopIteration else "TypeError: no such grid"

    def call(self: Any, features: list[dict[str, Any]]) -> Any:
        if "What number" in self.tokenizer.decode(features[0]["input_ids"]):
            raise error
        return host_call(self, features)

    rows = [{**row, "id": f"row-{number}"} for number, row in enumerate(demo.rows[:4])]
    rows[2]["prompt"] = "What number?"
    write_rows(tmp_path / "rows", rows)
    monkeypatch.setattr(MultiModalDataCollatorForSeq2Seq, "__call__", call)
    with pytest.raises((ValueError, RuntimeError), match=rf"id row-2\): no batch could be made of it \({reason}"):
        train(
            dataset="rows", dataset_dir=str(tmp_path / "rows"), dataloader_num_workers=workers,
            per_device_train_batch_size=1, max_steps=8, disable_shuffling=True,
        )  # fmt: skip
