"""Rows under our native names: the released sample's spelling translated, nothing looked up, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vistadpo_plugin.data.rows.schema import RowError, parse_row
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.layouts.fields import to_native
from vistadpo_plugin.layouts.paths import Rebase


def convert_to_native(
    sources: list[tuple[str, dict[str, Any]]], folder: Path, media_dir: Path, account: Account
) -> list[dict[str, Any]]:
    """The rows of (place, row) under native names; files need not be there. What our reader refuses is left out."""
    rebase, rows = Rebase(media_dir, folder), []
    for where, source in sources:
        try:
            parse_row(source, where)
        except RowError as error:
            account.leave_out(error.kind or "unusable", error.where, error.message)
            continue
        rows.append(to_native(source, rebase))
    return rows
