"""vLLM in an environment of its own, models small enough to run there on a CPU, and questions asked in a process of it.

Its pins exclude the host's beside it, so it is looked for and never installed: the interpreter in $VLLM_PYTHON, or that
of `make vllm`.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tiny_families.parts import sharpen
from transformers import AutoConfig, AutoModelForImageTextToText

ROOT = Path(__file__).resolve().parents[2]
MADE = ROOT / ".venv-vllm/bin/python"
PYTHON = os.environ.get("VLLM_PYTHON") or (str(MADE) if MADE.exists() else None)
NO_VLLM = "no vLLM here: `make vllm` makes an environment with it, or set VLLM_PYTHON to the interpreter of one"
HEAD, HEADS = 32, 2
"""vLLM's attention on a CPU has no heads of 16, as our tiny models have four."""

ENGINE = {
    "infer_backend": "vllm",
    "vllm_maxlen": 512,
    "vllm_enforce_eager": True,
    "vllm_config": {
        "max_num_batched_tokens": 1024,
        "max_num_seqs": 16,
        "skip_mm_profiling": True,
        "worker_extension_cls": "evaluation.vllm_on_a_cpu.OnACpu",
    },
}
"""What makes vLLM start sooner, and run with adapters on a CPU; nothing that decides a reply."""
_SECONDS = 540


def build(name: str, folder: Path, corpus: Iterable[str]) -> dict[str, Any]:
    """A tiny model of a family with heads of 32, written to `folder`; returns its keys of an evaluation recipe."""
    keys = importlib.import_module(f"tiny_families.{name}").build(folder, list(corpus))
    config = AutoConfig.from_pretrained(folder)
    text = config.get_text_config()
    text.num_attention_heads, text.num_key_value_heads, text.head_dim = HEADS, HEADS // 2, HEAD
    sections = text.rope_parameters.get("mrope_section")
    if sections:
        text.rope_parameters["mrope_section"] = [2 * section for section in sections]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = AutoModelForImageTextToText.from_config(config)
    qwen = name.startswith("qwen")
    sharpen(model, "visual" if qwen else "vision", embedding=10 if qwen else 20)
    model.save_pretrained(folder)
    return {key: value for key, value in keys.items() if key != "cutoff_len"}


def run(words: list[str | Path], **more: str) -> subprocess.CompletedProcess[str]:
    """The environment's Python with these words, `more` in its variables; standard error is in `stdout` too."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GB
        **more,
    }
    return subprocess.run(
        [PYTHON, *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
    )


def ask_through_vllm(folder: Path, keys: dict[str, Any], questions: list[tuple[str, str]], tokens: int) -> Any:
    """[reply, margin] of every question, (prompt, video) each; and last what is said of one that is too long."""
    job, result = folder / "job.json", folder / "result.json"
    job.write_text(json.dumps({"keys": keys, "questions": questions, "tokens": tokens}))
    # One process less, which starts sooner.
    done = run([Path(__file__), job, result], VLLM_ENABLE_V1_MULTIPROCESSING="0")
    assert done.returncode == 0 and result.exists(), done.stdout[-6000:]
    return json.loads(result.read_text())


def ask(responder: Any, questions: list[tuple[str, str]]) -> list[tuple[str, float]]:
    """(Reply, margin) of every question, one batch of a responder of either backend."""
    from vistadpo_plugin.data.rows.grounding import GroundedRow

    prepared = [responder.prepare(prompt, GroundedRow(video, video, video)) for prompt, video in questions]
    return [(answer.text, answer.yes_margin) for answer in responder.answer(prepared)]


def _main(job: Path, result: Path) -> None:
    from vistadpo_plugin.evaluation.vllm_backend.responder import VllmResponder

    given = json.loads(job.read_text())
    responder = VllmResponder(given["keys"], given["tokens"])
    made: list[Any] = ask(responder, given["questions"])
    try:
        ask(responder, [("What? " * 250, given["questions"][0][1])])
    except ValueError as error:
        made.append(str(error))
    responder.close()
    result.write_text(json.dumps(made))


if __name__ == "__main__":
    import sys

    _main(Path(sys.argv[1]), Path(sys.argv[2]))
