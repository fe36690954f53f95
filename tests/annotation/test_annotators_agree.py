"""Agreement of annotators against numbers worked out by hand."""

from __future__ import annotations

import pytest

from vistadpo_plugin.annotation.label_studio.agreement import agreements, boxes_iou, cohens_kappa, ticks_iou
from vistadpo_plugin.annotation.label_studio.card import format_agreement
from vistadpo_plugin.annotation.label_studio.reviews import Review, Reviewed


def test_kappa() -> None:
    """20 and 15 times the same, 5 and 10 not: p_o = 0.7, p_e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5, kappa = 0.4."""
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    one, other = zip(*pairs, strict=True)
    assert cohens_kappa(one, other) == pytest.approx(0.4)


def test_kappa_at_its_ends() -> None:
    assert cohens_kappa([True, False], [True, False]) == 1
    assert cohens_kappa([True, False], [False, True]) == -1
    assert cohens_kappa([True, True], [True, True]) is None


def test_ticks() -> None:
    """Ticks 1 to 10 and 6 to 15: 5 in both, 15 in any."""
    assert ticks_iou([(1, 10)], [(6, 15)]) == pytest.approx(1 / 3)
    assert ticks_iou([(1, 2), (5, 6)], [(5, 6), (1, 2)]) == 1
    assert ticks_iou([(3, 3)], [(3, 3)]) == 1
    assert ticks_iou([(1, 4)], []) == 0


def box(x: float, y: float, width: float, height: float) -> dict[str, float]:
    return {"x": x, "y": y, "width": width, "height": height}


def test_boxes() -> None:
    """10 x 10 and the same moved by 5 to the right: 50 in both, 150 in any."""
    assert boxes_iou([box(0, 0, 10, 10)], [box(5, 0, 10, 10)]) == pytest.approx(1 / 3)
    assert boxes_iou([box(0, 0, 10, 10)], [box(0, 0, 10, 10)]) == 1
    assert boxes_iou([box(0, 0, 1, 1)], [box(5, 5, 1, 1)]) == 0
    # Two that overlap cover 15 x 10, which is what the other's one box covers.
    assert boxes_iou([box(0, 0, 10, 10), box(5, 0, 10, 10)], [box(0, 0, 15, 10)]) == pytest.approx(1)


def review(name: str, verdict: str, events=((1, 10),), boxes=()) -> Review:
    return Review(name, verdict, events=tuple(events), boxes=tuple(boxes))


def test_pairs_of_annotators() -> None:
    """Rows that one alone judged do not count, nor edits of rows that one rejected."""
    reviewed = [
        Reviewed(None, [review("ann", "accept"), review("bob", "accept", [(6, 15)])]),
        Reviewed(None, [review("ann", "reject"), review("bob", "unsure")]),
        Reviewed(None, [review("ann", "accept"), review("bob", "reject", [(90, 99)])]),
        Reviewed(None, [review("ann", "reject"), review("bob", "reject")]),
        Reviewed(None, [review("ann", "accept")]),
        Reviewed(None, [review("bob", "accept"), review("cy", "accept")]),
    ]
    first, second = agreements(reviewed)
    assert first.annotators == ("ann", "bob") and first.rows == 4 and first.share == 0.75
    # accept: ann 2 of 4, bob 1 of 4; p_e = 0.5 * 0.25 + 0.5 * 0.75 = 0.5; (0.75 - 0.5) / 0.5
    assert first.kappa == pytest.approx(0.5)
    assert (first.events, first.event_iou) == (1, pytest.approx(1 / 3))
    assert (first.boxes, first.box_iou) == (0, None)
    assert second.annotators == ("bob", "cy") and second.kappa is None


def test_the_card_names_nobody() -> None:
    reviewed = [Reviewed(None, [review("ann@example.org", "accept"), review("bob@example.org", "reject")])] * 2
    told = format_agreement(agreements(reviewed))
    assert "| 1 and 2 | 2 | 0% | 0.00 | none | none |" in told and "example" not in told
