"""`vistadpo demo`: a tiny model that hallucinates, trained on grounded videos, and what it answers before and after.

Everything it needs is made in --folder: the model, videos and rows, the recipe. Then the recipe is trained with
llamafactory-cli, and both models are asked about videos that no training saw.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vistadpo_plugin.commands.pipe import outlive_readers
from vistadpo_plugin.commands.recipes import shipped
from vistadpo_plugin.data.rows.dataset_info import write_info, write_text
from vistadpo_plugin.demo.splits import TEST, TRAIN, WORLD, Split, split_in, write_split

if TYPE_CHECKING:
    from vistadpo_plugin.demo.result import Result

MARKER = "built.json"
RECIPE, DATASET = "vistadpo_demo.yaml", "vistadpo_demo"
EVALUATION, PROBE = "evaluation", "probe"
MODEL_KEYS = {"template": "video_llava", "video_maxlen": 8}
TEXT_MODELS = ("smollm2",)
THREADS = "OMP_NUM_THREADS"


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"has to be 1 or more, got {number}")
    return number


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vistadpo demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where everything goes (default: demo)")
    parser.add_argument("--videos", type=_count, default=400, help="videos to train on, two rows each (default: 400)")
    parser.add_argument("--held-out", type=_count, default=100, help="videos to ask about afterwards (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="decides videos, questions and training (default: 0)")
    parser.add_argument(
        "--recipe", type=Path, help="what to train (default: the recipe that ships, written into the folder)"
    )
    parser.add_argument("--build-only", action="store_true", help="write model, videos and recipe, do not train")
    parser.add_argument(
        "--rebuild-base",
        type=Path,
        metavar="FOLDER",
        help="make the model that ships again, into this folder, and nothing else (minutes)",
    )
    parser.add_argument(
        "--text-model",
        choices=TEXT_MODELS,
        help="with --rebuild-base: make another base, with this language model (15 minutes; needs the extra `lab`)",
    )
    parser.add_argument(
        "--truth-steps",
        type=_count,
        metavar="N",
        help="with --rebuild-base: a base that sees less, told the truth for N steps (the one that ships: 12000)",
    )
    options = parser.parse_args(argv)
    for name in ("text_model", "truth_steps"):
        if getattr(options, name) is not None and options.rebuild_base is None:
            parser.error(f"--{name.replace('_', '-')} needs --rebuild-base, the folder to make that base in")
    if options.text_model is not None and options.truth_steps is not None:
        parser.error("--truth-steps is for the demo's own base, not for that of --text-model")
    return options


def build(folder: Path, videos: int, held_out: int, seed: int) -> None:
    """Write model, videos, rows and recipe into `folder`, unless the same build is there."""
    wanted = {"world": WORLD, "videos": videos, "held_out": held_out, "seed": seed}
    marker = folder / MARKER
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == wanted:
        print(f"Model and videos in {folder} are there already ({marker} matches): reused.", flush=True)
        return
    from vistadpo_plugin.demo.base_build import base_folder

    marker.unlink(missing_ok=True)
    print(f"Making {videos} videos to train on and {held_out} held-out ones in {folder} ...", flush=True)
    for name in ("videos", TRAIN, TEST, "model", EVALUATION):
        shutil.rmtree(folder / name, ignore_errors=True)
    write_split(folder, TRAIN, videos, seed)
    write_split(folder, TEST, held_out, seed)
    shutil.copytree(base_folder(), folder / "model")
    write_info(folder, {DATASET: {"file_name": f"{TRAIN}.jsonl", "formatting": "vistadpo"}})
    write_text(folder / RECIPE, recipe_text(folder, seed))
    write_text(marker, json.dumps(wanted, indent=2) + "\n")


def recipe_text(folder: Path, seed: int) -> str:
    """The recipe that ships, with this folder's paths and this seed in it."""
    text = (shipped() / RECIPE).read_text(encoding="utf-8")
    where = folder.as_posix()
    changes: dict[str, Any] = {
        "model_name_or_path": f"{where}/model",
        "dataset_dir": where,
        "media_dir": where,
        "output_dir": f"{where}/tuned",
        "seed": seed,
    }
    for key, value in changes.items():
        line = yaml.safe_dump({key: value}, width=10_000).strip()
        text, found = re.subn(rf"(?m)^{key}:.*$", lambda _, line=line: line, text)
        assert found == 1, key
    return text


def read_recipe(path: Path, model: Path) -> dict[str, Any]:
    """The recipe's keys, after a check that it trains an adapter of the model that the demo builds.

    Raises:
        ValueError: there is no such recipe, it names no output_dir, it trains another model, or all of its weights.
    """
    if not path.is_file():
        raise ValueError(f"no recipe at {path}: name another one with --recipe, or leave it out for the one that ships")
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "output_dir" not in recipe:
        raise ValueError(f"{path} names no output_dir")
    named = recipe.get("model_name_or_path")
    if named is None or Path(named).resolve() != model.resolve():
        raise ValueError(f"{path} trains {named}, but the demo's model is {model}: change --recipe or --folder")
    if recipe.get("finetuning_type", "lora") != "lora":
        raise ValueError(f"{path}: the demo compares the model with an adapter; set finetuning_type: lora")
    return recipe


def _is_trained(output_dir: Path, marker: Path) -> bool:
    """Whether `output_dir` holds a finished run that is newer than the build."""
    state = output_dir / "trainer_state.json"
    if not state.is_file() or state.stat().st_mtime < marker.stat().st_mtime:
        return False
    content = json.loads(state.read_text(encoding="utf-8"))
    return content["global_step"] >= content["max_steps"]


def _find_cli() -> str:
    """The llamafactory-cli of the running interpreter's environment, else the first on the PATH.

    Raises:
        ValueError: there is none.
    """
    beside = Path(sys.executable).parent / "llamafactory-cli"
    found = str(beside) if beside.is_file() else shutil.which("llamafactory-cli")
    if found is None:
        raise ValueError("llamafactory-cli is not installed beside this Python nor on the PATH")
    return found


def _train(command: list[str], output_dir: Path, folder: Path) -> int:
    """Exit code of the training, 0 where a finished run is there."""
    if _is_trained(output_dir, folder / MARKER):
        print(f"The finished run in {output_dir} is reused; to train again, delete that folder.", flush=True)
        return 0
    shutil.rmtree(folder / EVALUATION, ignore_errors=True)  # replies of another run
    print(f"Training: {THREADS}={os.environ[THREADS]} {' '.join(command)}", flush=True)
    return subprocess.run(command, check=False).returncode


def evaluate(folder: Path, split: Split, adapter: Path) -> Result:
    """Ask both models about the held-out videos; writes page and pictures."""
    from vistadpo_plugin.demo.page import draw_picture, render_page
    from vistadpo_plugin.demo.result import compare
    from vistadpo_plugin.evaluation.ask import infer
    from vistadpo_plugin.evaluation.probe.measure import run_probe
    from vistadpo_plugin.evaluation.probe.plot import plot_probe
    from vistadpo_plugin.evaluation.probe.table import BASE, TUNED, write_json
    from vistadpo_plugin.evaluation.question import read_replies
    from vistadpo_plugin.evaluation.recipe import Folders, Recipe
    from vistadpo_plugin.evaluation.replies import REPLIES
    from vistadpo_plugin.evaluation.report import write_report
    from vistadpo_plugin.evaluation.run import export, score

    keys = {"model_name_or_path": str(folder / "model"), **MODEL_KEYS}
    tuned = {**keys, "adapter_name_or_path": str(adapter)}
    recipe = Recipe(
        models={BASE: keys, TUNED: tuned},
        benchmarks={"shapes": Folders(split.annotations, split.videos)},
        output_dir=folder / EVALUATION,
        batch_size=32,
        max_new_tokens=16,
        judge=None,
    )
    exported = export(recipe)
    infer(recipe, exported, allow_partial=False)
    write_report(recipe.output_dir, score(recipe, exported, allow_partial=False))
    replies = {model: read_replies(recipe.output_dir / "shapes" / model / REPLIES) for model in recipe.models}
    probe = run_probe(
        str(split.rows), {**tuned, "output_dir": str(folder / PROBE), "per_device_eval_batch_size": 8, "use_cpu": True}
    )
    write_json(folder / PROBE / "probe.json", probe.rows, probe.about)
    plot_probe(probe.rows, folder / PROBE / "probe.png")
    result = compare(split, replies, probe.rows)
    write_text(folder / "demo.html", render_page(result))
    draw_picture(result, folder / "demo.png")
    return result


def main(argv: list[str] | None = None) -> int:
    """Run the demo; returns the exit code: 0, 2 for a wrong argument, or llamafactory-cli's own."""
    options = _parse(argv)
    folder: Path = options.folder
    if options.rebuild_base is not None:
        return _rebuild(options.rebuild_base, options.seed, options.text_model, options.truth_steps)
    if options.build_only:
        build(folder, options.videos, options.held_out, options.seed)
        return 0
    # So small a model gains nothing from a second thread, and waits for it in every operation where a core is busy: a
    # step of 0.2 s took 17 s so. Training inherits it; here torch is not imported yet.
    os.environ.setdefault(THREADS, "1")
    path = options.recipe or folder / RECIPE
    try:
        command = [_find_cli(), "train", str(path)]
        if options.recipe is not None:
            read_recipe(path, folder / "model")
        build(folder, options.videos, options.held_out, options.seed)
        output_dir = Path(read_recipe(path, folder / "model")["output_dir"])
    except ValueError as error:
        print(f"vistadpo demo: {error}", file=sys.stderr)
        return 2
    code = _train(command, output_dir, folder)
    if code != 0:
        print(f"vistadpo demo: training failed, llamafactory-cli returned {code}", file=sys.stderr)
        return code
    print("Asking both models about the held-out videos ...", flush=True)
    from vistadpo_plugin.demo.result import format_table

    print(f"\n{format_table(evaluate(folder, split_in(folder, TEST), output_dir))}\n")
    for name, what in (
        (folder / "demo.html", "ten of these videos with both answers, for a browser"),
        (folder / "demo.png", "the same as a picture"),
        (folder / EVALUATION / "report.md", "every figure of the questions"),
        (folder / PROBE / "probe.png", "the margins row by row"),
        (output_dir, "the adapter, its log and plots"),
    ):
        print(f"{str(name):<28} {what}")
    return 0


def _rebuild(folder: Path, seed: int, text_model: str | None, truth_steps: int | None) -> int:
    from vistadpo_plugin.demo.base_build import CARD, Steps, build_base
    from vistadpo_plugin.demo.lab.build import LabSteps, build_lab_base

    steps = Steps() if truth_steps is None else Steps(truth=(truth_steps,))
    try:
        figures = build_base(folder, steps, seed) if text_model is None else build_lab_base(folder, LabSteps(), seed)
    except ValueError as error:
        print(f"vistadpo demo: {error}", file=sys.stderr)
        return 2
    print("\n".join(f"{name:<50}{value:6.1f} %" for name, value in figures.items()))
    print(f"Written: {folder}, its card {folder / CARD}")
    return 0


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
