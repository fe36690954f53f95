"""What goes over the line: pictures as they are shown, files as they are, in a form that the host's own API reads."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from annotation.drafting import annotate, left_out, read_jsonl
from data.barcode_video import HEIGHT, WIDTH, drift, hide_frame, read_code, write_video
from data.filmed import MATRICES, as_shown, set_matrix, write_film
from local_endpoint import conversation, serve, whole
from PIL import Image

from vistadpo_plugin.annotation.drafting.footage import find_videos, survey
from vistadpo_plugin.annotation.drafting.pictures import Pictures, picture, sent_size, whole_video
from vistadpo_plugin.data.video.video import VideoError

pytest.importorskip("openai")


def filled(videos: Path, *parts: Any) -> list[dict[str, Any]]:
    """A message of these parts (footage -> part), about the only video there is, as it is sent."""
    (footage,), _ = survey(find_videos([videos]), False, 60.0, 1)
    messages = [{"role": "user", "content": [part(footage) for part in parts]}]
    with Pictures([footage], 1, 60.0) as pictures:
        return asyncio.run(pictures.fill(messages))


def opened(part: dict[str, Any]) -> Image.Image:
    kind, content = part["image_url"]["url"].split(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_pictures_are_upright_and_shrunk(tmp_path: Path) -> None:
    matrix = MATRICES["a quarter to the right"]
    set_matrix(write_film(tmp_path / "turned.mp4"), matrix)
    (message,) = filled(tmp_path, lambda video: picture(video, 7, 4096), lambda video: picture(video, 7, HEIGHT // 2))
    full, half = map(opened, message["content"])
    truth = as_shown(drift(7), matrix)
    assert full.size == truth.size == (HEIGHT, WIDTH)
    others = [as_shown(drift(number), matrix) for number in range(12)]
    apart = [np.abs(np.asarray(full, float) - np.asarray(other, float)).mean() for other in others]
    assert all(2 * apart[7] < other for number, other in enumerate(apart) if number != 7)
    assert half.size == sent_size((HEIGHT, WIDTH), HEIGHT // 2) and max(half.size) == HEIGHT // 2
    assert sent_size((1920, 1080), 768) == (768, 432) and sent_size((100, 50), 768) == (100, 50)


@pytest.mark.skipif("libvpx" not in av.codecs_available, reason="no encoder for VP8")
def test_a_picture_is_of_the_time_that_is_told(tmp_path: Path) -> None:
    """Also behind a packet that shows nothing, which only decoding tells: at 0.8 s frame 8 is shown."""
    shown = write_video(tmp_path / "shown.webm", range(40), codec="libvpx")
    hidden = hide_frame(shown, tmp_path / "hidden.webm", 5)
    shown.unlink()
    (message,) = filled(hidden, lambda video: picture(video, int(np.abs(video.times - 0.8).argmin()), 768))
    assert read_code(opened(message["content"][0])) == 8


def test_a_file_that_breaks_off_is_said(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4")
    (footage,), _ = survey(find_videos([tmp_path]), False, 60.0, 1)
    Path(footage.path).write_bytes(b"gone")
    with Pictures([footage], 1, 60.0) as pictures, pytest.raises(VideoError, match="a.mp4"):
        asyncio.run(pictures.fill([{"role": "user", "content": [picture(footage, 1, 768)]}]))


def test_the_hosts_api_reads_it(tmp_path: Path) -> None:
    """Pictures and file, and between them the text where it belongs."""
    pytest.importorskip("uvicorn")
    from llamafactory.api.chat import _process_request
    from llamafactory.api.protocol import ChatCompletionRequest

    file = write_film(tmp_path / "a.mp4")
    said = {"type": "text", "text": "Frame 1:\n"}
    parts = [lambda _: said, lambda video: picture(video, 0, 768), lambda _: said, whole_video]
    messages = [{"role": "system", "content": "You look."}, *filled(tmp_path, *parts)]
    request = ChatCompletionRequest(model="m", messages=messages, temperature=0)
    (read,), system, _, images, videos, _ = _process_request(request)
    assert system == "You look." and read["content"] == "Frame 1:\n<image>Frame 1:\n<video>"
    assert images[0].size == (WIDTH, HEIGHT) and videos[0].read() == file.read_bytes()


def test_whole_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model counts from the first frame, a row from where sound or picture begins; what is turned is left out."""
    late = write_film(tmp_path / "videos.mkv", frames=40, late=1.0, sound=True)
    (tmp_path / "videos").mkdir()
    late = late.rename(tmp_path / "videos" / "late.mkv")
    set_matrix(write_film(tmp_path / "videos" / "turned.mp4"), MATRICES["half"])
    draft = {
        "question": "Which bar is white?",
        "answer": "The left one is.",
        "wrong_answer": "The right one is.",
        "wrong_kind": "attribute",
        "off_topic_answer": "A dog runs on a beach.",
        "event": [0.5, 1.5],
        "keyframe": 0.97,
        "object": "the bar",
        "box": [0, 0, 500, 1000],
    }
    told: list[str] = []

    def answer(text: str, before: int) -> str:
        first, *_, last = json.loads(text)[1]["content"]
        told.append(last["text"])
        if first["type"] == "video_url":
            kind, content = first["video_url"]["url"].split(",")
            assert kind == "data:video/mkv;base64" and base64.b64decode(content) == late.read_bytes()
            return json.dumps({"drafts": [draft, draft]})
        return '{"box": [0, 0, 500, 1000]}' if "Draw a box" in last["text"] else "A"

    output = tmp_path / "drafts.jsonl"
    with serve(answer, whole, conversation) as endpoint:
        assert annotate(tmp_path / "videos", output, endpoint, "--send", "video") == 0
    seconds = re.search(r"This is a video that lasts from 0.00 to ([\d.]+) seconds", told[0])[1]
    assert float(seconds) == pytest.approx(4.0, abs=0.05)
    row, _ = read_jsonl(output)
    shift = row["event"][0] - 0.5
    assert shift == pytest.approx(1.0, abs=0.1) and row["event"][1] == pytest.approx(1.5 + shift)
    assert row["keyframe"] == pytest.approx(0.97 + shift) and row["box"] == [0, 0, WIDTH / 2, HEIGHT]
    assert set(left_out(output)) == {"turned-1", "turned-2"}
    assert f"{late.stat().st_size / 1e6:.1f} MB of whole videos" in capsys.readouterr().out
