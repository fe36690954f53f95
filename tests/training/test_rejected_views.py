"""Rows that bring their rejected views: values and gradients of a step by plain transformers on the files they name."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from capture import FirstBatch, Gradients
from conftest import FRAME_TOKENS, FRAMES, Demo, Run, keep_log, run_recipe, write_rows
from PIL import Image
from truth import SYSTEM, Slow, slow_step

VIEWS = {"video": ("full", "video_negative"), "clip": ("clip", "clip_negative"),
         "object": ("keyframe", "keyframe_negative")}  # fmt: skip


MADE_FROM = {"video_negative": "full", "clip_negative": "clip"}


@pytest.fixture(scope="module")
def own_rows(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Three grounded rows: one with all three rejected views, one with a rejected video, and one with none."""
    folder, rows = tmp_path_factory.mktemp("own"), [dict(row) for row in demo.rows[:3]]
    names = [row["video"] for row in demo.rows]
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    image.save(folder / "rejected.png")
    rows[0] |= {"rejected_video": names[7], "rejected_clip": names[8], "rejected_keyframe": "rejected.png"}
    rows[1] |= {"rejected_video": [names[9]]}
    for name in {*names[:3], *names[7:10]}:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(demo.data / name, folder / name)
    write_rows(folder, rows)
    return folder, rows


@pytest.fixture(scope="module")
def other_model(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny model with other weights: a reference that is not the policy."""
    from transformers import AutoModelForImageTextToText

    folder = tmp_path_factory.mktemp("reference") / "model"
    shutil.copytree(demo.model, folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "language_model" in name:
                parameter.mul_(1 + 0.02 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def on_rows(recipe: dict[str, Any], own_rows: tuple[Path, Any], other_model: str) -> dict[str, Any]:
    """One step over the three rows as one micro-batch."""
    data = {"dataset": "rows", "dataset_dir": str(own_rows[0]), "media_dir": str(own_rows[0])}
    step = {"per_device_train_batch_size": 3, "max_steps": 1, "disable_shuffling": True, "max_grad_norm": 1e9}
    return {**recipe, **data, **step, "ref_model": other_model}


def pixels_of(demo: Demo, path: Path) -> torch.Tensor:
    """Eight frames spread over a file, or an image, as Video-LLaVA's processor has them; decoded frame by frame."""
    from transformers import AutoProcessor

    if path.suffix == ".png":
        frames = [Image.open(path).convert("RGB")]
    else:
        with av.open(str(path)) as container:
            every = [frame.to_image() for frame in container.decode(video=0)]
        frames = [every[int(place)] for place in np.linspace(0, len(every) - 1, FRAMES)]
    processor = AutoProcessor.from_pretrained(demo.model).video_processor
    return processor([np.stack(frames)], return_tensors="pt")["pixel_values_videos"][0]


def truth_of(
    demo: Demo,
    model: Any,
    batch: dict[str, Any],
    rows: list[dict[str, Any]],
    media: Path,
    reference_model: str,
    backwards: bool = False,
) -> tuple[Slow, set[str]]:
    """The step by plain transformers, and which sequences looked at a file that a row names as rejected.

    Preferred views and the mate's are the batch's own pixels, which other tests hold to their files. `backwards`: see
    BACKWARDS.
    """
    from scoring.test_scorer import sequences_with_pixels
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo.model)
    shown, seen = sequences_with_pixels(batch), set()
    named = {"video_negative": "rejected_video", "clip_negative": "rejected_clip",
             "keyframe_negative": "rejected_keyframe"}  # fmt: skip
    texts = {"chosen": "chosen", "rejected": "rejected", "irrelevant": "rejected_irrelevant"}
    sequences = []
    for number, (place, name) in enumerate(batch["names"]):
        row, (view, answer) = rows[int(batch["rows"][place])], name.split("/")
        pixels, field = shown[number], named.get(view)
        if backwards and view in MADE_FROM and field not in row:
            preferred = batch["names"].index((place, f"{MADE_FROM[view]}/{answer}"))
            pixels = shown[preferred][[4, 5, 6, 7, 0, 1, 2, 3]]
            assert not torch.equal(pixels, shown[preferred])
        if field in row:
            file = row[field] if isinstance(row[field], str) else row[field][0]
            pixels = pixels_of(demo, media / file)
            assert pixels.shape == shown[number].shape
            seen.add(f"{place} {name}")
        turn = f"USER: {'<video>' * len(pixels) * FRAME_TOKENS}\n{row['prompt']} ASSISTANT:"
        pieces = [tokenizer.encode(text, add_special_tokens=False) for text in (SYSTEM, turn, row[texts[answer]])]
        inputs = {"pixel_values_videos": pixels.unsqueeze(0)}
        sequences.append((pieces[0] + pieces[1], pieces[2] + [tokenizer.eos_token_id], inputs))
    terms = {
        term: list(zip(scored["row"].tolist(), scored["sequences"].tolist(), strict=True))
        for term, scored in batch["terms"].items()
    }
    for term, (preferred, rejected) in VIEWS.items():  # the layout that the batch documents
        for place, (plus, minus) in terms[term]:
            assert batch["names"][plus] == (place, f"{preferred}/chosen")
            assert batch["names"][minus] == (place, f"{rejected}/chosen")
    reference = AutoModelForImageTextToText.from_pretrained(reference_model)
    return slow_step(model, reference, sequences, terms, len(rows)), seen


BACKWARDS = {"vista_video_negative": "reverse", "vista_clip_negative": "reverse", "vista_temporal_magnitude": 2}
"""Eight frames in two groups, for the rows that bring no rejected view."""


@pytest.mark.parametrize("changes", [{}, {"vista_prefix_sharing": False}, {"cached": True}, BACKWARDS], ids=str)
def test_a_step_is_that_of_plain_transformers_on_the_named_files(
    demo: Demo,
    own_rows: tuple[Path, list[dict[str, Any]]],
    on_rows: dict[str, Any],
    other_model: str,
    tmp_path: Path,
    changes: dict[str, Any],
) -> None:
    """Packed, one row an answer, and with the reference from a cache: losses and every gradient."""
    media, rows = own_rows
    found: dict[str, Any] = {}

    def look(model: Any, batch: dict[str, Any]) -> None:
        backwards = changes is BACKWARDS
        found["slow"], found["seen"] = truth_of(demo, model, batch, rows, media, other_model, backwards)

    cache = {"vista_reference_cache": str(tmp_path / "cache")} if changes.get("cached") else changes
    if changes.get("cached"):
        run_recipe({**on_rows, **cache})  # fills it
    gradients = Gradients()
    log = run_recipe({**on_rows, **cache}, FirstBatch(look), gradients).log[0]
    slow = found["slow"]
    own = {"0 video_negative/chosen", "0 clip_negative/chosen", "0 keyframe_negative/chosen", "1 video_negative/chosen"}
    assert found["seen"] == own
    for term, losses in slow.losses.items():
        assert log[f"vista/{term}_rows"] == len(losses) == 3
        assert log[f"vista/{term}_loss"] == pytest.approx(losses.mean().item(), abs=2e-4), term
    assert abs(log["vista/video_margin"]) > 0.02, "the reference must differ from the policy"
    largest = max(float(gradient.abs().max()) for gradient in slow.gradients.values())
    for name, gradient in gradients.steps[0].items():
        torch.testing.assert_close(gradient, slow.gradients[name].float(), atol=2e-3 * largest, rtol=1e-2, msg=name)
    assert largest > 0


def test_a_row_whose_answer_holds_there_leaves_the_terms(
    demo: Demo, own_rows: tuple[Path, list[dict[str, Any]]], on_rows: dict[str, Any], other_model: str, tmp_path: Path
) -> None:
    """Values by plain transformers over the rows that are left; said once in the log; and ignored when told so."""
    media, rows = own_rows
    folder, found = tmp_path / "holds", {}
    shutil.copytree(media, folder)
    rows = [rows[0], {**rows[1], "holds_in_rejected_view": True}, {**rows[2], "holds_in_rejected_view": ["clip"]}]
    write_rows(folder, rows)

    def look(model: Any, batch: dict[str, Any]) -> None:
        found["slow"], _ = truth_of(demo, model, batch, rows, folder, other_model)

    args = {**on_rows, "dataset_dir": str(folder), "media_dir": str(folder)}
    with keep_log([]) as said:
        log = run_recipe(args, FirstBatch(look)).log[0]
    counts = {"response": 3, "video": 2, "clip": 1, "object": 2, "token": 3}
    (table,) = [message for message in said if "VistaDPO train dataset" in message]
    lines = {line.split()[0]: line for line in table.splitlines() if line.strip()}
    for term, losses in found["slow"].losses.items():
        assert log[f"vista/{term}_rows"] == len(losses) == counts[term]
        assert log[f"vista/{term}_loss"] == pytest.approx(losses.mean().item(), abs=2e-4), term
        reason = f"{3 - counts[term]} the chosen answer stays true in the rejected view"
        assert (reason in lines[term]) == (counts[term] < 3)
    ignoring = run_recipe({**args, "vista_heed_holds": False}).log[0]
    assert [ignoring[f"vista/{term}_rows"] for term in counts] == [3] * 5


def test_policy_equal_to_reference_gives_log_2(on_rows: dict[str, Any]) -> None:
    """(1 + 1 + 0.4 + 0.2 + 0.1) log 2 = 1.8715."""
    log = run_recipe({key: value for key, value in on_rows.items() if key != "ref_model"}).log[0]
    assert log["loss"] == pytest.approx(2.7 * math.log(2), abs=1e-4)


def test_it_is_said_how_many_rows_bring_one(on_rows: dict[str, Any], train: Callable[..., Run]) -> None:
    """And a row alone with its own rejected video has the video term."""
    with keep_log([]) as said:
        run_recipe({**on_rows, "max_samples": 1})
    (table,) = [message for message in said if "VistaDPO train dataset" in message]
    lines = {line.split()[0]: line for line in table.splitlines() if line.strip()}
    for term in ("video", "clip", "object"):
        assert lines[term].split()[2] == "1" and "(1 with a rejected view of their own)" in lines[term]
    assert "their own" not in lines["response"]


def test_several_are_met_in_turn_and_with_a_cache_one_stays(
    demo: Demo, own_rows: tuple[Path, list[dict[str, Any]]], on_rows: dict[str, Any], tmp_path: Path
) -> None:
    """Two rejected videos over four epochs: a, b, a, b. With a cache the first throughout, which it knows."""
    media, rows = own_rows
    names = rows[0]["rejected_video"], rows[1]["rejected_video"][0]
    folder = tmp_path / "several"
    shutil.copytree(media, folder)
    write_rows(folder, [{**rows[0], "rejected_video": list(names)}])
    expected = [pixels_of(demo, media / name) for name in names]
    shown: list[int] = []

    from vistadpo_plugin.training.trainer import VistaDPOTrainer

    loss = VistaDPOTrainer.compute_loss

    def noted(self: Any, model: Any, inputs: dict[str, Any], *more: Any, **named: Any) -> Any:
        from scoring.test_scorer import sequences_with_pixels

        number = [name for _, name in inputs["names"]].index("video_negative/chosen")
        pixels = sequences_with_pixels(inputs)[number]
        shown.append(next(place for place, one in enumerate(expected) if torch.equal(one, pixels)))
        return loss(self, model, inputs, *more, **named)

    data = {"dataset_dir": str(folder), "media_dir": str(folder), "per_device_train_batch_size": 1}
    args = {**on_rows, **data, "max_steps": 4, "num_train_epochs": 4}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VistaDPOTrainer, "compute_loss", noted)
        run_recipe(args)
        assert shown in ([0, 1, 0, 1], [1, 0, 1, 0])
        first = shown[0]
        shown.clear()
        run_recipe({**args, "vista_reference_cache": str(tmp_path / "cache")})
    assert shown == [first] * 4
    files = list((tmp_path / "cache").rglob("*.safetensors"))
    assert len(files) == 6  # views of one row


def test_a_rejected_video_that_breaks_costs_its_row(
    own_rows: tuple[Path, list[dict[str, Any]]], on_rows: dict[str, Any], tmp_path: Path
) -> None:
    """As the row's own video does: left out and listed with `vista_on_bad_row: skip`."""
    media, rows = own_rows
    folder = tmp_path / "broken"
    shutil.copytree(media, folder)
    path = folder / rows[1]["rejected_video"][0]
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    size = int.from_bytes(content[start - 8 : start - 4], "big") - 8
    middle = slice(start + size // 3, start + size * 2 // 3)
    content[middle] = b"\xff" * len(content[middle])
    path.write_bytes(content)
    args = {**on_rows, "dataset_dir": str(folder), "media_dir": str(folder)}
    run = run_recipe({**args, "vista_on_bad_row": "skip"})
    assert run.log[0]["vista/response_rows"] == 2
    (skipped,) = [json.loads(line) for line in (run.folder / "skipped_rows.jsonl").read_text().splitlines()]
    assert rows[1]["id"] in skipped["row"] and path.name in skipped["reason"]


ORDERS = [[7, 6, 5, 4, 3, 2, 1, 0]] * 2 + [[6, 7, 4, 5, 2, 3, 0, 1]] + [[4, 5, 6, 7, 0, 1, 2, 3]] * 2
"""Eight frames in groups of 8 // 16 and 8 // 8 (one each), 8 // 4 and 8 // 2; the last magnitude stays."""


def test_the_curriculum_epoch_by_epoch_with_a_cache_and_without(
    own_rows: tuple[Path, Any], on_rows: dict[str, Any], tmp_path: Path
) -> None:
    """Also where the workers live through all epochs; and the reference on disk is that of each magnitude."""
    from scoring.test_scorer import sequences_with_pixels

    from vistadpo_plugin.training.trainer import VistaDPOTrainer

    folder = tmp_path / "two"
    shutil.copytree(own_rows[0], folder)
    row = {key: value for key, value in own_rows[1][2].items() if key not in ("keyframe", "box")}
    write_rows(folder, [row])
    changes = {"vista_video_negative": "reverse", "vista_temporal_magnitude": "curriculum", "num_train_epochs": 5}
    keys = {"max_steps": -1, "per_device_train_batch_size": 1, "vista_clip_negative": "drop", "vista_clip_weight": 0.0}
    args = {**on_rows, **changes, **keys, "dataset_dir": str(folder), "media_dir": str(folder)}
    workers = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    shown: list[bool] = []
    loss = VistaDPOTrainer.compute_loss

    def noted(self: Any, model: Any, inputs: dict[str, Any], *more: Any, **named: Any) -> Any:
        pixels, names = sequences_with_pixels(inputs), [name for _, name in inputs["names"]]
        full, negative = (pixels[names.index(f"{view}/chosen")] for view in ("full", "video_negative"))
        epoch = len(shown)
        other = ORDERS[(epoch + 2) % 5]
        shown.append(torch.equal(negative, full[ORDERS[epoch]]) and not torch.equal(negative, full[other]))
        return loss(self, model, inputs, *more, **named)

    logs = []
    for more in ({}, {**workers, "vista_reference_cache": str(tmp_path / "cache")}):
        shown.clear()
        with pytest.MonkeyPatch.context() as patch, keep_log([]) as said:
            patch.setattr(VistaDPOTrainer, "compute_loss", noted)
            logs.append(run_recipe({**args, **more}).log)
        assert shown == [True] * 5
    computed = [re.search(r"(\d+) to compute", message) for message in said]
    assert [found[1] for found in computed if found] == ["1"] * 4
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 1 + 4  # the full view, and four rejected ones
    for one, other in zip(*logs, strict=True):
        for key in one:
            if key.startswith(("loss", "vista/")):
                assert other[key] == pytest.approx(one[key], abs=2e-5, nan_ok=True), (one["epoch"], key)


def test_a_curriculum_that_does_not_end_is_said(on_rows: dict[str, Any]) -> None:
    for epochs, says in ((1, True), (4, False)):
        args = {**on_rows, "vista_video_negative": "drop", "vista_temporal_magnitude": "curriculum", "max_steps": -1}
        with keep_log([]) as said:
            run_recipe({**args, "num_train_epochs": epochs, "max_samples": 1})
        assert any("takes 4 epochs, and `num_train_epochs` is 1" in message for message in said) == says
