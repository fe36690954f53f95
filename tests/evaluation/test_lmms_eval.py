"""The model that lmms-eval gets.

lmms-eval itself is not among what the tests install. Where it is absent, a stand-in has the three names that are used
of it, with the attributes and the requests of lmms-eval 0.7.3; where it is installed, the real one runs.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from conftest import FRAMES, Demo

from vistadpo_plugin.evaluation.lmms_eval import MODEL, manifest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Manifest:
    """`lmms_eval.models.registry_v2.ModelManifest`."""

    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None
    aliases: tuple[str, ...] = ()


class Lmms:
    """`lmms_eval.api.model.lmms`."""

    is_simple = True

    def __init__(self) -> None:
        self._rank, self._world_size = 0, 1
        self.cached: list[tuple[str, Any, str]] = []
        self.cache_hook = SimpleNamespace(add_partial=lambda *given: self.cached.append(given))
        self.task_dict: dict[str, Any] = {}


@pytest.fixture
def lmms_eval(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if importlib.util.find_spec("lmms_eval") is not None:
        yield
        return
    names = {
        "lmms_eval.api.model": {"lmms": Lmms},
        "lmms_eval.api.instance": {"Instance": SimpleNamespace},
        "lmms_eval.models.registry_v2": {"ModelManifest": Manifest},
    }
    for name, content in names.items():
        parents = name.split(".")[:-1]
        for depth in range(1, len(parents) + 1):
            parent = ".".join(parents[:depth])
            if parent not in sys.modules:
                monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    # Made anew from the stand-in, and forgotten with it.
    monkeypatch.delitem(sys.modules, "vistadpo_plugin.evaluation.lmms_eval.model", raising=False)
    yield
    sys.modules.pop("vistadpo_plugin.evaluation.lmms_eval.model", None)


def model_class() -> Any:
    module, _, name = manifest().chat_class_path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_entry_point_leads_to_the_manifest() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["lmms_eval.models"]
    module, _, name = declared[MODEL].partition(":")
    assert getattr(importlib.import_module(module), name) is manifest


def test_declaring_it_imports_nothing_of_lmms_eval_or_the_host() -> None:
    code = (
        "import sys, vistadpo_plugin.evaluation.lmms_eval; "
        "sys.exit(any(name.split('.')[0] in ('lmms_eval', 'llamafactory', 'torch') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_class_is_a_chat_model_of_lmms_eval(lmms_eval: None) -> None:
    from lmms_eval.api.model import lmms

    assert manifest().model_id == MODEL and manifest().simple_class_path is None
    assert issubclass(model_class(), lmms) and model_class().is_simple is False


def request(doc_to_messages: Any, doc_id: int, **generation: Any) -> Any:
    """As lmms-eval's message tasks construct them: (context, doc_to_messages, generation_kwargs, id, task, split)."""
    return SimpleNamespace(args=("context", doc_to_messages, generation, doc_id, "task", "test"))


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def video(path: str, **part: Any) -> dict[str, Any]:
    return {"type": "video", "url": path, **part}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_replies_are_the_hosts_own(lmms_eval: None, demo: Demo) -> None:
    """Beside the host's chat, which is given the same words and files, with a limit and a stop string of its own."""
    from llamafactory.chat import ChatModel

    keys = {"model_name_or_path": str(demo.model), "template": "video_llava", "video_maxlen": FRAMES}
    docs = [(str(demo.data / row["video"]), row["prompt"]) for row in demo.rows[:3]]
    chat = ChatModel({**keys, "infer_backend": "huggingface"})
    greedy = {"do_sample": False, "max_new_tokens": 12}
    expected = [
        chat.chat([{"role": "user", "content": f"<video>\n{prompt}"}], videos=[path], **greedy)[0].response_text
        for path, prompt in docs
    ]
    assert len(expected[1].split()) > 2

    model = model_class()(**keys)
    model.task_dict = {"task": {"test": docs}}

    def ask(doc: tuple[str, str]) -> list[dict[str, Any]]:
        return user(video(doc[0]), text(doc[1]))

    stop = expected[1].split()[1]
    settings = [{"until": ["\n\n"]}, {"until": stop}, {"temperature": 0, "do_sample": True, "num_beams": 1}]
    requests = [request(ask, index, max_new_tokens=12, **extra) for index, extra in enumerate(settings)]
    assert model.generate_until(requests) == [expected[0], expected[1].split(stop)[0], expected[2]]
    (longer,) = model.generate_until([request(ask, 0, max_new_tokens=24)])
    assert longer.startswith(expected[0]) and len(longer) >= len(expected[0])


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (user(video("a.mp4"), video("b.mp4"), text("?")), "one question about one video"),
        (user({"type": "image", "url": "a.png"}, text("?")), "one question about one video"),
        (user(text("?")), "one question about one video"),
        ([{"role": "system", "content": [text("s")]}, *user(video("a.mp4"), text("?"))], "one question"),
        (user(video("a.mp4", start_time=1.0), text("?")), "start and end"),
        (user(video(["1.png", "2.png"]), text("?")), "path of a video"),
    ],
)
def test_other_questions_are_refused_with_their_place(lmms_eval: None, messages: list[Any], said: str) -> None:
    from vistadpo_plugin.evaluation.lmms_eval.model import read_messages

    with pytest.raises(ValueError, match=said) as refused:
        read_messages(messages, "mvbench, test 7")
    assert str(refused.value).startswith("mvbench, test 7: ")


def test_words_around_a_video_are_one_prompt(lmms_eval: None) -> None:
    from vistadpo_plugin.evaluation.lmms_eval.model import cut, read_messages

    around = read_messages(user(text("Watch."), video("a.mp4"), text("Who?")), "")
    assert (around.video, around.prompt, around.details) == ("a.mp4", "Watch.\nWho?", {})
    whole = read_messages(user(video("a.mp4", start_time=None, end_time=None), text("Who?")), "")
    assert (whole.prompt, whole.details) == ("Who?", {})
    part = read_messages(user(video("a.mp4", start_time=0.0, end_time=2.5), text("Who?")), "")
    assert part.details == {"start": 0.0, "end": 2.5}
    assert cut("yes. no. maybe", ["no", "maybe"]) == "yes. " and cut("yes", None) == "yes" and cut("yes", "") == "yes"


@pytest.mark.parametrize(
    ("generation", "greedy"),
    [
        ({}, True),
        ({"temperature": 0}, True),
        ({"temperature": 0.7, "do_sample": False}, True),
        ({"temperature": 0.7}, False),
        ({"do_sample": True}, False),
        ({"do_sample": True, "temperature": 0}, True),
        ({"num_beams": 4}, False),
        ({"num_beams": None, "temperature": None}, True),
    ],
)
def test_only_greedy_decoding(lmms_eval: None, generation: dict[str, Any], greedy: bool) -> None:
    from vistadpo_plugin.evaluation.lmms_eval.model import _check_greedy

    if greedy:
        _check_greedy(generation, "task, test 1")
    else:
        with pytest.raises(ValueError, match="task, test 1: .*greedily"):
            _check_greedy(generation, "task, test 1")


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        ({"batch_size": 4}, {}, "one question at a time"),
        ({"batch_size": "auto"}, {}, "one question at a time"),
        ({"device": "cuda:1"}, {}, "CUDA_VISIBLE_DEVICES"),
        ({}, {"WORLD_SIZE": "2"}, "one process"),
    ],
)
def test_what_the_host_decides_is_refused(
    lmms_eval: None, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], environment: dict[str, str], said: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        model_class()("model", "video_llava", 8, **options)
