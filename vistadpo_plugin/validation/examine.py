"""From files of rows to everything that is found in them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.rows.box_style import box_style
from vistadpo_plugin.data.rows.grounded_rows import GroundedRows
from vistadpo_plugin.data.rows.grounding import GroundedRow, assume_files, find_video
from vistadpo_plugin.data.rows.reader import read_rows
from vistadpo_plugin.data.rows.schema import Row, RowError, parse_row
from vistadpo_plugin.data.views.frames import plural
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.looks import find_alike
from vistadpo_plugin.data.views.views import NO_MATE
from vistadpo_plugin.training.summary import term_gaps
from vistadpo_plugin.validation.files import Problem, VideoFacts, VideoJob, VideoResult, inspect
from vistadpo_plugin.validation.isolation import Died, Hung, Workers
from vistadpo_plugin.validation.judge import BOX_KINDS, judge
from vistadpo_plugin.validation.kinds import ERROR, Finding
from vistadpo_plugin.validation.source import Source
from vistadpo_plugin.validation.texts import TextStatistics, judge_lengths, judge_repetitions, judge_text, measure
from vistadpo_plugin.validation.tokens import ModelTokens

# On top of the limit for a video: what a row of it may take for its own images.
_SECONDS_A_ROW = 0.2

# Of videos that look like another: how many a message names.
_NAMED = 5

Progress = Callable[[Iterable[tuple[int, object]], int], Iterable[tuple[int, object]]]
"""Wraps the results of so many videos, to show how far the work is."""


@dataclass(frozen=True)
class Options:
    """How thorough to be. `media_dir` None: look at no files, judge the annotations only.

    `given` tells whether the user named that folder; if not, and it has none of the videos, the annotations are judged.
    `tokens` are those of the model that the rows are for, where it was told.
    """

    media_dir: str | None
    given: bool = False
    images_fps: float = 2.0
    decode: bool = True
    time_limit: float = 60.0
    workers: int = 1
    tokens: ModelTokens | None = None


@dataclass
class Report:
    """What is found: `findings` in the order of the rows, the rest for the tables.

    `terms` counts for every term why rows lack it, and under None those that have it; `looked_at_files` tells whether
    files were judged at all.
    """

    source: Source
    vista: VistaArguments
    media_dir: str | None
    rows: int = 0
    findings: list[Finding] = field(default_factory=list)
    usable: GroundedRows = field(default_factory=lambda: GroundedRows(()))
    terms: dict[str, Counter] = field(default_factory=dict)
    videos: list[VideoFacts] = field(default_factory=list)
    texts: TextStatistics | None = None

    @property
    def view_keys(self) -> ViewKeys:
        """What of the keys decides the terms."""
        return ViewKeys.of(self.vista)

    @property
    def has_errors(self) -> bool:
        return any(finding.severity == ERROR for finding in self.findings)


def examine(source: Source, options: Options, progress: Progress = lambda results, _: results) -> Report:
    """Read and judge all rows of `source`. Whatever is wrong with them is a finding, never an exception."""
    report = Report(source, VistaArguments(), options.media_dir)
    lines = _read(source, report)
    report.rows = len(lines)
    found = _Findings([place for place, _ in lines])
    rows: dict[int, Row] = {}
    for index, (place, text) in enumerate(lines):
        try:
            rows[index] = parse_row(text, place)
        except RowError as error:
            found.add(index, error.kind or "unexpected-error", error.message, error.where)
        else:
            found.where[index] = rows[index].where
            if options.tokens is not None:
                message = options.tokens.media_error(rows[index])
                if message is not None:
                    found.add(index, "media-token", message)
                    del rows[index]

    if options.media_dir is not None and not options.given and rows and not _any_video(rows.values(), options):
        report.media_dir = None
        report.findings.append(_media_absent(source, options.media_dir, rows.values()))
    as_written = {index: assume_files(row) for index, row in rows.items()}
    usable = as_written if report.media_dir is None else {}
    if report.media_dir is not None:
        looks: dict[str, tuple[int, ...]] = {}
        for index, outcome in _look_at_files(rows, options, report, looks, progress):
            if isinstance(outcome, Problem):
                found.add(index, outcome.kind, outcome.message)
            else:
                usable[index] = outcome
    for index, row in rows.items():
        for kind, message in judge(usable.get(index, as_written[index]), report.view_keys):
            found.add(index, kind, message)
        for kind, message in judge_text(row):
            found.add(index, kind, message)
        for message in options.tokens.controls(row) if options.tokens is not None else ():
            found.add(index, "control-token", message)
    indices = list(rows)
    for place, kind, message in judge_repetitions(list(rows.values())):
        found.add(indices[place], kind, message)
    report.findings += found.in_order()
    _summarize(report, list(rows.values()), [usable[index] for index in sorted(usable)])
    if report.media_dir is not None:
        report.findings += _alike(report, looks)
    return report


class _Findings:
    """Findings by row; `where` has the name of the row at each index, as in `rows.jsonl:12 (id 7)`."""

    def __init__(self, places: Sequence[str]):
        self.places = places
        self.where: dict[int, str] = {}
        self._found: dict[int, list[Finding]] = defaultdict(list)

    def add(self, index: int, kind: str, message: str, where: str | None = None) -> None:
        place = self.places[index]
        name = (where or self.where[index]).removeprefix(place)
        identifier = name.removeprefix(" (id ").removesuffix(")") if name else None
        self._found[index].append(Finding(kind, place, identifier, message))

    def in_order(self) -> list[Finding]:
        return [finding for index in sorted(self._found) for finding in self._found[index]]


def _media_absent(source: Source, media_dir: str, rows: Iterable[Row]) -> Finding:
    videos = plural(len({row.video for row in rows}), "video")
    message = f"none of the {videos} was found below {media_dir}"
    return Finding("media-absent", source.name, None, message)


def _read(source: Source, report: Report) -> list[tuple[str, str]]:
    """(place, text) of every row; a file that cannot be read is a finding."""
    lines: list[tuple[str, str]] = []
    for file in source.files:
        try:
            lines += read_rows(file)
        except (OSError, ValueError) as error:
            report.findings.append(Finding("unreadable-rows", file, None, str(error)))
    if not lines and not report.findings:
        message = "no rows; one JSON object a line is expected"
        report.findings.append(Finding("unreadable-rows", source.name, None, message))
    return lines


def _any_video(rows: Iterable[Row], options: Options) -> bool:
    for row in rows:
        try:
            find_video(row.video, options.media_dir or "", row.where)
        except RowError as error:
            if error.kind != "missing-file":
                return True
        else:
            return True
    return False


def _look_at_files(
    rows: dict[int, Row],
    options: Options,
    report: Report,
    looks: dict[str, tuple[int, ...]],
    progress: Progress,
) -> Iterable[tuple[int, GroundedRow | Problem]]:
    """(index, what came of it) for every row; the rows of one video go to one process, which reads its header once.

    `looks` gets the hashes of each video by its key.
    """
    groups: dict[object, list[int]] = defaultdict(list)
    for index, row in rows.items():
        groups[row.video].append(index)
    jobs = [
        VideoJob(tuple(rows[index] for index in group), options.media_dir or "", options.images_fps, options.decode)
        for group in groups.values()
    ]
    members = list(groups.values())
    facts: dict[str, VideoFacts] = {}
    with Workers(inspect, options.workers) as workers:
        results = workers.run(jobs, lambda job: options.time_limit * job.videos + _SECONDS_A_ROW * len(job.rows))
        for number, result in progress(results, len(jobs)):
            if isinstance(result, VideoResult):
                if result.facts is not None:
                    facts[result.facts.video] = result.facts
                looks.update((row.video_key, result.looks) for row in result.rows if isinstance(row, GroundedRow))
                yield from zip(members[number], result.rows, strict=True)
            else:
                problem = _failure(jobs[number], result)
                yield from ((index, problem) for index in members[number])
    report.videos = [facts[name] for name in sorted(facts)]


def _alike(report: Report, looks: dict[str, tuple[int, ...]]) -> Iterable[Finding]:
    """A finding for every video like which others look that could become its rows' unrelated video."""
    names = {row.video_key: row.video if isinstance(row.video, str) else row.video[0] for row in report.usable.grounded}
    recording = dict(zip(report.usable.video_keys, report.usable.recordings, strict=True))
    keys = list(recording)
    others: dict[str, list[str]] = defaultdict(list)
    for one, other in find_alike([looks.get(key, ()) for key in keys]):
        if recording[keys[one]] != recording[keys[other]]:
            others[keys[one]].append(names[keys[other]])
    for key, alike in others.items():
        more = f" and {len(alike) - _NAMED} more" if len(alike) > _NAMED else ""
        message = f"{names[key]} looks like {', '.join(alike[:_NAMED])}{more}"
        yield Finding("alike-videos", report.source.name, None, message)


def _failure(job: VideoJob, failure: object) -> Problem:
    name = job.rows[0].video_name + (" (or a rejected video of its rows)" if job.videos > 1 else "")
    if isinstance(failure, Hung):
        return Problem(
            "file-hangs",
            f"reading {name} did not end within {failure.seconds:.0f} s and was stopped; if the file is whole and only "
            "long, give it more with --time-limit.",
        )
    assert isinstance(failure, Died)
    return Problem("file-crashes", f"reading {name} killed its process (exit code {failure.exit_code}).")


def _summarize(report: Report, rows: Sequence[Row], grounded: Sequence[GroundedRow]) -> None:
    """The counts and statistics, and what shows only in them."""
    report.usable = GroundedRows(grounded)
    report.terms = {term: term_gaps(report.usable, term, report.view_keys) for term in report.view_keys.terms}
    if any(gaps[NO_MATE] for gaps in report.terms.values()):
        own = any(row.rejected_videos for row in grounded)
        who = "only rows with a `rejected_video` have" if own else "no row has"
        message = f"every usable row is about the same video: {who} a video term"
        report.findings.append(Finding("one-video", report.source.name, None, message))
    written = box_style(grounded)
    if written is not None:
        style, message = written
        report.findings.append(Finding(BOX_KINDS[style], report.source.name, None, message))
    if rows:
        report.texts = measure(rows)
        for kind, message in judge_lengths(report.texts):
            report.findings.append(Finding(kind, report.source.name, None, message))
