import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SHARED, needs_shared

from vistadpo_plugin.evaluation.benchmarks.videohallucer import SUBSETS, shapes, videohallucer, videohallucer_200, words
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Score

REAL = SHARED / "data" / "eval" / "videohallucer"

# Replies to the basic and the hallucinated question of each pair.
REPLIES = {
    "object_relation": [("Yes.", "No, it is a crow."), ("yes", "Yes")],
    "temporal": [("I cannot tell.", "no")],
    "semantic_detail": [("No, yes", "No, yes")],
    "external_factual": [("", "nothing")],
    "external_nonfactual": [("No", "YES!")],
}


def pair(name: str) -> dict:
    return {
        "basic": {"video": f"{name}.mp4", "question": f"Is there {name}?", "answer": "yes"},
        "hallucination": {"video": f"{name}_b.mp4", "question": f"Is {name} {{gone}}?", "answer": "no"},
        "type": "any",
    }


def write_annotations(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for subset in SUBSETS:
        entries = [pair(f"{subset}{index}") for index, _ in enumerate(REPLIES[subset])]
        (folder / f"{subset}.json").write_text(json.dumps(entries))
    return folder


def hand_replies() -> dict[str, str]:
    return {
        f"{subset}/{index}/{side}": reply
        for subset, pairs in REPLIES.items()
        for index, both in enumerate(pairs)
        for side, reply in zip(("basic", "hallucination"), both, strict=True)
    }


def values(score: Score, *names: str) -> list[float | None]:
    return [score.figures[name].value for name in names]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("Yes.", {"yes"}),
        ("The answer is NO", {"no"}),
        ("No, yes", {"yes", "no"}),
        ("Yes, no doubt", {"yes", "no"}),
        ("nothing is known", set()),
        ("yesterday, not now", set()),
        ("yes_no", set()),
        ("", set()),
    ],
)
def test_a_word_counts_anywhere_but_only_as_a_word(reply: str, found: set[str]) -> None:
    assert words(reply) == found


def test_a_question_carries_prompt_video_and_place(tmp_path: Path) -> None:
    questions = videohallucer.questions(write_annotations(tmp_path))
    assert len(questions) == 12
    assert questions[3] == Question(
        id="object_relation/1/hallucination",
        video="object_relation/videos/object_relation1_b.mp4",
        prompt="Is object_relation1 {gone}?\nAnswer the question using 'yes' or 'no'.",
        answer="no",
        subset="object_relation",
        details={"pair": "object_relation/1", "side": "hallucination"},
    )


def test_figures_by_hand(tmp_path: Path) -> None:
    """Right, as (basic, hallucination): object_relation (1, 1) and (1, 0); temporal (0, 1); semantic_detail (1, 1), by
    replies that have both words; external_factual (0, 0); external_nonfactual (0, 0)."""
    score = videohallucer.score(videohallucer.questions(write_annotations(tmp_path)), hand_replies())
    assert values(score, *(f"object_relation/{kind}" for kind in ("basic", "hallucination", "overall"))) == [
        100,
        50,
        50,
    ]
    assert values(score, *(f"temporal/{kind}" for kind in ("basic", "hallucination", "overall"))) == [0, 100, 0]
    # Means of the subsets: (1 + 0 + 1 + 0 + 0)/5, (1/2 + 1 + 1 + 0 + 0)/5, (1/2 + 0 + 1 + 0 + 0)/5.
    assert values(score, "total/basic", "total/hallucination", "total/overall") == pytest.approx([40, 50, 30])
    assert score.figures["total/overall"].of == 6
    assert score.counts == {"missing": 0, "unparsable": 3, "both_words": 2}


def test_yes_bias_by_hand(tmp_path: Path) -> None:
    """With yes: 3 replies of object_relation, 2 of semantic_detail, 1 of external_nonfactual: 6 of 12, as many as there
    are questions whose answer it is. Six replies are wrong, two of them with yes. The repository's script sees "yes" at
    the three basic questions that are right and at the one hallucinated question that is wrong beside such a one
    (object_relation/1): (4 - 6)/12 and 1/6."""
    score = videohallucer.score(videohallucer.questions(write_annotations(tmp_path)), hand_replies())
    assert values(score, "yes rate", "yes percentage difference (HallusionBench)") == [50, 0]
    assert values(score, "false positive ratio (HallusionBench)") == pytest.approx([100 * 2 / 6])
    assert values(score, "yes percentage difference", "false positive ratio") == pytest.approx([-100 / 6, 100 / 6])


def test_half_a_pair_counts_for_its_side_only(tmp_path: Path) -> None:
    questions = videohallucer.questions(write_annotations(tmp_path))
    replies = hand_replies()
    del replies["object_relation/0/hallucination"], replies["temporal/0/basic"]
    score = videohallucer.score(questions, replies)
    assert [score.figures[f"object_relation/{kind}"].of for kind in ("basic", "hallucination", "overall")] == [2, 1, 1]
    assert score.figures["object_relation/overall"].value == 0
    assert score.counts["missing"] == 2
    # The temporal subset has no basic reply and no pair: means over five subsets have no value there.
    assert values(score, "total/basic", "total/overall") == [None, None]
    assert values(score, "total/hallucination") == pytest.approx([100 * (0 + 1 + 1 + 0 + 0) / 5])


def test_files_are_found_as_released_too(tmp_path: Path) -> None:
    for subset in SUBSETS:
        (tmp_path / subset).mkdir()
        (tmp_path / subset / f"{subset}.json").write_text(json.dumps([pair(subset)]))
    assert [path.parent.name for path in videohallucer.files(tmp_path)] == list(SUBSETS)
    assert videohallucer.questions(tmp_path)[2].id == "temporal/0/basic"


def with_truths(made: dict) -> dict:
    for side, truth in (("basic", "Yes, it is red."), ("hallucination", "No, it is red.")):
        made[side]["truth"] = truth
    return made


def test_shapes_go_without_the_subsets_that_have_no_file(tmp_path: Path) -> None:
    """The demo's world may ask some kinds of questions alone: the total is then the mean of those."""
    for subset, count in (("attribute", 1), ("presence", 3)):
        entries = [with_truths(pair(f"{subset}{index}")) for index in range(count)]
        (tmp_path / f"{subset}.json").write_text(json.dumps(entries))
    asked = shapes.questions(tmp_path)
    assert [(one.subset, one.id) for one in asked[:3]] == [
        ("attribute", "attribute/0/basic"), ("attribute", "attribute/0/hallucination"), ("presence", "presence/0/basic")
    ]  # fmt: skip
    replies = {one.id: "Yes" if one.subset == "attribute" or one.answer == "yes" else "No" for one in asked}
    score = shapes.score(asked, replies)
    assert values(score, "attribute/overall", "presence/overall", "total/overall", "total/basic") == [0, 100, 50, 100]
    assert not any(name.startswith(("action", "order")) for name in score.figures)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="has no action.json, order.json, attribute.json, presence.json"):
        shapes.questions(empty)


def test_a_shapes_reply_that_goes_wrong_after_a_good_beginning_is_not_exact(tmp_path: Path) -> None:
    (tmp_path / "presence.json").write_text(json.dumps([with_truths(pair("presence")) for _ in range(2)]))
    asked = shapes.questions(tmp_path)
    replies = ["Yes, it is red.", " No, it is red.\n", "Yes, it is and and.", "No"]
    score = shapes.score(asked, {one.id: reply for one, reply in zip(asked, replies, strict=True)})
    assert values(score, "exact", "total/overall") == [50, 100]
    (tmp_path / "presence.json").write_text(json.dumps([pair("presence")]))
    with pytest.raises(ValueError, match="presence.json, entry 0, basic: field 'truth'"):
        shapes.questions(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (write_annotations(tmp_path) / "semantic_detail.json").unlink()
    with pytest.raises(ValueError, match=r"semantic_detail\.json"):
        videohallucer.files(tmp_path)
    with pytest.raises(ValueError, match=r"temporal_200\.json"):
        videohallucer_200.questions(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda entry: entry["basic"].pop("video"), r"temporal\.json, entry 0, basic: .*video"),
        (lambda entry: entry["hallucination"].update(question=3), r"entry 0, hallucination: .*question"),
        (lambda entry: entry["hallucination"].update(answer="yes"), r"entry 0, hallucination: .*answer.*'no'"),
        (lambda entry: entry.pop("hallucination"), r"entry 0, hallucination: an object"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, spoil: Callable[[dict], object], message: str) -> None:
    entry = pair("temporal0")
    spoil(entry)
    (write_annotations(tmp_path) / "temporal.json").write_text(json.dumps([entry]))
    with pytest.raises(ValueError, match=message):
        videohallucer.questions(tmp_path)


@needs_shared
def test_the_real_sets() -> None:
    now, earlier = videohallucer.questions(REAL), videohallucer_200.questions(REAL)
    assert (len(now), len(earlier)) == (2 * (4 * 200 + 176), 2 * 1000)
    for questions in (now, earlier):
        assert len({question.id for question in questions}) == len(questions)
    assert next(question for question in now if question.id == "temporal/0/hallucination") == Question(
        id="temporal/0/hallucination",
        video="temporal/videos/v_uOk4EFDsDP4.mp4",
        prompt="Does 'we see a black opening screen' happen at the end of the video?\n"
        "Answer the question using 'yes' or 'no'.",
        answer="no",
        subset="temporal",
        details={"pair": "temporal/0", "side": "hallucination"},
    )
    # What the note says of the earlier set: the same pairs, 24 of them twice.
    asked = [
        {(question.video, question.prompt) for question in questions if question.subset == "temporal"}
        for questions in (now, earlier)
    ]
    assert asked[0] == asked[1] and len(asked[0]) == 2 * 176
    assert "temporal.json with 176 pairs" in videohallucer.score(now, {}).notes[0]
    assert "temporal_200.json with 200 pairs" in videohallucer_200.score(earlier, {}).notes[0]


# Of the official rule: basic, hallucination, overall; then yes rate, percentage difference and false positive ratio as
# the repository's script counts them, and the last two by the reply itself. One reply is right in every pair of the
# constant ones, so that half of all are wrong.
PREDICTORS = [
    (lambda question: "Yes", [100, 0, 0], [100, 50, 100, 50, 100]),
    (lambda question: "no.", [0, 100, 0], [0, -50, 0, -50, 0]),
    (lambda question: question.answer, [100, 100, 100], [50, 0, None, 0, None]),
    (lambda question: "", [0, 0, 0], [0, -50, 0, -50, 0]),
    (lambda question: "Yes, no doubt", [100, 100, 100], [100, 0, None, 50, None]),
]


@needs_shared
@pytest.mark.parametrize("benchmark", [videohallucer, videohallucer_200], ids=lambda benchmark: benchmark.name)
@pytest.mark.parametrize(("say", "accuracy", "bias"), PREDICTORS, ids=["yes", "no", "oracle", "empty", "yes, no doubt"])
def test_predictors_on_the_real_sets(benchmark, say, accuracy: list[float], bias: list[float | None]) -> None:
    questions = benchmark.questions(REAL)
    replies = {question.id: say(question) for question in questions}
    score = benchmark.score(questions, replies)
    for subset in (*SUBSETS, "total"):
        assert values(score, *(f"{subset}/{kind}" for kind in ("basic", "hallucination", "overall"))) == accuracy
    assert list(score.figures)[-5:] == [
        "yes rate",
        "yes percentage difference",
        "false positive ratio",
        "yes percentage difference (HallusionBench)",
        "false positive ratio (HallusionBench)",
    ]
    assert values(score, *list(score.figures)[-5:]) == bias
    both, empty = (reply in replies.values() for reply in ("Yes, no doubt", ""))
    assert score.counts == {
        "missing": 0,
        "unparsable": len(questions) if empty else 0,
        "both_words": len(questions) if both else 0,
    }
    assert any("both words" in note for note in score.notes) == both
