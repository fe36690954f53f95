"""PLLaVA: the same numbers as its parts put together by hand, its files, its frames and its conversation."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run, write_rows
from data.barcode_video import codes, read_code, write_video
from PIL import Image
from rounding import LOGIT, rounding
from safetensors.torch import load_file, save_file
from tiny_families.pllava import FRAMES, IMAGE, PATCH, POOLING, build, make_config
from torch import nn

import vistadpo_plugin.host  # noqa: F401
from vistadpo_plugin.data.views.views import sample_indices
from vistadpo_plugin.models.pllava_model import PllavaConfig, PllavaForConditionalGeneration, PllavaProcessor

SIDE = IMAGE // PATCH


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pllava")
    build(folder, ["USER: What moves? ASSISTANT: A red disc moves to the left."])
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> PllavaForConditionalGeneration:
    return PllavaForConditionalGeneration.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def processor(folder: Path) -> PllavaProcessor:
    return PllavaProcessor.from_pretrained(folder)


def pictures(count: int) -> list[Image.Image]:
    """Noise of 80 x 60 pixels."""
    rng = np.random.default_rng(count)
    return [Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)) for _ in range(count)]


# --- the model


class ByHand:
    """CLIP, two linear layers, PyTorch's pooling module and Llama, each with its part of the checkpoint's file."""

    def __init__(self, folder: Path, config: PllavaConfig):
        from transformers import CLIPVisionModel, LlamaForCausalLM

        weights = load_file(folder / "model.safetensors")

        def part(prefix: str) -> dict[str, torch.Tensor]:
            return {k.removeprefix(prefix): value for k, value in weights.items() if k.startswith(prefix)}

        width, hidden = config.vision_config.hidden_size, config.text_config.hidden_size
        self.tower = CLIPVisionModel(config.vision_config).eval()
        self.projector = nn.ModuleDict({"linear_1": nn.Linear(width, hidden), "linear_2": nn.Linear(hidden, hidden)})
        self.language = LlamaForCausalLM(config.text_config).eval()
        for module, prefix in (
            (self.tower, "vision_tower."),
            (self.projector, "multi_modal_projector."),
            (self.language, "language_model."),
        ):
            module.load_state_dict(part(prefix), strict=True)

    def features(self, frames: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
        """(frames, 3, height, width) of one video to its tokens, frame after frame, each row after row."""
        patches = self.tower(frames, output_hidden_states=True).hidden_states[-2][:, 1:]
        projected = self.projector["linear_2"](nn.functional.gelu(self.projector["linear_1"](patches)))
        grid = projected.transpose(1, 2).reshape(len(frames), -1, SIDE, SIDE)
        pooled = nn.AdaptiveAvgPool3d(shape)(grid.transpose(0, 1).unsqueeze(0))[0]
        return torch.stack([pooled[:, t, y, x] for t in range(shape[0]) for y in range(2) for x in range(2)])

    def logits(self, ids: list[int], replaced: dict[int, list[torch.Tensor]]) -> torch.Tensor:
        """`replaced` holds by placeholder what stands there, in order."""
        rest = {token: iter(torch.cat(views)) for token, views in replaced.items()}
        embed = self.language.get_input_embeddings()
        row = [next(rest[token]) if token in rest else embed(torch.tensor(token)) for token in ids]
        assert all(next(views, None) is None for views in rest.values())
        return self.language(inputs_embeds=torch.stack(row).unsqueeze(0)).logits


@pytest.mark.parametrize(("frames", "left"), [(FRAMES, 8), (20, 8), (11, 8), (3, 3), (1, 1)])
def test_logits_are_those_of_the_parts_put_together_by_hand(
    folder: Path, model: Any, processor: Any, frames: int, left: int
) -> None:
    """A video and an image in one text; more frames than the pooling's are averaged, fewer are left alone."""
    text = "USER: <video>\nWhat moves? And here: <image> ASSISTANT:"
    inputs = processor(text=text, videos=[pictures(frames)], images=pictures(1), return_tensors="pt")
    ids = inputs["input_ids"][0].tolist()
    assert ids.count(processor.video_token_id) == left * 4 and ids.count(processor.image_token_id) == 4
    slow = ByHand(folder, model.config)
    with torch.no_grad():
        fast = model(**inputs)
        video = slow.features(inputs["pixel_values_videos"][0], (left, 2, 2))
        image = slow.features(inputs["pixel_values"], (1, 2, 2))
        expected = slow.logits(ids, {processor.video_token_id: [video], processor.image_token_id: [image]})
        without = slow.logits(ids, {processor.video_token_id: [video.flip(0)], processor.image_token_id: [image]})
    torch.testing.assert_close(fast.logits, expected, rtol=1e-4, atol=1e-4)
    assert (without - expected).abs().max() > 0.1  # the order of the tokens matters
    torch.testing.assert_close(fast.video_hidden_states, video, rtol=1e-5, atol=1e-5)


def test_the_projector_comes_before_the_pooling(model: Any) -> None:
    """With a gelu between them the order shows: a patch of -1 and one of 1 average to gelu(-1) / 2 + gelu(1) / 2."""
    model = copy.deepcopy(model.model)
    with torch.no_grad():
        for linear in (model.multi_modal_projector.linear_1, model.multi_modal_projector.linear_2):
            linear.weight.copy_(torch.eye(64))
            linear.bias.zero_()
    columns = torch.tensor([-1.0, 1.0]).repeat(SIDE * SIDE // 2).view(1, -1, 1).expand(2, -1, 64)

    class Tower(nn.Module):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            with_class_token = torch.cat([torch.full((2, 1, 64), 9.0), columns], dim=1)
            return type("Output", (), {"hidden_states": (with_class_token, with_class_token * 0)})()

    model.vision_tower = Tower()
    with torch.no_grad():
        (features,) = model.get_video_features(torch.zeros(1, 2, 3, IMAGE, IMAGE)).pooler_output
    assert features.shape == (2 * 4, 64)
    gelu = torch.nn.functional.gelu(torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(features, torch.full((8, 64), float(gelu.mean())))


def test_two_rows_two_videos(model: Any, processor: Any) -> None:
    """A padded batch gives what its rows give alone."""
    texts = ["USER: <video>\nWhat? ASSISTANT:", "USER: <video>\nWhat moves to the left here? ASSISTANT:"]
    videos = [pictures(FRAMES), pictures(FRAMES + 1)[:FRAMES]]
    batch = processor(text=texts, videos=videos, padding=True, padding_side="right", return_tensors="pt")
    with torch.no_grad():
        together = model(**batch).logits
        for number, (text, video) in enumerate(zip(texts, videos, strict=True)):
            alone = model(**processor(text=text, videos=[video], return_tensors="pt")).logits[0]
            torch.testing.assert_close(together[number, : len(alone)], alone, rtol=1e-4, atol=1e-4)


def test_generation_asks_the_tower_once(model: Any, processor: Any) -> None:
    """With a cache in the first step only, without one in every step; the tokens are the same."""
    inputs = processor(text="USER: <video>\nWhat moves? ASSISTANT:", videos=[pictures(FRAMES)], return_tensors="pt")
    asked: list[int] = []
    handle = model.model.vision_tower.register_forward_hook(lambda *_: asked.append(1))
    made = {}
    for cache, times in ((True, 1), (False, 5)):
        asked.clear()
        made[cache] = model.generate(**inputs, max_new_tokens=5, min_new_tokens=5, do_sample=False, use_cache=cache)
        assert len(asked) == times
    handle.remove()
    assert torch.equal(made[True], made[False])


def test_labels_and_kept_logits(model: Any, processor: Any) -> None:
    """The loss is the mean of -log p(label) over the labelled tokens, each predicted one position before."""
    inputs = processor(text="USER: <video>\nWhat moves? ASSISTANT:", videos=[pictures(FRAMES)], return_tensors="pt")
    labels = torch.full_like(inputs["input_ids"], -100)
    labels[0, -3:] = inputs["input_ids"][0, -3:]
    with torch.no_grad():
        whole = model(**inputs, labels=labels)
        some = model(**inputs, logits_to_keep=2).logits
    bound = rounding(LOGIT, size=float(whole.logits.abs().max()))
    torch.testing.assert_close(some, whole.logits[:, -2:], atol=bound, rtol=0)
    assert (whole.logits[:, -3:-1] - whole.logits[:, -2:]).abs().max() > 1e3 * bound
    log_probs = whole.logits[0].log_softmax(-1)
    at = [log_probs[position - 1, inputs["input_ids"][0, position]] for position in (-3, -2, -1)]
    assert float(whole.loss) == pytest.approx(-float(sum(at)) / 3, rel=1e-5)


def test_input_it_cannot_take_is_an_error(model: Any, processor: Any) -> None:
    inputs = processor(text="USER: <video>\nWhat? ASSISTANT:", videos=[pictures(FRAMES)], return_tensors="pt")
    ids, pixels = inputs["input_ids"], inputs["pixel_values_videos"]
    short = ids.clone()
    short[0, ids[0].tolist().index(processor.video_token_id)] = 5
    with pytest.raises(ValueError, match="31 placeholders, but the pixels make 32 tokens"):
        model(input_ids=short, pixel_values_videos=pixels)
    with pytest.raises(ValueError, match="either `input_ids` or `inputs_embeds`"):
        model(pixel_values_videos=pixels)
    with pytest.raises(ValueError, match="pixels need `input_ids`"):
        model(inputs_embeds=torch.zeros(1, 3, 64), pixel_values_videos=pixels)
    with pytest.raises(ValueError, match=r"\[frames, height, width\] is expected"):
        PllavaConfig(pooling_shape=[12, 12])
    with pytest.raises(ValueError, match="at least one"):
        processor()


# --- files


def test_the_published_sizes() -> None:
    """16 x 12 x 12 = 2,304 tokens of 16 frames and of any more, 12 x 12 = 144 of one."""
    from transformers import CLIPImageProcessor, VideoLlavaVideoProcessor

    from vistadpo_plugin.demo.tiny_model import train_tokenizer

    config = PllavaConfig()
    assert config.pooling_shape == [16, 12, 12] and config.vision_config.image_size == 336
    assert (config.image_token_id, config.video_token_id) == (32000, 32002)
    made = PllavaProcessor(CLIPImageProcessor(), VideoLlavaVideoProcessor(), train_tokenizer(["a"]))
    assert [made.video_tokens(frames) for frames in (1, 2, 16, 32)] == [144, 288, 2304, 2304]
    with torch.device("meta"):
        tower = PllavaForConditionalGeneration(PllavaConfig(text_config={"vocab_size": 32064})).model
    below = {id(parameter) for parameter in tower.language_model.parameters()}
    from vistadpo_plugin.models.pllava import FAMILY

    count = sum(parameter.numel() for parameter in tower.parameters() if id(parameter) not in below)
    assert FAMILY.shape.tower_parameters == pytest.approx(count, rel=0.01)
    text = tower.config.text_config
    assert (FAMILY.shape.hidden, FAMILY.shape.layers, FAMILY.shape.intermediate) == (
        text.hidden_size,
        text.num_hidden_layers,
        text.intermediate_size,
    )


def test_files_are_laid_out_as_llavas(folder: Path, model: Any, tmp_path: Path) -> None:
    """The same names in memory and in the file as transformers' LLaVA of these sizes."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    keys = model.config.to_dict()
    for name in ("model_type", "pooling_shape", "video_token_index", "architectures"):
        keys.pop(name)
    llava = LlavaForConditionalGeneration(LlavaConfig(**keys))
    assert llava.state_dict().keys() == model.state_dict().keys()
    llava.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == load_file(folder / "model.safetensors").keys()


def test_checkpoints_of_older_layout_load(folder: Path, model: Any, tmp_path: Path) -> None:
    """As LLaVA-1.6 was published for transformers 4: the tower's names go on with `vision_model.`."""
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name.replace("vision_tower.", "vision_tower.vision_model."): value for name, value in weights.items()},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    model.config.save_pretrained(tmp_path)
    loaded, found = PllavaForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), found
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_a_tied_head_is_the_embedding(processor: Any, tmp_path: Path) -> None:
    config = make_config(processor.tokenizer, tie_word_embeddings=True)
    PllavaForConditionalGeneration(config).save_pretrained(tmp_path)
    assert not any("lm_head" in name for name in load_file(tmp_path / "model.safetensors"))
    loaded = PllavaForConditionalGeneration.from_pretrained(tmp_path)
    assert loaded.lm_head.weight is loaded.model.language_model.embed_tokens.weight


def test_plain_transformers_loads_it_after_one_import(folder: Path) -> None:
    """In a new process, without the host."""
    program = f"""
import sys
import vistadpo_plugin.models.pllava_model
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor
config = AutoConfig.from_pretrained({str(folder)!r})
model, found = AutoModelForImageTextToText.from_pretrained({str(folder)!r}, output_loading_info=True)
processor = AutoProcessor.from_pretrained({str(folder)!r})
print([type(x).__name__ for x in (config, model, processor, AutoModel.from_config(config))])
print(config.pooling_shape == processor.pooling_shape == {POOLING}, found["missing_keys"], found["unexpected_keys"])
print("llamafactory" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-3:] == [
        "['PllavaConfig', 'PllavaForConditionalGeneration', 'PllavaProcessor', 'PllavaModel']",
        "True set() set()",
        "False",
    ], done.stderr[-2000:]


# --- frames


def test_frames_are_the_midpoints_of_segments() -> None:
    """100 frames in 16 segments of 99 / 16 = 6.1875: from floor(3.09) = 3 in steps of 0, 6.19, 12.38, 18.56, 24.75, ...

    4 frames in 8 segments of 3 / 8: from 0 in steps of 0, 0.375, 0.75, 1.125, 1.5, 1.875, 2.25, 2.625, where 1.5 goes
    to the even number.
    """
    sixteen = [3, 9, 15, 22, 28, 34, 40, 46, 53, 59, 65, 71, 77, 83, 90, 96]
    assert sample_indices(100, 16, "midpoints").tolist() == sixteen
    assert sample_indices(4, 8, "midpoints").tolist() == [0, 0, 1, 1, 2, 2, 2, 3]
    assert sample_indices(1, 16, "midpoints").tolist() == [0] * 16
    for available in range(1, 200):
        chosen = sample_indices(available, 16, "midpoints")
        assert chosen[0] >= 0 and chosen[-1] < available and (np.diff(chosen) >= 0).all()


def test_every_way_to_frames_takes_midpoints(processor: Any, vista: Callable[..., Any], tmp_path: Path) -> None:
    """The host's own stages and chat, VistaDPO's views, and the preview, on 40 frames whose pictures are their numbers.

    39 / 8 = 4.875: from 2 in steps of 0, 4.88, 9.75, 14.63, 19.5 (to 20), 24.38, 29.25, 34.13. The event holds frames
    10 to 20: 10 / 8 = 1.25, from 0 in steps of 0, 1.25, 2.5 (to 2), 3.75, 5, 6.25, 7.5 (to 8), 8.75.
    """
    from llamafactory.data.template import TEMPLATES

    from vistadpo_plugin.data.rows.grounding import ground
    from vistadpo_plugin.data.rows.schema import parse_row
    from vistadpo_plugin.data.video.settings import video_settings
    from vistadpo_plugin.data.views.frames import FrameCounts
    from vistadpo_plugin.data.views.keys import ViewKeys
    from vistadpo_plugin.data.views.views import CLIP, FULL, KEYFRAME
    from vistadpo_plugin.preview.settings import make_settings

    full, clip = [2, 7, 12, 17, 22, 26, 31, 36], [10, 11, 12, 14, 15, 16, 18, 19]
    video = write_video(tmp_path / "own.mp4", range(40))
    row = {"video": "own.mp4", "prompt": "p", "chosen": "c", "rejected": "r", "event": [1.0, 2.0], "keyframe": 1.44}
    rows = write_rows(tmp_path, [row])
    plugin = TEMPLATES["pllava"].mm_plugin
    processor.video_maxlen = FRAMES
    frames = plugin._regularize_videos([str(video)], **video_settings(processor))["videos"][0]
    assert codes(frames) == full
    paths = [tmp_path / f"{index}.png" for index in range(40)]
    for path, frame in zip(paths, range(40), strict=True):
        Image.new("RGB", (20, 20), (frame, 0, 0)).save(path)
    images = plugin._regularize_videos([[str(path) for path in paths]], **video_settings(processor))["videos"][0]
    assert [image.getpixel((0, 0))[0] for image in images] == full

    grounded = ground(parse_row(row, "here"), str(tmp_path), 2.0)
    ours = FrameCounts(plugin, processor, ViewKeys.of(vista())).builder(seed=0)
    preview = make_settings(None, {"template": "pllava", "video_maxlen": FRAMES}, str(rows), None).builder()
    for builder in (ours, preview):
        views = builder.build(grounded, None, {FULL, CLIP, KEYFRAME})
        assert codes(views[FULL]) == full
        assert codes(views[CLIP]) == clip
        assert [read_code(frame) for frame in views[KEYFRAME]] == [14]
    counts = FrameCounts(plugin, processor, ViewKeys.of(vista()))
    assert counts.describe()["full video"] == "8 frames, 32 video tokens"
    assert counts.describe()["keyframe"] == "1 frame, 4 video tokens"


# --- the conversation


def test_the_conversation_is_the_originals(processor: Any) -> None:
    """<s>USER: <video>, a new line, the question, ASSISTANT:, the answer and </s>; no system prompt."""
    from llamafactory.data.template import TEMPLATES

    template, tokenizer = TEMPLATES["pllava"], processor.tokenizer
    turns = [
        {"role": "user", "content": "<video>\nWhat moves?"},
        {"role": "assistant", "content": "A disc."},
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": "Left."},
    ]
    processor.video_maxlen = FRAMES
    messages = template.mm_plugin.process_messages(turns, [], ["a.mp4"], [], processor)
    pairs = template.encode_multiturn(tokenizer, messages)
    said = [tokenizer.decode(ids) for pair in pairs for ids in pair]
    assert said == [
        f"<s>USER: {'<video>' * 32}\nWhat moves? ASSISTANT:",
        "A disc.</s>",
        "USER: Where? ASSISTANT:",
        "Left.</s>",
    ]


def test_images_train_beside_videos(train: Callable[..., Run], folder: Path, tmp_path: Path) -> None:
    """The host's own instruction tuning on a row with an image, one with a video and one with both."""
    pictures(1)[0].save(tmp_path / "a.png")
    write_video(tmp_path / "a.mp4", range(9))
    rows = []
    for question, images, videos in (
        ("<image>What?", ["a.png"], []),
        ("<video>What?", [], ["a.mp4"]),
        ("<video>Like <image>?", ["a.png"], ["a.mp4"]),
    ):
        turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "A disc."}]
        rows.append({"conversations": turns, "images": images, "videos": videos})
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    columns = {"messages": "conversations", "images": "images", "videos": "videos"}
    info = {"turns": {"file_name": "rows.json", "formatting": "sharegpt", "columns": columns}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    keys = {"model_name_or_path": str(folder), "template": "pllava", "dataset": "turns"}
    run = train(stage="sft", dataset_dir=str(tmp_path), media_dir=str(tmp_path), per_device_train_batch_size=3, **keys)
    losses = run.series("loss")
    assert losses[1] < losses[0]
