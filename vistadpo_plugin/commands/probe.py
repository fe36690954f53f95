"""`vistadpo evaluate probe`: how much a model looks, and at which level, before and after tuning."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from vistadpo_plugin.commands.pipe import outlive_readers

_EPILOG = """\
Without an adapter the model is probed alone. A fully tuned model goes into --model_name_or_path and the one it came
from into ref_model=... Of several adapters, those before the last belong to the base. Other keys of a recipe are given
as key=value, e.g. video_maxlen=16 media_dir=videos max_samples=200 bf16=true seed=1 vista_video_negative=shuffle
vista_on_bad_row=skip. The probe runs on one device.
Exit status: 0, or 2 for what cannot be read or used.
"""


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vistadpo evaluate probe",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", metavar="DATA", help="grounded rows, a .jsonl or .json file")
    parser.add_argument("--model_name_or_path", required=True, metavar="MODEL", help="the base model")
    parser.add_argument("--template", required=True, help="the model's family, e.g. video_llava")
    parser.add_argument("--adapter_name_or_path", metavar="ADAPTER", help="what training saved")
    parser.add_argument("--output_dir", metavar="FOLDER", help="for probe.json and probe.png (default: saves/probe)")
    parser.add_argument("keys", nargs="*", metavar="KEY=VALUE", help="other keys (media_dir: by default DATA's folder)")
    options = parser.parse_intermixed_args(argv)
    for word in options.keys:
        if not word.partition("=")[0].isidentifier() or "=" not in word:
            parser.error(f"expected key=value, got {word!r}")
    return options


def _keys(options: argparse.Namespace) -> dict[str, Any]:
    """The keys of a recipe that were given; values are read as the host reads its overrides."""
    from omegaconf import OmegaConf

    keys = OmegaConf.to_container(OmegaConf.from_cli(options.keys))
    named = ("model_name_or_path", "template", "adapter_name_or_path", "output_dir")
    return {**keys, **{name: getattr(options, name) for name in named if getattr(options, name) is not None}}


def main(argv: list[str] | None = None) -> int:
    """Probe, print the table, write probe.json and probe.png; returns the exit code."""
    options = _parse(argv)
    try:
        if not os.path.exists(options.data):
            raise ValueError(f"{options.data}: no such file.")
        keys = _keys(options)
        from vistadpo_plugin.evaluation.probe.measure import DEFAULTS, run_probe

        probe = run_probe(options.data, keys)
    except (OSError, ValueError) as error:
        print(f"vistadpo evaluate probe: {error}", file=sys.stderr)
        return 2
    from vistadpo_plugin.evaluation.probe.plot import plot_probe
    from vistadpo_plugin.evaluation.probe.table import format_table, write_json

    folder = Path(keys.get("output_dir", DEFAULTS["output_dir"]))
    write_json(folder / "probe.json", probe.rows, probe.about)
    plot_probe(probe.rows, folder / "probe.png")
    print(f"\n{format_table(probe.rows)}")
    if probe.skipped:
        were = "row was" if len(probe.skipped) == 1 else "rows were"
        print(f"{len(probe.skipped)} {were} skipped, see {folder / 'skipped_rows.jsonl'}.")
    print(f"Written: {folder / 'probe.json'}, {folder / 'probe.png'}")
    return 0


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
