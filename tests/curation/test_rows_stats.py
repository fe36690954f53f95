"""The figures of rows, by hand: lengths, shares and counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from curation.made_entries import entry_of, row_of
from data.barcode_video import write_images, write_video
from matplotlib.figure import Figure
from PIL import Image

from vistadpo_plugin.curation.stats.measure import NOT_SAID, RowFacts, label, measure
from vistadpo_plugin.curation.stats.plot import _stacked, plot_facts
from vistadpo_plugin.curation.stats.table import format_facts, video_seconds


def all_of(results, total):
    return results


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """a.mp4 lasts 4 s, 64x48; its copy; frames/ are six images."""
    write_video(tmp_path / "a.mp4", range(40))
    (tmp_path / "copy.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    write_images(tmp_path / "frames", range(6))
    return tmp_path


def test_rows_and_their_videos(media: Path) -> None:
    """Events [1, 2] and [1.5, 3] cover 2 of 4 s. The larger box is 32 x 24 of 64 x 48, a quarter. Six images at 2 a
    second last 3 s. A video that is not there leaves what the row says."""
    rows = [
        row_of("a.mp4", event=[[1, 2], [1.5, 3]], keyframe=1, box=[[0, 0, 32, 24], [0, 0, 4, 4]], kind="action"),
        row_of("copy.mp4", event=[3, 4.5], rejected_irrelevant="A dog."),  # cut at the end of the video
        row_of("frames", box=[0, 0, 64, 12], kind="count"),
        row_of("gone.mp4", event=[10, 20], box=[0, 0, 4, 4]),
    ]
    entries = [entry_of(row, f"rows.jsonl:{n}", media) for n, row in enumerate(rows)]
    facts = measure(entries, list("xxyy"), images_fps=2.0, workers=1, progress=all_of)
    assert [row.owner for row in facts] == list("xxyy")
    assert [row.kind for row in facts] == ["action", NOT_SAID, "count", NOT_SAID]
    assert facts[0].recording == facts[1].recording != facts[2].recording
    assert [row.seconds for row in facts] == [pytest.approx(4), pytest.approx(4), pytest.approx(3), None]
    assert [row.event_seconds for row in facts] == [2.0, pytest.approx(1.0), None, 10.0]
    assert [row.event_share for row in facts] == [pytest.approx(0.5), pytest.approx(0.25), None, None]
    assert [row.boxes for row in facts] == [2, 0, 1, 1]
    assert [row.box_share for row in facts] == [0.25, None, 0.25, None]
    # "A bar turns white." and "A bar turns red."
    assert facts[1].characters == {"chosen": 18, "rejected": 16, "rejected_irrelevant": 6}
    assert sorted(video_seconds(facts)) == [pytest.approx(3), pytest.approx(4)]
    unread = measure(entries, list("xxyy"), images_fps=2.0, workers=0, progress=all_of)
    assert [row.seconds for row in unread] == [None] * 4 and unread[1].event_seconds == 1.5


def facts_of(owner: str, kind: str, recording: str, seconds: float | None = None, chosen: int = 10) -> RowFacts:
    return RowFacts(owner, kind, recording, seconds, None, None, 0, None, {"chosen": chosen, "rejected": 2})


def test_the_tables() -> None:
    rows = [
        facts_of("star", "order", "a", 4.0), facts_of("star", "order", "b", 8.0),
        facts_of("star", "count", "b", 8.0, 40), facts_of("nextgqa", NOT_SAID, "c"),
    ]  # fmt: skip
    assert [line.split() for line in format_facts(rows, "source").splitlines()[1:]] == [
        "source rows recordings video, s events event, s of video boxes of frame chosen rejected irrelevant".split(),
        "star 3 2 6.0 0 - - 0 - 10 2 -".split(),
        "nextgqa 1 1 - 0 - - 0 - 10 2 -".split(),
        "all 4 3 6.0 0 - - 0 - 10 2 -".split(),
        [],
        "KINDS of negatives: rows".split(),
        "source order count not said".split(),
        "star 2 1 0".split(),
        "nextgqa 0 0 1".split(),
        "all 2 1 1".split(),
    ]  # fmt: skip


def test_what_rows_are_told_apart_by() -> None:
    entry = entry_of(row_of(source="star", group=7, made={"by": "m", "at": 1}))
    assert [label(entry, field, "-") for field in ("source", "group", "made", "kind")] == [
        "star", "7", '{"at": 1, "by": "m"}', "-"
    ]  # fmt: skip


def test_counts_are_drawn_without_halves() -> None:
    axis = Figure().subplots()
    _stacked(axis, {"a": [1.0, 5.0]}, {"a": "#000000"})
    ticks = axis.get_yticks()
    assert len(ticks) >= 2 and all(tick == round(tick) for tick in ticks)


def test_the_picture_of_many_owners_and_of_none_of_the_grounding(tmp_path: Path) -> None:
    """Nine owners are seven colours; panels of what no row has say so instead of failing."""
    rows = [facts_of(f"set {n}", f"kind {k}", f"{n}/{k}", 1.0 + n) for n in range(9) for k in range(14)]
    for made, name in ((rows, "many.png"), (rows[:1], "one.png")):
        plot_facts(made, tmp_path / "new" / name)
        with Image.open(tmp_path / "new" / name) as picture:
            assert (
                picture.format == "PNG" and picture.width > 1000 and len(picture.convert("RGB").getcolors(1 << 24)) > 8
            )
