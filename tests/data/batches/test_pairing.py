"""Mates and the order in which rows are met."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from datasets import Dataset

from vistadpo_plugin.data.batches.pairing import NO_ROW, PairedRows, PairedSampler, Pick, pair_rows
from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.rows.processor import COLUMNS


def groupings(count: int) -> list[list[str | None]]:
    """Random lists of video keys, of 1 to 30 rows over 1 to 8 videos, some rows without one, in all shapes."""
    rng = random.Random(0)
    lists: list[list[str | None]] = []
    for _ in range(count):
        videos = [f"v{number}" for number in range(rng.randrange(1, 9))]
        weights = [rng.random() ** 3 for _ in videos]
        keys: list[str | None] = list(rng.choices(videos, weights, k=rng.randrange(1, 31)))
        lists.append([None if rng.random() < 0.1 else key for key in keys])
    return lists


def test_mates_have_different_videos_and_rows_without_one_take_no_part() -> None:
    for number, keys in enumerate(groupings(300)):
        mates = pair_rows(keys, seed=1, epoch=number)
        assert mates.shape == (len(keys),) and mates.dtype == np.int64
        possible = len(set(keys) - {None}) > 1
        for key, mate in zip(keys, mates, strict=True):
            if key is None or not possible:
                assert mate == NO_ROW
            else:
                assert keys[mate] is not None and keys[mate] != key


def test_mates_are_mutual_as_far_as_the_data_allows() -> None:
    """With no video owning more than half of the rows, all are (an even number) or all but one (an odd one)."""
    seen: Counter[int] = Counter()
    for number, keys in enumerate(groupings(300)):
        sizes = Counter(key for key in keys if key is not None)
        if len(sizes) < 2 or max(sizes.values()) > sizes.total() // 2:
            continue
        mates = pair_rows(keys, seed=2, epoch=number)
        alone = sum(mate != NO_ROW and mates[mate] != row for row, mate in enumerate(mates))
        assert alone == sizes.total() % 2
        seen[alone] += 1
    assert min(seen[0], seen[1]) > 30  # both kinds came up


def test_a_video_that_owns_most_rows_lends_its_mates_out() -> None:
    """Nine rows of a, one of b: every row of a can only meet the one of b, which meets one of them."""
    mates = pair_rows(["a"] * 9 + ["b"], seed=0, epoch=0)
    assert mates[:9].tolist() == [9] * 9 and mates[9] in range(9)


@pytest.mark.parametrize("keys", [[], ["a"], ["a"] * 5, [None, None], ["a", None, "a"]])
def test_nobody_has_a_mate_where_there_is_one_video(keys: list[str | None]) -> None:
    assert pair_rows(keys, seed=0, epoch=0).tolist() == [NO_ROW] * len(keys)


def test_seed_and_epoch_decide() -> None:
    """40 rows of 40 videos: two drawings agree by chance about once in 39 x 37 x ... pairings."""
    keys = [f"v{number}" for number in range(40)]
    drawn = {(seed, epoch): pair_rows(keys, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1, 2)}
    assert len({tuple(mates) for mates in drawn.values()}) == 6
    for (seed, epoch), mates in drawn.items():
        assert pair_rows(keys, seed, epoch).tolist() == mates


def test_over_the_epochs_a_row_meets_all_others() -> None:
    """Six rows of six videos, 60 epochs: that one of 30 (row, mate) pairs never comes up has a chance below 0.1 %."""
    keys = [f"v{number}" for number in range(6)]
    met = {(row, int(mate)) for epoch in range(60) for row, mate in enumerate(pair_rows(keys, 0, epoch))}
    assert met == {(row, mate) for row in range(6) for mate in range(6) if row != mate}


def paired(videos: list[str | None], seed: int = 5) -> PairedRows:
    """Processed rows; None stands for a row of text alone."""
    texts = [
        "" if video is None else GroundedRow(id=str(row), where=f"w:{row}", video=video).to_json()
        for row, video in enumerate(videos)
    ]
    count = len(videos)
    columns = {name: [empty] * count for name, empty in COLUMNS.items()}
    columns |= {"grounded": texts, "prompt": [f"p{row}" for row in range(count)]}
    columns |= {"chosen_ids": [[1]] * count, "rejected_ids": [[2, 3]] * count, "more_rejected": ["[[4], [5]]"] * count}
    return PairedRows(Dataset.from_dict(columns), seed)


VIDEOS: list[str | None] = [f"v{row // 2}" for row in range(29)] + [None]


def test_items_carry_the_row_and_its_mate() -> None:
    rows = paired(["a", None, "b"])
    item = rows[0, 2]
    assert (item["prompt"], item["index"]) == ("p0", 0)
    assert (item["grounding"].video, item["mate"].video, item["mate"].where) == ("a", "b", "w:2")
    assert item["answers"] == {"chosen": [1], "rejected": [2, 3], "rejected[1]": [4], "rejected[2]": [5]}
    assert rows[0, NO_ROW]["mate"] is None
    assert rows[1, NO_ROW]["grounding"] is None
    assert rows.video_keys == ["a", None, "b"] and len(rows) == 3


@pytest.mark.parametrize(("videos", "has"), [(["a", "b"], True), (["a", "a", None], False), ([None, None], False)])
def test_has_mates(videos: list[str | None], has: bool) -> None:
    assert paired(videos).has_mates is has


def test_the_order_is_drawn_from_seed_and_epoch() -> None:
    def orders(seed: int) -> list[list[Pick]]:
        sampler = PairedSampler(paired(VIDEOS, seed), shuffle=True, mates_together=True)
        assert len(sampler) == len(VIDEOS)
        found = []
        for epoch in range(3):
            sampler.set_epoch(epoch)
            found.append(list(sampler))
            assert list(sampler) == found[-1]
        return found

    first = orders(5)
    assert orders(5) == first
    assert orders(6) != first
    indices = [[pick.row for pick in order] for order in first]
    assert all(sorted(order) == list(range(len(VIDEOS))) for order in indices)
    assert indices[0] != indices[1] != indices[2] != indices[0]


def test_a_pick_says_of_which_epoch_it_is() -> None:
    """A worker that lives through all epochs knows of no other; the data set it holds is of its own first one."""
    sampler = PairedSampler(paired(VIDEOS), shuffle=True, mates_together=True)
    for epoch in (0, 1, 5):
        sampler.set_epoch(epoch)
        assert {pick.epoch for pick in sampler} == {epoch}


def test_without_shuffling_rows_come_in_file_order() -> None:
    sampler = PairedSampler(paired(VIDEOS), shuffle=False, mates_together=False)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        assert [pick.row for pick in sampler] == list(range(len(VIDEOS)))


@pytest.mark.parametrize("together", [True, False])
def test_a_row_meets_the_same_mate_in_whatever_order(together: bool) -> None:
    """The pairing of the epoch, whether the rows are shuffled or not."""
    for epoch in (0, 3):
        expected = dict(enumerate(pair_rows(VIDEOS, 5, epoch).tolist()))
        for shuffle in (True, False):
            rows = paired(VIDEOS, 5)
            sampler = PairedSampler(rows, shuffle, together)
            sampler.set_epoch(epoch)
            assert {pick.row: pick.mate for pick in sampler} == expected
            assert dict(enumerate(rows.mates().tolist())) == expected


@pytest.mark.parametrize("shuffle", [True, False])
def test_mates_follow_each_other_as_far_as_they_are_mutual(shuffle: bool) -> None:
    """Every row once; of two rows that are each other's mate the second comes right after the first."""
    mutual = 0
    for seed, videos in enumerate(groupings(60)):
        sampler = PairedSampler(paired(videos, seed), shuffle, mates_together=True)
        for epoch in range(2):
            sampler.set_epoch(epoch)
            mates = pair_rows(videos, seed, epoch)
            order = [pick.row for pick in sampler]
            assert sorted(order) == list(range(len(videos)))
            place = {row: number for number, row in enumerate(order)}
            for row, mate in enumerate(mates):
                if mate != NO_ROW and mates[mate] == row:
                    assert abs(place[row] - place[mate]) == 1
                    mutual += 1
    assert mutual > 500


@pytest.mark.parametrize(("size", "whole"), [(1, 0), (2, 8), (3, 5), (4, 8), (5, 6), (16, 8)])
def test_pairs_within_micro_batches(size: int, whole: int) -> None:
    """16 rows of 16 videos are 8 pairs, at places (0, 1), (2, 3), ...: a border between batches at an odd place cuts.

    Batches of 3 have borders at 3, 9 and 15 that do, batches of 5 at 5 and 15, batches of 1 all of them.
    """
    dataset = paired([f"v{row}" for row in range(16)])
    for shuffle in (True, False):
        order = list(PairedSampler(dataset, shuffle, mates_together=True))
        batches = [order[first : first + size] for first in range(0, 16, size)]
        kept = sum(pick.mate in {one.row for one in batch} for batch in batches for pick in batch)
        assert kept == 2 * whole
