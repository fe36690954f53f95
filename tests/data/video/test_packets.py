"""What is read from the packets of a file, and how long it is believed. Files that are refused: test_video.py."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest
from data.barcode_video import count_decodes, drift, write_video

from vistadpo_plugin.data.video.packets import VideoError, read_packets, seconds_from_first

needs_x264 = pytest.mark.skipif("libx264" not in av.codecs_available, reason="this PyAV cannot encode H.264")


def test_stamps_become_seconds() -> None:
    assert seconds_from_first([512, 1024, 2560], 1 / 512) == pytest.approx(np.array([0, 1, 4]))


@needs_x264
def test_packets_are_in_order_of_decoding_and_frames_in_order_of_presentation(tmp_path: Path) -> None:
    """I P b b P b b: a picture comes before the two between it and the last, and is shown after them."""
    options = {"x264-params": "b-adapt=0:bframes=2:b-pyramid=none:scenecut=0:keyint=60"}
    path = write_video(tmp_path / "b.mp4", range(7), fps=10, codec="libx264", options=options, picture=drift)
    packets = read_packets(str(path))
    places = np.rint((packets.stamps - packets.stamps.min()) * packets.time_base * 10).astype(int)
    assert places.tolist() == [0, 3, 1, 2, 6, 4, 5]
    assert packets.order.tolist() == [0, 2, 3, 1, 5, 6, 4]
    assert packets.times() == pytest.approx(np.arange(7) / 10)
    if hasattr(av.Packet, "has_sidedata"):  # without it nothing is left out, ever
        assert packets.needed.tolist() == [True, True, False, False, True, False, False]
        assert list(packets.starts) == [0]


@needs_x264
def test_a_hidden_packet_is_no_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "trimmed.mp4", range(20), codec="libx264", first_stamp=-5)
    packets = read_packets(str(path))
    assert len(packets.stamps) == 20 and packets.shown.sum() == len(packets.order) == len(packets.shown_stamps) == 15


def test_a_file_is_read_once_and_again_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", range(10))
    opened: list[str] = []
    really_open = av.open
    monkeypatch.setattr(av, "open", lambda path, *args, **kwargs: opened.append(path) or really_open(path))
    for _ in range(3):
        assert len(read_packets(str(path)).times()) == 10
    assert len(opened) == 1
    monkeypatch.undo()
    write_video(path, range(30))
    assert len(read_packets(str(path)).times()) == 30
    # as long as before, but of another time
    content, status = path.read_bytes(), path.stat()
    write_video(path, range(10))
    path.write_bytes(path.read_bytes() + bytes(len(content) - path.stat().st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert path.stat().st_size == status.st_size
    assert len(read_packets(str(path)).times()) == 10


def test_an_error_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "late.mp4"
    with pytest.raises(VideoError, match=r"late\.mp4"):
        read_packets(str(path))
    path.write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"late\.mp4"):
        read_packets(str(path))
    write_video(path, range(5))
    assert len(read_packets(str(path)).times()) == 5


def test_nothing_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", range(10))
    passes = count_decodes(monkeypatch)
    read_packets(str(path))
    assert passes == []


@needs_x264
def test_a_codec_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "odd.mkv", range(5), codec="libx264")
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/AVC"))
    with pytest.raises(VideoError, match=r"odd\.mkv: there is no decoder"):
        read_packets(str(path))
