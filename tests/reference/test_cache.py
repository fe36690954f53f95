"""The reference on disk: the same training as without it, and never a number of another row, model or setting."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from capture import Gradients
from conftest import Demo, Run, keep_log, run_recipe, tiny_recipe, write_rows
from launching import forked_ranks
from llamafactory.data.template import TEMPLATES
from rounding import NATS, WHOLE_LOSS, assert_moved_alike
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback
from transformers.models.llama.modeling_llama import LlamaModel

from vistadpo_plugin.data.batches.known_scores import RowScores
from vistadpo_plugin.data.batches.pairing import pair_rows
from vistadpo_plugin.reference.cache import ReferenceCache, weights_hash
from vistadpo_plugin.reference.reference import Reference
from vistadpo_plugin.training import workflow
from vistadpo_plugin.training.bad_rows import SKIPPED_ROWS

ROWS = 6
STEPS = 3


def copy_of_data(demo: Demo, folder: Path) -> list[dict[str, Any]]:
    """Six rows of six videos, three of them without a grounding, and the videos, in `folder`."""
    rows = demo.rows[:3] + demo.rows[-3:]
    assert len({row["video"] for row in rows}) == ROWS
    write_rows(folder, rows)
    for row in rows:
        (folder / row["video"]).parent.mkdir(exist_ok=True)
        shutil.copy(demo.data / row["video"], folder / row["video"])
    return rows


def on(folder: Path) -> dict[str, Any]:
    """The keys of a recipe on the rows in `folder`."""
    return {"dataset": "rows", "dataset_dir": str(folder), "media_dir": str(folder)}


@pytest.fixture(scope="module")
def data(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    copy_of_data(demo, folder)
    return folder


class Messages(list[str]):
    """What our logger in the host has said."""

    def counts(self) -> list[tuple[int, int]]:
        """(rows known, rows to compute) of every data set that a cache was filled for."""
        said = [message.split(": ")[1] for message in self if message.startswith("Reference cache ")]
        return [(int(words.split()[0]), int(words.split()[-3])) for words in said]


@pytest.fixture
def said() -> Iterator[Messages]:
    with keep_log(Messages()) as messages:
        yield messages


@pytest.fixture
def learn(demo: Demo, data: Path, tmp_path: Path) -> Callable[..., Run]:
    """An epoch of three steps of two rows on `data`, with changes; None removes a key."""
    number = 0

    def run(*callbacks: Any, **changes: Any) -> Run:
        nonlocal number
        number += 1
        args = {**tiny_recipe(demo, tmp_path / f"run-{number}"), **on(data), "max_steps": STEPS, **changes}
        return run_recipe({key: value for key, value in args.items() if value is not None}, *callbacks)

    return run


@pytest.fixture(scope="module")
def filled(demo: Demo, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of `data`, filled in micro-batches of four rows and two. No test writes into it."""
    folder = tmp_path_factory.mktemp("reference") / "cache"
    args = {**tiny_recipe(demo, folder.parent / "out"), **on(data), "per_device_train_batch_size": 4, "max_steps": 1}
    run_recipe({**args, "vista_reference_cache": str(folder)})
    return folder


@pytest.fixture(scope="module")
def baseline(demo: Demo, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[int]]:
    """The run without a cache, and its `ForwardsWithoutGradient.by_step`."""
    args = {**tiny_recipe(demo, tmp_path_factory.mktemp("baseline")), **on(data), "max_steps": STEPS}
    with pytest.MonkeyPatch.context() as patch:
        forwards = ForwardsWithoutGradient(patch)
        return run_recipe(args, forwards), forwards.by_step


@pytest.fixture
def cache(filled: Path, tmp_path: Path) -> Path:
    """A copy of `filled` that a test may change."""
    return shutil.copytree(filled, tmp_path / "cache")


@pytest.fixture(scope="module")
def other_model(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny model with other weights in one matrix."""
    folder = tmp_path_factory.mktemp("other") / "model"
    shutil.copytree(demo.model, folder)
    (path,) = folder.glob("*.safetensors")
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("layers.1.mlp.down_proj.weight") and "tower" not in name)
    generator = torch.Generator().manual_seed(7)
    weights[name] *= 1 + 0.2 * torch.randn(weights[name].shape, generator=generator)
    save_file(weights, path, metadata={"format": "pt"})
    return str(folder)


def files(cache: Path) -> dict[str, bytes]:
    """Content of the rows' files, by name."""
    return {path.name: path.read_bytes() for path in cache.rglob("*.safetensors")}


def names_in(path: Path) -> tuple[set[str], set[str]]:
    """Sequences with a log-probability, and those with hidden states, of a row's file."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        hidden = {name.removeprefix("hidden ") for name in file.keys() if name.startswith("hidden ")}  # noqa: SIM118
        return set(json.loads(file.metadata()["names"])), hidden


def assert_same_run(one: Run, other: Run, loss_within: float = WHOLE_LOSS) -> None:
    """All that is logged agrees, and the LoRA weights have moved alike, up to float32's rounding (rounding.py)."""
    logs = [[entry for entry in run.log if "loss" in entry] for run in (one, other)]
    assert len(logs[0]) == len(logs[1]) == STEPS
    for step, (first, second) in enumerate(zip(*logs, strict=True)):
        for key in first:
            # Before anything is learnt margins are 0 but for rounding, and their signs mean nothing.
            is_sign = "accurac" in key and step == 0
            if key.startswith(("vista/", "rewards/", "loss", "grad_norm")) and not is_sign:
                tolerance = loss_within if key.endswith("loss") else NATS
                assert second[key] == pytest.approx(first[key], abs=tolerance, rel=1e-5, nan_ok=True), key
    assert any(entry["loss"] != logs[0][0]["loss"] for entry in logs[0]), "nothing was learnt"
    weights = [load_file(run.folder / "adapter_model.safetensors") for run in (one, other)]
    assert_moved_alike(*weights, learning_rate=logs[0][0]["learning_rate"], steps=STEPS)


class ForwardsWithoutGradient(TrainerCallback):
    """Forwards of the language model that no gradient is wanted of, by the step in which they ran; 0 is before all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.by_step: list[int] = [0]
        forward = LlamaModel.forward

        def counting(model: Any, *args: Any, **kwargs: Any) -> Any:
            self.by_step[-1] += not torch.is_grad_enabled()
            return forward(model, *args, **kwargs)

        monkeypatch.setattr(LlamaModel, "forward", counting)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.by_step.append(0)


# --- the same training -----------------------------------------------------------------------------------------------


def test_training_is_the_same_and_asks_no_reference(
    learn: Callable[..., Run],
    cache: Path,
    baseline: tuple[Run, list[int]],
    monkeypatch: pytest.MonkeyPatch,
    said: Messages,
) -> None:
    """Filled in batches of four with prefixes shared; used in twos, and row by row with one row an answer."""
    plain, asked = baseline
    assert asked[0] == 0 and all(asked[1:]), "without a cache the reference must be asked, and counted"
    separate = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "vista_prefix_sharing": False}
    for changes, expected in (({}, plain), (separate, learn(**separate))):
        forwards = ForwardsWithoutGradient(monkeypatch)
        run = learn(forwards, vista_reference_cache=str(cache), **changes)
        assert_same_run(expected, run)
        assert forwards.by_step == [0] * (1 + STEPS)
        monkeypatch.undo()
    assert said.counts() == [(ROWS, 0)] * 2


def test_a_hundredth_of_a_nat_in_one_row_is_another_run(
    learn: Callable[..., Run], cache: Path, baseline: tuple[Run, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `assert_same_run` lets through is rounding: one answer's log-probability in one row of six is too much."""
    read, first = ReferenceCache.read, min(files(cache)).removesuffix(".safetensors")

    def off(self: ReferenceCache, key: str, *rest: Any) -> RowScores:
        scores = read(self, key, *rest)
        if key == first:
            scores.log_probs["full/chosen"] += 0.01
        return scores

    monkeypatch.setattr(ReferenceCache, "read", off)
    run = learn(vista_reference_cache=str(cache))
    margins = zip(baseline[0].series("vista/response_margin"), run.series("vista/response_margin"), strict=True)
    assert max(abs(one - other) for one, other in margins) > 10 * NATS
    with pytest.raises(AssertionError):
        assert_same_run(baseline[0], run)


def test_training_is_the_same_with_other_losses(learn: Callable[..., Run], tmp_path: Path, said: Messages) -> None:
    """ipo, the bare KL difference, and the token term on the full video; filled in the very run, in batches of two."""
    changes = {"pref_loss": "ipo", "vista_token_loss": "kl", "vista_token_view": "video"}
    plain = learn(**changes)
    # ipo's (margin - 5)^2 of nats a token has a slope of 10; answers of about 12 tokens.
    run = learn(vista_reference_cache=str(tmp_path / "new"), **changes)
    assert_same_run(plain, run, loss_within=2.7 * 10 / 12 * NATS)
    assert said.counts() == [(0, ROWS)]


def test_explicit_reference_with_other_weights(
    learn: Callable[..., Run], tmp_path: Path, other_model: str, said: Messages, filled: Path
) -> None:
    plain = learn(ref_model=other_model)
    assert abs(plain.log[0]["vista/response_margin"]) > 1e-2, "the reference must differ from the policy"
    assert_same_run(plain, learn(ref_model=other_model, vista_reference_cache=str(tmp_path / "new")))
    assert said.counts() == [(0, ROWS)]
    with pytest.raises(ValueError, match="weights of the reference: "):
        learn(ref_model=other_model, vista_reference_cache=str(filled))


def test_trained_head_is_not_the_references(demo: Demo, learn: Callable[..., Run], tmp_path: Path) -> None:
    """LoRA with a trainable copy of the head: as with the untouched model loaded a second time as the reference."""
    gradients = Gradients()
    changes = {"additional_target": "lm_head", "learning_rate": 5e-3, "vista_token_weight": 5.0}
    expected = learn(gradients, ref_model=str(demo.model), **changes)
    assert any("lm_head" in name for name in gradients.trainable)
    assert_same_run(expected, learn(vista_reference_cache=str(tmp_path / "new"), **changes))


def test_full_tuning_needs_a_second_model_only_to_fill(
    learn: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Messages
) -> None:
    loaded, references = [], []
    create = workflow.create_ref_model
    monkeypatch.setattr(workflow, "create_ref_model", lambda *args: loaded.append(create(*args)) or loaded[-1])
    initialise = Reference.__init__

    def kept(self: Reference, *args: Any, **kwargs: Any) -> None:
        initialise(self, *args, **kwargs)
        references.append(self)

    monkeypatch.setattr(Reference, "__init__", kept)
    changes = {
        "finetuning_type": "full",
        "lora_target": None,
        "lora_rank": None,
        "learning_rate": 1e-3,
        "vista_token_weight": 5.0,
    }
    plain, first, second = (
        learn(vista_reference_cache=folder, **changes)
        for folder in (None, str(tmp_path / "new"), str(tmp_path / "new"))
    )
    assert [model is not None for model in loaded] == [True, True]
    assert [reference.ref_model is not None for reference in references] == [True, True, False]
    assert sum("no second model is loaded" in message for message in said) == 1
    assert said.counts() == [(0, ROWS), (ROWS, 0)]
    for run in (first, second):
        assert run.series("loss") == pytest.approx(plain.series("loss"), abs=WHOLE_LOSS)
        for key in ("vista/kl_chosen", "vista/kl_rejected", "vista/token_margin", "grad_norm"):
            assert run.series(key) == pytest.approx(plain.series(key), abs=NATS, rel=1e-4), key
    assert plain.series("vista/kl_chosen")[-1] > 1e-3, "the head must have moved for this test to mean anything"

    original = loaded[0].get_output_embeddings().weight
    head, policy = references[2].head, references[2].unwrapped.get_output_embeddings()
    assert not any(parameter.requires_grad for parameter in head.parameters())
    assert torch.equal(head.weight, original)
    assert policy.weight.requires_grad and not torch.equal(policy.weight, original)


def test_resume_in_the_middle_of_an_epoch(learn: Callable[..., Run], tmp_path: Path, said: Messages) -> None:
    """Stopped after 2 steps of 3 an epoch; the next epoch has another order, and the same mates."""
    cached = {"vista_reference_cache": str(tmp_path / "new"), "max_steps": 5}
    whole = learn(save_strategy="steps", save_steps=2, **cached)
    resumed = learn(resume_from_checkpoint=str(whole.folder / "checkpoint-2"), **cached)
    after = [entry["loss"] for entry in resumed.log if "loss" in entry and entry["step"] > 2]
    assert after == pytest.approx(whole.series("loss")[2:], abs=1e-6)
    assert said.counts() == [(0, ROWS), (ROWS, 0)]


def test_rows_held_out_are_in_the_cache_too(
    learn: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Messages
) -> None:
    evaluated = {"val_size": 2, "eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 1}
    evaluated |= {"max_steps": 2}
    plain = learn(**evaluated)
    new = tmp_path / "new"
    run = learn(vista_reference_cache=str(new), **evaluated)
    assert said.counts() == [(0, 4), (0, 2)]
    assert len(files(new)) == ROWS
    for key in ("eval_loss", "eval_vista/clip_margin", "eval_vista/kl_rejected", "eval_vista/response_margin"):
        assert run.series(key) == pytest.approx(plain.series(key), abs=NATS, nan_ok=True), key
    assert plain.series("eval_vista/response_margin")[-1] != 0


# --- what is computed, and what is not -------------------------------------------------------------------------------


def test_missing_and_damaged_files_are_computed_again(learn: Callable[..., Run], cache: Path, said: Messages) -> None:
    """A run stopped while it filled, a file cut off, one that is empty and one whose header is no header."""
    before = files(cache)
    gone, cut, empty, broken, *whole = sorted(cache.rglob("*.safetensors"))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-10])
    empty.write_bytes(b"")
    broken.write_bytes(b"\xff" * 64 + broken.read_bytes()[64:])
    untouched = {path: path.stat().st_mtime_ns for path in whole}
    learn(vista_reference_cache=str(cache), max_steps=1)
    assert said.counts() == [(ROWS - 4, 4)]
    after = files(cache)
    assert after.keys() == before.keys()
    for name in before:
        for key, value in load_file(cache / name[:2] / name).items():
            known = safetensors_of(before[name])[key]
            torch.testing.assert_close(value, known, atol=NATS, rtol=1e-5, msg=f"{name} {key}")
    assert {path: path.stat().st_mtime_ns for path in whole} == untouched


def safetensors_of(content: bytes) -> dict[str, torch.Tensor]:
    from safetensors.torch import load

    return load(content)


@pytest.fixture
def changed(demo: Demo, data: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Data keys: an answer, a prompt and a video are others than in `data`, each in a pair of mates of its own."""
    rows = [json.loads(line) for line in (data / "rows.jsonl").read_text().splitlines()]
    mates = pair_rows([row["video"] for row in rows], 42, 0).tolist()
    answer, prompt, video = [row for row, mate in enumerate(mates) if row < mates[row] and mates[mate] == row]
    rows[answer]["chosen"] += " It is so."
    rows[prompt]["prompt"] += " Look closely."
    write_rows(tmp_path / "changed", rows)
    path, kept = data / rows[video]["video"], tmp_path / "kept.mp4"
    shutil.copy2(path, kept)
    shutil.copy(data / rows[answer]["video"], path)
    yield {**on(data), "dataset_dir": str(tmp_path / "changed")}
    shutil.copy2(kept, path)


def test_changed_rows_are_computed_once_and_no_others(
    learn: Callable[..., Run],
    cache: Path,
    changed: dict[str, Any],
    said: Messages,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """1 + 1 rows, and the row of the video and its mate; the next run computes nothing."""
    before = files(cache)
    plain = learn(**changed)
    capsys.readouterr()
    run = learn(vista_reference_cache=str(cache), **changed)
    assert "reference log-probs" in capsys.readouterr().err
    assert_same_run(plain, run)
    assert len(files(cache)) == ROWS + 4 and before.items() <= files(cache).items()
    times = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    learn(vista_reference_cache=str(cache), max_steps=1, **changed)
    assert "reference log-probs" not in capsys.readouterr().err
    assert said.counts() == [(ROWS - 4, 4), (ROWS, 0)]
    assert f"{ROWS} of {ROWS} rows known, 0 to compute." in said[-1]
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == times
    assert {path.suffix for path in cache.rglob("*") if path.is_file()} == {".json", ".safetensors"}


SWITCHED = [
    (
        {"vista_clip_weight": 0.0, "vista_object_weight": 0.0},
        {},
        {"clip/chosen", "clip_negative/chosen", "keyframe_negative/chosen"},
    ),
    ({"vista_token_weight": 0.0}, {"vista_token_view": "video"}, {"full/chosen", "full/rejected"}),
    ({"vista_token_view": "keyframe"}, {"vista_token_view": "video"}, {"full/chosen", "full/rejected"}),
]


@pytest.mark.parametrize(("before", "after", "expected"), SWITCHED, ids=["clip and object", "token", "token view"])
def test_a_term_switched_on_later_completes_the_rows(
    learn: Callable[..., Run],
    tmp_path: Path,
    said: Messages,
    baseline: tuple[Run, list[int]],
    before: dict[str, Any],
    after: dict[str, Any],
    expected: set[str],
) -> None:
    """What was there stays as it was, beside what the new term needs; the run is that without a cache."""
    new = tmp_path / "new"
    learn(vista_reference_cache=str(new), max_steps=1, **before)
    known = {path: names_in(path) for path in new.rglob("*.safetensors")}
    run = learn(vista_reference_cache=str(new), **after)
    assert_same_run(learn(**after) if after else baseline[0], run)
    assert said.counts()[-1][1] > 0
    assert set(new.rglob("*.safetensors")) == known.keys()
    gained = set()
    for path, (log_probs, hidden) in known.items():
        now = names_in(path)
        assert log_probs <= now[0] and hidden <= now[1]
        assert now[1], "the token term is on"
        gained |= (now[0] - log_probs) | (now[1] - hidden)
    assert gained == expected


# --- never a number of something else --------------------------------------------------------------------------------

IDENTITY = {
    "vista_video_negative": ({"vista_video_negative": "black"}, '"other" there, "black" here'),
    "vista_clip_negative": ({"vista_clip_negative": "noise"}, '"non_event" there, "noise" here'),
    "vista_object_negative": ({"vista_object_negative": "move"}, '"mask" there, "move" here'),
    "vista_mask_fill": ({"vista_mask_fill": "white"}, '"mean" there, "white" here'),
    "vista_clip_frames": ({"vista_clip_frames": 4}, "null there, 4 here"),
    "frames": ({"video_maxlen": 6}, '"video_maxlen": 8.* there, .*"video_maxlen": 6'),
    "seed": ({"seed": 7}, r"\[42, null\] there, \[7, null\] here"),
    "precision": ({"bf16": True}, '"bf16": false.* there, .*"bf16": true'),
    "template": ({"default_system": "Be brief."}, 'null.* there, .*"Be brief."'),
}


@pytest.mark.parametrize("name", IDENTITY)
def test_other_settings_are_refused(
    learn: Callable[..., Run], filled: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    template = TEMPLATES["video_llava"]
    monkeypatch.setattr(template, "default_system", template.default_system)  # the host changes it for the process
    changes, values = IDENTITY[name]
    with pytest.raises(
        ValueError, match=rf"`vista_reference_cache: .*cache` was made for .*{name}: .*{values}"
    ) as error:
        learn(vista_reference_cache=str(filled), **changes)
    assert "Name another folder, or delete this one." in str(error.value)
    assert str(error.value).count(" there, ") == 1, "one thing differs, and one is named"


def test_another_model_is_refused(learn: Callable[..., Run], filled: Path, other_model: str) -> None:
    with pytest.raises(ValueError, match=r"\(weights of the reference: [^;]* there, [^;]* here\)"):
        learn(vista_reference_cache=str(filled), model_name_or_path=other_model)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="a folder with other files in it and no manifest.json. Name a new folder."):
        ReferenceCache(str(tmp_path), {"seed": "1"})
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"identity": 3}', '{"other": {}}', "null"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match="manifest.json is damaged: delete the folder, or name another one."):
        ReferenceCache(str(tmp_path), {"seed": "1"})


def test_identity_names_all_that_differs(tmp_path: Path) -> None:
    ReferenceCache(str(tmp_path), {"seed": "1", "frames": "8", "gone": "x"})
    with pytest.raises(
        ValueError, match=r"\(gone: x there, None here; new: None there, y here; seed: 1 there, 2 here\)"
    ):
        ReferenceCache(str(tmp_path), {"seed": "2", "frames": "8", "new": "y"})
    ReferenceCache(str(tmp_path), {"gone": "x", "frames": "8", "seed": "1"})


def test_a_video_that_breaks_while_it_is_decoded(
    demo: Demo, learn: Callable[..., Run], tmp_path: Path, said: Messages
) -> None:
    """The row is in no cache and trains nothing; its mate is there, without the view that needs the broken video."""
    folder, new = tmp_path / "data", tmp_path / "new"
    rows = copy_of_data(demo, folder)
    path = folder / rows[2]["video"]
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    size = int.from_bytes(content[start - 8 : start - 4], "big") - 8
    middle = slice(start + size // 3, start + size * 2 // 3)
    content[middle] = b"\xff" * len(content[middle])
    path.write_bytes(content)
    changes = {**on(folder), "vista_on_bad_row": "skip"}
    plain = learn(**changes)
    run = learn(vista_reference_cache=str(new), **changes)
    assert_same_run(plain, run)
    assert len(files(new)) == ROWS - 1
    with_mate = ["video_negative/chosen" in names_in(path)[0] for path in new.rglob("*.safetensors")]
    assert sorted(with_mate) == [False, True, True, True, True]
    (skipped,) = [json.loads(line) for line in (run.folder / SKIPPED_ROWS).read_text().splitlines()]
    assert rows[2]["id"] in skipped["row"]
    assert sum("is skipped: " in message and "breaks off" in message for message in said) == 2  # once a run
    with pytest.raises(ValueError, match=rf"(?s)id {rows[2]['id']}.*breaks off"):
        learn(vista_reference_cache=str(tmp_path / "another"), **on(folder))


# --- two processes ---------------------------------------------------------------------------------------------------

WORKER = """
import sys
sys.path.insert(0, {tests!r})
from reference.test_cache import train_and_save
train_and_save({args!r}, {out!r})
"""


def train_and_save(args: str, out: str) -> None:
    """What each rank runs: it notes whom it wrote and what it logged."""
    written: list[str] = []
    write = ReferenceCache.write

    def noted(self: ReferenceCache, key: str, scores: RowScores) -> None:
        written.append(key)
        write(self, key, scores)

    ReferenceCache.write = noted
    run_recipe(json.loads(Path(args).read_text()))
    Path(f"{out}-{os.environ['RANK']}.json").write_text(json.dumps(written))


def test_two_processes_share_the_filling(demo: Demo, tmp_path: Path, learn: Callable[..., Run]) -> None:
    """Eight rows in batches of one, four a rank; in training two ranks of one row are the one process's two rows."""
    one = learn(**{**on(demo.data), "dataset": "demo"}, max_samples=8)
    args = {**tiny_recipe(demo, tmp_path / "two"), "max_samples": 8, "max_steps": STEPS, "ddp_backend": "gloo"}
    args |= {"per_device_train_batch_size": 1, "vista_reference_cache": str(tmp_path / "new")}
    (tmp_path / "two.json").write_text(json.dumps(args))
    worker = tmp_path / "worker.py"
    tests = str(Path(__file__).parents[1])
    worker.write_text(WORKER.format(tests=tests, args=str(tmp_path / "two.json"), out=str(tmp_path / "written")))
    forked_ranks(worker, 2)
    written = [json.loads((tmp_path / f"written-{rank}.json").read_text()) for rank in (0, 1)]
    assert [len(keys) for keys in written] == [4, 4]
    assert {f"{key}.safetensors" for keys in written for key in keys} == files(tmp_path / "new").keys()
    assert len(files(tmp_path / "new")) == 8
    two = Run(tmp_path / "two")
    assert two.series("loss") == pytest.approx(one.series("loss"), abs=WHOLE_LOSS)
    assert two.series("vista/video_margin") == pytest.approx(one.series("vista/video_margin"), abs=NATS)


# --- files -----------------------------------------------------------------------------------------------------------

SCORES = RowScores({"full/chosen": -3.5, "clip/chosen": -0.25}, {"full/chosen": torch.arange(6.0).reshape(3, 2)})


def same(one: RowScores, other: RowScores) -> bool:
    return (
        one.log_probs == other.log_probs
        and one.hidden.keys() == other.hidden.keys()
        and all(torch.equal(value, other.hidden[name]) for name, value in one.hidden.items())
    )


def test_a_row_written_is_the_row_read(tmp_path: Path) -> None:
    cache = ReferenceCache(str(tmp_path / "a" / "b"), {})
    assert cache.missing("ab12", ())
    cache.write("ab12", SCORES)
    assert same(cache.read("ab12"), SCORES)
    assert not cache.missing("ab12", {"full/chosen", "clip/chosen"})
    assert cache.missing("ab12", {"full/chosen", "keyframe/chosen"})
    assert cache.missing("ab13", ())


def test_bfloat16_states_stay_bfloat16(tmp_path: Path) -> None:
    cache = ReferenceCache(str(tmp_path), {})
    states = torch.randn(3, 4, dtype=torch.bfloat16)
    cache.write("ab12", RowScores({"full/chosen": -1.0}, {"full/chosen": states}))
    assert torch.equal(cache.read("ab12").hidden["full/chosen"], states)


def test_writing_more_of_a_row_keeps_the_rest(tmp_path: Path) -> None:
    cache = ReferenceCache(str(tmp_path), {})
    cache.write("ab12", SCORES)
    states = {"keyframe/chosen": torch.ones(2, 2)}
    cache.write("ab12", RowScores({"clip/chosen": -0.5, "keyframe/chosen": -1.0}, states))
    expected = {"full/chosen": -3.5, "clip/chosen": -0.5, "keyframe/chosen": -1.0}
    assert same(cache.read("ab12"), RowScores(expected, {**SCORES.hidden, **states}))


def test_a_row_that_went_away_during_the_run_is_named(tmp_path: Path) -> None:
    cache = ReferenceCache(str(tmp_path), {})
    with pytest.raises(ValueError, match="ab12.safetensors cannot be read.*changed during the run.*machines share"):
        cache.read("ab12")


def test_a_reader_sees_whole_files_only(tmp_path: Path) -> None:
    """Somebody else reads all the while: every time one of the two contents, complete."""
    cache = ReferenceCache(str(tmp_path), {})
    contents = [RowScores({"x": float(n)}, {"x": torch.full((200, 64), float(n))}) for n in (0, 1)]
    cache.write("ab12", contents[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(150):
            cache.write("ab12", contents[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        assert not cache.missing("ab12", {"x"})
        row = cache.read("ab12")
        value = row.log_probs["x"]
        assert bool((row.hidden["x"] == value).all())
        seen.add(value)
    writer.join()
    assert seen == {0.0, 1.0}
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["ab12.safetensors", "manifest.json"]


def test_a_run_stopped_while_it_writes_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ReferenceCache(str(tmp_path), {})
    cache.write("ab12", SCORES)

    def stopped(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        cache.write("ab12", RowScores({"full/chosen": -9.0}, {}))
    with pytest.raises(KeyboardInterrupt):
        cache.write("ab13", SCORES)
    monkeypatch.undo()
    again = ReferenceCache(str(tmp_path), {})
    assert same(again.read("ab12"), SCORES)
    assert again.missing("ab13", ())


# --- what the weights are known by -----------------------------------------------------------------------------------


def small_model(dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=32, **sizes)).to(dtype)


def under_lora(model: torch.nn.Module, **changes: Any) -> torch.nn.Module:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "down_proj"], **changes))


def test_hash_is_that_of_the_base_under_an_adapter() -> None:
    plain = weights_hash(small_model(), trained=False)
    for changes in ({}, {"modules_to_save": ["lm_head"]}):
        model = under_lora(small_model(), **changes)
        assert weights_hash(model, trained=True) == plain
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(1)
        assert weights_hash(model, trained=True) == plain, "what is trained is not the reference"


def test_hash_knows_every_tensor_and_value() -> None:
    base = small_model()
    hashes = {weights_hash(base, trained=False)}
    for parameter in base.parameters():
        with torch.no_grad():
            kept = parameter.flatten()[-1].clone()
            parameter.view(-1)[-1] = torch.nextafter(kept, kept + 1)
            hashes.add(weights_hash(base, trained=False))
            parameter.view(-1)[-1] = kept
    assert len(hashes) == 1 + len(list(base.parameters()))
    assert weights_hash(base, trained=False) in hashes


def test_hash_of_an_adapter_that_is_part_of_the_reference() -> None:
    """`ref_model_adapters`: nothing is trained there, so everything counts."""
    model = under_lora(small_model()).requires_grad_(False)
    before = weights_hash(model, trained=False)
    with torch.no_grad():
        next(value for name, value in model.named_parameters() if "lora_B" in name).add_(1)
    assert weights_hash(model, trained=False) != before


def test_hash_of_bfloat16() -> None:
    half = weights_hash(small_model(torch.bfloat16), trained=False)
    assert half == weights_hash(under_lora(small_model(torch.bfloat16)), trained=True)
    assert half != weights_hash(small_model(), trained=False)
