"""`vistadpo annotate` against a scripted model that knows the truth, and against one that answers badly."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import termios
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from annotation.drafting import COMMAND, annotate, left_out, read_jsonl, words
from annotation.shapes_endpoint import Film, Oracle, make_films, serve_shapes
from local_endpoint import TOKENS

from vistadpo_plugin.annotation.drafting.prompts import read_prompts
from vistadpo_plugin.commands.annotate import main
from vistadpo_plugin.commands.validate import main as validate
from vistadpo_plugin.demo.shapes import FPS

pytest.importorskip("openai")

BUSY = b'{"error": {"message": "busy"}}'


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Film]:
    return make_films(tmp_path_factory.mktemp("films") / "videos", 3)


@pytest.fixture
def videos(films: list[Film]) -> Path:
    return films[0].path.parent


def overlap(one: list[float], other: tuple[int, ...]) -> float:
    """IoU of two boxes by counting the points of a fine grid in them."""

    def points(box: Any) -> set[tuple[int, int]]:
        x, y, w, h = (round(8 * number) for number in box)
        return {(column, row) for column in range(x, x + w) for row in range(y, y + h)}

    a, b = points(one), points(other)
    return len(a & b) / len(a | b)


def test_what_the_model_knows_becomes_rows(
    films: list[Film], videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Event and keyframe exactly, the box to a thousandth of the frame; `validate` is content with all of it."""
    output, oracle = tmp_path / "drafts.jsonl", Oracle(films)
    with serve_shapes(oracle) as endpoint:
        assert annotate(videos, output, endpoint) == 0
    rows = read_jsonl(output)
    assert [row["id"] for row in rows] == ["0-1", "0-2", "1-1", "1-2", "2-1", "2-2"]
    truths = [(film, asked) for film in films for asked in film.questions]
    for row, (film, asked) in zip(rows, truths, strict=True):
        actor = asked.actor
        assert os.path.samefile(row["video"], film.path) and row["source"] == "annotate" and row["kind"] == "action"
        assert (row["prompt"], row["chosen"], row["rejected"]) == (asked.prompt, asked.truth, asked.wrong)
        assert row["rejected_irrelevant"] == film.off_topic
        assert row["event"] == [actor.start / FPS, actor.end / FPS]
        assert row["event"][0] <= row["keyframe"] <= row["event"][1]
        assert overlap(row["box"], actor.box(round(row["keyframe"] * FPS))) > 0.95
        assert row["decide"] == []
        passed = {"valid": True, "right_on_event": True, "not_right_on_rest": True}
        assert row["checks"] == {**passed, "box_iou": pytest.approx(1.0, abs=0.05)}
    # 16 of the 32 frames were shown for drafts, both ends among them; the picture of the second asking is the keyframe.
    assert all(len(shown) == 16 and shown[0] == 0 for what, _, shown in oracle.seen if what == "draft")
    capsys.readouterr()
    assert validate([str(output), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "All 6 rows can be used (0 errors, 0 warnings," in said and "ignored-field" not in said


def test_nothing_is_sent_before_somebody_agrees_and_the_estimate_is_what_is_asked(
    films: list[Film], videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, oracle = tmp_path / "out" / "drafts.jsonl", Oracle(films)
    with serve_shapes(oracle) as endpoint:
        assert main(words(videos, output, endpoint, "--price-in", "1000", "--price-out", "10000")) == 1
        said = capsys.readouterr().out
        assert endpoint.asked == [] and not output.parent.exists()
        assert "Nothing was sent. The same command with --yes sends it." in said
        assert annotate(videos, output, endpoint, "--price-in", "1000", "--price-out", "10000") == 0
        done = capsys.readouterr().out
    requests = int(re.search(r"requests  (\d+): 3 for drafts, 30 to check them", said)[1])
    frames = int(re.search(r"frames    (\d+)", said)[1])
    assert requests == len(endpoint.asked) == 33
    assert frames == sum(len(shown) for _, _, shown in oracle.seen)
    # By the endpoint's own account.
    spent = 33 * (TOKENS[0] * 1000 + TOKENS[1] * 10000) / 1e6
    assert f"asked: 33 replies, {33 * TOKENS[0]:,} tokens in, {33 * TOKENS[1]} out, cost {spent:.2f}\n" in done


@pytest.mark.parametrize(("typed", "status"), [("y", 0), ("n", 1)])
def test_a_terminal_is_asked(films: list[Film], videos: Path, tmp_path: Path, typed: str, status: int) -> None:
    """A true run of the command, on a terminal, which also sees how far it is."""
    with serve_shapes(Oracle(films)) as endpoint:
        leader, follower = pty.openpty()
        termios.tcsetwinsize(follower, (24, 200))
        argv = [*COMMAND, "annotate", *words(videos, tmp_path / "drafts.jsonl", endpoint)]
        process = subprocess.Popen(argv, stdin=follower, stdout=follower, stderr=follower, close_fds=True)
        os.close(follower)
        said, until = b"", time.monotonic() + 100
        while time.monotonic() < until:
            try:
                said += os.read(leader, 1000)
            except OSError:  # the other end is closed
                break
            if said.endswith(b"Send it? [y/N] "):
                assert endpoint.asked == []
                os.write(leader, typed.encode() + b"\n")
        os.close(leader)
        assert process.wait(timeout=20) == status
        assert len(endpoint.asked) == (33 if typed == "y" else 0)
    assert b"  requests  33" in said
    assert typed == "n" or b"drafting: 100%" in said and b"33 replies, 3,300 tokens in" in said


def test_a_bad_reply_is_asked_again_with_the_reason_and_counted_when_that_does_not_help(
    films: list[Film], videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Video 0 comes right the third time, 1 never, and of 2 one draft is right and the other stays outside."""

    def spoil(what: str, number: int, messages: list[dict[str, Any]], reply: str) -> str | None:
        if what != "draft":
            return None
        drafts, tries = json.loads(reply)["drafts"], len(messages) // 2
        if number == 0 and tries < 3:
            return (
                "Here are the drafts: " + reply if tries == 1 else json.dumps({"drafts": [{**drafts[0], "event": 3}]})
            )
        if number == 1:
            return "I cannot see a video."
        if number == 2:
            return json.dumps({"drafts": [{**drafts[0], "event": [1.0, 7.5]}, drafts[1]]})
        return None

    output = tmp_path / "drafts.jsonl"
    with serve_shapes(Oracle(films, spoil)) as endpoint:
        assert annotate(videos, output, endpoint) == 0
        drafting = [json.loads(asked[0]) for asked in endpoint.asked if "Write 2 questions" in asked[0]]
    assert sorted(len(messages) for messages in drafting) == [2, 2, 2, 4, 4, 4, 6, 6, 6]
    assert [row["id"] for row in read_jsonl(output)] == ["0-1", "0-2", "2-1"]
    assert read_jsonl(output)[2]["prompt"] == films[2].questions[1].prompt
    assert left_out(output) == {
        "1-1": "a reply that is no JSON",
        "1-2": "a reply that is no JSON",
        "2-2": "an event outside of what was shown",
    }
    told = {messages[-1]["content"] for messages in drafting if len(messages) > 2}
    assert any("it is no JSON" in text for text in told)
    assert any("drafts.0.event: Input should be a valid" in text for text in told)
    assert any("draft 1: `event` [1.0, 7.5] does not lie in what was shown, [0.00, 3.20]" in text for text in told)
    assert all(
        messages[3]["role"] == "user" and messages[2]["role"] == "assistant" for messages in drafting if messages[2:]
    )
    printed = capsys.readouterr().out
    assert re.search(r"drafts asked for +6\n  rows written +3\n  left out: a reply that is no JSON +2\n", printed)


def test_checks_that_fail_mark_the_row(films: list[Film], videos: Path, tmp_path: Path) -> None:
    """Video 0: the first answer is always preferred. 1: the right one, always. 2: no letter comes. All: other boxes."""

    def spoil(what: str, number: int, messages: list[dict[str, Any]], reply: str) -> str | None:
        if what == "choose":
            asked = next(asked for asked in films[number].questions if asked.prompt in str(messages))
            return ("A", "A" if f"A: {asked.truth}" in str(messages) else "B", "It depends.")[number]
        if what == "locate":
            left, top, right, bottom = json.loads(reply)["box"]
            half = (right - left) // 2
            return json.dumps({"box": [left - half, top, right - half, bottom]})
        return None

    output = tmp_path / "drafts.jsonl"
    with serve_shapes(Oracle(films, spoil)) as endpoint:
        assert annotate(videos, output, endpoint) == 0
    rows = read_jsonl(output)
    # Half of a box aside: a half is shared, one and a half covered. Where the frame ends, the box is cut.
    assert all(row["checks"]["box_iou"] == pytest.approx(1 / 3, abs=0.02) for row in rows)
    assert [row["checks"].get("right_on_event") for row in rows] == [False, False, True, True, None, None]
    assert [row["checks"].get("not_right_on_rest") for row in rows] == [True, True, False, False, None, None]
    for row in rows:
        assert any("draws another box around 'the" in sentence for sentence in row["decide"])
    assert (
        "does not prefer `chosen`" in rows[0]["decide"][0]
        and "also on frames without the event" in rows[2]["decide"][0]
    )
    assert [sentence.split(":")[0] for sentence in rows[4]["decide"][:2]] == [
        "The check right_on_event was not made",
        "The check not_right_on_rest was not made",
    ]
    card = output.with_suffix(".card.md").read_text()
    assert "| right_on_event | 4 | 2 | 50% |" in card and "| box_iou | 6 | 0 | 0% |" in card
    assert "A person has to decide about 6 rows" in card


def test_no_reply_leaves_a_video_out_until_the_next_time(
    films: list[Film], videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Limits of rate are waited for; a server that fails for good with one request does not stop the others."""
    broken, counts = [True], Counter[str]()

    def spoil(what: str, number: int, messages: list[dict[str, Any]], reply: str) -> tuple[int, bytes] | None:
        text = json.dumps(messages)
        counts[text] += 1
        if what == "draft" and broken[0] and number == 1:
            return 500, BUSY
        return (429, BUSY) if counts[text] == 1 and what == "locate" else None

    output = tmp_path / "drafts.jsonl"
    with serve_shapes(Oracle(films, spoil)) as endpoint:
        assert annotate(videos, output, endpoint) == 0
        assert left_out(output) == dict.fromkeys(["1-1", "1-2"], "no reply from the endpoint")
        assert "no reply came; the same command asks for it again" in capsys.readouterr().out
        assert all("box_iou" in row["checks"] for row in read_jsonl(output))
        broken[0], before = False, len(endpoint.asked)
        assert annotate(videos, output, endpoint) == 2  # it is there
        assert annotate(videos, output, endpoint, "--overwrite") == 0
        assert len(read_jsonl(output)) == 6
        # One for drafts, and of each draft four letters and a box, the box twice.
        assert len(endpoint.asked) - before == 1 + 2 * (4 + 2)


def test_an_endpoint_that_refuses_ends_the_run(
    films: list[Film], videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_shapes(Oracle(films, lambda *_: (401, b'{"error": {"message": "no such key"}}'))) as endpoint:
        assert annotate(videos, tmp_path / "drafts.jsonl", endpoint) == 2
    said = capsys.readouterr().err
    assert "vistadpo annotate: the endpoint refuses the key in OPENAI_API_KEY" in said and "Traceback" not in said
    assert not (tmp_path / "drafts.jsonl").exists()


def test_an_endpoint_that_is_down_is_said_to_be(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three videos, so three requests, which is too few to end the run; port 9 has nobody who listens."""
    monkeypatch.setattr("vistadpo_plugin.endpoint.RETRIES", 0)
    arguments = [str(videos), "-o", str(tmp_path / "drafts.jsonl"), "--model", "m", "--yes", "--base-url"]
    assert main([*arguments, "http://127.0.0.1:9/v1"]) == 2
    out, err = capsys.readouterr()
    assert "no reply to 3 requests: Connection error." in err and "left out: no reply from the endpoint" in out
    assert err.endswith("vistadpo annotate: no draft is left to write.\n")
    assert main([*arguments, "127.0.0.1:9/v1"]) == 2
    assert "--base-url: an address begins with http:// or https://" in capsys.readouterr().err


def test_the_card_names_the_prompt_pack(films: list[Film], videos: Path, tmp_path: Path) -> None:
    output, pack = tmp_path / "drafts.jsonl", read_prompts()
    with serve_shapes(Oracle(films)) as endpoint:
        assert annotate(videos, output, endpoint, "--no-ask-back") == 0
        assert len(endpoint.asked) == 3
    card = output.with_suffix(".card.md").read_text()
    assert f"Prompt pack {pack.version}, sha256 `{pack.sha256}`." in card and "written by `m`" in card
    assert [row["checks"] for row in read_jsonl(output)] == [{"valid": True}] * 6


def test_wrong_arguments_are_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*argv: str) -> str:
        assert main([*argv, "--model", "m", "--base-url", "http://127.0.0.1:9/v1"]) == 2
        return capsys.readouterr().err

    assert "no such file or folder" in refused(str(tmp_path / "none"), "-o", str(tmp_path / "a.jsonl"))
    assert "no video (.mp4," in refused(str(tmp_path), "-o", str(tmp_path / "a.jsonl"))
    assert "--output has to end in .jsonl" in refused(str(tmp_path), "-o", str(tmp_path / "a.json"))
    with pytest.raises(SystemExit):
        main([str(tmp_path), "-o", "a.jsonl", "--model", "m", "--per-video", "0"])
