"""What decides replies: hashes of weights and questions, and sentences that say what differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from eventhallusion_made import write_recipe

from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.recipe import read_recipe
from vistadpo_plugin.evaluation.settings import check_same, make_settings, read_settings, write_settings
from vistadpo_plugin.run_record.provenance import fingerprint

ASKED = [Question("a", "a.mp4", "Is it?", "yes", "s"), Question("b", "b.mp4", "Was it?", "no", "s")]


def adapter(folder: Path, weights: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "adapter_config.json").write_text("{}")
    return folder


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    one, same = adapter(tmp_path / "one", b"1"), adapter(tmp_path / "same", b"1")
    other = adapter(tmp_path / "other", b"2")
    assert fingerprint(str(one)) == fingerprint(str(same)) != fingerprint(str(other))
    (same / "trainer_log.jsonl").write_text("{}")
    assert fingerprint(str(one)) == fingerprint(str(same))
    (same / "adapter_config.json").write_text('{"r": 8}')
    assert fingerprint(str(one)) != fingerprint(str(same))
    assert fingerprint(f"{one}, {other}") not in (fingerprint(str(one)), fingerprint(str(other)))
    assert fingerprint("no/such-folder") is None and fingerprint(None) is None


def test_fingerprint_of_a_large_file_sees_a_change_of_a_sixtieth(tmp_path: Path) -> None:
    """64 blocks over 8 MB begin 0.13 MB apart: any 0.14 MB that change are seen, and the ends are."""
    weights = bytearray(8 * 2**20)
    before = fingerprint(str(adapter(tmp_path / "a", bytes(weights))))
    for place in (0, 3 * 2**20, len(weights) - 140_000):
        changed = weights[:place] + b"\1" * 140_000 + weights[place + 140_000 :]
        assert len(changed) == len(weights)
        assert fingerprint(str(adapter(tmp_path / "a", bytes(changed)))) != before, place


def test_questions_count_as_far_as_they_are_asked(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))

    def of(*questions: Question) -> str:
        return make_settings(recipe, "base", "{question}", questions)["questions"]

    asked = of(*ASKED)
    assert of(ASKED[0], replace(ASKED[1], answer="yes", subset="t")) == asked
    assert of(ASKED[0], replace(ASKED[1], prompt="Is it?")) != asked
    assert of(ASKED[0], replace(ASKED[1], details={"start": 1, "end": 2})) != asked
    assert of(ASKED[0]) != asked


def test_the_sentence_says_what_differs(tmp_path: Path) -> None:
    tuned = adapter(tmp_path / "adapter", b"1")
    models = {"tuned": {"adapter_name_or_path": str(tuned)}}
    before = make_settings(read_recipe(write_recipe(tmp_path, models=models)), "tuned", "{question}", ASKED)
    adapter(tuned, b"2")
    changed = write_recipe(tmp_path, models=models, video_maxlen=16, video_fps=2.0, max_new_tokens=5)
    now = make_settings(read_recipe(changed), "tuned", "{question}?", ASKED)
    check_same(before, before, tmp_path, versions=True)
    with pytest.raises(ValueError) as caught:
        check_same(before, now, tmp_path, versions=True)
    said = str(caught.value)
    for difference in (
        f"adapter files: {before['adapter files'][:12]} there, {now['adapter files'][:12]} here",
        "decoding: 'greedy, at most 128 new tokens' there, 'greedy, at most 5 new tokens' here",
        r"prompt: '<video>\n{question}' there, '<video>\n{question}?' here",
        "video_fps: nothing there, 2.0 here",
        "video_maxlen: 8 there, 16 here",
    ):
        assert difference in said
    assert "template" not in said and "questions" not in said and "versions" not in said


def test_weights_that_moved_are_the_same_weights(tmp_path: Path) -> None:
    """A package in another environment has the demo's base under another path; other weights there are told."""
    folders = [adapter(tmp_path / name, content) for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2"))]
    made = [
        {
            "adapter_name_or_path": str(folder),
            "adapter files": fingerprint(str(folder)),
            "model_name_or_path": "hub/name",
        }
        for folder in folders
    ]
    check_same(made[0], made[1], tmp_path, versions=True)
    with pytest.raises(ValueError, match="adapter files.*adapter_name_or_path") as caught:
        check_same(made[0], made[2], tmp_path / "full", versions=True, what="weights")
    assert f"the weights in {tmp_path / 'full'} were made with" in str(caught.value)
    with pytest.raises(ValueError, match="model_name_or_path: 'hub/name' there, 'hub/other' here"):
        check_same(made[0], {**made[0], "model_name_or_path": "hub/other"}, tmp_path, versions=True)


def test_what_another_machine_cannot_know_passes(tmp_path: Path) -> None:
    """Replies made where the weights are may be scored where they are not, and with a later release."""
    here = make_settings(read_recipe(write_recipe(tmp_path)), "base", "{question}", ASKED)
    there = {**here, "model files": "f" * 64, "versions": {"torch": "1.0"}}
    assert here["model files"] is None
    check_same(there, here, tmp_path, versions=False)
    with pytest.raises(ValueError, match="versions"):
        check_same(there, here, tmp_path, versions=True)


def test_written_and_read(tmp_path: Path) -> None:
    settings = make_settings(read_recipe(write_recipe(tmp_path)), "base", "{question}", ASKED)
    assert read_settings(tmp_path / "new") is None
    write_settings(tmp_path / "new", settings)
    assert read_settings(tmp_path / "new") == settings
    (tmp_path / "new" / "settings.json").write_text('{"a": ')
    with pytest.raises(ValueError, match="settings.json is damaged"):
        read_settings(tmp_path / "new")
