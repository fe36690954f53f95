"""Half-written checkpoints: which are found out, and from where a run goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from conftest import Demo, Run, keep_log, run_recipe, tiny_recipe
from safetensors.torch import load_file

from vistadpo_plugin.training.checkpoint_files import Layout, fault
from vistadpo_plugin.training.resume import newest_whole

ADAPTER, MODEL = Layout("adapter"), Layout("model")
FULL = {"finetuning_type": "full", "lora_target": None, "lora_rank": None, "learning_rate": 1e-5}


def saving(demo: Demo, folder: Path, steps: int, **changes: Any) -> dict[str, Any]:
    """A recipe that saves after every step, and goes on where it finds a checkpoint."""
    args = {**tiny_recipe(demo, folder), "save_strategy": "steps", "save_steps": 1, "max_steps": steps}
    args |= {"overwrite_output_dir": False, **changes}
    return {key: value for key, value in args.items() if value is not None}


@pytest.fixture(scope="module")
def stopped(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three steps. No test changes it."""
    return run_recipe(saving(demo, tmp_path_factory.mktemp("stopped") / "out", 3)).folder


@pytest.fixture(scope="module")
def adapter(stopped: Path) -> Path:
    return stopped / "checkpoint-3"


@pytest.fixture(scope="module")
def model(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a fully tuned model. No test changes it."""
    folder = tmp_path_factory.mktemp("tuned") / "out"
    return run_recipe(saving(demo, folder, 1, **FULL)).folder / "checkpoint-1"


@pytest.fixture
def said() -> Iterator[list[str]]:
    with keep_log([]) as messages:
        yield messages


def killed_saves(checkpoint: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """(last file begun, folder): what a kill leaves before, and in the middle of, each file of the save."""
    files = (path for path in checkpoint.rglob("*") if path.is_file())
    written = sorted(files, key=lambda path: path.stat().st_mtime_ns)
    for number, path in enumerate(written):
        for name, kept in (("without", 0), ("half of", path.stat().st_size // 2)):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for done in written[:number]:
                (folder / done.relative_to(checkpoint)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(done, folder / done.relative_to(checkpoint))
            if kept:
                (folder / path.name).write_bytes(path.read_bytes()[:kept])
            yield f"{name} {path.name}", folder


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_a_save_killed_at_any_file_is_found_out(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Tokenizer and processor, which are written last, are not what a run goes on with."""
    checkpoint = request.getfixturevalue(kind)
    broken, whole = [], []
    for name, folder in killed_saves(checkpoint, tmp_path / "killed"):
        (broken if fault(folder, Layout(kind)) else whole).append(name)
    assert len(broken) >= 14, "seven files or more"
    assert broken[-1] == "half of trainer_state.json"
    assert {name.split()[-1] for name in whole} <= {
        "chat_template.jinja",
        "tokenizer_config.json",
        "tokenizer.json",
        "processor_config.json",
    }
    assert fault(checkpoint, Layout(kind)) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("adapter_model.safetensors", "it has no adapter_model.safetensors or adapter_model.bin"),
        ("adapter_config.json", "it has no adapter_config.json"),
        ("optimizer.pt", "it has no optimizer.pt"),
        ("scheduler.pt", "it has no scheduler.pt"),
        ("rng_state.pth", r"it has no rng_state\*.pth"),
        ("trainer_state.json", "it has no trainer_state.json"),
    ],
)
def test_what_a_lora_run_loads_has_to_be_there(stopped: Path, tmp_path: Path, name: str, reason: str) -> None:
    checkpoint = shutil.copytree(stopped / "checkpoint-3", tmp_path / "checkpoint-3")
    (checkpoint / name).unlink()
    said = fault(checkpoint, ADAPTER)
    assert said is not None and said.startswith(reason.replace("\\", ""))


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]
)
@pytest.mark.parametrize("damage", ["empty", "cut", "zeros"])
def test_a_file_that_cannot_be_opened_is_named(stopped: Path, tmp_path: Path, name: str, damage: str) -> None:
    """Zeros of the right length are what a file system may leave after a loss of power."""
    checkpoint = shutil.copytree(stopped / "checkpoint-3", tmp_path / "checkpoint-3")
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes({"empty": b"", "cut": content[:-1], "zeros": bytes(len(content))}[damage])
    said = fault(checkpoint, ADAPTER)
    if name == "trainer_state.json" and damage == "cut":
        assert said is None, "its last byte is a line break"
    else:
        assert said is not None and said.startswith(f"{name} is damaged or was not written to its end")


def test_weights_in_several_files_are_all_needed(model: Path, tmp_path: Path) -> None:
    checkpoint = shutil.copytree(model, tmp_path / "checkpoint-1")
    weights = checkpoint / "model.safetensors"
    index = '{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    (checkpoint / "model.safetensors.index.json").write_text(index)
    shutil.copy(weights, checkpoint / "model-2.safetensors")
    weights.rename(checkpoint / "model-1.safetensors")
    assert fault(checkpoint, MODEL) is None
    (checkpoint / "model-2.safetensors").unlink()
    assert "names model-2.safetensors, which is missing or too short" in fault(checkpoint, MODEL)


def test_an_adapter_is_no_checkpoint_of_a_whole_model(stopped: Path) -> None:
    assert "it has no model.safetensors or" in fault(stopped / "checkpoint-3", MODEL)


def test_saves_of_weights_alone(stopped: Path, tmp_path: Path) -> None:
    """`save_only_model: true` writes no optimizer, and wants none."""
    checkpoint = shutil.copytree(stopped / "checkpoint-3", tmp_path / "checkpoint-3")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (checkpoint / name).unlink()
    assert fault(checkpoint, Layout("adapter", states=False)) is None


def test_sharded_weights_of_fsdp(stopped: Path, tmp_path: Path) -> None:
    """Written by torch.distributed.checkpoint itself, as accelerate does."""
    checkpoint = shutil.copytree(stopped / "checkpoint-3", tmp_path / "checkpoint-3")
    (checkpoint / "optimizer.pt").unlink()
    layout = Layout("fsdp")
    for name in ("pytorch_model_fsdp_0", "optimizer_0"):
        assert "_0/.metadata" in fault(checkpoint, layout)
        dcp.save({"x": torch.arange(1000.0)}, checkpoint_id=checkpoint / name, no_dist=True)
    assert fault(checkpoint, layout) is None
    (shard,) = (checkpoint / "optimizer_0").glob("*.distcp")
    shard.write_bytes(shard.read_bytes()[:-1])
    assert f"optimizer_0/.metadata names {shard.name}, which is missing or too short" in fault(checkpoint, layout)


def test_the_newest_whole_one_is_chosen(stopped: Path, tmp_path: Path) -> None:
    """By steps, not by name or time: 10 is after 9. What is not named like a checkpoint is none."""
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-11", "checkpoint-12.old"):
        shutil.copytree(stopped / "checkpoint-3", tmp_path / name)
    assert newest_whole(tmp_path, ADAPTER) == (str(tmp_path / "checkpoint-11"), [])
    for name in ("checkpoint-11", "checkpoint-10"):
        (tmp_path / name / "trainer_state.json").unlink()
    chosen, passed_over = newest_whole(tmp_path, ADAPTER)
    assert chosen == str(tmp_path / "checkpoint-9")
    assert [folder for folder, _ in passed_over] == [str(tmp_path / f"checkpoint-{steps}") for steps in (11, 10)]


def test_a_run_goes_on_from_the_whole_one_and_says_so(
    demo: Demo, stopped: Path, tmp_path: Path, said: list[str]
) -> None:
    """The same weights to the last bit as without the kill."""
    expected = run_recipe(saving(demo, tmp_path / "expected", 4))
    folder = shutil.copytree(stopped, tmp_path / "out")
    optimizer = folder / "checkpoint-3" / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:1000])
    (folder / "checkpoint-3" / "trainer_state.json").unlink()
    run = run_recipe(saving(demo, folder, 4))
    assert any(f"{folder}/checkpoint-3 is not a whole checkpoint and is passed over: it has no" in one for one in said)
    assert f"Resuming from {folder}/checkpoint-2 instead." in said
    assert [entry["step"] for entry in run.log if "loss" in entry] == [1, 2, 3, 4]
    assert run.series("loss") == expected.series("loss")
    weights = [load_file(one.folder / "adapter_model.safetensors") for one in (expected, run)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert fault(folder / "checkpoint-3", ADAPTER) is None, "it was written again"


def test_a_finished_run_that_is_run_again_stays_as_it_is(
    demo: Demo, stopped: Path, tmp_path: Path, said: list[str]
) -> None:
    """In the middle of an epoch; the Trainer would do a step more each time."""
    folder = shutil.copytree(stopped, tmp_path / "out")
    before = load_file(folder / "adapter_model.safetensors")
    run = run_recipe(saving(demo, folder, 3))
    assert "All 3 steps are done already: nothing is left to train." in said
    assert [entry["step"] for entry in run.log if "loss" in entry] == [1, 2, 3]
    assert not (folder / "checkpoint-4").exists()
    after = load_file(folder / "adapter_model.safetensors")
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_without_a_whole_one_the_run_starts_anew(demo: Demo, stopped: Path, tmp_path: Path, said: list[str]) -> None:
    folder = tmp_path / "out"
    shutil.copytree(stopped / "checkpoint-1", folder / "checkpoint-1")
    (folder / "checkpoint-1" / "rng_state.pth").write_bytes(b"")
    run = run_recipe(saving(demo, folder, 1))
    assert "There is no whole checkpoint: the run starts from its beginning." in said
    assert run.series("loss") == Run(stopped).series("loss")[:1]


def test_a_named_one_that_is_broken_is_a_sentence(
    demo: Demo, stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(stopped, tmp_path / "out")
    (folder / "checkpoint-3" / "adapter_model.safetensors").write_bytes(b"")
    named = saving(demo, tmp_path / "new", 4, resume_from_checkpoint=str(folder / "checkpoint-3"))
    with pytest.raises(
        ValueError,
        match=r"`resume_from_checkpoint: .*checkpoint-3` is not a whole checkpoint: adapter_model.safetensors is "
        r"damaged or was not written to its end \(.*\). Name another one \(.*checkpoint-2 is whole\).",
    ):
        run_recipe(named)
    with pytest.raises(ValueError, match=r"nowhere` is not a whole checkpoint: there is no such folder. Name another"):
        run_recipe({**named, "resume_from_checkpoint": str(tmp_path / "nowhere")})


def test_a_checkpoint_that_is_written_over_is_not_whole_meanwhile(
    demo: Demo, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill would leave files of two saves, each of which can be opened."""
    from transformers import Trainer

    folder = shutil.copytree(stopped, tmp_path / "out")
    shutil.rmtree(folder / "checkpoint-3")
    seen: list[str | None] = []
    save: Callable[..., None] = Trainer._save_optimizer_and_scheduler

    def looked(self: Any, output_dir: str) -> None:
        seen.append(fault(Path(output_dir), ADAPTER))
        save(self, output_dir)

    monkeypatch.setattr(Trainer, "_save_optimizer_and_scheduler", looked)
    run_recipe(saving(demo, folder, 2, resume_from_checkpoint=str(folder / "checkpoint-1")))
    assert seen == ["it has no trainer_state.json"]
    assert fault(folder / "checkpoint-2", ADAPTER) is None
