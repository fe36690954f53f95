"""What is left, from runs of the same rung where there are any."""

from __future__ import annotations

from vistadpo_plugin.ablation.progress import Progress, show_time


def test_what_is_left() -> None:
    progress = Progress([("full", 100.0), ("dpo", None), ("full", None), ("dpo", None), ("sft", None)])
    progress.add(None)  # the first was finished before
    assert (progress.place, progress.left) == ("run 2 of 5", "about 7 minutes left")  # 4 x 100 s
    progress.add(20.0)
    assert progress.left == "about 3 minutes left"  # full 100, dpo 20, sft as the mean of both: 60
    progress.add(None)  # failed
    assert progress.left == "about 80 s left"
    progress.add(20.0)
    progress.add(10.0)
    assert progress.left == ""


def test_nothing_is_known() -> None:
    assert Progress([("full", None)]).left == ""


def test_times() -> None:
    assert [show_time(seconds) for seconds in (40, 600, 3 * 3600)] == ["40 s", "10 minutes", "3.0 hours"]
