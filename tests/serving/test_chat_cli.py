"""`llamafactory-cli chat` answers about videos: a real terminal session, each reply held against our own inference."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import FRAMES, Demo
from data.barcode_video import draw, write_video
from host_commands import start

from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.evaluation.inference import Responder
from vistadpo_plugin.serving.terminal import HINT, conversation, with_videos

NEW_TOKENS = 12


@pytest.fixture(scope="module")
def keys(demo: Demo) -> dict[str, Any]:
    return {"model_name_or_path": str(demo.model), "template": "video_llava", "video_maxlen": FRAMES}


def ask(responder: Responder, texts: list[str], videos: list[Any]) -> str:
    """The reply to a conversation: texts of user and model in turn."""
    engine = responder.engine
    messages = [{"role": ("user", "assistant")[turn % 2], "content": text} for turn, text in enumerate(texts)]
    parts = (engine.model, engine.tokenizer, engine.processor, engine.template, engine.generating_args, messages)
    prepared, _ = engine._process_args(*parts, videos=videos or None, input_kwargs={})
    return responder.reply([prepared])[0]


SLOW_TO_END = """
import threading, time
run = threading.Thread.run
def run_and_linger(self):
    writes = getattr(self._target, "__name__", "") == "generate"
    run(self)
    if writes:
        import torch
        numbers, end = torch.rand(300, 300), time.monotonic() + 1
        while time.monotonic() < end:
            numbers = (numbers @ numbers).softmax(-1)
        with open(FILE, "a") as file:
            file.write("ended\\n")
threading.Thread.run = run_and_linger
"""
"""A start-up file of Python: a thread that wrote a reply works on in torch for a second, as on a busy machine."""


def test_a_session_in_the_terminal(keys: dict[str, Any], tmp_path: Path) -> None:
    video, folder = write_video(tmp_path / "a video.mp4", range(100, 150)), tmp_path / "frames"
    folder.mkdir()
    images = [folder / f"{number}.png" for number in range(20)]
    for number, image in enumerate(images):
        draw(number).save(image)
    typed = [
        f"/video {video}",
        "What comes first?",
        "And then?",
        f"/video {tmp_path / 'nothing.mp4'}",
        "/video",
        f"/video {folder}",
        "Which?",
        "<video> of mine",
        "clear",
        "What comes first?",
        "exit",
    ]
    ended = tmp_path / "ended"
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(SLOW_TO_END.replace("FILE", repr(str(ended))))
    path = os.pathsep.join([str(tmp_path / "start"), *filter(None, [os.environ.get("PYTHONPATH")])])
    chat = start(
        "chat",
        "chat_videollava",
        {**keys, "adapter_name_or_path": "null", "infer_dtype": "float32", "max_new_tokens": NEW_TOKENS},
        tmp_path,
        PYTHONPATH=path,
    )
    out, _ = chat.communicate("".join(f"{line}\n" for line in typed), timeout=200)
    assert chat.returncode == 0, (tmp_path / "stderr.txt").read_text()[-3000:]
    # Five questions went to the model, one of them in vain. Python leaves no thread behind inside of torch: it would
    # not always get away with it ("terminate called without an active exception", SIGABRT).
    assert ended.read_text() == "ended\n" * 4
    before, *said = out.split("\nUser: ")
    assert HINT in before

    responder = Responder(keys, NEW_TOKENS)
    rows = [GroundedRow("", "", video) for video in (str(video), tuple(map(str, images)))]
    frames = [responder.frames(row, None) for row in rows]
    texts = ["<video>\nWhat comes first?"]
    texts += [ask(responder, texts, frames[:1]), "And then?"]
    texts += [ask(responder, texts, frames[:1]), "<video>\nWhich?"]
    texts += [ask(responder, texts, frames)]
    alone = ask(responder, ["What comes first?"], [])
    assert len({texts[1], texts[3], texts[5], alone}) == 4
    expected = [
        f"Assistant: [{FRAMES} frames, with your next question]\n",
        f"Assistant: {texts[1]}\n",
        f"Assistant: {texts[3]}\n",
        "Assistant: [cannot open the video ",
        f"Assistant: [{HINT}]\n",
        f"Assistant: [{FRAMES} frames, with your next question]\n",
        f"Assistant: {texts[5]}\n",
        "Assistant: [The number of videos does not match the number of <video> tokens in ",
        "History has been removed.\n",
        f"Assistant: {alone}\n",
        "",
    ]
    assert len(said) == len(expected)
    for found, wanted in zip(said, expected, strict=True):
        wanted = wanted.replace("\r", "\n")  # as reading text from a process has it
        assert found.startswith(wanted) if not wanted.endswith("\n") else found == wanted


def test_who_leaves_early_does_not_wait_for_the_whole_reply(keys: dict[str, Any]) -> None:
    """As Ctrl-C does: a reply of 2,000 tokens is left after the first words."""
    from llamafactory.chat import ChatModel

    chat = with_videos(ChatModel)({**keys, "infer_dtype": "float32", "do_sample": False})
    steps: list[threading.Thread] = []
    chat.engine.model.register_forward_hook(lambda *_: steps.append(threading.current_thread()))
    chat.engine.generating_args["eos_token_id"] = None
    reply = chat.stream_chat([{"role": "user", "content": "What comes first?"}], max_new_tokens=2000)
    assert next(reply) is not None
    reply.close()
    (thread,) = set(steps)
    thread.join()
    assert not thread.daemon and len(steps) < 1000


def test_conversation() -> None:
    """Two videos before one question, a command that failed, a question that was refused: its video stays."""

    def user(content: str, **notes: Any) -> dict[str, Any]:
        return {"role": "user", "content": content, **{f"vistadpo_{key}": value for key, value in notes.items()}}

    def reply(content: str) -> dict[str, str]:
        return {"role": "assistant", "content": content}

    history = [user("/video a", frames="A"), reply("[ok]"), user("/video b", frames="B"), reply("[ok]")]
    history += [user("/video c", refused=True), reply("[no c]"), user("One?"), reply("1")]
    history += [user("/video d", frames="D"), reply("[ok]"), user("Two?", refused=True), reply("[too long]")]
    assert conversation([*history, user("Three?")]) == (
        [user("<video>\n<video>\nOne?"), reply("1"), user("<video>\nThree?")],
        ["A", "B", "D"],
    )
