"""The page, taken apart again: every picture shows what its caption says, and nothing is fetched from anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from barcode_rows import (
    FIRST_NUMBER,
    MATE,
    MATE_ROW,
    OWN,
    ROW,
    Node,
    parse_page,
    pictures,
    settings_for,
    write_media,
    write_rows,
)
from conftest import SHARED, needs_shared
from data.barcode_video import read_code
from PIL import Image
from test_real_videos import ROWS as REAL_ROWS

from vistadpo_plugin.preview.candidates import read_candidates
from vistadpo_plugin.preview.cards import make_cards
from vistadpo_plugin.preview.page import render_page

Render = Callable[..., str]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def render(media: Path, tmp_path: Path) -> Render:
    """The page of all these rows, under recipe keys."""

    def run(*rows: Any, crop: bool | None = None, folder: Path = media, **keys: Any) -> str:
        settings = settings_for(write_rows(tmp_path, *rows), folder, crop, **keys)
        candidates = read_candidates(settings)
        return render_page(make_cards(candidates, range(len(candidates)), settings), settings, len(candidates))

    return run


def articles(html: str) -> list[Node]:
    return parse_page(html).all("article")


# --- pictures


def test_every_picture_shows_what_its_caption_says(render: Render) -> None:
    """Both rows, all views: the number in the decoded picture is the caption's, and the time a tenth of it."""
    own, mate = map(pictures, articles(render(ROW, MATE_ROW)))
    assert list(own) == ["full", "video_negative", "clip", "clip_negative", "keyframe", "keyframe_negative"]
    assert list(mate) == ["full", "video_negative"]
    other = {"video_negative"}
    for views, file, mates_file in ((own, OWN, MATE), (mate, MATE, OWN)):
        for name, shown in views.items():
            if name == "keyframe_negative":
                continue
            first = FIRST_NUMBER[mates_file if name in other else file]
            assert [read_code(picture.image) for picture in shown] == [first + picture.index for picture in shown], name
            assert [picture.seconds for picture in shown] == pytest.approx([picture.index / 10 for picture in shown])
            assert len(shown) == (1 if name == "keyframe" else 8)
    assert [picture.index for picture in own["clip"]] == [10, 11, 12, 14, 15, 17, 18, 20]


@pytest.mark.parametrize(("fill", "level"), [("mean", 255 * 3 / 8), ("white", 255), ("black", 0)])
def test_the_mask_fills_the_box_and_nothing_else(render: Render, fill: str, level: float) -> None:
    """Frame 14 is 0b1110: the bars 1, 2 and 3 are white, three eighths of it; the box covers bars 2 and 3."""
    article, _ = articles(render(ROW, MATE_ROW, vista_mask_fill=fill))
    (keyframe,), (masked,) = (pictures(article)[name] for name in ("keyframe", "keyframe_negative"))
    assert keyframe.caption == masked.caption == "#14 · 1.40 s"
    before, after = (np.asarray(picture.image.convert("L"), float) for picture in (keyframe, masked))
    assert read_code(keyframe.image) == 14
    assert after[:, 17:31].mean() == pytest.approx(level, abs=4) and after[:, 17:31].std() < 3
    assert np.abs(after - before)[:, :15].max() < 12 and np.abs(after - before)[:, 33:].max() < 12


def test_the_box_is_drawn_where_it_is(render: Render) -> None:
    """16 of 64 columns from the left, 16 wide, all 48 rows; and 8 from the top, half as high. Twice as large frames
    change nothing in per cent.
    """
    for keys in ({}, {"video_min_pixels": 4 * 64 * 48}):
        article, _ = articles(render({**ROW, "box": [ROW["box"], [32, 12, 8, 24]]}, MATE_ROW, **keys))
        for name, kind in (("keyframe", "box"), ("keyframe_negative", "masked")):
            (picture,) = pictures(article)[name]
            assert picture.image.size == ((128, 96) if keys else (64, 48))
            assert [mark for mark in picture.drawn if mark[0] != "seen"] == [
                (kind, 25, 0, 25, 100),
                (kind, 50, 25, 12.5, 50),
            ]
        for name in ("full", "clip", "clip_negative", "video_negative"):
            assert {mark[0] for picture in pictures(article)[name] for mark in picture.drawn} == {"seen"}


def test_the_crop_is_dimmed_where_the_family_crops(render: Render) -> None:
    """Of 64 x 48 the centre square begins at 8 / 64 and is 48 / 64 wide."""
    for keys, crop, dimmed in (
        ({}, None, True),
        ({}, False, False),
        ({"template": "qwen2_vl"}, None, False),
        ({"template": "qwen2_vl"}, True, True),
    ):
        html = render(ROW, MATE_ROW, crop=crop, **keys)
        article = articles(html)[0]
        marks = {mark for views in pictures(article).values() for picture in views for mark in picture.drawn}
        assert (("seen", 12.5, 0, 75, 100) in marks) == dimmed
        assert ("dimmed: " in parse_page(html).all("section", "legend")[0].text) == dimmed


def test_a_box_beyond_the_crop_is_said(render: Render) -> None:
    article, _ = articles(render({**ROW, "box": [0, 0, 16, 48]}, MATE_ROW))
    assert article.all("p", "warning")[0].text == "50% of the box lies outside the square that the model sees"


# --- time line


def test_the_time_line_marks_event_frames_and_keyframe(render: Render) -> None:
    """4.0 s: the event from 1.0 to 2.0 is a quarter, frame n lies at n / 40."""
    (line,) = articles(render(ROW, MATE_ROW))[0].all("section", "timeline")
    styles = {kind: line.all("div", kind)[0].attributes["style"] for kind in ("event", "outside")}
    assert styles == {"event": "left:25.0000%;width:25.0000%", "outside": "left:50.0000%;width:50.0000%"}
    lanes = {
        lane.all("span")[0].text: [mark.attributes["style"] for mark in lane.all("i")]
        for lane in line.all("div", "lane")
    }
    assert list(lanes) == ["full video", "clip", "rejected clip", "keyframe"]
    assert lanes["keyframe"] == ["left:35.0000%"]
    assert lanes["full video"] == [f"left:{100 * index / 40:.4f}%" for index in (0, 5, 11, 16, 22, 27, 33, 39)]
    assert [tick.text for tick in line.all("div", "axis")[0].all("b")] == ["0 s", "1", "2", "3", "4"]


# --- words


def test_words_of_a_row(render: Render) -> None:
    own, mate = articles(render(ROW, MATE_ROW))
    assert own.all("h2")[0].text == "own" and "rows.jsonl:1 · own.mp4" in own.text
    texts = {node.attributes["class"]: node.all("dd")[0].text for node in own.all("dl", "texts")[0].all("div")}
    assert texts == {
        "prompt": "<video> What happens?", "chosen": "This.", "rejected": "That.", "irrelevant": "Rain."
    }  # fmt: skip
    assert mate.all("dl", "texts")[0].all("div", "irrelevant") == []
    assert [term.text for term in own.all("li", "on")] == [
        "response", "video", "clip", "object", "token on the keyframe"
    ]  # fmt: skip
    assert [term.text for term in mate.all("li", "term")] == [
        "response", "video", "clip: no event", "object: no keyframe", "token on the full video"
    ]  # fmt: skip


def test_a_row_with_an_error_is_shown_with_it(render: Render) -> None:
    gone, broken, bare, own, _ = articles(
        render({**ROW, "id": "gone", "video": "gone.mp4"}, '{"id": 4', {"id": "x", "prompt": "?"}, ROW, MATE_ROW)
    )
    assert "video not found" in gone.all("p", "error")[0].text and "gone.mp4" in gone.text
    assert gone.all("div", "chosen")[0].all("dd")[0].text == "This."
    assert "not valid JSON" in broken.all("p", "error")[0].text and broken.all("pre")[0].text == '{"id": 4'
    assert "`video` is missing" in bare.text
    assert [article.all("img") for article in (gone, broken, bare)] == [[], [], []]
    assert pictures(own).keys() >= {"full", "clip"} and own.all("p", "error") == []


def test_all_of_a_list_of_rejected_answers_are_shown(render: Render) -> None:
    changes = {"rejected": ["No.", "Never.", "Not at all."], "rejected_weights": [0.5, 0.3, 0.2]}
    row, _ = articles(render({**ROW, **changes}, MATE_ROW))
    answers = [node for node in row.all("div", "rejected") if node.all("dt")]
    found = [(node.all("dt")[0].text, node.all("dd")[0].text) for node in answers]
    assert found == [("rejected", "No."), ("rejected[1]", "Never."), ("rejected[2]", "Not at all.")]


def test_phrases_are_shown(render: Render) -> None:
    row, _ = articles(render({**ROW, "phrases": {"chosen": ["This"], "rejected": [[0, 2], "at"]}}, MATE_ROW))
    (phrases,) = row.all("div", "phrases")
    assert phrases.all("dd")[0].text == "chosen: This; rejected: Th, at"


def test_the_legend_is_there_once_and_every_row_is_linked(render: Render) -> None:
    page = parse_page(render(ROW, MATE_ROW, "x"))
    assert len(page.all("section", "legend")) == 1
    targets = [node.attributes["id"] for node in page.all("article")]
    links = page.all("nav")[0].all("a")
    assert [link.attributes["href"] for link in links] == [f"#{target}" for target in targets]
    assert [link.attributes.get("class") for link in links] == [None, None, "bad"]
    facts = [node.text for node in page.all("ul", "facts")[0].all("li")]
    assert {"template video_llava", "video_maxlen 8", "vista_mask_fill mean", "seed 42"} <= set(facts)


EVIL = "</title><script>alert(1)</script><img src=http://example.org/x onerror='alert(2)'>\"'&amp;"


def test_text_is_escaped_and_nothing_is_fetched(render: Render, media: Path) -> None:
    fields = dict.fromkeys(("id", "prompt", "chosen", "rejected", "rejected_irrelevant"), EVIL)
    html = render({**ROW, **fields}, {**ROW, **fields, "video": EVIL}, EVIL, MATE_ROW)
    page = parse_page(html)
    assert page.all("script") == [] and page.all("iframe") == [] and page.all("object") == []
    assert page.all("article")[0].all("h2")[0].text == EVIL
    assert page.all("div", "chosen")[0].all("dd")[0].text == EVIL
    for node in page.all():
        for name, value in node.attributes.items():
            assert not name.startswith("on"), node
            if name in ("src", "href", "srcset", "data", "action"):
                assert value.startswith(("data:", "#")), (node.tag, name, value[:40])
    css = page.all("style")[0].text
    assert "url(" not in css and "@import" not in css
    (policy,) = [n for n in page.all("meta") if n.attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy.attributes["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


# --- real videos


SMALL = (80, 45)


def _decode(path: Path) -> np.ndarray:
    """All frames in presentation order, small: (frames, h, w, 3) float."""
    with av.open(str(path)) as container:
        return np.stack([_small(frame.to_image()) for frame in container.decode(video=0)])


def _small(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize(SMALL, Image.Resampling.BOX), np.float32)


@needs_shared
def test_real_pictures_show_what_their_captions_say(render: Render) -> None:
    """Of all frames of the file, decoded here another way, the one that the caption names is the nearest."""
    videos = SHARED / "data" / "videos"
    frames = {name: _decode(videos / name) for name in ("baby.mp4", "film.mp4")}
    rates = {"baby.mp4": 25, "film.mp4": 24000 / 1001}
    baby, film = map(pictures, articles(render(*REAL_ROWS, folder=videos)))
    for views, own, mate in ((baby, "baby.mp4", "film.mp4"), (film, "film.mp4", "baby.mp4")):
        assert len(views) == 6
        for name, shown in views.items():
            if name == "keyframe_negative":
                continue
            file = mate if name == "video_negative" else own
            for picture in shown:
                distances = np.square(_small(picture.image) - frames[file]).mean(axis=(1, 2, 3))
                assert distances.argmin() == picture.index, (name, picture.caption)
                assert picture.seconds == pytest.approx(picture.index / rates[file], abs=0.006)
    # Box [0, 150, 350, 180] of 640 x 360: what is filled is one colour, the rest is as before.
    (keyframe,), (masked,) = baby["keyframe"], baby["keyframe_negative"]
    assert keyframe.image.size == (341, 192) and masked.drawn == [
        ("seen", *masked.drawn[0][1:]),
        ("masked", 0, pytest.approx(100 * 150 / 360, abs=1e-3), pytest.approx(100 * 350 / 640, abs=1e-3), 50),
    ]
    before, after = (np.asarray(picture.image, float) for picture in (keyframe, masked))
    assert after[82:174, 2:184].std(axis=(0, 1)).max() < 1.5 and before[82:174, 2:184].std(axis=(0, 1)).min() > 10
    assert np.abs(after - before)[:78].mean() < 1.5 and np.abs(after - before)[:, 190:].mean() < 1.5
    # Its mean colour, worked out on the file's own frame.
    assert after[82:174, 2:184].mean(axis=(0, 1)) == pytest.approx(frames["baby.mp4"][75].mean(axis=(0, 1)), abs=2)
    assert re.fullmatch(r"#75 · 3\.00 s", keyframe.caption)
