"""What an upload may name: nothing but itself, and nothing outside the server's folder."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from data.barcode_video import draw, write_video
from fastapi import HTTPException
from llamafactory.api import common
from llamafactory.api.protocol import ChatCompletionRequest

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.video.video import VideoError
from vistadpo_plugin.data.views.frames import FrameCounts
from vistadpo_plugin.serving.requests import find_videos
from vistadpo_plugin.serving.videos import read_videos


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The server's folder, and one beside it whose name begins alike, each with a video and a folder of frames."""
    safe, beside = tmp_path / "safe", tmp_path / "safe2"
    for folder in (safe, beside):
        (folder / "frames").mkdir(parents=True)
        draw(1).save(folder / "frames" / "0.png")
        write_video(folder / "video.mp4", range(8))
    monkeypatch.setattr(common, "SAFE_MEDIA_PATH", str(safe))
    return safe, beside


def ask(path: Path) -> Any:
    content = [{"type": "video_url", "video_url": {"url": str(path)}}]
    request = ChatCompletionRequest(model="m", messages=[{"role": "user", "content": content}])
    find_videos(request)
    return request.messages[0].content[0].video_url.url


def test_a_folder_whose_name_begins_alike_is_another(folders: tuple[Path, Path]) -> None:
    safe, beside = folders
    (safe / "links").mkdir()
    (safe / "links" / "0.png").symlink_to(beside / "frames" / "0.png")
    (safe / "link.mp4").symlink_to(beside / "video.mp4")
    assert ask(safe / "video.mp4") == str(safe / "video.mp4")
    assert ask(safe / "frames").images == (str(safe / "frames" / "0.png"),)
    outside = [beside / "video.mp4", beside / "frames", safe / "links", safe / "link.mp4", safe / ".." / "safe2"]
    for path in outside:
        with pytest.raises(HTTPException) as refused:
            ask(path)
        assert refused.value.status_code == 400 and "SAFE_MEDIA_PATH" in refused.value.detail


def test_a_pipe_in_the_folder_is_no_video(folders: tuple[Path, Path]) -> None:
    os.mkfifo(folders[0] / "pipe.mp4")
    with pytest.raises(VideoError, match="there is no video file"):
        ask(folders[0] / "pipe.mp4")


class AnyPlugin:
    """As much of a multimodal plugin as reading videos asks for."""

    def _validate_input(self, *_: Any) -> None: ...

    def _preprocess_image(self, image: Any, **_: Any) -> Any:
        return image


@pytest.mark.parametrize("how", ["sent whole", "by its path", "an m3u8"])
def test_a_list_of_other_files_shows_none_of_them(how: str, folders: tuple[Path, Path]) -> None:
    """What the list names lies outside the server's folder."""
    safe, beside = folders
    content = f"ffconcat version 1.0\nfile '{beside / 'video.mp4'}'\n"
    path = safe / "list.mp4"
    if how == "an m3u8":
        path = safe / "list.m3u8"
        content = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\n{beside / 'video.mp4'}\n#EXT-X-ENDLIST\n"
    path.write_text(content)
    video = io.BytesIO(content.encode()) if how == "sent whole" else ask(path)
    with pytest.raises(VideoError, match="is no video file of a kind that is read"):
        read_videos([video], AnyPlugin(), None)
    whole = io.BytesIO((safe / "video.mp4").read_bytes())
    assert len(read_videos([whole], AnyPlugin(), None)[0]) == 1  # 0.8 s at 2 frames a second


def test_chat_is_shown_what_training_is_shown(tmp_path: Path) -> None:
    from data.filmed import MATRICES, set_matrix, write_film

    from vistadpo_plugin.data.rows.grounding import GroundedRow
    from vistadpo_plugin.data.views.keys import ViewKeys
    from vistadpo_plugin.data.views.views import FULL

    path = set_matrix(write_film(tmp_path / "film.mp4", pixel="4:3"), MATRICES["a quarter to the left"])
    (asked,) = read_videos([str(path)], AnyPlugin(), None)
    builder = FrameCounts(AnyPlugin(), None, ViewKeys.of(VistaArguments())).builder(seed=0)
    trained = builder.build(GroundedRow("1", "w", str(path)), None, {FULL})[FULL]
    assert [image.size for image in asked] == [(48, 85)] * len(trained)
    assert [image.tobytes() for image in asked] == [image.tobytes() for image in trained]
