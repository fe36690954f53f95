"""VidSTG's file: event, answers and wrong answers of a question, VidOR's boxes, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED
from vidstg_made import ANNOTATIONS, annotation, vidor, write_vidor, write_vidstg

from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.sources.vidor import VidorFolder, sort_of, spoken
from vistadpo_plugin.datasets.sources.vidstg import read_vidstg


def read(folder: Path, items: Any = ANNOTATIONS, boxes: Path | None = None) -> tuple[dict[str, Question], Account]:
    account = Account()
    questions = read_vidstg(write_vidstg(folder, items), VidorFolder(boxes).find if boxes else None, account)
    account.written = len(questions)
    account.check()
    return {question.id: question for question in questions}, account


def test_ten_annotations(tmp_path: Path) -> None:
    """Eleven questions; the second annotation of 1003 has none."""
    questions, account = read(tmp_path)
    assert (account.read, account.left_out, len(questions)) == (11, {}, 11)
    held = questions["vidstg/1001/10-30/2-0"]
    assert (held.video, held.kind, held.prompt) == ("1001", "thing", "What does the child hold?")
    assert held.right == "The ball." and held.wrong == ("The cup.",)
    assert held.events == ((1.0, 3.0),) and held.keyframe is None and held.boxes == () and held.notes == ()
    assert read(tmp_path, ANNOTATIONS[::-1]) == (questions, account)


def test_what_is_true_elsewhere_in_the_video_is_not_wrong(tmp_path: Path) -> None:
    """Adult and child both watch the dog in 1001, one after the other: of the persons only a baby is left."""
    questions, _ = read(tmp_path)
    assert questions["vidstg/1001/0-20/0-0"].wrong == questions["vidstg/1001/20-40/1-0"].wrong == ("The baby.",)
    # Where no baby is known to the file, nobody is wrong for certain.
    _, account = read(tmp_path, ANNOTATIONS[1:3])
    assert account.left_out == {
        "no category of its sort is wrong for certain": [("vidstg/1001/0-20/0-0", ""), ("vidstg/1001/20-40/1-0", "")]
    }


def test_wrong_answers_are_of_the_video_first_and_never_in_the_question(tmp_path: Path) -> None:
    questions, _ = read(tmp_path)
    assert questions["vidstg/1003/10-30/2-0"].wrong == (
        "The cup.",
    )  # 1003 has no cup, and no other thing than the ball
    assert questions["vidstg/1001/10-30/1-0"].wrong == ("The adult.",)
    # "Who hugs the child?" names the child, and VidSTG knows no other person here.
    items = [annotation("1", (0, "hug", 1), [("who hugs the child?", 0)])]
    assert list(read(tmp_path, items)[1].left_out) == ["no category of its sort is wrong for certain"]
    assert set(questions["vidstg/1002/10-30/3-0"].shown) == {"adult", "child", "ball", "dog", "cup"}


def test_vidor_gives_the_target_s_box_and_more_relations(tmp_path: Path) -> None:
    """The middle of frames 10 to 29 is 20; where only 12 and 25 are boxed, 25 is nearer."""
    files = {"1001": vidor([(0, "hold", 2)]), "1002": vidor([], boxed=(12, 25, 33)), "1003": vidor([], boxed=(33,))}
    questions, account = read(tmp_path, boxes=write_vidor(tmp_path / "vidor", files))
    held = questions["vidstg/1001/10-30/2-0"]
    assert (held.keyframe, held.boxes) == (2.0, ((20, 2, 10, 20),))
    assert questions["vidstg/1002/10-30/4-0"].keyframe == 2.5
    assert questions["vidstg/1002/10-30/4-0"].boxes == ((25, 4, 10, 20),)
    missing = "no keyframe and box: VidOR has no box of the object in the event"
    assert questions["vidstg/1003/10-30/2-0"].notes == (missing,)
    missing = "no keyframe and box: VidOR's file of the video is not in the folder"
    assert questions["vidstg/1004/10-30/4-0"].notes == (missing,)
    # In VidOR the adult holds the ball too, at another time: "The adult." is no wrong answer any more.
    assert questions["vidstg/1001/10-30/1-0"].wrong == ("The baby.",) and account.left_out == {}


LEFT_OUT = {
    "a target_id that is neither side of the relation": annotation("7", (1, "hold", 2), [("who eats?", 3)]),
    "no description": annotation("7", (1, "hold", 2), [(" ?", 1)]),
    "a temporal_gt that starts before 0 or does not end after it starts": annotation(
        "7", (1, "hold", 2), [("who holds the ball?", 1)], begin=30, end=30
    ),
    "an annotation without vid, fps, temporal_gt, used_relation, objects or questions": annotation(
        "7", (1, "hold", 2), [("who holds the ball?", 1)], fps=0
    ),
    "the same question about the same object and time a second time": annotation(
        "1002", (3, "bite", 2), [("What bites the ball", 3)]
    ),
}


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_left_out_and_counted(tmp_path: Path, reason: str) -> None:
    questions, account = read(tmp_path, [*ANNOTATIONS, LEFT_OUT[reason]])
    assert (len(questions), account.read) == (11, 12)
    assert [(name, len(places)) for name, places in account.left_out.items()] == [(reason, 1)]


def test_an_entry_of_another_form_is_named_by_its_place(tmp_path: Path) -> None:
    _, account = read(tmp_path, [*ANNOTATIONS, {"vid": "1", "questions": [{}, {}]}, {}])
    ((_, places),) = account.left_out.items()
    assert [where for where, _ in places] == ["val_annotations.json[10]"] * 2 + ["val_annotations.json[11]"]


@pytest.mark.parametrize("content", [{}, [1], "x"])
def test_other_files_are_refused_with_a_sentence(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ValueError, match="val_annotations.json is not VidSTG's"):
        read(tmp_path, content)


def test_vidor_s_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere does not exist"):
        VidorFolder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no JSON file"):
        VidorFolder(tmp_path)
    folder = VidorFolder(write_vidor(tmp_path, {"1": {"trajectories": []}}))
    with pytest.raises(ValueError, match="1.json is not VidOR's annotation of a video"):
        folder.find("1")
    assert folder.find("2") is None


def test_categories_in_words() -> None:
    names = {"ball/sports_ball": "ball", "bus/truck": "bus or truck", "baby_seat": "baby seat", "adult": "adult"}
    assert {name: spoken(name) for name in names} == names
    assert [sort_of(name) for name in ("baby", "hamster/rat", "cup")] == ["person", "animal", "thing"]


@pytest.mark.parametrize(("split", "count"), [("val", 4960), ("test", 5693)])
def test_the_real_files(split: str, count: int) -> None:
    """Every question is used or counted; the wrong answer is never the target's category."""
    path = SHARED / "data" / "vidstg" / f"{split}_annotations.json"
    if not path.is_file():
        pytest.skip("VidSTG's annotations are not here")
    account = Account()
    questions = read_vidstg(path, None, account)
    account.written = len(questions)
    account.check()
    assert account.read == count and len(questions) > 0.99 * count
    assert all(question.right not in question.wrong and question.wrong for question in questions)
