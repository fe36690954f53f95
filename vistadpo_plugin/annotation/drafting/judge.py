"""Drafts held against everything that `vistadpo validate` checks."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from vistadpo_plugin.annotation.drafting.checks import VALID
from vistadpo_plugin.data.rows.dataset_info import write_rows
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.validation.examine import Options, Progress, examine
from vistadpo_plugin.validation.kinds import ERROR, KINDS, NOTE, Finding
from vistadpo_plugin.validation.source import Source


def judge_drafts(
    rows: list[dict[str, Any]],
    folder: Path,
    name: str,
    account: Account,
    progress: Progress,
    workers: int,
    time_limit: float,
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """The rows that can be used, with the check `valid`, and what is found of all of them together.

    `folder` is where the rows' paths start. A warning makes a row invalid and is to be decided; a row that cannot be
    used is left out, and a note is counted.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / name
        write_rows(file, rows)
        options = Options(str(folder), given=True, time_limit=time_limit, workers=workers)
        report = examine(Source(name, (str(file),), str(folder)), options, progress)
    found: dict[int, list[Finding]] = defaultdict(list)
    of_all = []
    for finding in report.findings:
        if finding.line is None:
            of_all.append(finding)
        else:
            found[finding.line - 1].append(finding)
    usable = []
    for index, row in enumerate(rows):
        errors = [finding for finding in found[index] if finding.severity == ERROR]
        if errors:
            account.leave_out(f"validate: {KINDS[errors[0].kind].title}", row["id"], errors[0].message)
            continue
        warnings = [finding for finding in found[index] if finding.severity != NOTE]
        for finding in found[index]:
            if finding.severity == NOTE:
                account.note(f"validate: {KINDS[finding.kind].title}", row["id"], finding.message)
        decide = [f"validate, {finding.kind}: {finding.message}. {KINDS[finding.kind].remedy}" for finding in warnings]
        checks = {VALID: not warnings, **row["checks"]}
        usable.append({**row, "checks": checks, "decide": decide + row["decide"]})
    return usable, of_all
