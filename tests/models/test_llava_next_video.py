"""LLaVA-NeXT-Video: tokens as transformers counts them, several videos and any-resolution images, what stays frozen."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from capture import FirstBatch, Gradients, record_scores
from conftest import Demo, run_recipe, tiny_recipe
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_families import llava_next_video

from vistadpo_plugin.data.views.views import SampledFrames
from vistadpo_plugin.models.llava_next_video import FAMILY

SIZES = ((40, 36), (100, 40), (30, 90), (64, 64), (200, 170))
"""Width and height of images: one tile, wide, high, square, more than all tiles hold."""


@pytest.fixture(scope="module")
def tiny(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Its recipe keys."""
    corpus = [str(value) for row in demo.rows for value in row.values()]
    return llava_next_video.build(tmp_path_factory.mktemp("llava_next_video") / "model", corpus)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8))


def frames(count: int) -> SampledFrames:
    return SampledFrames(picture(80, 60, seed=number) for number in range(count))


def both_say(tiny: dict[str, Any], content: str, images: list[Any], videos: list[Any]) -> tuple[list[int], list[int]]:
    """Token ids of `content` by our plugin and by the model's own processor; what they make of the media is equal."""
    from llamafactory.data.template import TEMPLATES
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(tiny["model_name_or_path"])
    plugin, tokenizer = TEMPLATES[tiny["template"]].mm_plugin, processor.tokenizer
    (message,) = plugin.process_messages([{"role": "user", "content": content}], images, videos, [], processor)
    ours = tokenizer(message["content"])["input_ids"]
    made = plugin.get_mm_inputs(images, videos, [], [len(images)], [len(videos)], [0], [ours], processor)
    media = {"images": [images] if images else None, "videos": [list(video) for video in videos] or None}
    theirs = processor(text=[content], **media, return_tensors="pt")
    assert set(made) == set(theirs) - {"input_ids", "attention_mask"}
    for name, value in made.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(theirs[name])), name
    return ours, theirs["input_ids"][0].tolist()


@pytest.mark.parametrize("size", SIZES)
def test_an_image_takes_the_tokens_of_its_tiles(tiny: dict[str, Any], size: tuple[int, int]) -> None:
    ours, theirs = both_say(tiny, "<image>\nWhat moves?", [picture(*size)], [])
    assert ours == theirs


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_video_takes_a_quarter_of_its_patches(tiny: dict[str, Any], count: int) -> None:
    """28 px in patches of 7 are 4 x 4, pooled to 2 x 2: 4 tokens a frame, for a view of one frame too."""
    ours, theirs = both_say(tiny, "<video>\nWhat moves?", [], [frames(count)])
    assert ours == theirs
    assert ours.count(4) == 4 * count  # <video> is token 4


def test_images_and_videos_in_one_conversation(tiny: dict[str, Any]) -> None:
    images = [picture(*size) for size in SIZES[1:3]]
    ours, theirs = both_say(tiny, "<image>a<video>b<image>c<video>d", images, [frames(8), frames(8)])
    assert ours == theirs


def test_every_template_of_the_family_counts_so() -> None:
    """The ones of the Mistral and Yi checkpoints too."""
    from llamafactory.data.template import TEMPLATES

    assert len(FAMILY.templates) == 3
    for name in FAMILY.templates:
        assert TEMPLATES[name].mm_plugin.family is FAMILY


def test_the_published_sizes() -> None:
    """336 px in patches of 14: 24 x 24, pooled to 12 x 12."""
    video_processor = SimpleNamespace(crop_size={"height": 336, "width": 336})
    processor = SimpleNamespace(video_processor=video_processor, patch_size=14)
    assert FAMILY.video_tokens(processor, 1) == FAMILY.tokens_a_frame == 144
    assert FAMILY.video_tokens(processor, 16) == 2304


@pytest.fixture(scope="module")
def plain(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Recipe keys of preference rows in the host's own format, see `write_plain`."""
    return write_plain(demo, tmp_path_factory.mktemp("plain"))


def write_plain(demo: Demo, folder: Path) -> dict[str, Any]:
    """A wide image, two images, two videos of unequal length, text alone; `clips`: 2 rows with a video each."""
    for number, size in enumerate(((90, 40), (60, 60), (40, 80))):
        picture(*size, seed=number).save(folder / f"{number}.png")
    images = [str(folder / f"{number}.png") for number in range(3)]
    videos = [str(demo.data / row["video"]) for row in (demo.rows[0], demo.rows[-1])]
    media = [(images[:1], []), (images[1:], []), ([], videos), ([], [])]

    def entry(number: int, images: list[str], videos: list[str]) -> dict[str, Any]:
        seen = "<image>" * len(images) + "<video>" * len(videos)
        row = demo.rows[number]
        answers = {key: {"from": "gpt", "value": row[key]} for key in ("chosen", "rejected")}
        question = [{"from": "human", "value": f"{seen}\n{row['prompt']}"}]
        return {"conversations": question, **answers, "images": images, "videos": videos}

    entries = {
        "mixed": [entry(number, *seen) for number, seen in enumerate(media)],
        "clips": [{**entry(number, [], [video]), "images": []} for number, video in enumerate(videos)],
    }
    columns = {name: name for name in ("chosen", "rejected", "images", "videos")}
    common = {"formatting": "sharegpt", "ranking": True, "columns": {"messages": "conversations", **columns}}
    for name, content in entries.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    info = {name: {"file_name": f"{name}.json", **common} for name in entries}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return {"dataset_dir": str(folder), "media_dir": str(folder), "dataset": "mixed"}


def check_mixed_rows(recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch, output: Path) -> None:
    """The host's DPO and ours say the same of every answer on images, several videos and text, packed or not."""
    recipe = {**recipe, "per_device_train_batch_size": 4, "disable_shuffling": True, "max_steps": 2}
    said: dict[tuple[int, str], float] = {}

    def look(model: Any, batch: dict[str, Any]) -> None:
        assert len(batch["pixel_values"]) == 6 and len(batch["pixel_values_videos"]) == 4  # chosen, then rejected
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        with torch.no_grad():
            logits = model.eval()(**inputs, use_cache=False).logits.float()
        labels = batch["labels"][:, 1:]
        every = logits[:, :-1].log_softmax(-1).gather(2, labels.clamp(min=0).unsqueeze(2)).squeeze(2)
        for number, total in enumerate((every * (labels >= 0)).sum(1)):
            said[number % 4, f"full/{'chosen' if number < 4 else 'rejected'}"] = float(total)
        model.train()

    losses = run_recipe({**recipe, "stage": "dpo", "output_dir": str(output / "dpo")}, FirstBatch(look)).series("loss")
    assert losses[0] == pytest.approx(0.693147, abs=1e-5) and losses[1] != losses[0]
    for sharing in (True, False):
        passes = record_scores(monkeypatch)
        keys = {"vista_prefix_sharing": sharing, "output_dir": str(output / f"shared_{sharing}"), "max_steps": 1}
        losses = run_recipe({**recipe, **keys}).series("loss")
        assert losses[0] == pytest.approx(0.693147, abs=1e-5)  # no grounding: the response term alone
        first = passes[0]
        assert set(first.batch["names"]) == set(said)
        for (row, name), found in zip(first.batch["names"], first.scores.log_probs.tolist(), strict=True):
            assert found == pytest.approx(said[row, name], rel=3e-5, abs=3e-4), (sharing, row, name)


def test_images_several_videos_and_text_score_as_in_the_hosts_dpo(
    demo: Demo, tiny: dict[str, Any], plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    check_mixed_rows({**tiny_recipe(demo, tmp_path), **tiny, **plain}, monkeypatch, tmp_path)


def trained(recipe: dict[str, Any]) -> set[str]:
    """Names of what one step of the host's DPO trains in full tuning."""
    gradients = Gradients()
    keys = {key: value for key, value in recipe.items() if not key.startswith("lora_")}
    run_recipe({**keys, "stage": "dpo", "finetuning_type": "full", "max_steps": 1}, gradients)
    return gradients.trainable


def test_full_tuning_trains_the_language_model_only(
    demo: Demo, tiny: dict[str, Any], plain: dict[str, Any], tmp_path: Path
) -> None:
    """Tower and projector are the host's to freeze; `image_newline`, a bare parameter, its entry does not name."""
    names = trained({**tiny_recipe(demo, tmp_path), **tiny, **plain, "per_device_train_batch_size": 4})
    assert names and all(name.startswith(("model.language_model.", "lm_head.")) for name in names)


def check_published_names(model: str, output: Path, class_name: str) -> None:
    """transformers 5 saves all names but the tower's as the published checkpoint, of transformers 4, has them."""
    import transformers

    saved = load_file(Path(model) / "model.safetensors")
    assert {"image_newline", "multi_modal_projector.linear_1.weight", "language_model.lm_head.weight"} <= set(saved)
    named = {name.replace("vision_tower.", "vision_tower.vision_model."): value for name, value in saved.items()}
    assert len(set(named) - set(saved)) > 10
    (output / "config.json").write_bytes((Path(model) / "config.json").read_bytes())
    save_file(named, output / "model.safetensors", metadata={"format": "pt"})
    load = getattr(transformers, class_name).from_pretrained
    loaded, info = load(output, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    found = loaded.state_dict()
    assert all(torch.equal(found[name], value) for name, value in load(model).state_dict().items())


def test_the_published_names_of_weights_load(tiny: dict[str, Any], tmp_path: Path) -> None:
    check_published_names(tiny["model_name_or_path"], tmp_path, "LlavaNextVideoForConditionalGeneration")
