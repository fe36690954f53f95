"""Warnings and notes of a row whose files hold; a.mp4 is 4 s long, 160 x 120 pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doctor_media import GROUNDED, make_media

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.rows.grounding import assume_files, ground
from vistadpo_plugin.data.rows.schema import parse_row
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.validation.judge import is_cropped_away, judge


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def found(media: Path) -> Callable[..., dict[str, str]]:
    """The findings of GROUNDED with changes: kind -> message."""

    def run(vista: VistaArguments | None = None, **changes: Any) -> dict[str, str]:
        row = ground(parse_row({**GROUNDED, **changes}, "rows.jsonl:1"), str(media), 2.0)
        findings = list(judge(row, ViewKeys.of(vista or VistaArguments())))
        assert len(dict(findings)) == len(findings), "each kind once"
        return dict(findings)

    return run


def test_a_good_row_earns_nothing(found: Callable[..., dict[str, str]]) -> None:
    assert found() == {}


def test_what_was_never_given_is_no_finding(found: Callable[..., dict[str, str]]) -> None:
    assert found(event=None, box=None, keyframe=None, rejected_irrelevant=None) == {}
    assert found(box=None) == {}


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"rejected_irrelevant": " "}, "no-irrelevant-answer", "its weight moves to `rejected`"),
        ({"event": [1.01, 1.09]}, "event-without-frame", "the row has no clip term"),  # frames at 1.0 and 1.1
        ({"event": [0.5, 3.5]}, "event-fills-video", "the row has no clip term"),  # 0.5 s remain on each side
        ({"event": [2, 4.5]}, "event-cut", "behind its video"),
        ({"keyframe": 4.5}, "keyframe-moved", "moved to the last frame"),
        ({"keyframe": "keys", "box": [20, 10, 9, 9]}, "keyframe-folder", "the first in natural order"),
        ({"box": [60, 50, 0, 20]}, "box-without-area", "the row has no object term"),
        ({"box": [200, 50, 20, 20]}, "box-outside-frame", "the row has no object term"),
        ({"box": [0.4, 0.4, 0.2, 0.2]}, "box-outside-frame", "the row has no object term"),  # shares of the frame
        ({"box": [[60, 50, 0, 20], [60, 50, 9, 9]]}, "box-without-area", "the row's other boxes stay"),
        ({"box": [[60, 50, 0, 20], [60, 50, 20, 0]]}, "box-without-area", "the row has no object term"),
        ({"box": [60, 110, 20, 20]}, "box-clipped", "clipped"),
        ({"keyframe": None}, "box-without-keyframe", "the row has no object term"),
        ({"event": None, "rejected_clip": "b.mp4"}, "rejected-alone", "no `event`: the row has no clip term"),
        (
            {"keyframe": None, "box": None, "rejected_keyframe": "key.png"},
            "rejected-alone",
            "no `keyframe`: the row has no object term",
        ),
        # the middle square of 160 x 120 is x from 20 to 140
        ({"box": [0, 50, 20, 20]}, "crop-hides-box", "the box lies outside the middle square of the 160x120 frame"),
        ({"box": [[140, 5, 9, 9], [60, 50, 9, 9]]}, "crop-hides-box", "1 of 2 boxes lie outside"),
        ({"colour": "red"}, "ignored-field", "`colour`"),
    ],
)
def test_one_thing_wrong_is_one_finding(
    found: Callable[..., dict[str, str]], changes: dict[str, Any], kind: str, says: str
) -> None:
    findings = found(**changes)
    assert list(findings) == [kind] and says in findings[kind]


def test_a_term_that_is_off_or_that_needs_no_box_is_not_missed(found: Callable[..., dict[str, str]]) -> None:
    assert found(VistaArguments(vista_clip_weight=0), event=[0.5, 3.5]) == {}
    assert found(VistaArguments(vista_clip_negative="black"), event=[0.5, 3.5]) == {}
    replaced = found(VistaArguments(vista_object_negative="black"), box=[60, 50, 0, 20])
    assert "has no object term" not in replaced["box-without-area"]


@pytest.mark.parametrize(
    ("box", "size", "hidden"),
    [
        ((0, 0, 140, 100), (640, 360), True),  # the sides are 140 pixels wide
        ((0, 0, 141, 100), (640, 360), False),
        ((500, 0, 50, 100), (640, 360), True),
        ((499, 0, 50, 100), (640, 360), False),
        ((0, 0, 50, 140), (360, 640), True),  # a tall frame loses its top and bottom
        ((0, 141, 50, 50), (360, 640), False),
        ((0, 0, 1, 1), (360, 360), False),
        ((0, 0, 640, 360), (640, 360), False),
        ((0, 0, 10, 10), (0, 0), False),  # unknown
    ],
)
def test_the_middle_square(box: tuple[float, ...], size: tuple[int, int], hidden: bool) -> None:
    assert is_cropped_away(box, size) is hidden  # type: ignore[arg-type]


def test_without_files_only_the_annotation_is_judged() -> None:
    row = parse_row({**GROUNDED, "video": "nowhere", "event": [90, 91], "box": [[9, 9, 0, 0], [900, 9, 9, 9]]}, "r:1")
    findings = dict(judge(assume_files(row), ViewKeys.of(VistaArguments())))
    assert list(findings) == ["box-without-area"] and "other boxes stay" in findings["box-without-area"]
