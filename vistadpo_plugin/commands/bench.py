"""`vistadpo bench`: what the hierarchical objective costs beside the host's plain DPO, measured in one run."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from vistadpo_plugin.bench.build import RUNS
from vistadpo_plugin.bench.presets import PRESETS, STEP_SECONDS, Preset
from vistadpo_plugin.bench.rows import UNEVEN_ROWS
from vistadpo_plugin.commands.pipe import outlive_readers
from vistadpo_plugin.run_record.provenance import MEASURED, versions


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vistadpo bench", description=__doc__)
    presets = "; ".join(f"{name}: {preset.about}" for name, preset in PRESETS.items())
    parser.add_argument("--preset", choices=PRESETS, default="cpu", help=presets)
    parser.add_argument("--runs", default=",".join(RUNS), help=f"which of {', '.join(RUNS)}; the first is the measure")
    parser.add_argument("--rounds", type=int, help="how often each is run, in turn (default: the preset's)")
    parser.add_argument("--folder", type=Path, default=Path("saves/bench"), help="model, data and results go here")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="one round, each run with one more step under torch's profiler: RUN.profile.txt",
    )
    parser.add_argument("--steps", type=int, help="timed steps of each run (default: the preset's)")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="end early, with what is known by then")
    parser.add_argument(
        "--uneven",
        action="store_true",
        help="rows that differ in the length of texts and in what is grounded; the same in every run at every step",
    )
    parser.add_argument(
        "--data",
        action="store_true",
        help="instead of training: what the collator takes of a core for a row of a 30 s and of a 5 min 720p file, "
        "beside decoding by torchcodec and decord where they are installed, and how many loader workers feed a step",
    )
    parser.add_argument(
        "--step-seconds",
        type=_seconds,
        metavar="SECONDS,...",
        default=list(STEP_SECONDS),
        help="with --data: a step of two rows (default: an H100's, see docs/performance.md, reference cold and warm)",
    )
    parser.add_argument("--no-decode", action="store_true", help="leave out the comparison of video decoding")
    options = parser.parse_args(argv)
    others = ("preset", "runs", "profile", "steps", "uneven", "no_decode") if options.data else ("step_seconds",)
    for name in others:
        if getattr(options, name) != parser.get_default(name):
            how = "does not go with --data" if options.data else "goes with --data"
            parser.error(f"--{name.replace('_', '-')} {how}")
    return options


def _seconds(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < seconds < math.inf for seconds in found):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of seconds, as in 2.31,1.92")
    return found


def main(argv: list[str] | None = None) -> int:
    """Build, measure, report; returns the exit code: 0, 2 for a wrong argument, 1 when a run fails."""
    options = _parse(argv)
    if options.data:
        return _data(options)
    runs = options.runs.split(",")
    unknown = [run for run in runs if run not in RUNS]
    if unknown:
        print(f"vistadpo bench: unknown runs {', '.join(unknown)}; known: {', '.join(RUNS)}", file=sys.stderr)
        return 2
    preset = dataclasses.replace(PRESETS[options.preset], uneven=options.uneven)
    if options.steps is not None:
        preset = dataclasses.replace(preset, steps=options.steps)
    needed = preset.batch * (preset.warmup + preset.steps + options.profile)
    if preset.uneven and needed > UNEVEN_ROWS:
        print(
            f"vistadpo bench: --uneven has {UNEVEN_ROWS} rows, {preset.warmup} untimed and {preset.steps} timed steps"
            f"{' and the profiled one' if options.profile else ''} take {needed}; give fewer --steps",
            file=sys.stderr,
        )
        return 2
    deadline = math.inf if options.time_limit is None else time.monotonic() + options.time_limit
    folder: Path = options.folder / (f"{options.preset}-uneven" if preset.uneven else options.preset)
    rounds = 1 if options.profile else options.rounds or preset.rounds
    if not (folder / "model" / "config.json").is_file():
        from vistadpo_plugin.bench.build import build

        print(f"Building a model with random weights and its data in {folder} ...", flush=True)
        build(folder, preset)

    from vistadpo_plugin.bench.report import collect, table, write

    measured: dict[str, list[dict[str, Any]]] = {}
    results: list[Any] = []
    about = {
        "preset": options.preset,
        "date": datetime.date.today().isoformat(),
        "versions": versions(*MEASURED),
        "command": f"vistadpo bench --preset {options.preset} --runs {','.join(runs)} --rounds {rounds}"
        + (" --uneven" if preset.uneven else ""),
    }
    for turn, run in [(turn, run) for turn in range(rounds) for run in runs]:
        left = deadline - time.monotonic()
        result = _measure(folder, options, preset, run, left) if left > 0 else TOO_LATE
        if result is TOO_LATE:
            print(f"--time-limit {options.time_limit:g}: over in round {turn + 1}, at the run {run}", flush=True)
            break
        if result is None:
            return 1
        measured.setdefault(run, []).append(result)
        steps = " ".join(f"{seconds:.2f}" for seconds in result["steps"])
        print(f"round {turn + 1} of {rounds}  {run:<9} {steps} s  {result['peak_mib']:.0f} MiB", flush=True)
        # What is known is written at once: the next run may be the one that does not end.
        results = [collect(one, measured[one]) for one in runs if one in measured]
        about["machine"] = f"{results[0].device}, {os.cpu_count()} cores, {platform.machine()}"
        write(folder, results, preset, None, about)
    if not results:
        print("vistadpo bench: the time was over before the first run ended", file=sys.stderr)
        return 1
    decode = None
    if not options.no_decode and time.monotonic() < deadline:
        from vistadpo_plugin.bench.decode import compare

        decode = compare(folder)
        write(folder, results, preset, decode, about)
    print(f"\n{table(results, preset, decode)}\n\nWritten: {folder}/bench.json, bench.md, bench.png")
    return 0


TOO_LATE: dict[str, Any] = {}
"""A run that did not end in time."""


def _measure(
    folder: Path, options: argparse.Namespace, preset: Preset, run: str, seconds: float
) -> dict[str, Any] | None:
    """One round of one run, in a process of its own: memory and allocator start anew. None when it fails."""
    output_dir = folder / "runs" / run
    output_dir.mkdir(parents=True, exist_ok=True)
    result = output_dir / "result.json"
    job = {
        "preset": options.preset,
        "steps": preset.steps,
        "uneven": preset.uneven,
        "run": run,
        "folder": str(folder),
        "output_dir": str(output_dir / "output"),
        "result": str(result),
        "profile": str(folder / f"{run}.profile.txt") if options.profile else "",
    }
    ended = _run("vistadpo_plugin.bench.worker", job, output_dir, seconds)
    if ended is None:
        return TOO_LATE
    return json.loads(result.read_text()) if ended else None


NOTHING_YET: dict[str, Any] = {"absent": {}, "other_pictures": [], "turns": []}


def _data(options: argparse.Namespace) -> int:
    """`--data`: what the collator costs, see `bench/feed.py`. Returns the exit code as `main` does."""
    folder: Path = options.folder / "data"
    result = folder / "result.json"
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Making videos in {folder} where they are not there yet, and measuring ...", flush=True)
    rounds = options.rounds or 2
    seconds = math.inf if options.time_limit is None else options.time_limit
    job = {"folder": str(folder), "rounds": rounds, "result": str(result)}
    ended = _run("vistadpo_plugin.bench.feed", job, folder, seconds)
    if ended is False:
        return 1
    measured = json.loads(result.read_text()) if result.is_file() else NOTHING_YET
    if ended is None:
        print(f"--time-limit {options.time_limit:g}: over after {len(measured['turns'])} measurements", flush=True)

    from vistadpo_plugin.bench.feed_report import feed_summary, feed_table

    summary = feed_summary(measured, options.step_seconds)
    if not summary["costs"]:
        print("vistadpo bench: the time was over before anything was measured", file=sys.stderr)
        return 1
    about = {
        "date": datetime.date.today().isoformat(),
        "versions": versions(*MEASURED, "av", "torchcodec", "decord"),
        "command": f"vistadpo bench --data --rounds {rounds}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }
    (folder / "bench.json").write_text(json.dumps({**about, "data": summary}, indent=1))
    (folder / "bench.md").write_text(feed_table(summary) + "\n")
    print(f"\n{feed_table(summary)}\n\nWritten: {folder}/bench.json, bench.md")
    return 0


def _run(module: str, job: dict[str, Any], folder: Path, seconds: float) -> bool | None:
    """A module as a process of its own, told what to do in `folder/job.json`, its output in `folder/log.txt`.

    Whether it ended well and wrote its result, said where not; None when it did not end in time.
    """
    (folder / "job.json").write_text(json.dumps(job))
    result = Path(job["result"])
    result.unlink(missing_ok=True)
    log = folder / "log.txt"
    with log.open("w") as stream:
        command = [sys.executable, "-m", module, str(folder / "job.json")]
        limit = None if seconds == math.inf else seconds
        try:
            done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False, timeout=limit)
        except subprocess.TimeoutExpired:
            return None
    if done.returncode != 0 or not result.is_file():
        end = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        what = f"the run {job['run']}" if "run" in job else "the measurement"
        print(f"vistadpo bench: {what} failed with code {done.returncode}, see {log}:\n{end}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
