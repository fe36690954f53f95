"""LLaVA-OneVision: the template we add, tokens as transformers counts them, views of unequal length in one forward."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Demo, Run, launch_cli, tiny_recipe
from test_llava_next_video import (
    SIZES,
    both_say,
    check_mixed_rows,
    check_published_names,
    frames,
    picture,
    trained,
    write_plain,
)
from tiny_families import llava_onevision

from vistadpo_plugin.models.llava_onevision import FAMILY
from vistadpo_plugin.scoring.view_features import Encoded, ViewFeatures

VIDEO = 4  # the token <video>


@pytest.fixture(scope="module")
def tiny(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Its recipe keys."""
    corpus = [str(value) for row in demo.rows for value in row.values()]
    return llava_onevision.build(tmp_path_factory.mktemp("llava_onevision") / "model", corpus)


@pytest.fixture(scope="module")
def plain(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_plain(demo, tmp_path_factory.mktemp("plain"))


def test_the_template_speaks_as_the_model_was_trained(tiny: dict[str, Any]) -> None:
    """ChatML with a default system prompt; two turns, each answer ends with the end-of-sequence token."""
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny["model_name_or_path"])
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template="llava_onevision"))
    turns = ("<video>\nWhat moves?", "A ball.", "Where to?", "Left.")
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(turns)]
    prompt, answer = template.encode_oneturn(tokenizer, messages)
    assert tokenizer.decode(prompt) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<video>\nWhat moves?<|im_end|>\n<|im_start|>assistant\nA ball.<|im_end|>\n"
        "<|im_start|>user\nWhere to?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(answer) == "Left.<|im_end|>\n"
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.eos_token_id in template.get_stop_token_ids(tokenizer)


@pytest.mark.parametrize("size", SIZES)
def test_an_image_takes_the_tokens_of_its_tiles(tiny: dict[str, Any], size: tuple[int, int]) -> None:
    ours, theirs = both_say(tiny, "<image>\nWhat moves?", [picture(*size)], [])
    assert ours == theirs


def test_several_images_are_shown_whole(tiny: dict[str, Any]) -> None:
    """25 patches and a newline each; an image alone has more."""
    ours, theirs = both_say(tiny, "<image>a<image>b", [picture(*size) for size in SIZES[1:3]], [])
    assert ours == theirs
    assert ours.count(3) == 2 * 26
    alone, _ = both_say(tiny, "<image>a", [picture(*SIZES[1])], [])
    assert alone.count(3) > 26


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_video_takes_a_quarter_of_its_patches_and_a_newline(tiny: dict[str, Any], count: int) -> None:
    """35 px in patches of 7 are 5 x 5, pooled to 3 x 3: 9 tokens a frame, for a view of one frame too."""
    ours, theirs = both_say(tiny, "<video>\nWhat moves?", [], [frames(count)])
    assert ours == theirs
    assert ours.count(VIDEO) == 9 * count + 1


def test_the_published_sizes() -> None:
    """384 px in patches of 14: 27 x 27, pooled to 14 x 14."""
    processor = SimpleNamespace(num_image_tokens=729)
    assert FAMILY.video_tokens(processor, 1) == FAMILY.tokens_a_frame + 1 == 197
    assert FAMILY.video_tokens(processor, 16) == 3137


@pytest.mark.parametrize("frozen", [True, False])
def test_views_of_unequal_length_have_their_newline_each(tiny: dict[str, Any], frozen: bool) -> None:
    """A full view, two videos, a keyframe and the full view again: as the model encodes them one by one."""
    from transformers import LlavaOnevisionForConditionalGeneration

    whole = LlavaOnevisionForConditionalGeneration.from_pretrained(tiny["model_name_or_path"]).eval()
    whole.requires_grad_(not frozen)
    newline = whole.model.image_newline
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, 4), (2, 3), (1, 1))
    views = [{"pixel_values_videos": torch.randn(*shape, 3, 35, 35, generator=generator)} for shape in shapes]

    def shown(order: list[int], **inputs: torch.Tensor) -> torch.Tensor:
        ids = [1] + [VIDEO] * sum(videos * (9 * count + 1) for videos, count in (shapes[n] for n in order)) + [2]
        return whole.model(input_ids=torch.tensor([ids]), use_cache=False, **inputs).video_hidden_states

    order = [0, 1, 2, 0]
    alone = torch.cat([shown([number], **views[number]) for number in order])
    encoded = Encoded()
    with ViewFeatures(whole).showing(views, order, encoded):
        together = shown(order, **views[0])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
    places = (together == newline).all(1).nonzero()[:, 0].tolist()
    assert places == [36, 64, 92, 102, 139]  # behind 4, 3, 3, 1 and 4 frames of 9 tokens
    if frozen:
        assert encoded.encodes == 3
        return
    weights = torch.randn(together.shape, generator=generator)
    projector = whole.model.multi_modal_projector.linear_2.weight
    found, expected = (torch.autograd.grad((one * weights).sum(), (newline, projector)) for one in (together, alone))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_images_several_videos_and_text_score_as_in_the_hosts_dpo(
    demo: Demo, tiny: dict[str, Any], plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    check_mixed_rows({**tiny_recipe(demo, tmp_path), **tiny, **plain}, monkeypatch, tmp_path)


def test_full_tuning_trains_the_language_model_only(
    demo: Demo, tiny: dict[str, Any], plain: dict[str, Any], tmp_path: Path
) -> None:
    """The host has no entry for the family; `image_newline` is a bare parameter behind every video."""
    names = trained({**tiny_recipe(demo, tmp_path), **tiny, **plain, "per_device_train_batch_size": 4})
    assert names and all(name.startswith(("model.language_model.", "lm_head.")) for name in names)


def test_the_published_names_of_weights_load(tiny: dict[str, Any], tmp_path: Path) -> None:
    check_published_names(tiny["model_name_or_path"], tmp_path, "LlavaOnevisionForConditionalGeneration")


def test_the_hosts_command_knows_the_template_and_stacks_clips_of_unequal_length(
    demo: Demo, tiny: dict[str, Any], plain: dict[str, Any], tmp_path: Path
) -> None:
    """Plain DPO on two videos of 5.3 and 4 s in a batch: at 1 frame a second the host would take 5 of one, 4 of the
    other."""
    changes = {"stage": "dpo", "dataset": "clips", "video_fps": 1.0}
    recipe = {**tiny_recipe(demo, tmp_path / "out"), **tiny, **plain, **changes}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    done = launch_cli(path)
    assert done.returncode == 0, done.stdout[-3000:]
    losses = Run(tmp_path / "out").series("loss")
    assert losses[0] == pytest.approx(0.693147, abs=1e-5) and losses[1] != losses[0]
