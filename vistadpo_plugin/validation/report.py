"""The report of `vistadpo validate`, as a page of text and as JSON."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from vistadpo_plugin.data.views.frames import plural
from vistadpo_plugin.training.summary import term_table
from vistadpo_plugin.validation.examine import Report
from vistadpo_plugin.validation.files import VideoFacts
from vistadpo_plugin.validation.kinds import KINDS, SEVERITIES, Finding
from vistadpo_plugin.validation.texts import TextStatistics


def as_text(report: Report, shown: int | None) -> str:
    """For people: findings by kind (`shown` rows of each, None: all), then the tables, then the verdict."""
    blocks = [[_heading(report)]]
    for severity in SEVERITIES:
        blocks += _findings(report.findings, severity, shown)
    blocks.append(_terms(report))
    if report.media_dir is not None:
        blocks.append(_videos(report.videos))
    if report.texts is not None:
        blocks.append(_texts(report.texts))
    blocks.append([verdict(report)])
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _heading(report: Report) -> str:
    files = "no videos looked at" if report.media_dir is None else f"videos below {report.media_dir}"
    return f"{report.source.name}: {plural(report.rows, 'row')}, {files}"


def _findings(findings: Sequence[Finding], severity: str, shown: int | None) -> list[list[str]]:
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.severity == severity:
            by_kind[finding.kind].append(finding)
    if not by_kind:
        return []
    blocks = [[f"{severity.upper()}S: {SEVERITIES[severity]}"]]
    for kind in [kind for kind in KINDS if kind in by_kind]:
        found = by_kind[kind]
        rows = "" if KINDS[kind].whole else f" ({plural(len({finding.place for finding in found}), 'row')})"
        blocks.append([f"  {kind}{rows}: {KINDS[kind].title}", f"    > {KINDS[kind].remedy}"])
        blocks[-1] += [_printable(f"    {finding.where}: {finding.message}") for finding in found[:shown]]
        if shown is not None and len(found) > shown:
            blocks[-1].append(f"    and {len(found) - shown} more (--all lists them)")
    return blocks


def _printable(text: str) -> str:
    """Texts come from anywhere: a line stays one line, and no control code reaches the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _terms(report: Report) -> list[str]:
    if not len(report.usable):
        return []
    return [
        f"TERMS: how many of {plural(len(report.usable), 'usable row')} carry which, with the default vista_* keys",
        *term_table(report.usable, report.vista.weights, report.view_keys),
    ]


def _videos(videos: Sequence[VideoFacts]) -> list[str]:
    if not videos:
        return []
    lines = [f"VIDEOS: {len(videos)} could be read"]
    lines.append(f"  seconds      {_spread([video.seconds for video in videos])}")
    lines.append(f"  frames       {_spread([video.frames for video in videos])}")
    files = [video for video in videos if video.is_file]
    if files:
        lines.append(f"  per second   {_most_common([f'{video.rate:.4g}' for video in files])}")
    lines.append(f"  size         {_most_common(['{}x{}'.format(*video.size) for video in videos])}")
    return lines


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.4g} to {max(values):.4g}, median {statistics.median(values):.4g}"


def _most_common(values: Sequence[str], shown: int = 5) -> str:
    counts = Counter(values)
    text = ", ".join(f"{value} ({count})" for value, count in counts.most_common(shown))
    return text if len(counts) <= shown else f"{text} and {len(counts) - shown} others"


def _texts(texts: TextStatistics) -> list[str]:
    lines = ["TEXTS: characters", f"  {'field':<20}{'rows':>6}{'mean':>8}{'median':>8}{'least':>8}{'most':>8}"]
    for name, length in texts.lengths.items():
        lines.append(
            f"  {name:<20}{length.rows:>6}{length.mean:>8.1f}{length.median:>8g}{length.shortest:>8}{length.longest:>8}"
        )
    rows = texts.lengths["chosen"].rows
    lines.append(
        f"  `chosen` is longer than `rejected` in {texts.chosen_longer / rows:.0%} of rows, "
        f"shorter in {texts.chosen_shorter / rows:.0%}"
    )
    return lines


def verdict(report: Report) -> str:
    """The last line: how many rows can be used."""
    counts = Counter(KINDS[finding.kind].severity for finding in report.findings)
    found = ", ".join(plural(counts[severity], severity) for severity in SEVERITIES)
    usable = len(report.usable)
    if not report.rows:
        return f"There are no rows ({found})."
    files = " as far as the annotations tell" if report.media_dir is None else ""
    if usable == report.rows:
        return f"All {plural(report.rows, 'row')} can be used{files} ({found})."
    return f"{report.rows - usable} of {plural(report.rows, 'row')} cannot be used{files} ({found})."


def as_json(report: Report) -> dict[str, Any]:
    """For programs: everything, without a limit on how much is listed."""
    videos = [{**dataclasses.asdict(video), "frames_per_second": video.rate} for video in report.videos]
    return {
        "data": report.source.name,
        "files": list(report.source.files),
        "media_dir": report.media_dir,
        "rows": report.rows,
        "usable": len(report.usable),
        "findings": [_finding(finding) for finding in report.findings],
        "terms": {
            term: {"rows": gaps[None], "without": {reason: n for reason, n in gaps.items() if reason is not None}}
            for term, gaps in report.terms.items()
        },
        "videos": videos,
        "texts": None if report.texts is None else dataclasses.asdict(report.texts),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "place": finding.place,
        "line": finding.line,
        "id": finding.id,
        "message": finding.message,
    }
