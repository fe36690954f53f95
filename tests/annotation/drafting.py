"""What tests of drafting share: the command in this process or in one of its own, and what it wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from local_endpoint import Endpoint

from vistadpo_plugin.commands.annotate import main

COMMAND = [sys.executable, "-c", "import sys; from vistadpo_plugin.commands.main import main; sys.exit(main())"]


def words(videos: Path, output: Path, endpoint: Endpoint, *more: str) -> list[str]:
    """Arguments of `vistadpo annotate` for two drafts a video."""
    asked = [str(videos), "-o", str(output), "--model", "m", "--base-url", endpoint.url, "--per-video", "2"]
    return [*asked, "--requests-per-minute", "60000", "--workers", "1", *more]


def annotate(videos: Path, output: Path, endpoint: Endpoint, *more: str) -> int:
    """Draft in this process; the exit status."""
    return main(words(videos, output, endpoint, "--yes", *more))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def left_out(output: Path) -> dict[str, str]:
    """Why drafts were left out, by id."""
    entries = read_jsonl(output.with_suffix(".report.jsonl"))
    return {entry["where"]: entry["reason"] for entry in entries if entry["what"] == "left out"}
