"""Where the host reads a video as it is stored and not as it is shown, its log says so, once."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from conftest import keep_log
from data.filmed import MATRICES, set_matrix, write_film
from llamafactory.data.mm_plugin import MMPluginMixin, get_mm_plugin

from vistadpo_plugin.models import as_stored

SETTINGS = {"image_max_pixels": 65536, "image_min_pixels": 256, "video_fps": 2.0, "video_maxlen": 8}


def test_it_is_said_once_and_only_where_it_is_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = inspect.unwrap(MMPluginMixin._get_video_sample_indices)
    monkeypatch.setattr(MMPluginMixin, "_get_video_sample_indices", host)
    as_stored.say_as_stored()  # afresh, since another test may have heard it
    plugin = get_mm_plugin("base", video_token="<video>")
    plain = write_film(tmp_path / "plain.mp4")
    turned = set_matrix(write_film(tmp_path / "turned.mp4"), MATRICES["a quarter to the right"])
    wide = write_film(tmp_path / "wide.mp4", pixel="4:3")
    said: list[str] = []
    with keep_log(said):
        frames = plugin._regularize_videos([str(plain)], **SETTINGS)["videos"][0]
        assert said == [] and frames[0].size == (64, 48)
        frames = plugin._regularize_videos([str(turned)], **SETTINGS)["videos"][0]
        assert frames[0].size == (64, 48), "the host turns it now: say nothing any more"
        plugin._regularize_videos([str(wide), str(turned)], **SETTINGS)
    assert [sentence.split(" is turned")[0] for sentence in said] == [str(turned)]
    assert "as they are stored" in said[0]


def test_the_host_is_patched() -> None:
    import llamafactory.data.template  # noqa: F401

    import vistadpo_plugin.host  # noqa: F401

    assert MMPluginMixin._get_video_sample_indices.__module__ == "llamafactory.data.mm_plugin"
    assert MMPluginMixin._get_video_sample_indices.__wrapped__ is not None
