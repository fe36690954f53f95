"""JSON in, a Row or a sentence out."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from conftest import SHARED, needs_shared

from vistadpo_plugin.data.rows.schema import FIELDS, Row, RowError, parse_row

PLAIN: dict[str, Any] = {"video": "a.mp4", "prompt": "What moves?", "chosen": "A dog.", "rejected": "A cat."}


def parse(**changes: Any) -> Row:
    """PLAIN with changes, through JSON text, as a line of a file would come."""
    return parse_row(json.dumps({**PLAIN, **changes}), "rows.jsonl:7")


def refusal(**changes: Any) -> str:
    """The message of the RowError that PLAIN with changes gives; it always begins with the place."""
    with pytest.raises(RowError) as caught:
        parse(**changes)
    assert caught.value.where.startswith("rows.jsonl:7")
    assert str(caught.value) == f"{caught.value.where}: {caught.value.message}"
    return str(caught.value)


def test_a_plain_row_has_no_grounding() -> None:
    row = parse()
    assert (row.video, row.chosen, row.rejected) == ("a.mp4", "A dog.", "A cat.")
    assert (row.rejected_irrelevant, row.events, row.keyframe, row.boxes) == (None, (), None, ())
    assert (row.clip_chosen, row.clip_rejected, row.notes) == (None, None, ())
    assert row.id == row.where == "rows.jsonl:7"


def test_null_is_absent() -> None:
    assert parse(**dict.fromkeys(set(FIELDS) - set(PLAIN))) == parse()


def test_an_object_and_its_text_read_alike() -> None:
    source = {**PLAIN, "event": [1, 2], "box": [1, 2, 3, 4]}
    assert parse_row(source, "w") == parse_row(json.dumps(source), "w")


@pytest.mark.parametrize("field", ["rejected_video", "rejected_clip"])
@pytest.mark.parametrize(
    ("given", "videos"),
    [
        ("b.mp4", ("b.mp4",)),
        ("frames/b", ("frames/b",)),
        (["1.png", "2.JPG"], (("1.png", "2.JPG"),)),
        (["b.mp4", "frames/c"], ("b.mp4", "frames/c")),
        (["b.mp4", ["1.png", "2.png"]], ("b.mp4", ("1.png", "2.png"))),
        ([["1.png"], ["2.png"]], (("1.png",), ("2.png",))),
        ([], ()),
        (None, ()),
    ],
)
def test_a_list_of_images_is_one_video_and_any_other_list_several(field: str, given: object, videos: tuple) -> None:
    row = parse(**{field: given})
    assert (row.rejected_videos if field == "rejected_video" else row.rejected_clips) == videos


@pytest.mark.parametrize("field", ["rejected_video", "rejected_clip", "rejected_keyframe"])
@pytest.mark.parametrize("given", ["", 3, 1.5, True, {}, [""], [3], [["a.mp4"], "b.mp4"], [[]], ["b.mp4", None]])
def test_anything_else_is_no_rejected_view(field: str, given: object) -> None:
    assert f"`{field}` must be" in refusal(**{field: given})


def test_an_image_among_videos_is_refused() -> None:
    """Whether it is a frame of one video or a video of its own cannot be told."""
    assert "`rejected_video` must be" in refusal(rejected_video=["b.mp4", "1.png"])


@pytest.mark.parametrize(
    ("given", "images"), [("k.png", ("k.png",)), ("keys", ("keys",)), (["a.png", "keys"], ("a.png", "keys"))]
)
def test_rejected_keyframes_are_paths(given: object, images: tuple[str, ...]) -> None:
    assert parse(rejected_keyframe=given).rejected_keyframes == images


def test_what_a_rejected_clip_goes_with() -> None:
    """With an event, or with `clip_w` in the place of `clip_l`; not beside `clip_l`, which says the same."""
    assert parse(event=[1, 2], rejected_clip="b.mp4").rejected_clips == ("b.mp4",)
    row = parse(clip_w="w", rejected_clip="b.mp4")
    assert (row.clip_chosen, row.clip_rejected, row.rejected_clips) == ("w", None, ("b.mp4",))
    assert "two names of one field" in refusal(clip_w="w", clip_l="l", rejected_clip="b.mp4")
    for alone in ({"clip_w": "w"}, {"clip_l": "l"}):
        assert "`clip_w` and `clip_l` go together" in refusal(**alone)


@pytest.mark.parametrize(
    ("given", "terms"),
    [
        (True, ("video", "clip", "object")),
        (False, ()),
        (None, ()),
        ([], ()),
        (["object"], ("object",)),
        (["clip", "video", "clip"], ("video", "clip")),
    ],
)
def test_where_the_chosen_answer_holds(given: object, terms: tuple[str, ...]) -> None:
    assert parse(holds_in_rejected_view=given).holds == terms


@pytest.mark.parametrize("given", ["video", "true", 1, 0, ["token"], ["response"], [True], [["video"]], {}, ["Video"]])
def test_anything_else_holds_nowhere_and_is_refused(given: object) -> None:
    assert "`holds_in_rejected_view` must be true, false, or a list of video, clip, object" in refusal(
        holds_in_rejected_view=given
    )


def test_half_a_character_deep_in_a_list_is_refused() -> None:
    assert "half a surrogate pair" in refusal(rejected_video=["a.mp4", ["b.png", "\ud83d.png"]])


@pytest.mark.parametrize(("given", "id_", "where"), [("q7", "q7", "(id q7)"), (7, "7", "(id 7)"), (0, "0", "(id 0)")])
def test_id_is_text_or_a_whole_number_and_part_of_the_place(given: object, id_: str, where: str) -> None:
    row = parse(id=given)
    assert row.id == id_ and row.where == f"rows.jsonl:7 {where}"


@pytest.mark.parametrize("given", [True, 1.5, ["a"], {}])
def test_any_other_id_is_refused(given: object) -> None:
    assert "`id` must be" in refusal(id=given)


@pytest.mark.parametrize(
    ("given", "events"),
    [
        ([1, 2.5], ((1.0, 2.5),)),
        ([[1, 2.5]], ((1.0, 2.5),)),
        ([[5, 6], [1, 2]], ((1.0, 2.0), (5.0, 6.0))),
        # 1-3 and 2-4 overlap; 4-5 touches them; 4.5-4.6 lies inside; 8-9 stands alone
        ([[2, 4], [1, 3], [8, 9], [4, 5], [4.5, 4.6]], ((1.0, 5.0), (8.0, 9.0))),
        ([0, 1e-3], ((0.0, 0.001),)),
    ],
)
def test_events_become_sorted_separate_intervals(given: object, events: tuple[tuple[float, float], ...]) -> None:
    assert parse(event=given).events == events


@pytest.mark.parametrize("given", [[2, 1], [1, 1], [-1, 2], [[0, 1], [3, 2]]])
def test_an_event_that_ends_before_it_starts_or_is_negative_is_refused(given: object) -> None:
    message = refusal(event=given)
    start, end = given if isinstance(given[0], int) else given[1]  # type: ignore[index]
    assert "`event`" in message and f"[{start}, {end}]" in message


@pytest.mark.parametrize(
    "given",
    [
        [1],
        [1, 2, 3],
        "1-2",
        3,
        True,
        {},
        [[1, 2], 3],
        [True, 2],
        [math.nan, 1],
        [0, math.inf],
        ["1", "2"],
        [0, 10**400],
    ],
)
def test_anything_else_is_no_event(given: object) -> None:
    assert "`event` must be [start, end]" in refusal(event=given)


@pytest.mark.parametrize(
    ("given", "keyframe"), [(2, 2.0), (0, 0.0), (1.25, 1.25), ("frames/key.png", "frames/key.png")]
)
def test_keyframe_is_seconds_or_a_path(given: object, keyframe: object) -> None:
    assert parse(keyframe=given).keyframe == keyframe


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("12", "12"),
        ("12.5", "12.5"),
        (" 3 ", "3"),
        ("4.1 s", "4.1"),
        ("4s", "4"),
        ("1:02.5", "62.5"),
        ("1:00:00", "3600"),
    ],
)
def test_a_number_in_quotes_is_told_to_be_one(given: str, seconds: str) -> None:
    said = refusal(keyframe=given)
    assert f'a number without quotes: "keyframe": {seconds}.' in said and f'"./{given}"' in said


@pytest.mark.parametrize("path", ["./12", "12.png", "12/", "frames/12", "12a", "1-2", "s", "1:2:3:4"])
def test_a_path_of_digits_stays_a_path(path: str) -> None:
    assert parse(keyframe=path).keyframe == path
    assert parse(frame="12").keyframe == "12"


def test_other_numbers_in_quotes_are_told_so_too() -> None:
    without = "Write numbers without quotes."
    for changes in ({"event": ["1", "2"]}, {"event": [["1", 2]]}, {"box": ["1", 2, 3, "4"]}, {"box": [["1", 2, 3, 4]]}):
        assert without in refusal(**changes)
    for changes in ({"event": ["a", "b"]}, {"event": [2, 1, 3]}, {"box": [1, 2]}, {"keyframe": -1}):
        assert without not in refusal(**changes)


@pytest.mark.parametrize("given", [-0.5, math.nan, -math.inf, True, "", [1], {}, 10**400])
def test_anything_else_is_no_keyframe(given: object) -> None:
    assert "`keyframe` must be" in refusal(keyframe=given)


@pytest.mark.parametrize(
    ("given", "boxes"),
    [
        ([1, 2, 3, 4.5], ((1.0, 2.0, 3.0, 4.5),)),
        ([[1, 2, 3, 4], [5, 6, 7, 8]], ((1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0))),
        # four boxes are four boxes, not one of four numbers
        ([[i, 0, 1, 1] for i in range(4)], tuple((float(i), 0.0, 1.0, 1.0) for i in range(4))),
        ({"h": 4, "w": 3, "y": 2, "x": 1}, ((1.0, 2.0, 3.0, 4.0),)),
        ([{"x": 1, "y": 2, "w": 3, "h": 4}, [5, 6, 7, 8]], ((1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0))),
        ([-3, -2, 10, 10], ((-3.0, -2.0, 10.0, 10.0),)),
    ],
)
def test_box_is_one_or_several_or_named(given: object, boxes: tuple[tuple[float, ...], ...]) -> None:
    row = parse(box=given)
    assert row.boxes == boxes and row.notes == ()


def test_a_box_without_area_is_left_out_and_noted_once_each() -> None:
    row = parse(box=[[1, 1, 0, 5], [1, 2, 3, 4], [1, 1, 5, -2]])
    assert row.boxes == ((1.0, 2.0, 3.0, 4.0),)
    assert len(row.notes) == 2 and all("no area" in note for note in row.notes)


@pytest.mark.parametrize(
    "given",
    [[1, 2, 3], [[]], {}, 5, True, "", "'x': 1", [1, 2, 3, True], [1, 2, 3, math.nan], [[1, 2, 3, 4], 5],
     [1, 2, 3, 10**400],
     {"x": 1, "y": 2, "w": 3}, {"x": 1, "y": 2, "w": 3, "h": "4"}, "'x': a, 'y': 1, 'w': 2, 'h': 3",
     "'x': nan, 'y': 1, 'w': 2, 'h': 3"],
)  # fmt: skip
def test_anything_else_is_no_box(given: object) -> None:
    assert "`box` must be [x, y, width, height]" in refusal(box=given)


def test_the_released_names_are_read_as_they_are() -> None:
    row = parse(
        rejected_2="A piano.",
        bbox="'x': 55.0, 'y': 127.5, 'w': 392.0, 'h': 141.0",
        clip_w="clip/w/a",
        clip_l="clip/l/a",
        frame="frame/a",
    )
    assert row.rejected_irrelevant == "A piano."
    assert row.boxes == ((55.0, 127.5, 392.0, 141.0),)
    assert (row.clip_chosen, row.clip_rejected, row.keyframe) == ("clip/w/a", "clip/l/a", "frame/a")


@pytest.mark.parametrize(
    "text", ['{"x": 1, "y": 2, "w": 3, "h": 4}', "{'x':1,'y':2,'w':3,'h':4}", "h: 4, w: 3, x: 1, y: 2"]
)
def test_the_box_string_may_have_braces_and_either_quotes(text: str) -> None:
    assert parse(bbox=text).boxes == ((1.0, 2.0, 3.0, 4.0),)


@pytest.mark.parametrize(
    ("native", "released", "value", "other"),
    [
        ("rejected_irrelevant", "rejected_2", "No.", "Never."),
        ("box", "bbox", [1, 2, 3, 4], "'x': 1, 'y': 2, 'w': 3, 'h': 4"),
        ("keyframe", "frame", 1.0, "frame/a"),
    ],
)
def test_both_names_of_one_field_are_refused(native: str, released: str, value: object, other: object) -> None:
    message = refusal(**{native: value, released: other})
    assert f"`{native}`" in message and f"`{released}`" in message


def test_clip_folders_go_together_and_without_an_event() -> None:
    assert "`clip_w` and `clip_l`" in refusal(clip_w="a")
    assert "`clip_w` and `clip_l`" in refusal(clip_l="a")
    assert "`event`" in refusal(clip_w="a", clip_l="b", event=[1, 2])


@pytest.mark.parametrize("name", ["clip_w", "clip_l", "frame"])
@pytest.mark.parametrize("given", ["", 3, ["a"], True])
def test_folders_are_paths(name: str, given: object) -> None:
    both = {"clip_w": "a", "clip_l": "b"} if name.startswith("clip") else {}
    assert f"`{name}` must be the path" in refusal(**{**both, name: given})


@pytest.mark.parametrize("name", ["rejected_irrelevant", "rejected_2"])
@pytest.mark.parametrize("given", ["", " \n"])
def test_an_empty_irrelevant_answer_is_absent_and_noted(name: str, given: str) -> None:
    row = parse(**{name: given})
    assert row.rejected_irrelevant is None
    assert len(row.notes) == 1 and "weight moves" in row.notes[0]


NO_TEXT = [(None, "missing"), ("", "empty"), (" \n", "empty"), (3, "string"), ([["a"]], "string")]


@pytest.mark.parametrize("name", ["prompt", "chosen", "rejected"])
@pytest.mark.parametrize(("given", "word"), NO_TEXT)
def test_texts_must_be_there(name: str, given: object, word: str) -> None:
    message = refusal(**{name: given})
    assert f"`{name}`" in message and word in message


@pytest.mark.parametrize(("given", "word"), NO_TEXT)
def test_texts_of_a_list_must_be_there(given: object, word: str) -> None:
    message = refusal(rejected=["a", given])
    assert "`rejected[1]`" in message and word in message


def test_an_empty_list_is_no_answer() -> None:
    assert "`rejected` is an empty list" in refusal(rejected=[])


def test_a_list_of_rejected_answers() -> None:
    """The first is `rejected`; equal weights without any given; one answer in a list is as good as one without."""
    row = parse(rejected=["a", "b", "c"], rejected_irrelevant="d")
    assert (row.rejected, row.more_rejected, row.rejected_irrelevant) == ("a", ("b", "c"), "d")
    assert row.rejected_weights == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert list(row.answers) == ["chosen", "rejected", "rejected[1]", "rejected[2]", "irrelevant"]
    assert parse(rejected=["a", "b"], rejected_weights=[0.9, 0.1]).rejected_weights == (0.9, 0.1)
    assert parse(rejected=["a", "b", "c"], rejected_weights=[0.33, 0.33, 0.33]).rejected_weights == (0.33, 0.33, 0.33)
    assert parse(rejected=["a"], rejected_weights=[1]) == parse(rejected=["a"]) == parse(rejected="a")


WRONG_WEIGHTS = [[0.7], [0.7, 0.2, 0.1], [0.7, 0.7], [0.5, 0.4], [1.0, 0.0], [1.5, -0.5], ["0.5", "0.5"], 0.5, "a", []]


@pytest.mark.parametrize("weights", WRONG_WEIGHTS, ids=repr)
def test_weights_are_one_for_each_answer_and_together_1(weights: object) -> None:
    message = refusal(rejected=["a", "b"], rejected_weights=weights)
    assert "must be a number above 0 for each of the 2 answers in `rejected`, and together 1" in message


def test_weights_are_for_lists() -> None:
    assert "`rejected` is none" in refusal(rejected="a", rejected_weights=[1.0])


RED = {"chosen": "A red mug, a big mug.", "rejected": ["A red pan.", "No."], "rejected_irrelevant": "A dog."}


def test_phrases_are_texts_or_characters_of_an_answer() -> None:
    phrases = {
        "chosen": ["red mug", [13, 16]],
        "rejected": ["pan"],
        "rejected[1]": [],
        "rejected_irrelevant": ["A dog."],
    }
    row = parse(**RED, phrases=phrases)
    assert row.phrases == {"chosen": ((2, 9), (13, 16)), "rejected": ((6, 9),), "irrelevant": ((0, 6),)}
    assert row.chosen[13:16] == "big"
    assert parse(**RED).phrases == parse(**RED, phrases=None).phrases == parse(**RED, phrases={}).phrases == {}


@pytest.mark.parametrize(
    ("phrases", "reason"),
    [
        (["red"], "by answer"),
        ({"chosen": "red"}, "by answer"),
        (
            {"prompt": ["a"]},
            "'prompt', which is no answer of the row; it has chosen, rejected, rejected[1], r",
        ),
        ({"rejected[2]": ["a"]}, "no answer of the row"),
        ({"chosen": ["blue"]}, "`chosen` does not contain 'blue'"),
        ({"rejected": ["Red"]}, "`rejected` does not contain 'Red'"),
        ({"chosen": ["mug"]}, "`chosen` contains 'mug' several times"),
        ({"rejected[1]": [" "]}, "is neither"),
        ({"chosen": [[1, 2]]}, "is neither"),
        ({"chosen": [[5, 5]]}, "is neither"),
        ({"chosen": [[-4, 4]]}, "is neither"),
        ({"chosen": [[0, 22]]}, "has 21 characters, and [0, 22] is neither"),
        ({"chosen": [[0.0, 4]]}, "is neither"),
        ({"chosen": [[False, True]]}, "is neither"),
        ({"chosen": [2, 9]}, "is neither"),
    ],
)
def test_phrases_that_are_not_in_their_answer_once(phrases: object, reason: str) -> None:
    assert reason in refusal(**RED, phrases=phrases)


@pytest.mark.parametrize("given", [3, True, ["a"], {"text": "a"}])
def test_an_irrelevant_answer_must_be_text(given: object) -> None:
    assert "`rejected_irrelevant` must be a string" in refusal(rejected_2=given)


@pytest.mark.parametrize(("prompt", "read"), [
    ("What?", "<video>\nWhat?"),
    ("Look: <video> What?", "Look: <video> What?"),
])  # fmt: skip
def test_the_prompt_has_one_video_placeholder(prompt: str, read: str) -> None:
    assert parse(prompt=prompt).prompt == read


def test_a_second_placeholder_is_refused() -> None:
    assert "`prompt` contains <video> 2 times" in refusal(prompt="<video> <video> What?")


@pytest.mark.parametrize("name", ["prompt", "chosen", "rejected", "rejected_irrelevant"])
@pytest.mark.parametrize("placeholder", ["<image>", "<audio>"])
def test_other_media_are_refused(name: str, placeholder: str) -> None:
    message = refusal(**{name: f"Is {placeholder} it?"})
    assert f"`{name}` contains {placeholder}" in message


@pytest.mark.parametrize("name", ["chosen", "rejected", "rejected_irrelevant"])
def test_answers_hold_no_video(name: str) -> None:
    assert f"`{name}` contains <video>" in refusal(**{name: "As <video> shows."})


def test_video_is_a_path_or_a_list_of_frames() -> None:
    assert parse(video="folder/a").video == "folder/a"
    assert parse(video=["1.png", "2.png"]).video == ("1.png", "2.png")
    assert "`video` is missing" in refusal(video=None)


@pytest.mark.parametrize("given", ["", [], [""], ["a", 1], 3, {"path": "a"}, True])
def test_anything_else_is_no_video(given: object) -> None:
    assert "`video` must be" in refusal(video=given)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("rejectd", "rejected"),
        ("key_frame", "keyframe"),
        ("prompts", "prompt"),
        ("bboxes", "bbox"),
        ("boxes", "box"),
        ("Video", "video"),
        ("rejected_irelevant", "rejected_irrelevant"),
        ("events", "event"),
    ],
)
def test_a_misspelt_field_is_refused_with_the_name_it_resembles(name: str, meant: str) -> None:
    message = refusal(**{name: "x"})
    assert f"unknown field `{name}`" in message and f"did you mean `{meant}`" in message


def test_other_unknown_fields_are_noted() -> None:
    row = parse(origin="star", question_type=3)
    assert sorted(row.notes) == [
        "field `origin` is not ours and is ignored",
        "field `question_type` is not ours and is ignored",
    ]


def test_what_drafts_say_for_their_review_is_not_noted() -> None:
    assert parse(kind="action", checks={"valid": True}, decide=["?"], source="annotate") == parse()


@pytest.mark.parametrize("source", ["", "{", "{'id': 1}", '{"id": 1} x', "[1"])
def test_bad_json_names_the_place(source: str) -> None:
    with pytest.raises(RowError, match=r"^rows\.jsonl:7: not valid JSON"):
        parse_row(source, "rows.jsonl:7")


@pytest.mark.parametrize("source", ["[]", "3", "null", '"text"', "[{}]"])
def test_a_row_is_an_object(source: str) -> None:
    with pytest.raises(RowError, match=r"^rows\.jsonl:7: a row must be a JSON object"):
        parse_row(source, "rows.jsonl:7")


@pytest.mark.parametrize("source", ['{"id": ' + "9" * 5000 + "}", "[" * 100_000], ids=["digits", "depth"])
def test_json_that_python_will_not_read_is_a_row_error(source: str) -> None:
    with pytest.raises(RowError, match=r"^rows\.jsonl:7"):
        parse_row(source, "rows.jsonl:7")


ODDITIES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2.5, 10**400, -(10**30), math.nan, math.inf, -math.inf, 5e-324, 1e308, "", " ",
    "a", "\0", "\ud800", "<video>", "'x': 1, 'y': 2, 'w': 3, 'h': 4", "x: 1e999, y: 0, w: 1, h: 1", "{}", "a.mp4",
)  # fmt: skip


def anything(rng: random.Random, depth: int = 0) -> Any:
    """A random JSON value, with a liking for the shapes that fields have."""
    kind = rng.randrange(5 if depth < 3 else 2)
    if kind < 2:
        return rng.choice(ODDITIES)
    if kind == 2:
        return [rng.uniform(-1, 9) for _ in range(rng.randrange(6))]
    if kind == 3:
        return [anything(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {key: anything(rng, depth + 1) for key in rng.sample(["x", "y", "w", "h", "a"], rng.randrange(6))}


def outcome(source: Any) -> Row | str:
    try:
        return parse_row(source, "w")
    except RowError as error:
        return str(error)


def test_any_json_value_in_any_field_gives_a_row_or_a_row_error() -> None:
    rng = random.Random(0)
    good = 0
    for _ in range(6000):
        source = {**PLAIN, **{name: anything(rng) for name in rng.sample(FIELDS, rng.randrange(1, 4))}}
        result = outcome(source)
        assert outcome(json.dumps(source)) == result
        if isinstance(result, str):
            assert result.startswith("w")
            continue
        good += 1
        assert all(text.strip() for text in (result.prompt, result.chosen, result.rejected))
        assert all(0 <= start < end < math.inf for start, end in result.events)
        assert all(first[1] < second[0] for first, second in zip(result.events, result.events[1:], strict=False))
        assert all(math.isfinite(number) for box in result.boxes for number in box)
        assert all(w > 0 and h > 0 for _, _, w, h in result.boxes)
        assert isinstance(result.keyframe, str | None) or 0 <= result.keyframe < math.inf
    assert good > 200  # else the fuzz only ever saw errors


def read_box(text: str) -> tuple[float, ...]:
    """`'x': 55.0, 'y': 127.0, ...` by cutting at commas and colons."""
    named = {part.split(":")[0].strip(" '"): float(part.split(":")[1]) for part in text.split(",")}
    return tuple(named[name] for name in "xywh")


@needs_shared
def test_the_released_sample() -> None:
    """Each of the 635 rows against a reading of its own; of those, one has no `rejected`, one no `rejected_2` and
    six have a box without area, the rest is clean.
    """
    lines = (SHARED / "data" / "object_set.jsonl").read_text().splitlines()
    assert len(lines) == 635
    no_rejected, no_irrelevant, no_area, clean = [], [], [], 0
    for number, line in enumerate(lines, start=1):
        source, where = json.loads(line), f"object_set.jsonl:{number}"
        if not source["rejected"].strip():
            no_rejected.append(number)
            with pytest.raises(RowError, match=rf"^{where} .*`rejected` is empty"):
                parse_row(line, where)
            continue
        row = parse_row(line, where)
        box = read_box(source["bbox"])
        flat, mute = min(box[2:]) <= 0, not source["rejected_2"].strip()
        no_area += [number] * flat
        no_irrelevant += [number] * mute
        clean += not flat and not mute
        assert row.boxes == (() if flat else (box,))
        assert row.rejected_irrelevant == (None if mute else source["rejected_2"])
        assert len(row.notes) == flat + mute
        assert any("no area" in note for note in row.notes) == flat
        assert (row.id, row.video, row.chosen, row.rejected) == tuple(
            source[name] for name in ("id", "video", "chosen", "rejected")
        )
        assert row.prompt == f"<video>\n{source['prompt']}"
        assert (row.clip_chosen, row.clip_rejected, row.keyframe) == (
            source["clip_w"],
            source["clip_l"],
            source["frame"],
        )
    assert (len(no_rejected), len(no_irrelevant), len(no_area), clean) == (1, 1, 6, 627)


def test_no_events_and_no_boxes_are_as_good_as_no_field() -> None:
    row = parse(event=[], box=[])
    assert (row.events, row.boxes, row.notes) == ((), (), ())


@pytest.mark.parametrize("name", ["qid", "pid", "vid", "idx", "video_id", "prompt_id", "origin", "licence"])
def test_columns_that_data_sets_carry_along_are_only_noted(name: str) -> None:
    assert parse(**{name: "x"}).notes == (f"field `{name}` is not ours and is ignored",)


@pytest.mark.parametrize(("name", "meant"), [("boxes", "box"), ("bboxes", "bbox"), ("events", "event")])
def test_plurals_are_taken_for_misspellings(name: str, meant: str) -> None:
    with pytest.raises(RowError, match=f"unknown field `{name}`; did you mean `{meant}`"):
        parse(**{name: [1, 2, 3, 4]})


@pytest.mark.parametrize("field", ["id", "chosen", "video", "prompt"])
def test_half_a_surrogate_pair_is_no_text(field: str) -> None:
    with pytest.raises(RowError, match="half a surrogate pair"):
        parse(**{field: "cut \ud83d"})
