"""Mates that look alike: distances by hand, who may be whose mate, and that a run looks at every video once."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from capture import FirstBatch
from conftest import Demo, Run, keep_log, run_recipe, tiny_recipe
from launching import forked_ranks

from vistadpo_plugin.data.batches import likeness as likeness_module
from vistadpo_plugin.data.batches.likeness import Likeness, differences, find_likeness
from vistadpo_plugin.data.batches.mates import NO_ROW, pair_alike, pair_rows
from vistadpo_plugin.data.rows.grounded_rows import GroundedRows
from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.views import looks as looks_module


def rows_of(*videos: str | tuple[str, str] | None) -> GroundedRows:
    """Rows of these videos, or (video, group)."""
    pairs = [None if one is None else one if isinstance(one, tuple) else (one, None) for one in videos]
    return GroundedRows(
        [
            None if pair is None else GroundedRow(str(number), f"w:{number}", pair[0], group=pair[1])
            for number, pair in enumerate(pairs)
        ]
    )


def test_differences_by_hand() -> None:
    """a has the frames 0 and 11, b 1 and 1111 (bits). From a: 0 differs from 1 in 1 bit, 11 from 1 in 1: mean 1. From
    b: 1 differs from 0 in 1, 1111 from 11 in 2: mean 1.5. Together 1.25. c is all ones: 62 bits from 11, 60 from 1111.
    """
    ones = (1 << 64) - 1
    a, b, c = [0b0, 0b11], [0b1, 0b1111], [ones]
    from_a_to_c, from_b_to_c = (64 + 62) / 2, (63 + 60) / 2
    expected = [
        [0, 1.25, (from_a_to_c + 62) / 2],
        [1.25, 0, (from_b_to_c + 60) / 2],
        [(from_a_to_c + 62) / 2, (from_b_to_c + 60) / 2, 0],
    ]
    assert differences([a, b, c], 0, 3).tolist() == expected
    for one in range(3):
        assert differences([a, b, c], one, one + 1).tolist() == [expected[one]]


def test_differences_one_pair_of_frames_at_a_time() -> None:
    rng = random.Random(1)
    looks = [[rng.getrandbits(64) for _ in range(rng.randint(1, 5))] for _ in range(20)]

    def mean(one: list[int], other: list[int]) -> float:
        return sum(min((x ^ y).bit_count() for y in other) for x in one) / len(one)

    expected = [[(mean(one, other) + mean(other, one)) / 2 for other in looks] for one in looks]
    np.testing.assert_allclose(np.vstack([differences(looks, 0, 7), differences(looks, 7, 20)]), expected, atol=1e-5)


def spread_out(rng: random.Random, start: int, bits: int) -> list[int]:
    """Five frames, each `start` with as many bits changed."""
    return [start ^ sum(1 << place for place in rng.sample(range(64), bits)) for _ in range(5)]


def test_of_one_recording_or_the_same_look_nobody_is_near() -> None:
    """a and its group are one recording; `twin` looks as a does; `flat` has nothing to compare; d is far away."""
    rng = random.Random(2)
    start = rng.getrandbits(64)
    a = spread_out(rng, start, 4)
    looks = {
        "a": a, "a_cut": spread_out(rng, start, 3), "twin": [frame ^ 1 for frame in a],
        "near": spread_out(rng, start, 14), "d": [rng.getrandbits(64) for _ in range(5)], "flat": (),
    }  # fmt: skip
    rows = rows_of(("a", "g"), ("a_cut", "g"), "twin", "near", "d", "flat", None, ("a", "g"))
    found = find_likeness(rows, looks)
    names = {key: [other for other, _ in others] for key, others in found.nearest.items()}
    assert set(names) == set(looks) - {"flat"}
    assert names["a"][0] == "near" and "d" in names["a"] and not {"a", "a_cut", "twin"} & set(names["a"])
    assert "a" not in names["twin"]
    assert found.same >= 1 and found.unseen == 1
    assert all(bits == sorted(bits) for bits in ([bit for _, bit in others] for others in found.nearest.values()))
    assert "not to be read: 1 video" in found.describe() and f"of one recording: {found.same} pair" in found.describe()


def clusters(rng: random.Random, count: int, size: int) -> tuple[GroundedRows, Likeness, dict[str, int]]:
    """Videos in clusters that look alike, one to three rows each; and the cluster of every video."""
    looks, cluster, videos = {}, {}, []
    for number in range(count):
        start = rng.getrandbits(64)
        for member in range(size):
            name = f"{number}-{member}"
            looks[name], cluster[name] = spread_out(rng, start, 10), number
            videos += [name] * rng.randint(1, 3)
    rng.shuffle(videos)
    rows = rows_of(*videos)
    return rows, find_likeness(rows, looks), cluster


def test_mates_are_of_the_same_cluster_and_mutual_as_far_as_that_goes() -> None:
    rng, alone = random.Random(3), 0
    for seed in range(20):
        rows, alike, cluster = clusters(rng, 5, 6)
        mates = pair_alike(rows.recordings, rows.video_keys, alike, seed, 0)
        sizes = Counter(cluster[key] for key in rows.video_keys)
        for row, mate in enumerate(mates):
            assert rows.recordings[row] != rows.recordings[mate]
            near = [other for other, _ in alike.nearest[rows.video_keys[row]]]
            assert rows.video_keys[mate] in near
            mutual = mates[mate] == row
            assert mutual or rows.video_keys[mate] == near[0]  # borrowed of the one most alike
            alone += not mutual
        same = [cluster[rows.video_keys[row]] == cluster[rows.video_keys[mate]] for row, mate in enumerate(mates)]
        assert sum(same) >= len(mates) - 2 * len(sizes)  # of a cluster one row at most is left over, and takes another
    assert alone <= 20 * 3


def test_seed_and_epoch_decide() -> None:
    rows, alike, _ = clusters(random.Random(4), 4, 6)
    drawn = {
        (seed, epoch): tuple(pair_alike(rows.recordings, rows.video_keys, alike, seed, epoch).tolist())
        for seed in (0, 1)
        for epoch in (0, 1, 2)
    }
    assert len(set(drawn.values())) == 6
    for (seed, epoch), mates in drawn.items():
        assert tuple(pair_alike(rows.recordings, rows.video_keys, alike, seed, epoch).tolist()) == mates


def test_where_nothing_is_known_rows_are_paired_as_ever() -> None:
    rows = rows_of("a", "b", "c", "a", None)
    mates = pair_alike(rows.recordings, rows.video_keys, Likeness({}, 0.0, 0, 3), 1, 2)
    assert mates.tolist() == pair_rows(rows.recordings, 1, 2).tolist() and mates[4] == NO_ROW
    assert "drawn at random" in Likeness({}, 0.0, 0, 3).describe()


def test_a_run_looks_once_says_so_and_pairs_alike(
    demo: Demo, recipe: dict[str, Any], train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every video once for two epochs, and none where mates are drawn at random or nobody needs one."""
    looked: list[Any] = []
    look_at = looks_module.looks_of

    def noted(video: Any, fps: float) -> tuple[int, ...]:
        looked.append(video)
        return look_at(video, fps)

    monkeypatch.setattr(looks_module, "looks_of", noted)
    seen: dict[str, Any] = {}
    look = FirstBatch(lambda model, batch: seen.update(batch=batch))
    with keep_log([]) as said:
        run_recipe({**recipe, "vista_mates": "alike", "max_steps": 2, "per_device_train_batch_size": 16}, look)
    videos = {str(demo.data / row["video"]) for row in demo.rows}
    assert sorted(looked) == sorted(videos)
    assert sum("mates look alike: the videos most alike differ in" in message for message in said) == 1
    rows = look.loader.dataset
    near = {key: {other for other, _ in others} for key, others in rows.alike.nearest.items()}
    mates = rows.mates().tolist()
    assert all(rows.video_keys[mate] in near[rows.video_keys[row]] for row, mate in enumerate(mates))
    looked.clear()
    train(max_steps=1)
    train(max_steps=1, vista_mates="alike", vista_video_negative="black")
    assert looked == []


def test_a_video_that_cannot_be_read_has_no_looks(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    assert likeness_module.look_at({"b": str(tmp_path / "broken.mp4")}, 2.0) == {"b": ()}


WORKER = """
import sys
sys.path.insert(0, {tests!r})
from data.batches.test_likeness import look_and_save
look_and_save({args!r}, {out!r})
"""


def look_and_save(args: str, out: str) -> None:
    """What each rank runs: it notes at which videos it looked, and whose mate it gave whom."""
    looked: list[str] = []
    look_at = looks_module.looks_of

    def noted(video: Any, fps: float) -> tuple[int, ...]:
        looked.append(video)
        return look_at(video, fps)

    looks_module.looks_of = noted
    look = FirstBatch(lambda model, batch: None)
    run_recipe(json.loads(Path(args).read_text()), look)
    found = {"looked": looked, "mates": look.loader.dataset.mates().tolist()}
    Path(f"{out}-{os.environ['RANK']}.json").write_text(json.dumps(found))


def test_two_processes_share_the_looking_and_agree(demo: Demo, tmp_path: Path) -> None:
    args = {**tiny_recipe(demo, tmp_path / "two"), "max_samples": 6, "max_steps": 1, "ddp_backend": "gloo"}
    (tmp_path / "two.json").write_text(json.dumps({**args, "vista_mates": "alike", "per_device_train_batch_size": 1}))
    worker = tmp_path / "worker.py"
    tests = str(Path(__file__).parents[2])
    worker.write_text(WORKER.format(tests=tests, args=str(tmp_path / "two.json"), out=str(tmp_path / "found")))
    forked_ranks(worker, 2)
    one, two = (json.loads((tmp_path / f"found-{rank}.json").read_text()) for rank in (0, 1))
    videos = {str(demo.data / row["video"]) for row in demo.rows[:6]}
    assert one["looked"] and two["looked"] and sorted(one["looked"] + two["looked"]) == sorted(videos)
    assert one["mates"] == two["mates"]
