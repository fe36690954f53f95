"""The reference on disk: the same training as without it, and never a number of another row, model or setting."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from capture import Gradients
from conftest import Demo, Run, keep_log, run_recipe, tiny_recipe, write_rows
from data.barcode_video import break_pictures
from launching import forked_ranks
from llamafactory.data.template import TEMPLATES
from rounding import NATS, WHOLE_LOSS, assert_moved_alike
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback
from transformers.models.llama.modeling_llama import LlamaModel

from vistadpo_plugin.data.batches.known_scores import ViewScores
from vistadpo_plugin.data.batches.pairing import PairedRows, pair_rows
from vistadpo_plugin.data.views.views import FULL
from vistadpo_plugin.reference import cache as cache_module
from vistadpo_plugin.reference import fill as fill_module
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
        said = [message.split(": ")[1] for message in self if "rows known" in message]
        return [(int(words.split()[0]), int(words.split()[-3])) for words in said]

    def damaged(self) -> list[int]:
        """How many files were said to be damaged, each time that any were."""
        return [int(number) for message in self for number in re.findall(r"has (\d+) damaged files", message)]


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


VIEW_OF: dict[str, tuple[str, str]] = {}
"""Of every key that a run of these tests has made: the row's place and the view."""


@pytest.fixture(scope="module", autouse=True)
def views_by_key() -> Iterator[None]:
    fix = PairedRows.fix_pairing

    def noted(self: PairedRows, views: Any) -> None:
        fix(self, views)
        for index, keys in ((index, keys) for stage in self.reference_keys for index, keys in enumerate(stage)):
            VIEW_OF.update({key: (self.rows[index]["where"], view) for view, key in keys.items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PairedRows, "fix_pairing", noted)
        yield


def rows_in(cache: Path) -> set[str]:
    """Places of the rows that have a file."""
    return {VIEW_OF[path.stem][0] for path in cache.rglob("*.safetensors")}


def files(cache: Path) -> dict[str, bytes]:
    """Content of the views' files, by name."""
    return {path.name: path.read_bytes() for path in cache.rglob("*.safetensors")}


def sequences_in(cache: Path) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """(row's place, `view/answer`) of every log-probability, and of all hidden states."""
    log_probs, states = set(), set()
    for path in cache.rglob("*.safetensors"):
        where, view = VIEW_OF[path.stem]
        with safe_open(path, framework="pt") as file:
            log_probs |= {(where, f"{view}/{answer}") for answer in json.loads(file.metadata()["names"])}
            hidden = [name.removeprefix("hidden ") for name in file.keys() if name.startswith("hidden ")]  # noqa: SIM118
            states |= {(where, f"{view}/{answer}") for answer in hidden}
    return log_probs, states


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
    read = ReferenceCache.read
    first = min(path.stem for path in cache.rglob("*.safetensors") if VIEW_OF[path.stem][1] == FULL)

    def off(self: ReferenceCache, key: str, *rest: Any) -> ViewScores:
        scores = read(self, key, *rest)
        if key == first:
            scores.log_probs["chosen"] += 0.01
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
    assert len(rows_in(new)) == ROWS
    for key in ("eval_loss", "eval_vista/clip_margin", "eval_vista/kl_rejected", "eval_vista/response_margin"):
        assert run.series(key) == pytest.approx(plain.series(key), abs=NATS, nan_ok=True), key
    assert plain.series("eval_vista/response_margin")[-1] != 0


# --- what is computed, and what is not -------------------------------------------------------------------------------


def test_missing_and_damaged_files_are_computed_again(learn: Callable[..., Run], cache: Path, said: Messages) -> None:
    """A run stopped while it filled, a file cut off, one that is empty and one whose header is no header."""
    before = files(cache)
    gone, cut, empty, broken, *whole = one_of_each_row(cache)
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-10])
    empty.write_bytes(b"")
    broken.write_bytes(b"\xff" * 64 + broken.read_bytes()[64:])
    untouched = {path: path.stat().st_mtime_ns for path in whole}
    learn(vista_reference_cache=str(cache), max_steps=1)
    assert said.counts() == [(ROWS - 4, 4)]
    assert said.damaged() == [3], "what is not there is not damaged"
    assert_same_content(cache, before)
    assert {path: path.stat().st_mtime_ns for path in whole} == untouched


def one_of_each_row(cache: Path) -> list[Path]:
    return list({VIEW_OF[path.stem][0]: path for path in sorted(cache.rglob("*.safetensors"))}.values())


def assert_same_content(cache: Path, before: dict[str, bytes]) -> None:
    assert files(cache).keys() == before.keys()
    for name in before:
        for key, value in load_file(cache / name[:2] / name).items():
            known = safetensors_of(before[name])[key]
            torch.testing.assert_close(value, known, atol=NATS, rtol=1e-5, msg=f"{name} {key}")


def test_what_is_on_the_disk_is_not_believed(
    learn: Callable[..., Run], cache: Path, baseline: tuple[Run, list[int]], said: Messages
) -> None:
    """A byte flipped in one file of each row but two; in one of these, zeros for numbers; in the other, files of like
    shape exchanged: the same training as without a cache, and every damaged file counted."""
    before = files(cache)
    paths = one_of_each_row(cache)
    for path in paths[:-2]:
        content = bytearray(path.read_bytes())
        content[-1] ^= 0x40
        path.write_bytes(content)
    zeroed = bytearray(paths[-2].read_bytes())
    header = 8 + int.from_bytes(zeroed[:8], "little")
    zeroed[header:] = bytes(len(zeroed) - header)
    paths[-2].write_bytes(zeroed)
    last = VIEW_OF[paths[-1].stem][0]
    like = [path for path in cache.rglob("*.safetensors") if VIEW_OF[path.stem][0] == last]
    one, other = sorted(like, key=lambda path: VIEW_OF[path.stem][1])[-2:]
    content = one.read_bytes(), other.read_bytes()
    one.write_bytes(content[1])
    other.write_bytes(content[0])
    run = learn(vista_reference_cache=str(cache))
    assert_same_run(baseline[0], run)
    assert said.counts() == [(0, ROWS)]
    assert said.damaged() == [ROWS - 2 + 1 + 2]
    assert_same_content(cache, before)


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
    others = {row["video"] for row in demo.rows} - {row["video"] for row in rows}
    shutil.copy(demo.data / min(others), path)  # of no other row: equal videos would be paired anew
    yield {**on(data), "dataset_dir": str(tmp_path / "changed")}
    shutil.copy2(kept, path)


def test_changed_rows_are_computed_once_and_no_others(
    learn: Callable[..., Run],
    cache: Path,
    changed: dict[str, Any],
    said: Messages,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """1 + 1 rows, the row of the video, and the view of its mate that shows it; the next run computes nothing."""
    before = files(cache)
    plain = learn(**changed)
    capsys.readouterr()
    run = learn(vista_reference_cache=str(cache), **changed)
    assert "reference log-probs" in capsys.readouterr().err
    assert_same_run(plain, run)
    after = files(cache)
    assert before.items() <= after.items()
    new = [VIEW_OF[name.removesuffix(".safetensors")] for name in after.keys() - before.keys()]
    views = {where: sorted(view for one, view in new if one == where) for where, _ in new}
    assert sorted(views.values(), key=len)[0] == ["video_negative"]
    assert len(views) == 4 and all("full" in known for known in sorted(views.values(), key=len)[1:])
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
    known, content = sequences_in(new), files(new)
    run = learn(vista_reference_cache=str(new), **after)
    assert_same_run(learn(**after) if after else baseline[0], run)
    assert said.counts()[-1][1] > 0
    now = sequences_in(new)
    assert known[0] <= now[0] and known[1] <= now[1]
    assert now[1], "the token term is on"
    assert {name for _, name in (now[0] - known[0]) | (now[1] - known[1])} == expected
    if not expected & {name for _, name in known[0]}:
        assert content.items() <= files(new).items()


# --- what runs share ------------------------------------------------------------------------------------------------


def reference_sequences(patch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """(row, `view/answer`) of all that is asked to fill a cache from here on."""
    asked: list[tuple[int, str]] = []
    by_row = fill_module._by_row

    def noted(batch: dict[str, Any], scores: Any) -> Any:
        asked.extend((batch["rows"][place].item(), name) for place, name in batch["names"])
        assert len(batch["names"]) == batch["sequences"]
        return by_row(batch, scores)

    patch.setattr(fill_module, "_by_row", noted)
    return asked


def assert_reference_is_the_policy(run: Run) -> None:
    """At the first step they are one model, so every margin is 0; a number of another view would show."""
    margins = {key: value for key, value in run.log[0].items() if key.endswith(("_margin", "/kl_chosen"))}
    assert len(margins) == 6
    assert margins == pytest.approx(dict.fromkeys(margins, 0.0), abs=1e-4)


def mates_of(data: Path, seed: int) -> list[str]:
    """By row, the video of its mate in a run with a cache."""
    videos = [json.loads(line)["video"] for line in (data / "rows.jsonl").read_text().splitlines()]
    return [videos[mate] for mate in pair_rows(videos, seed, 0)]


def test_another_seed_asks_only_for_other_mates(
    learn: Callable[..., Run], cache: Path, data: Path, monkeypatch: pytest.MonkeyPatch, said: Messages
) -> None:
    """One answer on one view for each row whose mate is another, nothing of the others; the run is that without a
    cache, and the first seed's run still finds all it knew."""
    known = mates_of(data, 42)
    seed = next(seed for seed in range(100) if 0 < sum(map(str.__ne__, known, mates_of(data, seed))) < ROWS)
    pairs = enumerate(zip(known, mates_of(data, seed), strict=True))
    changed = [row for row, (one, other) in pairs if one != other]
    before = files(cache)
    plain = learn(seed=seed)
    asked, forwards = reference_sequences(monkeypatch), ForwardsWithoutGradient(monkeypatch)
    run = learn(forwards, vista_reference_cache=str(cache), seed=seed)
    assert_same_run(plain, run)
    assert sorted(asked) == [(row, "video_negative/chosen") for row in changed]
    assert said.counts() == [(ROWS - len(changed), len(changed))]
    assert 0 < forwards.by_step[0] <= len(changed) and forwards.by_step[1:] == [0] * STEPS
    assert before.items() <= files(cache).items() and len(files(cache)) == len(before) + len(changed)
    learn(vista_reference_cache=str(cache), max_steps=1)
    assert said.counts()[1:] == [(ROWS, 0)]


@pytest.mark.parametrize(
    "changes",
    [
        {"data_seed": 42},
        {"vista_video_weight": 0.0},
        {"vista_video_negative": "black"},
        {"vista_video_negative": "reverse", "vista_clip_negative": "black"},
    ],
    ids=["same mates", "no video term", "black", "reversed"],
)
def test_another_seed_asks_nothing_where_no_view_depends_on_it(
    learn: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Messages, changes: dict[str, Any]
) -> None:
    new = str(tmp_path / "new")
    learn(vista_reference_cache=new, max_steps=1, **changes)
    forwards = ForwardsWithoutGradient(monkeypatch)
    learn(forwards, vista_reference_cache=new, max_steps=1, seed=7, **changes)
    assert said.counts() == [(0, ROWS), (ROWS, 0)]
    assert forwards.by_step == [0, 0]


DRAWN = {
    "noise": ({"vista_video_negative": "noise"}, {"video_negative/chosen"}),
    "shuffle": (
        {"vista_clip_negative": "shuffle", "vista_video_negative": "shuffle"},
        {"clip_negative/chosen", "video_negative/chosen"},
    ),
    "object": ({"vista_object_negative": "noise", "vista_video_negative": "black"}, {"keyframe_negative/chosen"}),
}


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_is_asked_again_for_another_seed(
    learn: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    changes, views = DRAWN[name]
    changes = {**changes, "vista_reference_cache": str(tmp_path / "new"), "max_steps": 1}
    learn(**changes)
    asked = reference_sequences(monkeypatch)
    assert_reference_is_the_policy(learn(seed=7, **changes))
    assert {name for _, name in asked} == views


OTHER_VIEWS = {
    "vista_video_negative": ({"vista_video_negative": "black"}, {"video_negative/chosen"}),
    "vista_clip_negative": ({"vista_clip_negative": "noise"}, {"clip_negative/chosen"}),
    "vista_object_negative": ({"vista_object_negative": "move"}, {"keyframe_negative/chosen"}),
    "vista_mask_fill": ({"vista_mask_fill": "white"}, {"keyframe_negative/chosen"}),
    "vista_clip_frames": ({"vista_clip_frames": 4}, {"clip/chosen", "clip_negative/chosen"}),
}


@pytest.mark.parametrize("name", OTHER_VIEWS)
def test_other_views_are_asked_for_and_no_others(
    learn: Callable[..., Run], cache: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A key that changes a view."""
    changes, views = OTHER_VIEWS[name]
    asked = reference_sequences(monkeypatch)
    assert_reference_is_the_policy(learn(vista_reference_cache=str(cache), max_steps=1, **changes))
    assert {name for _, name in asked} == views


# --- never a number of something else --------------------------------------------------------------------------------

IDENTITY = {
    "frames": ({"video_maxlen": 6}, '"video_maxlen": 8.* there, .*"video_maxlen": 6'),
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


def test_a_video_that_breaks_while_it_is_decoded(
    demo: Demo, learn: Callable[..., Run], tmp_path: Path, said: Messages
) -> None:
    """The row is in no cache and trains nothing; its mate is there, without the view that needs the broken video."""
    folder, new = tmp_path / "data", tmp_path / "new"
    rows = copy_of_data(demo, folder)
    break_pictures(folder / rows[2]["video"], 1 / 3, 2 / 3)
    changes = {**on(folder), "vista_on_bad_row": "skip"}
    plain = learn(**changes)
    run = learn(vista_reference_cache=str(new), **changes)
    assert_same_run(plain, run)
    assert len(rows_in(new)) == ROWS - 1
    assert sum(name == "video_negative/chosen" for _, name in sequences_in(new)[0]) == ROWS - 2
    (skipped,) = [json.loads(line) for line in (run.folder / SKIPPED_ROWS).read_text().splitlines()]
    assert rows[2]["id"] in skipped["row"]
    assert sum("is skipped: " in message and "breaks off" in message for message in said) == 2  # once a run
    with pytest.raises(ValueError, match=rf"(?s)id {rows[2]['id']}.*breaks off"):
        learn(vista_reference_cache=str(tmp_path / "another"), **on(folder))


def test_no_room_is_a_sentence_and_leaves_what_was_there(
    learn: Callable[..., Run], tmp_path: Path, baseline: tuple[Run, list[int]], said: Messages
) -> None:
    """A limit on the size of files stands for a full disk: a run that fills stops, the next goes on from there."""
    cache, whole = tmp_path / "new", tmp_path / "whole"
    learn(vista_reference_cache=str(whole), max_steps=1)
    sizes = sorted(len(content) for content in files(whole).values())
    assert sizes[0] < sizes[-1]
    limit, write = resource.getrlimit(resource.RLIMIT_FSIZE), cache_module._write_whole

    def limited(path: Path, content: bytes) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[-1] - 1, limit[1]))
        try:
            write(path, content)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_module, "_write_whole", limited)
        with pytest.raises(
            ValueError, match=rf"`vista_reference_cache: {cache}`: .* cannot be written: File too large"
        ):
            learn(vista_reference_cache=str(cache))
    kept = files(cache)
    assert 0 < len(kept) < len(files(whole))
    assert not list(cache.rglob("*.unfinished"))
    assert_same_run(baseline[0], learn(vista_reference_cache=str(cache)))
    assert kept.items() <= files(cache).items()


# --- two processes ---------------------------------------------------------------------------------------------------

WORKER = """
import sys
sys.path.insert(0, {tests!r})
from reference.test_cache import train_and_save
train_and_save({args!r}, {out!r})
"""


def train_and_save(args: str, out: str) -> None:
    """What each rank runs: it notes whom it wrote and what it logged."""
    written: list[tuple[str, str]] = []
    write = ReferenceCache.write

    def noted(self: ReferenceCache, key: str, scores: ViewScores, where: str) -> None:
        written.append((key, where.split(", view")[0]))
        write(self, key, scores, where)

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
    assert [len({where for _, where in one}) for one in written] == [4, 4]
    assert len({where for one in written for _, where in one}) == 8
    assert {f"{key}.safetensors" for one in written for key, _ in one} == files(tmp_path / "new").keys()
    two = Run(tmp_path / "two")
    assert two.series("loss") == pytest.approx(one.series("loss"), abs=WHOLE_LOSS)
    assert two.series("vista/video_margin") == pytest.approx(one.series("vista/video_margin"), abs=NATS)


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
