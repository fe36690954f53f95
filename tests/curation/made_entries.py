"""Rows as `read_entries` gives them, made without a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vistadpo_plugin.curation.entries import Entry
from vistadpo_plugin.data.rows.schema import parse_row

TEXTS = {"prompt": "What happens?", "chosen": "A bar turns white.", "rejected": "A bar turns red."}


def row_of(video: str = "a.mp4", **fields: Any) -> dict[str, Any]:
    return {"video": video, **TEXTS, **fields}


def entry_of(fields: dict[str, Any], where: str = "rows.jsonl:1", media_dir: Path = Path(".")) -> Entry:
    text = json.dumps(fields)
    return Entry(text, json.loads(text), parse_row(text, where), media_dir)
