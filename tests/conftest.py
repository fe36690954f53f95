"""Shared by all tests: one tiny Video-LLaVA, one set of grounded videos, and training runs inside this process."""

from __future__ import annotations

import functools
import gc
import json
import logging
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from launching import COMMAND, launch_environment

# A suite in the background may have Ctrl-C ignored, and its children would inherit that: some of them are sent one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Files and folders whose tests wait long for other processes.
LONG = {
    "launch", "ablation", "demo", "serving", "test_host_parity.py", "test_autoload.py", "test_cli.py",
    "test_from_videos_to_training.py",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first: of several workers none sits alone with one of them at the end."""
    items.sort(key=lambda item: LONG.isdisjoint(item.path.parts))


SHARED = Path(__file__).resolve().parents[2] / "shared"
needs_shared = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the shared annotations are not here")

IMAGE_SIZE, PATCH, FRAMES = 28, 14, 8
FRAME_TOKENS = (IMAGE_SIZE // PATCH) ** 2 + 1


@dataclass
class Demo:
    """A folder with `rows.jsonl`, its `videos/` and `dataset_info.json`, and a model folder."""

    data: Path
    model: Path

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.data / "rows.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    from vistadpo_plugin.demo.shapes import build_videos
    from vistadpo_plugin.demo.tiny_model import build_tiny_video_llava

    folder = tmp_path_factory.mktemp("demo")
    rows = build_videos(folder / "data", 16, seed=0)
    corpus = [str(value) for line in rows.read_text().splitlines() for value in json.loads(line).values()]
    build_tiny_video_llava(folder / "model", corpus, image_size=IMAGE_SIZE, patch_size=PATCH)
    made = Demo(folder / "data", folder / "model")
    write_dataset_info(made.data, demo="rows.jsonl")
    return made


def write_dataset_info(folder: Path, **files: str) -> None:
    """dataset_info.json with one `formatting: vistadpo` entry a file."""
    entries = {name: {"file_name": file, "formatting": "vistadpo"} for name, file in files.items()}
    (folder / "dataset_info.json").write_text(json.dumps(entries))


def write_rows(folder: Path, rows: list[Any], name: str = "rows.jsonl") -> Path:
    """A data set folder of these rows, named `rows` to the host."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_dataset_info(folder, rows=name)
    return path


@dataclass
class Run:
    """A finished training run."""

    folder: Path

    @property
    def log(self) -> list[dict[str, float]]:
        return json.loads((self.folder / "trainer_state.json").read_text())["log_history"]

    @property
    def figures(self) -> list[dict[str, float]]:
        """Of every logged step: the loss, what the terms are made of, and rewards."""
        ours = ("loss", "vista/", "rewards/")
        return [{k: v for k, v in entry.items() if k.startswith(ours)} for entry in self.log if "loss" in entry]

    def series(self, key: str) -> list[float]:
        return [entry[key] for entry in self.log if key in entry]


def tiny_recipe(demo: Demo, output_dir: Path) -> dict[str, Any]:
    """A small complete recipe on the demo data."""
    return {
        "model_name_or_path": str(demo.model),
        "stage": "vistadpo",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_target": "all",
        "lora_rank": 4,
        "template": "video_llava",
        "dataset": "demo",
        "dataset_dir": str(demo.data),
        "media_dir": str(demo.data),
        "cutoff_len": 512,
        "video_maxlen": FRAMES,
        "output_dir": str(output_dir),
        "overwrite_output_dir": True,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "max_steps": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
    }


@pytest.fixture
def recipe(demo: Demo, tmp_path: Path) -> dict[str, Any]:
    """`tiny_recipe` for one test, which changes what it is about."""
    return tiny_recipe(demo, tmp_path / "out")


def run_recipe(args: dict[str, Any], *callbacks: Any) -> Run:
    """Run the host's own `run_exp` in this process."""
    from llamafactory.train.tuner import run_exp

    set_imports_aside()
    run_exp(args, list(callbacks))
    return Run(Path(args["output_dir"]))


@functools.cache
def set_imports_aside() -> None:
    """The host, accelerate and DeepSpeed collect garbage several times a run; what is imported is none, and is much."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def train(recipe: dict[str, Any]) -> Callable[..., Run]:
    """`run_recipe` on `recipe` with changes; None removes a key."""

    def run(**changes: Any) -> Run:
        return run_recipe({key: value for key, value in {**recipe, **changes}.items() if value is not None})

    return run


def launch_cli(recipe: Path, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real command, `llamafactory-cli train RECIPE overrides`; its standard error is in `stdout` too."""
    return subprocess.run(
        [COMMAND, "train", recipe, *overrides],
        env=launch_environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


Messages = TypeVar("Messages", bound=list)


@contextmanager
def keep_log(messages: Messages) -> Iterator[Messages]:
    """Meanwhile `messages` takes what our logger in the host says."""

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler = Keep()
    logging.getLogger("llamafactory.vistadpo").addHandler(handler)
    try:
        yield messages
    finally:
        logging.getLogger("llamafactory.vistadpo").removeHandler(handler)


@pytest.fixture
def vista() -> Callable[..., Any]:
    """The vista_* keys with changes, as a recipe would set them."""
    from vistadpo_plugin.arguments import VistaArguments

    return VistaArguments
