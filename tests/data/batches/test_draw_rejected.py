"""Of several rejected views of a row's own one is looked at in an epoch; they take turns."""

from __future__ import annotations

from datasets import Dataset

from vistadpo_plugin.data.batches.mates import draw_rejected
from vistadpo_plugin.data.batches.pairing import NO_ROW, PairedRows, Pick
from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.rows.processor import COLUMNS

VIDEOS, CLIPS, KEYFRAMES = ("v0", "v1", ("a.png", "b.png")), ("c0", "c1"), ("k0",)


def row(number: int = 0) -> GroundedRow:
    return GroundedRow(
        str(number), f"w:{number}", "own", rejected_videos=VIDEOS, rejected_clips=CLIPS, rejected_keyframes=KEYFRAMES
    )


def test_each_is_met_once_in_as_many_epochs() -> None:
    for number in range(20):
        drawn = [draw_rejected(row(number), 1, epoch) for epoch in range(12)]
        assert all(len(one.rejected_videos) == len(one.rejected_clips) == 1 for one in drawn)
        for first in range(0, 12, 3):
            assert {one.rejected_videos[0] for one in drawn[first : first + 3]} == set(VIDEOS)
        for first in range(0, 12, 2):
            assert {one.rejected_clips[0] for one in drawn[first : first + 2]} == set(CLIPS)
        assert {one.rejected_keyframes for one in drawn} == {KEYFRAMES}


def test_row_and_seed_decide_which_is_the_first() -> None:
    """Of 60 rows about a third begin with each of three videos: fewer than 5 has a chance below 1e-5."""
    for seed in (0, 1):
        first = [draw_rejected(row(number), seed, 0).rejected_videos[0] for number in range(60)]
        assert first == [draw_rejected(row(number), seed, 0).rejected_videos[0] for number in range(60)]
        assert min(first.count(video) for video in VIDEOS) >= 5
    assert first != [draw_rejected(row(number), 0, 0).rejected_videos[0] for number in range(60)]
    # Clip and video are drawn apart: two of the same parity do not go together in all rows.
    pairs = {
        (one.rejected_videos[0], one.rejected_clips[0])
        for one in (draw_rejected(row(number), 0, 0) for number in range(60))
    }
    assert len(pairs) == 6


def test_nothing_else_of_the_row_changes() -> None:
    plain = GroundedRow("0", "w:0", "own", events=((1.0, 2.0),), keyframe=1.5)
    assert draw_rejected(plain, 1, 3) == plain


def test_a_pick_shows_the_one_of_its_epoch() -> None:
    """Not of the epoch that the data set is in, which a worker's copy does not know."""
    rows = PairedRows(Dataset.from_list([{**COLUMNS, "grounded": row().to_json()}]), seed=4)
    shown = [rows[Pick(0, NO_ROW, epoch)]["grounding"].rejected_videos for epoch in range(3)]
    assert shown == [draw_rejected(row(), 4, epoch).rejected_videos for epoch in range(3)]
    assert len(set(shown)) == 3
    rows.reference_keys = [[{}]]  # as `fix_pairing` leaves it: the reference knows of one of them
    assert [rows[Pick(0, NO_ROW, epoch)]["grounding"].rejected_videos for epoch in range(3)] == [shown[0]] * 3
