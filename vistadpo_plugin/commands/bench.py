"""`vistadpo bench`: what the hierarchical objective costs beside the host's plain DPO, measured in one run."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from vistadpo_plugin.bench.build import RUNS
from vistadpo_plugin.bench.presets import PRESETS
from vistadpo_plugin.run_record.provenance import versions

VERSIONS = ("vistadpo-plugin", "llamafactory", "torch", "transformers", "peft")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vistadpo bench", description=__doc__)
    presets = "; ".join(f"{name}: {preset.about}" for name, preset in PRESETS.items())
    parser.add_argument("--preset", choices=PRESETS, default="cpu", help=presets)
    parser.add_argument("--runs", default=",".join(RUNS), help=f"which of {', '.join(RUNS)}; the first is the measure")
    parser.add_argument("--rounds", type=int, help="how often each is run, in turn (default: the preset's)")
    parser.add_argument("--folder", type=Path, default=Path("saves/bench"), help="model, data and results go here")
    parser.add_argument("--profile", action="store_true", help="one round under torch's profiler: RUN.profile.txt")
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
    folder: Path = options.folder / options.preset
    rounds = 1 if options.profile else options.rounds or preset.rounds
    if not (folder / "model" / "config.json").is_file():
        from vistadpo_plugin.bench.build import build

        print(f"Building a model with random weights and its data in {folder} ...", flush=True)
        build(folder, preset)

    measured: dict[str, list[dict[str, Any]]] = {run: [] for run in runs}
    for turn in range(rounds):
        for run in runs:
            result = _measure(folder, options.preset, run, options.profile)
            if result is None:
                return 1
            measured[run].append(result)
            steps = " ".join(f"{seconds:.2f}" for seconds in result["steps"])
            print(f"round {turn + 1} of {rounds}  {run:<9} {steps} s  {result['peak_mib']:.0f} MiB", flush=True)
    decode = None
    if not options.no_decode:
        from vistadpo_plugin.bench.decode import compare

        decode = compare(folder)

    from vistadpo_plugin.bench.report import collect, table, write

    results = [collect(run, measured[run]) for run in runs]
    about = {
        "preset": options.preset,
        "date": datetime.date.today().isoformat(),
        "machine": f"{results[0].device}, {os.cpu_count()} cores, {platform.machine()}",
        "versions": versions(*VERSIONS),
        "command": f"vistadpo bench --preset {options.preset} --runs {','.join(runs)} --rounds {rounds}",
    }
    write(folder, results, preset, decode, about)
    print(f"\n{table(results, preset, decode)}\n\nWritten: {folder}/bench.json, bench.md, bench.png")
    return 0


def _measure(folder: Path, preset: str, run: str, profile: bool) -> dict[str, Any] | None:
    """One round of one run, in a process of its own: memory and allocator start anew."""
    output_dir = folder / "runs" / run
    output_dir.mkdir(parents=True, exist_ok=True)
    result = output_dir / "result.json"
    job = {
        "preset": preset,
        "run": run,
        "folder": str(folder),
        "output_dir": str(output_dir / "output"),
        "result": str(result),
        "profile": str(folder / f"{run}.profile.txt") if profile else "",
    }
    (output_dir / "job.json").write_text(json.dumps(job))
    result.unlink(missing_ok=True)
    log = output_dir / "log.txt"
    with log.open("w") as stream:
        command = [sys.executable, "-m", "vistadpo_plugin.bench.worker", str(output_dir / "job.json")]
        code = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False).returncode
    if code != 0 or not result.is_file():
        end = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        print(f"vistadpo bench: the run {run} failed with code {code}, see {log}:\n{end}", file=sys.stderr)
        return None
    return json.loads(result.read_text())


if __name__ == "__main__":
    sys.exit(main())
