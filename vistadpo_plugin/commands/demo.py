"""`vistadpo demo`: make videos and a tiny model, train on them, and show what the training changed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from vistadpo_plugin.commands.pipe import outlive_readers
from vistadpo_plugin.demo.table import format_files, format_table, read_loss, read_terms

VERSION = 1  # of what is built; raised when shapes.py or tiny_model.py change what they make
MARKER = "built.json"
TEXTS = ("prompt", "chosen", "rejected", "rejected_irrelevant")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"has to be 1 or more, got {number}")
    return number


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vistadpo demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where videos and model go (default: demo)")
    parser.add_argument("--rows", type=_count, default=48, help="preference rows to make (default: 48)")
    parser.add_argument("--seed", type=int, default=0, help="decides videos, weights and warm-up (default: 0)")
    parser.add_argument("--steps", type=_count, default=200, help="steps of the model's warm-up (default: 200)")
    parser.add_argument(
        "--recipe",
        type=Path,
        default=Path("recipes/vistadpo_demo.yaml"),
        help="what to train (default: recipes/vistadpo_demo.yaml)",
    )
    parser.add_argument("--build-only", action="store_true", help="make videos and model, do not train")
    return parser.parse_args(argv)


def _write_atomically(path: Path, content: dict[str, Any]) -> None:
    """A reader finds the old file or the whole new one, never a part."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)


def _is_built(folder: Path, wanted: dict[str, int]) -> bool:
    marker = folder / MARKER
    return marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == wanted


def build(folder: Path, rows: int, seed: int, steps: int) -> None:
    """Write videos, rows and the warmed-up model below `folder`, unless the same build is there."""
    wanted = {"version": VERSION, "rows": rows, "seed": seed, "steps": steps}
    if _is_built(folder, wanted):
        print(f"Videos and model in {folder} are there already ({folder / MARKER} matches): reused.", flush=True)
        return

    from vistadpo_plugin.demo.shapes import build_videos
    from vistadpo_plugin.demo.tiny_model import build_tiny_video_llava, warm_up

    (folder / MARKER).unlink(missing_ok=True)
    print(f"Making {rows} rows of videos with moving shapes in {folder} ...", flush=True)
    path = build_videos(folder, rows, seed)
    print(f"Making a tiny Video-LLaVA in {folder / 'model'} ...", flush=True)
    texts = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    corpus = [text[field] for text in texts for field in TEXTS if field in text]
    build_tiny_video_llava(folder / "model", corpus, seed)
    print(f"Warming it up for {steps} steps, so that it speaks about the videos, truly or not ...", flush=True)
    warm_up(folder / "model", folder, steps, seed)
    _write_atomically(folder / MARKER, wanted)


def read_recipe(path: Path, model: Path) -> Path:
    """The recipe's output_dir, after a check that the recipe trains the model that the demo builds.

    Raises:
        ValueError: there is no such recipe, it names no output_dir, or it trains another model.
    """
    if not path.is_file():
        raise ValueError(f"no recipe at {path}: run from the folder that holds it, or name it with --recipe")
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "output_dir" not in recipe:
        raise ValueError(f"{path} names no output_dir")
    named = recipe.get("model_name_or_path")
    if named is None or Path(named).resolve() != model.resolve():
        raise ValueError(f"{path} trains {named}, but the demo's model is {model}: change --recipe or --folder")
    return Path(recipe["output_dir"])


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


def main(argv: list[str] | None = None) -> int:
    """Run the demo; returns the exit code: 0, 2 for a wrong argument, or llamafactory-cli's own."""
    options = _parse(argv)
    folder: Path = options.folder
    if options.build_only:
        build(folder, options.rows, options.seed, options.steps)
        return 0
    try:
        output_dir = read_recipe(options.recipe, folder / "model")
        command = [_find_cli(), "train", str(options.recipe)]
    except ValueError as error:
        print(f"vistadpo demo: {error}", file=sys.stderr)
        return 2
    build(folder, options.rows, options.seed, options.steps)

    if _is_trained(output_dir, folder / MARKER):
        print(f"The finished run in {output_dir} is reused; to train again, delete that folder.", flush=True)
    else:
        print(f"Training: {' '.join(command)}", flush=True)
        code = subprocess.run(command, check=False).returncode
        if code != 0:
            print(f"vistadpo demo: training failed, llamafactory-cli returned {code}", file=sys.stderr)
            return code
    print()
    print(format_table(read_terms(output_dir), read_loss(output_dir)))
    print()
    print(format_files(output_dir))
    return 0


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
