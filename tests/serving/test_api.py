"""The host's API answers about a video file and a folder of frames, from the frames of training.

One real `llamafactory-cli api` is asked by OpenAI's own client, and each reply held against our inference for
benchmarks. What reaches the model is looked at in this process, through the same application.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from capture import FirstBatch
from conftest import Demo, keep_log, run_recipe, tiny_recipe, write_rows
from data.barcode_video import draw, write_video
from host_commands import start
from launching import free_port
from scoring.test_scorer import views_of_sequences
from starlette.testclient import TestClient
from tiny_qwen import PIXELS, build_tiny_llama, build_tiny_qwen

from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.demo.tiny_model import build_tiny_video_llava
from vistadpo_plugin.evaluation.inference import Responder

QUESTION, NEW_TOKENS = "What comes first?", 12
IMAGES = 20


@dataclass
class Media:
    """A folder with a video file, a folder of frames, and what cannot be a video."""

    folder: Path
    file: Path
    images: Path

    @property
    def image_paths(self) -> tuple[str, ...]:
        """The frames in order: natural order, which is not that of the names."""
        return tuple(str(self.images / f"{number}.png") for number in range(IMAGES))

    def row(self, video: Path) -> GroundedRow:
        return GroundedRow("", "", str(video) if video == self.file else self.image_paths)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """The frames of file and folder read 100 to 149 and 0 to 19."""
    folder = tmp_path_factory.mktemp("media")
    made = Media(folder, write_video(folder / "video.mp4", range(100, 150)), folder / "frames")
    made.images.mkdir()
    for number in range(IMAGES):
        draw(number).save(made.images / f"{number}.png")
    (folder / "empty").mkdir()
    (folder / "cut.mp4").write_bytes(made.file.read_bytes()[:2000])
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    draw(7).save(outside)
    (folder / "links").mkdir()
    (folder / "links" / "0.png").symlink_to(made.images / "0.png")
    (folder / "links" / "1.png").symlink_to(outside)
    return made


@dataclass
class Trained:
    """The keys to load a trained model with, and the pixels its training took of the file and of the folder."""

    keys: dict[str, Any]
    pixels: list[torch.Tensor]


def train(recipe: dict[str, Any], media: Media, folder: Path) -> Trained:
    """One step on a row about the file and a row about the folder, in one batch."""
    answers = {"prompt": QUESTION, "chosen": "The left bar.", "rejected": "The right bar."}
    write_rows(folder, [{"id": video.name, "video": str(video), **answers} for video in (media.file, media.images)])
    seen: dict[int, torch.Tensor] = {}

    def look(model: Any, batch: Any) -> None:
        views = views_of_sequences(batch)
        for number, (row, name) in enumerate(batch["names"]):
            if name == "full/chosen":
                seen[row] = batch["views"][views[number]]["pixel_values_videos"]

    changes = {"dataset": "rows", "dataset_dir": str(folder), "media_dir": str(folder), "learning_rate": 1e-2}
    run_recipe({**recipe, **changes, "max_steps": 1}, FirstBatch(look))
    assert len(seen) == 2
    kept = ("model_name_or_path", "template", "video_maxlen", "video_fps", "video_max_pixels", "video_min_pixels")
    keys = {key: recipe[key] for key in kept if key in recipe}
    return Trained({**keys, "adapter_name_or_path": recipe["output_dir"]}, list(seen.values()))


@pytest.fixture(scope="module")
def video_llava(demo: Demo, media: Media, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("video_llava")
    return train(tiny_recipe(demo, folder / "adapter"), media, folder)


@pytest.fixture(scope="module")
def qwen(demo: Demo, media: Media, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Frames by the host's rule: of 5 s at 3 a second at most 10."""
    folder = tmp_path_factory.mktemp("qwen")
    model = build_tiny_qwen(folder / "model", [str(value) for row in demo.rows for value in row.values()])
    recipe = tiny_recipe(demo, folder / "adapter") | {"model_name_or_path": str(model), "template": "qwen2_vl"}
    return train(
        recipe | {"video_fps": 3.0, "video_maxlen": 10, "video_max_pixels": 4 * PIXELS, "video_min_pixels": PIXELS},
        media,
        folder,
    )


def body(video: str | Path, **keys: Any) -> dict[str, Any]:
    """A question about one video. The line break before it is what training has after a video."""
    content = [{"type": "video_url", "video_url": {"url": str(video)}}, {"type": "text", "text": f"\n{QUESTION}"}]
    return {"model": "served", "messages": [{"role": "user", "content": content}], **keys}


@pytest.fixture(scope="module")
def client(video_llava: Trained, media: Media, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """OpenAI's client of the real command, which may read what lies in the media folder."""
    folder = tmp_path_factory.mktemp("served")
    port = free_port()
    keys = {**video_llava.keys, "infer_dtype": "float32", "max_new_tokens": NEW_TOKENS}
    environment = {"API_HOST": "127.0.0.1", "API_PORT": port, "SAFE_MEDIA_PATH": str(media.folder)}
    server = start("api", "chat_videollava", keys, folder, **environment)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    try:
        for _ in range(600):
            try:
                client.models.list()
                break
            except openai.APIConnectionError:
                assert server.poll() is None, (folder / "stderr.txt").read_text()[-3000:]
                time.sleep(0.2)
        yield client
    finally:
        server.terminate()
        server.communicate(timeout=60)


@pytest.fixture(scope="module")
def responder(video_llava: Trained) -> Responder:
    return Responder(video_llava.keys, NEW_TOKENS)


@pytest.fixture(scope="module")
def replies(responder: Responder, media: Media) -> dict[str, str]:
    """What our inference says about file and folder."""
    rows = {video.name: media.row(video) for video in (media.file, media.images)}
    said = {name: responder.reply([responder.prepare(QUESTION, row)])[0] for name, row in rows.items()}
    assert len(set(said.values())) == 2
    return said


def streamed(client: openai.OpenAI, asked: dict[str, Any]) -> str:
    chunks = client.chat.completions.create(**asked, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_reply_about_a_file_and_a_folder(client: openai.OpenAI, media: Media, replies: dict[str, str]) -> None:
    for video in (media.file, media.images):
        reply = client.chat.completions.create(**body(video))
        assert reply.choices[0].message.content == replies[video.name]
        assert streamed(client, body(video)) == replies[video.name]


def test_a_video_may_be_sent_whole(client: openai.OpenAI, media: Media, replies: dict[str, str]) -> None:
    data = "data:video/mp4;base64," + base64.b64encode(media.file.read_bytes()).decode()
    reply = client.chat.completions.create(**body(data))
    assert reply.choices[0].message.content == replies[media.file.name]


def test_a_second_video_in_a_later_turn(client: openai.OpenAI, media: Media, responder: Responder) -> None:
    first, second = (body(video)["messages"][0] for video in (media.file, media.images))
    answer = {"role": "assistant", "content": "A bar."}
    reply = client.chat.completions.create(model="served", messages=[first, answer, second])
    questions = [{"role": "user", "content": f"<video>\n{QUESTION}"} for _ in range(2)]
    engine = responder.engine
    prepared, _ = engine._process_args(
        engine.model,
        engine.tokenizer,
        engine.processor,
        engine.template,
        engine.generating_args,
        [questions[0], answer, questions[1]],
        videos=[responder.frames(media.row(video), None) for video in (media.file, media.images)],
        input_kwargs={},
    )
    assert [reply.choices[0].message.content] == responder.reply([prepared])


REFUSED = {
    "nothing.mp4": "there is no video file and no folder of frames",
    "empty": "holds no images",
    "cut.mp4": r"cut\.mp4",
    "links": "Invalid or inaccessible file path.*SAFE_MEDIA_PATH",
    "..": "Invalid or inaccessible file path.*SAFE_MEDIA_PATH",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_status_400_with_the_reason(client: openai.OpenAI, media: Media, name: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**body(media.folder / name))
    assert re.search(REFUSED[name], refused.value.body["detail"])
    with pytest.raises(openai.APIError) as broken:
        streamed(client, body(media.folder / name))
    if name == "cut.mp4":  # found when the stream had begun
        assert re.search(REFUSED[name], broken.value.message)
    else:
        assert broken.value.status_code == 400
        assert re.search(REFUSED[name], broken.value.body["detail"])


def test_a_stream_that_the_host_refuses_is_status_400(client: openai.OpenAI, media: Media) -> None:
    """Two replies at once cannot be streamed: the host's own check, which it makes too late for a status."""
    with pytest.raises(openai.BadRequestError) as refused:
        streamed(client, body(media.file, n=2))
    assert refused.value.body["detail"] == "Cannot stream multiple responses."


def serve(keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch, media: Media) -> tuple[TestClient, list[Any]]:
    """The host's application on a model of its own chat, in this process, and what that model is given to generate."""
    from llamafactory.api import common
    from llamafactory.api.app import create_app
    from llamafactory.chat import ChatModel

    monkeypatch.setattr(common, "SAFE_MEDIA_PATH", str(media.folder))
    chat = ChatModel({**keys, "do_sample": False, "max_new_tokens": 2})
    given: list[dict[str, Any]] = []
    generate = chat.engine.model.generate

    def looked_at(**inputs: Any) -> torch.Tensor:
        given.append(inputs)
        return generate(**inputs)

    chat.engine.model.generate = looked_at
    return TestClient(create_app(chat)), given


PATH = "/v1/chat/completions"


@pytest.mark.parametrize("family", ["video_llava", "qwen"])
def test_pixels_are_those_of_training(
    family: str, media: Media, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: Trained = request.getfixturevalue(family)
    client, given = serve(trained.keys, monkeypatch, media)
    for video in (media.file, media.images):
        assert client.post(PATH, json=body(video)).status_code == 200
    pixels = [inputs["pixel_values_videos"] for inputs in given]
    assert len(pixels) == 2 and not torch.equal(*pixels)
    same = [[torch.equal(served, of_training) for of_training in trained.pixels] for served in pixels]
    assert sorted(same) == [[False, True], [True, False]]
    if family == "qwen":
        # 5 s at 3 a second are 15 frames, 20 images at 3 a second 20: both more than 10, which are 5 pairs.
        assert [inputs["video_grid_thw"].tolist()[0][0] for inputs in given] == [5, 5]


def test_hosts_own_reading_of_a_file_is_the_same(qwen: Trained, media: Media) -> None:
    """Where the host can read a video, its frames are those of training, so reading it ourselves changes nothing."""
    engine = Responder(qwen.keys, 1).engine
    message = [{"role": "user", "content": f"<video>\n{QUESTION}"}]
    parts = (engine.model, engine.tokenizer, engine.processor, engine.template, engine.generating_args, message)
    host, _ = engine._process_args(*parts, videos=[str(media.file)], input_kwargs={})
    assert any(torch.equal(host["pixel_values_videos"], pixels) for pixels in qwen.pixels)


def test_a_model_without_videos(demo: Demo, media: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_tiny_llama(tmp_path / "model", [str(value) for row in demo.rows for value in row.values()])
    client, given = serve({"model_name_or_path": str(model), "template": "default"}, monkeypatch, media)
    refused = client.post(PATH, json=body(media.file))
    assert refused.status_code == 400
    assert "This model does not support video input." in refused.json()["detail"]
    assert given == []


def test_videos_that_do_not_fit_the_model(demo: Demo, media: Media, tmp_path: Path) -> None:
    """Frames of 37 tokens and the host's default of 128 of them: 4,736 and the question for 4,096 positions."""
    model = build_tiny_video_llava(tmp_path / "model", ["What comes first?"], image_size=84, patch_size=14)
    keys = {"model_name_or_path": str(model), "template": "video_llava"}
    with pytest.raises(ValueError, match=r"takes 47\d\d tokens .* has 4096 positions.*`video_maxlen` is 128 frames"):
        Responder(keys, 1).prepare(QUESTION, media.row(media.file))
    Responder({**keys, "video_maxlen": 100}, 1).prepare(QUESTION, media.row(media.file))


def test_other_frames_than_in_training_are_said(video_llava: Trained) -> None:
    said: list[str] = []
    with keep_log(said):
        Responder(video_llava.keys, 1)
        assert said == []
        Responder({**video_llava.keys, "video_maxlen": 4, "video_fps": 2}, 1)
    assert [sentence.split(" (")[0] for sentence in said] == ["`video_maxlen` is 4 and was 8 in training"]


def test_local_files_can_be_forbidden(media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi import HTTPException
    from llamafactory.api import common
    from llamafactory.api.protocol import ChatCompletionRequest

    from vistadpo_plugin.serving.requests import find_videos

    monkeypatch.setattr(common, "SAFE_MEDIA_PATH", str(media.folder))
    find_videos(ChatCompletionRequest(**body(media.images)))
    monkeypatch.setattr(common, "ALLOW_LOCAL_FILES", False)
    with pytest.raises(HTTPException) as refused:
        find_videos(ChatCompletionRequest(**body(media.images)))
    assert refused.value.status_code == 403
