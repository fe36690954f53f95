"""InternVL: its tokens are those of transformers' processor, mixed batches keep apart, wrong input is refused.

And what holds for every family that takes the host's own frames: plain DPO and VistaDPO read the same ones.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from capture import FirstBatch, record_scores
from conftest import Demo, run_recipe, tiny_recipe, write_rows
from PIL import Image
from tiny_families import internvl as tiny

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.batches.pairing import NO_ROW
from vistadpo_plugin.data.rows.grounding import GroundedRow, ground
from vistadpo_plugin.data.rows.schema import Row
from vistadpo_plugin.data.video.settings import video_settings
from vistadpo_plugin.data.views.frames import FrameCounts
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.models import families
from vistadpo_plugin.preview.settings import make_settings

SEEN = "<IMG_CONTEXT>"


@pytest.fixture(scope="module")
def internvl(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Recipe keys of the tiny model."""
    folder = tmp_path_factory.mktemp("internvl") / "model"
    return tiny.build(folder, [str(value) for row in demo.rows for value in row.values()])


@pytest.fixture(scope="module")
def processor(internvl: dict[str, Any]) -> Any:
    """As the host leaves it."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(internvl["model_name_or_path"])
    processor.video_max_pixels = internvl["video_max_pixels"]
    return processor


@pytest.fixture(scope="module")
def plugin() -> Any:
    from llamafactory.data.template import TEMPLATES

    import vistadpo_plugin.host  # noqa: F401

    return TEMPLATES["intern_vl"].mm_plugin


def picture(seed: int, width: int = 28, height: int = 28) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(noise)


@pytest.mark.parametrize("frames", [1, 3])
def test_tokens_and_pixels_are_those_of_transformers_own_processor(processor: Any, plugin: Any, frames: int) -> None:
    video = [picture(seed) for seed in range(frames)]
    (message,) = plugin.process_messages(
        [{"role": "user", "content": "<video>\nWhat moves?"}], [], [video], [], processor
    )
    ours = processor.tokenizer.encode(message["content"], add_special_tokens=False)
    arrays = [np.asarray(frame) for frame in video]
    theirs = processor(text="<video>\nWhat moves?", videos=[arrays], return_tensors="pt")
    assert ours == theirs["input_ids"][0].tolist()
    assert message["content"].count(SEEN) == frames * tiny.TOKENS
    pixels = plugin.get_mm_inputs([], [video], [], [0], [1], [0], [ours], processor)["pixel_values"]
    assert pixels.shape == (frames, 3, tiny.SIDE, tiny.SIDE)
    torch.testing.assert_close(pixels, theirs["pixel_values"], rtol=0, atol=1e-5)


def test_only_images_are_cut_into_tiles(processor: Any, plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`crop_to_patches: true` and a picture twice as wide as high: 2 tiles and the whole; a frame stays one."""
    monkeypatch.setattr(processor, "crop_to_patches", True, raising=False)
    monkeypatch.setattr(processor, "video_max_pixels", 128 * 64)
    wide, video = picture(0, 112, 56), [picture(1, 112, 56), picture(2, 112, 56)]
    (image,) = plugin.process_messages([{"role": "user", "content": "<image>"}], [wide], [], [], processor)
    (frames,) = plugin.process_messages([{"role": "user", "content": "<video>"}], [], [video], [], processor)
    tiles = image["content"].count(SEEN) // tiny.TOKENS
    assert tiles > 1
    assert frames["content"].count(SEEN) == 2 * tiny.TOKENS
    both = plugin.get_mm_inputs([wide], [video], [], [1], [1], [0], [[]], processor)
    assert len(both["pixel_values"]) == tiles + 2


@pytest.mark.parametrize(("text", "refused"), [("<video> or <image>?", True), ("<image> or <video>?", False)])
def test_a_video_before_an_image_is_refused(processor: Any, plugin: Any, text: str, refused: bool) -> None:
    arguments = [{"role": "user", "content": text}], [picture(0)], [[picture(1)]], [], processor
    if refused:
        with pytest.raises(ValueError, match="InternVL 3: .*images of a row before its videos"):
            plugin.process_messages(*arguments)
    else:
        assert plugin.process_messages(*arguments)[0]["content"].count(SEEN) == 2 * tiny.TOKENS


def test_the_rows_of_the_hosts_own_batch_keep_apart(processor: Any, plugin: Any) -> None:
    """In the host's stages: a video, text, an image and a video, an image; the pixels in the order of the rows."""
    clips, images = [[picture(0), picture(1)], [picture(2)]], [picture(3, 40, 30), picture(4, 40, 30)]
    joined = plugin.get_mm_inputs(images, clips, [], [0, 0, 1, 1], [1, 0, 1, 0], [0] * 4, [[]] * 4, processor)
    rows = [([], clips[:1]), ([], []), (images[:1], clips[1:]), (images[1:], [])]
    alone = [plugin.get_mm_inputs(row, clip, [], [len(row)], [len(clip)], [0], [[]], processor) for row, clip in rows]
    assert not alone[1]
    assert torch.equal(joined["pixel_values"], torch.cat([row["pixel_values"] for row in alone if row]))
    shown = [processor.image_processor(images=[one], return_tensors="pt") for one in (images[0], clips[1][0])]
    assert torch.equal(alone[2]["pixel_values"], torch.cat([one["pixel_values"] for one in shown]))


def write_mixed(demo: Demo, folder: Path) -> dict[str, Any]:
    """Host rows with a video behind words, an image, text alone, both, and two more about videos."""
    for seed in (0, 1):
        picture(seed, 40, 30).save(folder / f"{seed}.png")
    videos = [str(demo.data / row["video"]) for row in demo.rows if "video" in row]
    other = next(video for video in videos if video != videos[0])
    asked = [
        ("Look at this: <video> What moves?", [], [videos[0]]),
        ("<image>What colour is it?", ["0.png"], []),
        ("What colour is the sky?", [], []),
        ("<image>Is it in <video>?", ["1.png"], [other]),
        ("<video>What colour is it?", [], [other]),
        ("Have a look: <video> What is it?", [], [videos[0]]),
    ]
    rows = [
        {
            "conversations": [{"from": "human", "value": text}],
            "chosen": {"from": "gpt", "value": f"a red circle {number}"},
            "rejected": {"from": "gpt", "value": "a blue square"},
            "images": [str(folder / image) for image in images],
            "videos": seen,
        }
        for number, (text, images, seen) in enumerate(asked)
    ]
    (folder / "mixed.json").write_text(json.dumps(rows))
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    columns |= {"images": "images", "videos": "videos"}
    entry = {"file_name": "mixed.json", "formatting": "sharegpt", "ranking": True, "columns": columns}
    (folder / "dataset_info.json").write_text(json.dumps({"mixed": entry}))
    return {"dataset": "mixed", "dataset_dir": str(folder), "media_dir": str(folder)}


def test_rows_of_all_kinds_in_one_batch_score_as_the_host_scores_each_alone(
    demo: Demo, internvl: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Response and video terms of six rows, of which two look at one video behind different words."""
    recipe = {**tiny_recipe(demo, tmp_path / "out"), **internvl, **write_mixed(demo, tmp_path)}
    recipe |= {"disable_shuffling": True, "max_steps": 1}
    alone: dict[str, float] = {}

    def score(model: Any, first: Any) -> None:
        model.eval()
        for number, batch in enumerate(host.loader):
            labels = batch.pop("labels")[:, 1:]
            with torch.no_grad():
                logits = model(**batch, use_cache=False).logits[:, :-1].float()
            every = logits.log_softmax(-1).gather(2, labels.clamp(min=0).unsqueeze(2)).squeeze(2)
            for answer, total in zip(("chosen", "rejected"), (every * (labels >= 0)).sum(1), strict=True):
                alone[f"{number}/full/{answer}"] = float(total)
        model.train()

    host = FirstBatch(score)
    run_recipe({**recipe, "stage": "dpo", "per_device_train_batch_size": 1}, host)
    assert len(alone) == 12

    passes, videos_only, text_only = record_scores(monkeypatch), [], []

    def collate(model: Any, first: Any) -> None:
        rows = ours.loader.dataset
        videos_only.extend(ours.loader.collate_fn([rows[place, NO_ROW] for place in (0, 4, 5)])["groups"])
        text_only.append(ours.loader.collate_fn([rows[2, NO_ROW]]))

    ours = FirstBatch(collate)
    run_recipe({**recipe, "per_device_train_batch_size": 6, "vista_video_negative": "reverse"}, ours)
    batch, scores = passes[0].batch, passes[0].scores
    found = {f"{row}/{name}": float(scores.log_probs[i]) for i, (row, name) in enumerate(batch["names"])}
    for name, total in alone.items():
        assert found[name] == pytest.approx(total, rel=3e-5, abs=3e-4), name
    assert {name for name in found if name not in alone} == {f"{row}/video_negative/chosen" for row in (0, 4, 5)}
    (group,) = videos_only
    (root, *_), tokenizer = group["forest"]["lengths"], ours.loader.collate_fn.tokenizer
    # What is said before the first frame is known, and stands once.
    shared = tokenizer.decode(group["input_ids"][0, :root])
    seen = tokenizer.convert_tokens_to_ids(SEEN)
    assert shared == f"<|im_start|>system\n{tiny.SYSTEM}<|im_end|>\n<|im_start|>user\n"
    # Ranks wait for each other at the tower: text alone brings a white picture, which no answer sees.
    (words,) = text_only
    assert [len(view["pixel_values"]) for view in words["views"]] == [1]
    assert sum(int((group["input_ids"] == seen).sum()) for group in words["groups"]) == tiny.TOKENS
    assert words["sequences"] == 3 and len(words["names"]) == 2
    # Row 0 and 5 look at one video, but behind other words: a tree each, and each shows it.
    shown = [view for group in batch["groups"] for view in group["views"]]
    assert len(batch["views"]) == 7 and len(shown) == 8


def test_questions_in_a_batch_are_answered_as_one_at_a_time(demo: Demo, internvl: dict[str, Any]) -> None:
    """Videos of 8 and of fewer frames: all their frames lie in one tensor, in the order of the questions."""
    from vistadpo_plugin.evaluation.inference import Responder

    keys = {name: value for name, value in internvl.items() if name != "cutoff_len"}
    responder = Responder({**keys, "video_fps": 1.0}, 8)
    videos = sorted((demo.data / "videos").glob("*.mp4"))[:8]
    rows = [GroundedRow(video.stem, video.stem, str(video)) for video in videos]
    prepared = [responder.prepare(f"What moves {'left ' * number}?", row) for number, row in enumerate(rows)]
    assert len({len(one["pixel_values"]) for one in prepared}) > 1
    alone = [responder.reply([one])[0] for one in prepared]
    assert len(set(alone)) > 1
    assert responder.reply(prepared) == alone
    assert responder.one_at_a_time is None


CLIPS = {  # frames, frames a second or the milliseconds at which they are shown
    "plain.mp4": (50, 10),
    "short.mp4": (3, 10),
    "single.mp4": (1, 10),
    "slow.mp4": (7, 1),
    "fast.mp4": (90, 30),
    "uneven.mp4": (9, [0, 100, 200, 250, 900, 1000, 1900, 2000, 2500]),
}


def write_clip(path: Path, frames: int, rate: int | list[int]) -> Path:
    """Noise, another one in every frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate if isinstance(rate, int) else 10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate if isinstance(rate, int) else 1000)
        for index in range(frames):
            frame = av.VideoFrame.from_image(picture(index, 64, 48))
            frame.pts = index if isinstance(rate, int) else rate[index]
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("family", [family for family in families() if not family.exact_frames], ids=lambda f: f.name)
@pytest.mark.parametrize("maxlen", [128, 4])
def test_the_frames_of_the_full_view_are_the_hosts(tmp_path: Path, family: Any, maxlen: int) -> None:
    """What the plugin makes of a file in plain DPO, and of our view of that file, and the preview: to the last bit."""
    from llamafactory.data.template import TEMPLATES

    import vistadpo_plugin.host  # noqa: F401

    processor = SimpleNamespace(video_maxlen=maxlen, video_fps=2.0, video_max_pixels=2000, video_min_pixels=256)
    rows = write_rows(tmp_path / "rows", [{"video": "a.mp4", "prompt": "What?", "chosen": "a", "rejected": "b"}])
    counted = []
    for template in family.templates:
        plugin = TEMPLATES[template].mm_plugin
        builder = FrameCounts(plugin, processor, ViewKeys.of(VistaArguments())).builder(seed=0)
        preview = make_settings({"template": template, **vars(processor)}, {}, str(rows), None).builder()
        for name, (frames, rate) in CLIPS.items():
            path = write_clip(tmp_path / name, frames, rate)
            row = ground(Row(name, name, str(path), "What?", "a", "b"), "", 2.0)
            settings = video_settings(processor)
            (host,) = plugin._regularize_videos([str(path)], **settings)["videos"]
            (ours,) = plugin._regularize_videos([builder.build(row, None, {"full"})["full"]], **settings)["videos"]
            assert len(ours) == len(host) > 0, name
            for mine, its in zip(ours, host, strict=True):
                assert np.array_equal(np.asarray(mine), np.asarray(its)), name
            shown = preview.build(row, None, {"full"})["full"]
            assert len(ours) - len(shown) in (0, 1), name  # some models want an even number and see the last one twice
            for mine, its in zip(shown, ours, strict=False):
                assert np.array_equal(np.asarray(mine), np.asarray(its)), name
            counted.append(len(host))
    assert len(set(counted)) > 1
