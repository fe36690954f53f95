"""Files that change behind our back: the reference cache, checkpoints, videos."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Demo, Run, tiny_recipe, write_rows
from faults.children import counting, start
from faults.test_kills import recipe
from validation.test_damaged import copies

from vistadpo_plugin.data.batches.known_scores import ViewScores
from vistadpo_plugin.reference.cache import Damaged, ReferenceCache
from vistadpo_plugin.training.bad_rows import SKIPPED_ROWS
from vistadpo_plugin.training.checkpoint_files import Layout, fault


def spoil(content: bytes, rng: random.Random, other: bytes) -> tuple[str, bytes]:
    """The kind of damage, and a damaged copy."""
    kind = rng.choice(("bit", "byte", "zeros", "cut", "longer", "another file"))
    changed, place = bytearray(content), rng.randrange(len(content))
    if kind == "bit":
        changed[place] ^= 1 << rng.randrange(8)
    elif kind == "byte":
        changed[place] = rng.randrange(256)
    elif kind == "zeros":
        end = min(len(changed), place + rng.randrange(1, 4096))
        changed[place:end] = bytes(end - place)
    elif kind == "cut":
        del changed[place:]
    elif kind == "longer":
        changed += bytes(rng.randrange(1, 4096))
    else:
        changed = bytearray(other)
    return kind, bytes(changed)


@pytest.fixture(scope="module")
def cache(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    args = {**tiny_recipe(demo, folder / "out"), "vista_reference_cache": str(folder / "cache"), "max_steps": 1}
    child = start(args, folder / "log")
    assert child.wait() == 0, child.said[-3000:]
    return folder / "cache"


def test_damaged_files_of_the_reference_cache(cache: Path, tmp_path: Path, capsys: Any) -> None:
    """Each is found, or says to the last bit what it said."""
    copy = shutil.copytree(cache, tmp_path / "cache")
    opened = ReferenceCache(str(copy), json.loads((copy / "manifest.json").read_text())["identity"])
    paths = sorted(copy.rglob("*.safetensors"))
    content = {path: path.read_bytes() for path in paths}
    known = {path: opened.read(path.stem) for path in paths}
    rng = random.Random(0)
    with counting("damaged files of the reference cache", capsys) as count:
        for _ in range(2000):
            path, other = rng.sample(paths, 2)
            _, damaged = spoil(content[path], rng, content[other])
            path.write_bytes(damaged)
            try:
                count.add(same(opened._load(path.stem), known[path]))
            except Damaged:
                count.add(True)
            path.write_bytes(content[path])


def same(one: ViewScores, other: ViewScores) -> bool:
    return (
        one.log_probs == other.log_probs
        and one.hidden.keys() == other.hidden.keys()
        and all(torch.equal(states, other.hidden[answer]) for answer, states in one.hidden.items())
    )


def test_runs_on_a_damaged_reference_cache(demo: Demo, cache: Path, tmp_path: Path, capsys: Any) -> None:
    """They say how many files they compute again, and train as on a sound one."""
    args = {**tiny_recipe(demo, tmp_path / "out"), "max_steps": 4}
    child = start({**args, "vista_reference_cache": str(shutil.copytree(cache, tmp_path / "sound"))}, tmp_path / "log")
    assert child.wait() == 0, child.said[-3000:]
    expected = Run(tmp_path / "out").series("loss")
    rng = random.Random(1)
    with counting("runs on a damaged reference cache", capsys) as count:
        for trial in range(5):
            copy = shutil.copytree(cache, tmp_path / f"cache-{trial}")
            paths = sorted(copy.rglob("*.safetensors"))
            content = {path: path.read_bytes() for path in paths}
            for path in rng.sample(paths, rng.randrange(1, len(paths))):
                changed = bytearray(content[path])
                changed[rng.randrange(len(changed) - 4, len(changed))] ^= 1 << rng.randrange(8)
                path.write_bytes(changed)
            number = sum(path.read_bytes() != content[path] for path in paths)
            child = start({**args, "vista_reference_cache": str(copy)}, tmp_path / "log")
            ended = child.wait() == 0 and f"has {number} damaged files" in child.said
            count.add(ended and Run(tmp_path / "out").series("loss") == pytest.approx(expected, abs=1e-4))


def test_cut_files_of_a_checkpoint(demo: Demo, tmp_path: Path, capsys: Any) -> None:
    """Any file that a resume reads, cut anywhere, is found."""
    child = start(recipe(demo, tmp_path / "out", max_steps=1), tmp_path / "log")
    assert child.wait() == 0, child.said[-3000:]
    checkpoint = tmp_path / "out" / "checkpoint-1"
    names = ("adapter_model.safetensors", "adapter_config.json", "optimizer.pt", "scheduler.pt", "rng_state.pth",
             "trainer_state.json")  # fmt: skip
    rng = random.Random(2)
    with counting("checkpoints with a file cut short", capsys) as count:
        for _ in range(600):
            path = checkpoint / rng.choice(names)
            content = path.read_bytes()
            # The last byte of JSON is a line break at most.
            path.write_bytes(content[: rng.randrange(len(content.rstrip()))])
            count.add(fault(checkpoint, Layout("adapter")) is not None)
            path.write_bytes(content)
    assert fault(checkpoint, Layout("adapter")) is None


def test_training_on_damaged_videos(demo: Demo, tmp_path: Path, capsys: Any) -> None:
    """`vista_on_bad_row: skip`: no run hangs or dies, and each damaged video can be read or is named."""
    rows = demo.rows
    spoilt = iter(list(copies((demo.data / rows[0]["video"]).read_bytes(), tmp_path)))
    with counting("damaged videos in training", capsys) as count:
        for trial in range(5):
            folder = tmp_path / str(trial)
            made = []
            for number in range(40):
                name, content = next(spoilt)
                (folder / "videos").mkdir(parents=True, exist_ok=True)
                (folder / "videos" / name).write_bytes(content)
                made.append({**rows[0], "id": f"{trial}-{number}", "video": f"videos/{name}"})
            for number, row in enumerate(rows[:8]):
                shutil.copy(demo.data / row["video"], folder / "videos")
                made.append({**row, "id": f"good-{number}"})
            write_rows(folder, made)
            data = {"dataset": "rows", "dataset_dir": str(folder), "media_dir": str(folder)}
            steps = {"max_steps": -1, "num_train_epochs": 1, "per_device_train_batch_size": 4}
            args = {**tiny_recipe(demo, folder / "out"), **data, **steps, "vista_on_bad_row": "skip"}
            child = start(args, folder / "log")
            ended = child.wait() == 0
            entries = [json.loads(line) for line in (folder / "out" / SKIPPED_ROWS).read_text().splitlines()]
            named = " ".join(entry["row"] for entry in entries)
            log = Run(folder / "out").log if ended else []
            trained = sum(entry["vista/response_rows"] for entry in log if "loss" in entry)
            skipped = {row["id"] for row in made if f"(id {row['id']})" in named}
            accounted = ended and trained == len(made) - len(skipped)
            assert not {one for one in skipped if one.startswith("good")}, "sound videos were skipped"
            for _ in made[:40]:
                count.add(accounted)
