"""What a row's data costs a core: the whole collator, beside decoding the same frames and nothing else.

A process of its own (`python -m vistadpo_plugin.bench.feed JOB.json`) that keeps to one core, as one of several loader
workers does. Seconds are the processor's (`time.process_time`), which other work on the machine disturbs least, and the
clock's beside them. Every file is new to the collator each time: its packets are read anew.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vistadpo_plugin.bench.build import build_model, recipe
from vistadpo_plugin.bench.decoders import OURS, Decode, installed
from vistadpo_plugin.bench.long_videos import write_rows
from vistadpo_plugin.bench.presets import Preset
from vistadpo_plugin.bench.rows import WORDS

COLLATOR = "collator"
"""The name of the whole collator among the ways that are measured."""

SHAPE = Preset(
    about="looks at videos as Video-LLaVA-7B does, and is small otherwise: a collator does not run the model",
    hidden=64,
    layers=1,
    heads=4,
    ffn=128,
    vocabulary=1024,
    image=224,
    patch=14,
    tower_hidden=32,
    tower_layers=1,
    tower_heads=2,
    answer_tokens=18,
    batch=2,
    lora_rank=4,
)

# Mean difference of two decoders' pictures, of 255: the same frame's is below 3, its neighbour's above 5.
_OTHER_PICTURE = 4.0


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and those it starts, to one core."""
    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    torch.set_num_threads(1)
    if cores is not None:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if cores is not None:
            os.sched_setaffinity(0, cores)


@dataclass(frozen=True)
class Work:
    """A micro-batch: its rows, the collator of a run over them, and the frames of each file that it reads."""

    length: str
    collator: Any
    rows: list[dict[str, Any]]
    frames: dict[str, list[int]]

    def by_collator(self) -> None:
        self.collator(list(self.rows))

    def by(self, decode: Decode) -> list[np.ndarray]:
        return [decode(path, indices) for path, indices in self.frames.items()]


def measure(job: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
    """Measure every way in turn, so many rounds; what is known goes to `tell` after each turn, see `feed_report.py`."""
    folder = Path(job["folder"])
    decoders, absent = installed()
    known: dict[str, Any] = {"absent": absent, "other_pictures": [], "turns": []}
    tell(known)
    batches = [work for length, path in write_rows(folder / "data").items() for work in _work(folder, length, path)]
    ways: list[tuple[str, Callable[[Work], Any]]] = [(COLLATOR, Work.by_collator)]
    ways += [(name, lambda work, decode=decode: work.by(decode)) for name, decode in decoders.items()]
    with one_core():
        known["other_pictures"] = _other_pictures(decoders, batches[0])  # and the libraries have begun
        for turn in range(job["rounds"]):
            for number, work in enumerate(batches):
                for way, run in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
                    for path in work.frames:
                        os.utime(path)  # a changed file is a new one
                    about = {"length": work.length, "batch": number, "rows": len(work.rows)}
                    about |= {"frames": sum(map(len, work.frames.values())), "way": way}
                    known["turns"].append({**about, **_timed(lambda run=run, work=work: run(work))})
                    tell(known)


def _timed(work: Callable[[], Any]) -> dict[str, float]:
    clock, core = time.perf_counter(), time.process_time()
    work()
    return {"core_seconds": time.process_time() - core, "clock_seconds": time.perf_counter() - clock}


def _work(folder: Path, length: str, rows: Path) -> Iterator[Work]:
    """The micro-batches of a run over a file of rows."""
    from llamafactory.hparams import get_train_args

    from vistadpo_plugin.data.batches.pairing import PairedSampler
    from vistadpo_plugin.demo.tiny_model import train_tokenizer
    from vistadpo_plugin.training.workflow import prepare

    if not (folder / "model" / "config.json").is_file():
        build_model(folder / "model", train_tokenizer([f" {word}" for word in WORDS] * 4), SHAPE)
    info = {"rows": {"file_name": rows.name, "formatting": "vistadpo"}}
    (folder / "data" / "dataset_info.json").write_text(json.dumps(info))
    model_args, data_args, training_args, finetuning_args, _ = get_train_args(
        recipe(folder, SHAPE, "cold", folder / "output", on_gpu=False, profiled=False)
    )
    data_args.use_vistadpo = True
    parts = prepare(model_args, data_args, training_args, finetuning_args, trainable=True)
    dataset = parts.datasets["train_dataset"]
    picks = list(PairedSampler(dataset, shuffle=True, mates_together=True))
    for first in range(0, len(picks), SHAPE.batch):
        batch = [dataset[pick] for pick in picks[first : first + SHAPE.batch]]
        yield Work(length, parts.collator, batch, _frames(parts.collator, batch))


def _frames(collator: Any, rows: list[dict[str, Any]]) -> dict[str, list[int]]:
    """The frames of each file that the views of a micro-batch are made of."""
    from vistadpo_plugin.data.views.views import ViewRequest

    requests = []
    for row in rows:
        views = {view for pairs in collator.scored(row).values() for view, _ in pairs}
        requests.append(ViewRequest(row["grounding"], row["mate"], views))
    read: dict[str, set[int]] = defaultdict(set)
    for built in collator.views.build_all(requests):
        for origin in built.origins.values():
            read[origin.source.video].update(origin.indices)
    return {path: sorted(indices) for path, indices in read.items()}


def _other_pictures(decoders: dict[str, Decode], work: Work) -> list[str]:
    """The decoders whose pictures are not the frames that ours gives."""
    ours, other = work.by(decoders[OURS]), []
    for name, decode in decoders.items():
        pairs = zip(ours, work.by(decode), strict=True)
        differences = [np.abs(a.astype(np.int16) - b).mean(axis=(1, 2, 3)).max() for a, b in pairs]
        if max(differences) > _OTHER_PICTURE:
            other.append(name)
    return other


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())

    def write(known: dict[str, Any]) -> None:
        """Whole or not at all: the time may be over at any moment."""
        begun = Path(given["result"] + ".part")
        begun.write_text(json.dumps(known))
        begun.replace(given["result"])

    measure(given, write)
