"""The start-up hook: it costs nothing, changes nothing until the host is imported, and can be switched off.

LLaMA-Factory takes seconds to import, nearly all of them for torch and its friends. So two interpreters, one with the
hook and one with `VISTADPO_AUTOLOAD=0`, import those friends once and fork a child for every scenario.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vistadpo_plugin import host
from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.autoload import HOST_MODULES

ROOT = Path(__file__).resolve().parents[1]

# Runs every scenario of stdin (name -> code that sets `result`) in a fork of an interpreter that has imported what is
# slow, but nothing of the host.
FORK_SERVER = """
import gc, json, os, sys, traceback

import accelerate, av, datasets, matplotlib.figure, omegaconf, peft, pydantic, ray, torch, torchaudio, transformers, trl
from transformers import AutoModelForCausalLM, AutoProcessor, AutoVideoProcessor, HfArgumentParser, Seq2SeqTrainer
from transformers.models.llava import modeling_llava
from transformers.models.mllama import processing_mllama
from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe
from transformers.models.video_llava import modeling_video_llava

gc.freeze()  # children need not copy what their collector would look through
assert not [name for name in sys.modules if name.startswith("llamafactory")]

results = {}
for name, code in json.load(sys.stdin).items():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        scope = {}
        try:
            exec(code, scope)
            result = scope["result"]
        except BaseException:
            result = {"traceback": traceback.format_exc()}
        with os.fdopen(writer, "w") as pipe:
            json.dump(result, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        results[name] = json.load(pipe)
    os.waitpid(child, 0)
print("RESULTS " + json.dumps(results))
"""

# All that a plain interpreter loads of the plugin.
STARTED = ["vistadpo_plugin", "vistadpo_plugin.autoload", "vistadpo_plugin.watcher"]

# What the plugin changes in the host, seen from outside.
LOOK = """
import dataclasses, sys
from llamafactory.data import converter, loader, template
from llamafactory.hparams import parser
from llamafactory.model.model_utils import visual
from llamafactory.train import tuner
import llamafactory.model.loader as model_loader
from llamafactory.chat import chat_model

def names(arguments):
    return [field.name for cls in arguments for field in dataclasses.fields(cls)]

result = {
    "vista_keys": [
        sorted(name for name in names(arguments) if name.startswith("vista_"))
        for arguments in (parser._TRAIN_ARGS, parser._INFER_ARGS, parser._EVAL_ARGS)
    ],
    "run_dpo": hasattr(tuner.run_dpo, "__wrapped__"),
    "run_dpo_of_host": getattr(tuner.run_dpo, "__wrapped__", tuner.run_dpo).__module__,
    "converter": "vistadpo" in converter.DATASET_CONVERTERS,
    "loader": hasattr(loader._get_dataset_processor, "__wrapped__"),
    "template": type(template.TEMPLATES["video_llava"].mm_plugin).__module__,
    "towers": visual.COMPOSITE_MODELS["video_llava"].vision_model_keys,
    "auto_class": model_loader.AutoModelForImageTextToText.__module__,
    "run_chat": hasattr(chat_model.run_chat, "__wrapped__"),
    "host_is_imported": "vistadpo_plugin.host" in sys.modules,
}
"""
VISTA_KEYS = sorted(field.name for field in dataclasses.fields(VistaArguments))
PATCHED = {
    "vista_keys": [VISTA_KEYS] * 3,
    "run_dpo": True,
    "run_dpo_of_host": "llamafactory.train.dpo.workflow",
    "converter": True,
    "loader": True,
    "template": "vistadpo_plugin.models.exact_frames",
    "towers": ["video_tower", "image_tower"],
    "auto_class": "vistadpo_plugin.models.missing_weights",
    "run_chat": True,
    "host_is_imported": True,
}
UNTOUCHED = {
    "vista_keys": [[]] * 3,
    "run_dpo": False,
    "run_dpo_of_host": "llamafactory.train.dpo.workflow",
    "converter": False,
    "loader": False,
    "template": "llamafactory.data.mm_plugin",
    "towers": ["vision_tower"],
    "auto_class": "transformers.models.auto.modeling_auto",
    "run_chat": False,
    "host_is_imported": False,
}

LOADERS = f"""
import importlib, inspect, pathlib
result = {{}}
for name in {sorted(HOST_MODULES)}:
    module = importlib.import_module(name)
    result[name] = {{
        "patched": getattr(module, "_vistadpo_patched", False),
        "loader": type(module.__spec__.loader).__name__,
        "same": module.__spec__.loader is module.__loader__,
        "source": inspect.getsource(module) == pathlib.Path(module.__file__).read_text(encoding="utf-8"),
        "get_source": module.__loader__.get_source(name) == inspect.getsource(module),
    }}
"""

OTHER_MODULES = """
import sys
import llamafactory.launcher, llamafactory.extras.env, llamafactory.extras.misc, llamafactory.cli
result = sorted(name for name in sys.modules if name.startswith("vistadpo_plugin"))
"""

FIND_SPEC = """
import importlib.util, pathlib
spec = importlib.util.find_spec("llamafactory.train.tuner")
result = spec.loader.get_source("llamafactory.train.tuner") == pathlib.Path(spec.origin).read_text(encoding="utf-8")
"""

RELOAD = f"""
import importlib
from llamafactory.train import tuner
importlib.reload(tuner)
{LOOK}
"""

UNKNOWN_VERSION = """
import importlib.metadata
real = importlib.metadata.version
importlib.metadata.version = lambda name: "9.9.9" if name == "llamafactory" else real(name)
try:
    import llamafactory.train.tuner
    result = "imported"
except ImportError as error:
    result = str(error)
"""

BY_HAND = f"""
import sys
import llamafactory.hparams.parser as parser
before = "vistadpo_plugin.host" in sys.modules or hasattr(parser._parse_args, "__wrapped__")
late = [name for name in {sorted(HOST_MODULES)} if name not in sys.modules]
import vistadpo_plugin.host
at_once = hasattr(parser._parse_args, "__wrapped__")
{LOOK}
result |= {{"before": before, "at_once": at_once, "late": late}}
"""


def fork_server(scenarios: dict[str, str], autoload: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", FORK_SERVER],
        input=json.dumps(scenarios),
        env={**os.environ, "VISTADPO_AUTOLOAD": autoload, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("RESULTS "))
    return json.loads(line.removeprefix("RESULTS "))


@pytest.fixture(scope="module")
def with_hook() -> dict[str, Any]:
    first = {name: f"import {name}\n{LOOK}" for name in sorted(HOST_MODULES)}
    other = {
        "loaders": LOADERS,
        "other modules": OTHER_MODULES,
        "find_spec": FIND_SPEC,
        "reload": RELOAD,
        "unknown version": UNKNOWN_VERSION,
    }
    return fork_server({**first, **other}, autoload="1")


@pytest.fixture(scope="module")
def without_hook() -> dict[str, Any]:
    meta_path = "import sys\nresult = [type(finder).__name__ for finder in sys.meta_path]"
    return fork_server({"meta_path": meta_path, "untouched": LOOK, "by hand": BY_HAND}, autoload="0")


def python(*words: str, **environment: str) -> Any:
    """What an interpreter started with these words prints as JSON."""
    env = {key: value for key, value in os.environ.items() if key != "VISTADPO_AUTOLOAD"}
    done = subprocess.run(
        [sys.executable, *words], env={**env, **environment}, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


# --- what start-up costs ---------------------------------------------------------------------------------------------


def test_plain_start_up_imports_the_hook_and_nothing_slow() -> None:
    modules = python("-c", "import sys; names = sorted(sys.modules); import json; print(json.dumps(names))")
    ours = [name for name in modules if name.startswith("vistadpo_plugin")]
    assert ours == STARTED
    assert {"llamafactory", "torch", "transformers"} & set(modules) == set()


def test_hook_adds_itself_only() -> None:
    # `site` is what reads .pth files, so it and what it imports are there before us; -S keeps it from reading them.
    code = (
        f"import sys, site; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules); "
        "import vistadpo_plugin.autoload; added = sorted(set(sys.modules) - before); "
        "import json; print(json.dumps(added))"
    )
    assert python("-S", "-c", code) == STARTED


def test_import_time(capsys: pytest.CaptureFixture[str]) -> None:
    code = """
import sys, time
best = []
for _ in range(5):
    for name in [name for name in sys.modules if name.startswith("vistadpo_plugin")]:
        del sys.modules[name]
    start = time.perf_counter()
    import vistadpo_plugin.autoload
    best.append(time.perf_counter() - start)
print(min(best))
"""
    seconds = python("-c", code)
    with capsys.disabled():
        print(f"\nimport vistadpo_plugin.autoload: {seconds * 1e3:.3f} ms, best of 5")
    assert seconds < 0.020


# --- with the hook ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", sorted(HOST_MODULES))
def test_every_patch_is_in_whatever_is_imported_first(with_hook: dict[str, Any], first: str) -> None:
    assert with_hook[first] == PATCHED


def test_other_host_modules_do_not_wake_the_plugin(with_hook: dict[str, Any]) -> None:
    assert with_hook["other modules"] == STARTED


def test_patched_modules_look_as_if_we_had_never_been_there(with_hook: dict[str, Any]) -> None:
    untouched = {"patched": True, "loader": "SourceFileLoader", "same": True, "source": True, "get_source": True}
    assert with_hook["loaders"] == dict.fromkeys(HOST_MODULES, untouched)


def test_spec_of_a_module_that_is_not_imported_yet_can_show_its_source(with_hook: dict[str, Any]) -> None:
    assert with_hook["find_spec"] is True


def test_reloaded_module_is_patched_again(with_hook: dict[str, Any]) -> None:
    assert with_hook["reload"] == PATCHED


def test_unknown_host_version_stops_the_import_with_a_sentence(with_hook: dict[str, Any]) -> None:
    assert "9.9.9 is installed" in with_hook["unknown version"]
    assert "VISTADPO_AUTOLOAD=0" in with_hook["unknown version"]


def test_unknown_host_version_names_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version
    host.installed_host()  # the installed one is known
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9.9" if name == "llamafactory" else real(name))
    with pytest.raises(ImportError) as error:
        host.installed_host()
    text = str(error.value)
    assert "9.9.9" in text and "VISTADPO_AUTOLOAD=0" in text
    assert all(known.version in text for known in host.HOSTS)


# --- without the hook ------------------------------------------------------------------------------------------------


def test_switched_off_leaves_the_finders_alone(without_hook: dict[str, Any]) -> None:
    assert "_HostWatcher" not in without_hook["meta_path"]


def test_switched_off_leaves_the_host_alone(without_hook: dict[str, Any]) -> None:
    assert without_hook["untouched"] == UNTOUCHED


def test_import_by_hand_patches_what_is_there_and_what_comes(without_hook: dict[str, Any]) -> None:
    seen = without_hook["by hand"]
    assert (seen.pop("before"), seen.pop("at_once")) == (False, True)
    assert "llamafactory.train.tuner" in seen.pop("late")
    assert seen == PATCHED
