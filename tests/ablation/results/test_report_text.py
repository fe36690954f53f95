"""What the report says beside its tables: margins as multiples, and whose chosen answers were displaced."""

from __future__ import annotations

from vistadpo_plugin.ablation.results.report import _displaced, _multiples
from vistadpo_plugin.ablation.results.statistics import Estimate, Quotient
from vistadpo_plugin.ablation.results.summary import Line


def chosen(rung: str, value: float, low: float, high: float) -> Line:
    return Line("model", rung, None, {"probe/log p(y_w)": Estimate(value, low, high, 3, 0, "nats")})


def test_displaced_are_those_whose_interval_lies_below_the_bases() -> None:
    lines = [
        chosen("base", -1.0, -1.2, -0.8), chosen("full", -11.5, -13.0, -10.0), chosen("sft", -0.4, -0.5, -0.3),
        chosen("dpo", -1.3, -1.5, -1.1), chosen("two", -1.5, -1.75, -1.25),
    ]  # fmt: skip
    (said,) = _displaced(lines)
    assert "full (by 10.50 nats), two (by 0.50 nats)." in said
    assert not any(name in said for name in ("sft", "dpo"))
    assert list(_displaced(lines[:1] + lines[2:4])) == [] == list(_displaced(lines[1:]))


def test_multiples_name_what_is_divided_by_and_leave_out_what_has_none() -> None:
    video = {"probe/video": Quotient(1.3, 1.24, 1.371, 5)}
    lines = [
        Line("model", "full", "dpo", {}, video), Line("model", "dpo", "base", {}),
        Line("model", "full", "base", {}, {"probe/clip": Quotient(2.0, 1.0, 3.0, 5)}),
    ]  # fmt: skip
    assert list(_multiples(lines))[1:] == [
        "| ratio | probe/video | probe/clip |",
        "|---|---|---|",
        "| full / dpo | 1.30 [1.24, 1.37] | none |",
        "| full / base | none | 2.00 [1.00, 3.00] |",
    ]
    assert list(_multiples(lines[1:2])) == []
