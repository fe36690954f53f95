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
from vistadpo_plugin.bench.presets import PRESETS, Preset
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
    parser.add_argument("--no-decode", action="store_true", help="leave out the comparison of video decoding")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Build, measure, report; returns the exit code: 0, 2 for a wrong argument, 1 when a run fails."""
    options = _parse(argv)
    runs = options.runs.split(",")
    unknown = [run for run in runs if run not in RUNS]
    if unknown:
        print(f"vistadpo bench: unknown runs {', '.join(unknown)}; known: {', '.join(RUNS)}", file=sys.stderr)
        return 2
    preset = PRESETS[options.preset]
    if options.steps is not None:
        preset = dataclasses.replace(preset, steps=options.steps)
    deadline = math.inf if options.time_limit is None else time.monotonic() + options.time_limit
    folder: Path = options.folder / options.preset
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
        "command": f"vistadpo bench --preset {options.preset} --runs {','.join(runs)} --rounds {rounds}",
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
        "run": run,
        "folder": str(folder),
        "output_dir": str(output_dir / "output"),
        "result": str(result),
        "profile": str(folder / f"{run}.profile.txt") if options.profile else "",
    }
    (output_dir / "job.json").write_text(json.dumps(job))
    result.unlink(missing_ok=True)
    log = output_dir / "log.txt"
    with log.open("w") as stream:
        command = [sys.executable, "-m", "vistadpo_plugin.bench.worker", str(output_dir / "job.json")]
        limit = None if seconds == math.inf else seconds
        try:
            done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False, timeout=limit)
        except subprocess.TimeoutExpired:
            return TOO_LATE
    code = done.returncode
    if code != 0 or not result.is_file():
        end = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        print(f"vistadpo bench: the run {run} failed with code {code}, see {log}:\n{end}", file=sys.stderr)
        return None
    return json.loads(result.read_text())


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
