"""Which rows are shown, and with whose video."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from barcode_rows import MATE_ROW, OWN, ROW, settings_for, write_media, write_rows
from datasets import Dataset

from vistadpo_plugin.data.batches.likeness import find_likeness, look_at, videos_of
from vistadpo_plugin.data.batches.pairing import PairedRows
from vistadpo_plugin.preview.candidates import choose, find, find_mates, read_candidates


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("media"))


def test_every_row_is_there_with_its_error(media: Path, tmp_path: Path) -> None:
    path = write_rows(tmp_path, ROW, "not json", {**ROW, "id": 3, "video": "gone.mp4"}, {**ROW, "id": None})
    good, no_json, gone, nameless = read_candidates(settings_for(path, media))
    assert (good.place, good.id, good.error) == ("rows.jsonl:1", "own", None) and good.grounded is not None
    assert (no_json.place, no_json.id, no_json.row, no_json.text) == ("rows.jsonl:2", None, None, "not json")
    assert "not valid JSON" in str(no_json.error)
    assert gone.id == "3" and gone.row.prompt.endswith("What happens?") and gone.grounded is None
    assert "rows.jsonl:3 (id 3): video not found" in str(gone.error)
    assert (nameless.place, nameless.id) == ("rows.jsonl:4", None)


def test_files_without_rows_and_files_that_are_no_text(media: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows.jsonl: no rows"):
        read_candidates(settings_for(write_rows(tmp_path), media))
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="bytes.jsonl, line 1: not UTF-8 text"):
        read_candidates(settings_for(tmp_path / "bytes.jsonl", media))


def test_rows_are_drawn_by_the_seed_in_the_order_of_the_file(media: Path, tmp_path: Path) -> None:
    candidates = read_candidates(settings_for(write_rows(tmp_path, *["x"] * 50), media))
    drawn = [choose(candidates, 12, seed) for seed in range(20)]
    assert all(rows == sorted(set(rows)) and len(rows) == 12 for rows in drawn)
    assert choose(candidates, 12, 3) == drawn[3] and len({tuple(rows) for rows in drawn}) == 20
    # Each row is drawn with a chance of 0.24; that one of 50 is left out 20 times is one in 5 of such tests, that ten
    # are is not to be expected.
    assert len({row for rows in drawn for row in rows}) > 40
    assert choose(candidates, 50, 0) == choose(candidates, 99, 0) == list(range(50))


def test_rows_are_found_by_id_and_by_place(media: Path, tmp_path: Path) -> None:
    candidates = read_candidates(settings_for(write_rows(tmp_path, ROW, MATE_ROW, "x", {**ROW, "id": "own"}), media))
    assert find(candidates, ["mate", "own"]) == [1, 0, 3]
    assert find(candidates, ["rows.jsonl:3", "rows.jsonl:1", "own"]) == [2, 0, 3]
    with pytest.raises(ValueError, match="no row has the id or place 'owm'; did you mean 'own'?"):
        find(candidates, ["mate", "owm"])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("mates", ["random", "alike"])
def test_mates_are_those_of_the_first_epoch_of_a_run(media: Path, tmp_path: Path, seed: int, mates: str) -> None:
    """A run knows only the rows that can be used."""
    rows = [{**ROW, "id": n, "video": [f"clip_w/frame_{n % 6 + 1}.png"], "event": None} for n in range(11)]
    for row in rows:
        del row["keyframe"], row["box"]
    path = write_rows(tmp_path, *rows[:4], "x", *rows[4:], {**ROW, "video": "gone.mp4"})
    settings = settings_for(path, media, seed=seed, vista_mates=mates)
    candidates = read_candidates(settings)
    usable = [candidate for candidate in candidates if candidate.grounded is not None]
    assert len(candidates) == 13 and len(usable) == 11
    in_training = PairedRows(Dataset.from_dict({"grounded": [row.grounded.to_json() for row in usable]}), seed)
    if mates == "alike":
        in_training.alike = find_likeness(in_training, look_at(videos_of(in_training), settings.video_fps))
        assert any(in_training.alike.nearest.values())
    expected = {usable[row].place: usable[mate].grounded.where for row, mate in enumerate(in_training.mates())}
    found = zip(candidates, find_mates(candidates, settings), strict=True)
    assert {row.place: mate.where for row, mate in found if mate is not None} == expected


def test_one_video_alone_has_no_mates(media: Path, tmp_path: Path) -> None:
    path = write_rows(tmp_path, ROW, {**ROW, "id": "again"}, json.dumps({**ROW, "video": "./" + OWN + "x"}))
    settings = settings_for(path, media)
    candidates = read_candidates(settings)
    assert find_mates(candidates, settings) == [None, None, None]
