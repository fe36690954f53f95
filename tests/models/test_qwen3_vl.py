"""Qwen3-VL and Qwen3.5 share the host's plugin: what it makes of videos, and where it goes wrong and is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Demo, keep_log, run_recipe, tiny_recipe
from PIL import Image
from tiny_families.qwen3_vl import build
from transformers.video_utils import VideoMetadata

from vistadpo_plugin.host import installed_host
from vistadpo_plugin.models import families
from vistadpo_plugin.models.qwen3_vl import FAMILY

VIDEO, IMAGE = "<video>", "<image>"
FAULTY = "qwen3_vl_later_videos" in installed_host().faults
needs_the_fault = pytest.mark.skipif(not FAULTY, reason="this LLaMA-Factory has mended it")


@pytest.fixture(scope="module")
def keys(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    corpus = [str(value) for row in demo.rows for value in row.values()]
    return build(tmp_path_factory.mktemp("qwen3_vl") / "model", corpus)


@pytest.fixture(scope="module")
def processor(keys: dict[str, Any]) -> Any:
    from transformers import AutoProcessor

    made = AutoProcessor.from_pretrained(keys["model_name_or_path"])
    made.video_fps, made.video_maxlen, made.video_max_pixels = 2.0, 128, keys["video_max_pixels"]
    made.image_max_pixels = keys["video_max_pixels"]
    return made


def frames(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (64, 48), (40 * number, 0, 0)) for number in range(count)]


def talk(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(contents)]


@pytest.fixture(scope="module")
def plugin() -> Any:
    from llamafactory.data.template import TEMPLATES

    return TEMPLATES["qwen3_vl_nothink"].mm_plugin


@pytest.fixture(scope="module")
def hosts() -> Any:
    """The host's own, without what we put around it."""
    from llamafactory.data.mm_plugin import get_mm_plugin

    return get_mm_plugin("qwen3_vl", image_token="<|image_pad|>", video_token="<|video_pad|>")


def in_full(processor: Any, text: str, videos: list[list[Any]], images: list[Any] | None = None) -> str:
    """What transformers' own processor writes for the placeholders, frames 0.5 s apart."""
    pads = {VIDEO: processor.video_token, IMAGE: processor.image_token}
    for placeholder, pad in pads.items():
        text = text.replace(placeholder, f"<|vision_start|>{pad}<|vision_end|>")
    metadata = [
        VideoMetadata(total_num_frames=len(video), fps=2.0, frames_indices=list(range(len(video)))) for video in videos
    ]
    made = processor(
        text=[text], videos=videos, images=images, video_metadata=metadata, do_sample_frames=False, return_tensors="pt"
    )
    return processor.tokenizer.decode(made["input_ids"][0])


def as_text(processor: Any, messages: list[dict[str, str]]) -> str:
    ids = processor.tokenizer("".join(message["content"] for message in messages)).input_ids
    return processor.tokenizer.decode(ids)


@pytest.mark.parametrize("count", [1, 4, 5])
def test_one_video_reads_as_transformers_writes_it(plugin: Any, processor: Any, count: int) -> None:
    (message,) = plugin.process_messages(talk(f"a{VIDEO}b"), [], [frames(count)], [], processor)
    assert as_text(processor, [message]) == in_full(processor, f"a{VIDEO}b", [frames(count)])


@pytest.mark.parametrize("text", [f"{IMAGE}a{VIDEO}b", f"{VIDEO}a{IMAGE}b"])
def test_images_beside_one_video_are_right(plugin: Any, processor: Any, text: str) -> None:
    image = Image.new("RGB", (56, 56), "red")
    made = plugin.process_messages(talk(text, "yes", f"and {IMAGE}?"), [image, image], [frames(4)], [], processor)
    expected = in_full(processor, f"{text}yesand {IMAGE}?", [frames(4)], [image, image])
    assert as_text(processor, made) == expected


WRONG = {
    "unequal": (talk(f"{VIDEO}a{VIDEO}b"), [4, 6]),
    "later": (talk("hello", "hello", f"{VIDEO}b"), [4]),
    "both": (talk(f"{VIDEO}a", "yes", f"{VIDEO}b"), [4, 4]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_the_host_gets_wrong_is_refused_and_nothing_else(
    plugin: Any, hosts: Any, processor: Any, case: str
) -> None:
    """The host alone: an IndexError of its own, or the first video's number of steps for the second.

    Where the table says that a version has mended it, it has.
    """
    messages, counts = WRONG[case]
    videos = [frames(count) for count in counts]
    try:
        alone = hosts.process_messages(copy.deepcopy(messages), [], videos, [], processor)
    except IndexError:
        alone = None
    expected = in_full(processor, "".join(message["content"] for message in messages), videos)
    assert (alone is None or as_text(processor, alone) != expected) == FAULTY
    if not FAULTY:
        made = plugin.process_messages(messages, [], videos, [], processor)
        assert as_text(processor, made) == expected
        return
    with pytest.raises(ValueError, match=r"^Qwen3-VL: a (conversation shows 2 videos|video comes after the first)"):
        plugin.process_messages(messages, [], videos, [], processor)


def test_other_engines_fill_placeholders_in_by_themselves(
    plugin: Any, processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM and SGLang get one placeholder a video, and nothing goes wrong."""
    messages, counts = WRONG["unequal"]
    monkeypatch.setattr(plugin, "expand_mm_tokens", False)
    made = plugin.process_messages(messages, [], [frames(count) for count in counts], [], processor)
    assert made[0]["content"].count("<|video_pad|>") == 2


@pytest.fixture(scope="module")
def mixed(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Preference rows of the host's format: two good ones, one with two clips, one that shows its clip too late."""
    folder = tmp_path_factory.mktemp("mixed")
    videos = [str(demo.data / row["video"]) for row in demo.rows[:3]]
    good = {"chosen": {"from": "gpt", "value": "A red square."}, "rejected": {"from": "gpt", "value": "No."}}
    turns = [{"from": "human", "value": "Hello."}, {"from": "gpt", "value": "Hello."}]
    rows = [
        {"conversations": [{"from": "human", "value": f"{VIDEO}What is it?"}], "videos": videos[:1], **good},
        {"conversations": [{"from": "human", "value": f"{VIDEO}And this?"}], "videos": videos[1:2], **good},
        {"conversations": [{"from": "human", "value": f"{VIDEO}{VIDEO}Compare."}], "videos": videos[:2], **good},
        {"conversations": [*turns, {"from": "human", "value": f"{VIDEO}Late?"}], "videos": videos[2:], **good},
    ]
    columns = {"messages": "conversations", "videos": "videos", "chosen": "chosen", "rejected": "rejected"}
    entry = {"formatting": "sharegpt", "ranking": True, "columns": columns}
    info = {}
    for name, some in (("all", rows), ("two", rows[2:3]), ("late", rows[3:])):
        (folder / f"{name}.json").write_text(json.dumps(some))
        info[name] = {"file_name": f"{name}.json", **entry}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def recipe_on(demo: Demo, keys: dict[str, Any], folder: Path, name: str, out: Path, **changes: Any) -> dict[str, Any]:
    data = {"dataset": name, "dataset_dir": str(folder), "max_steps": 1}
    return {**tiny_recipe(demo, out), **keys, **data, **changes}


@needs_the_fault
@pytest.mark.parametrize(("name", "reason"), [("two", "shows 2 videos"), ("late", "after the first message")])
@pytest.mark.parametrize("stage", ["dpo", "vistadpo"])
def test_both_stages_refuse_such_rows(
    demo: Demo, keys: dict[str, Any], mixed: Path, tmp_path: Path, stage: str, name: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        run_recipe(recipe_on(demo, keys, mixed, name, tmp_path / "out", stage=stage))
    if stage == "vistadpo":
        assert "preference row" in str(caught.value)


@needs_the_fault
def test_skipping_leaves_the_rows_that_are_right(demo: Demo, keys: dict[str, Any], mixed: Path, tmp_path: Path) -> None:
    with keep_log([]) as said:
        run = run_recipe(recipe_on(demo, keys, mixed, "all", tmp_path / "out", vista_on_bad_row="skip"))
    assert run.log[0]["vista/response_rows"] == 2
    text = "\n".join(said)
    assert "'<video><video>Compare.'" in text and "'<video>Late?'" in text


def test_every_template_with_this_plugin_is_refused_alike() -> None:
    from llamafactory.data.mm_plugin import Qwen3VLPlugin
    from llamafactory.data.template import TEMPLATES

    users = {name for name, template in TEMPLATES.items() if isinstance(template.mm_plugin, Qwen3VLPlugin)}
    assert users == {name for family in families() if family.refusal is FAMILY.refusal for name in family.templates}
