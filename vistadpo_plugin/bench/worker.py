"""One way of training, measured in a process of its own: `python -m vistadpo_plugin.bench.worker JOB.json`."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.models.llama.modeling_llama import LlamaModel
from transformers.models.video_llava.modeling_video_llava import VideoLlavaModel

from vistadpo_plugin.bench.build import recipe
from vistadpo_plugin.bench.presets import PRESETS, Preset

MIB = 2**20


class Counts:
    """Videos that went through the vision tower, and positions that went through the language model."""

    def __init__(self) -> None:
        self.encodes = self.tokens = 0
        encode, forward = VideoLlavaModel.get_video_features, LlamaModel.forward

        def get_video_features(model: Any, pixel_values_videos: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            self.encodes += pixel_values_videos.shape[0]
            return encode(model, pixel_values_videos, *args, **kwargs)

        def counting_forward(model: Any, *args: Any, **kwargs: Any) -> Any:
            self.tokens += kwargs["inputs_embeds"].shape[:2].numel()
            return forward(model, *args, **kwargs)

        VideoLlavaModel.get_video_features, LlamaModel.forward = get_video_features, counting_forward


class Stopwatch(TrainerCallback):
    """Seconds of every timed step; memory and counts over all of them; then one more step under torch's profiler, where
    a `profile` is wanted; then, over all rows, seconds of data for a row and the share of padding."""

    def __init__(self, preset: Preset, counts: Counts, profile: Path | None):
        self.preset, self.counts, self.profile = preset, counts, profile
        self.steps: list[float] = []
        self.measured: dict[str, float] = {}
        self.started = 0.0
        self.profiler: Any = None

    def _now(self) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.preset.warmup:
            self.counts.encodes = self.counts.tokens = 0
            _reset_peak()
        if state.global_step == self.preset.warmup + self.preset.steps:
            self.profiler = _profiler()
            self.profiler.start()
        self.started = self._now()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.profiler is not None:
            self._now()
            self.profiler.stop()
            return
        if state.global_step > self.preset.warmup:
            self.steps.append(self._now() - self.started)
            rows = args.per_device_train_batch_size * len(self.steps)
            self.measured = {
                "peak_mib": _peak(),
                "encodes_per_row": self.counts.encodes / rows,
                "tokens_per_row": self.counts.tokens / rows,
            }

    def on_train_end(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        if self.profiler is not None:
            self.profile.write_text(_operations(self.profiler))
        started = time.perf_counter()
        sizes = [fed(batch) for batch in train_dataloader]
        self.measured["data_seconds_per_row"] = (
            (time.perf_counter() - started) / len(sizes) / args.per_device_train_batch_size
        )
        positions, padding = map(sum, zip(*sizes, strict=True))
        self.measured["padding"] = padding / positions


def fed(batch: dict[str, Any]) -> tuple[int, int]:
    """Positions of what a model is fed, and how many of them are padding: of the host's batch, of all of our groups, or
    of the released schedule's passes."""
    if "input_ids" not in batch:
        parts = [fed(part) for part in batch.get("groups", batch.get("passes"))]
        return sum(positions for positions, _ in parts), sum(padding for _, padding in parts)
    # A packed row has a stand-in of a mask, and no padding.
    return batch["input_ids"].numel(), int((batch["attention_mask"] == 0).sum())


def _profiler() -> Any:
    """Of the device's work alone where there is one: what the processor does a hundred thousand times a step would take
    minutes to read."""
    if torch.cuda.is_available():
        return torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
    return torch.profiler.profile(record_shapes=True)


def _operations(profiler: Any) -> str:
    if torch.cuda.is_available():
        return _kernels(profiler.events())
    operations = profiler.key_averages(group_by_input_shape=True)
    return operations.table(sort_by="self_cpu_time_total", row_limit=60, max_shapes_column_width=120)


# What makes the processor wait for the device, by the profiler's names.
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def _kernels(events: Any) -> str:
    """The kernels that take most of the device's time, the share of it in which none runs, and how often the processor
    waits for it."""
    took: dict[str, list[float]] = {}
    waits: Counter = Counter()
    start, end = float("inf"), 0.0
    for event in events:
        if event.device_type == torch.autograd.DeviceType.CUDA:
            took.setdefault(event.name, []).append(event.time_range.elapsed_us())
            start, end = min(start, event.time_range.start), max(end, event.time_range.end)
        elif event.name in WAITS:
            waits[event.name] += 1
    total, launches = sum(map(sum, took.values())), sum(map(len, took.values()))
    lines = [
        f"{total / 1e6:.3f} s of kernels in {(end - start) / 1e6:.3f} s, {launches} launches; waits: "
        + (", ".join(f"{name} {count}" for name, count in waits.items()) or "none")
    ]
    for name, times in sorted(took.items(), key=lambda item: -sum(item[1]))[:40]:
        lines.append(f"{sum(times) / total:6.1%}  {sum(times) / 1e6:7.4f} s  {len(times):6d} x  {name[:180]}")
    return "\n".join(lines) + "\n"


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak of the resident set starts anew


def _peak() -> float:
    """MiB: of the GPU's memory, or of the resident set."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / MIB
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Train for the preset's steps and return what was measured."""
    from llamafactory.hparams import get_train_args
    from llamafactory.train.tuner import run_exp

    preset, run = dataclasses.replace(PRESETS[job["preset"]], steps=job["steps"], uneven=job["uneven"]), job["run"]
    profile = Path(job["profile"]) if job["profile"] else None
    watch = Stopwatch(preset, Counts(), profile)
    folders = Path(job["folder"]), Path(job["output_dir"])
    args = recipe(folders[0], preset, run, folders[1], torch.cuda.is_available(), profiled=profile is not None)
    parts = _other_parts(run)
    if parts:
        from vistadpo_plugin.training.workflow import run_vistadpo

        model_args, data_args, training_args, finetuning_args, _ = get_train_args(args)
        data_args.use_vistadpo = True
        run_vistadpo(model_args, data_args, training_args, finetuning_args, [watch], **parts)
    else:
        run_exp(args, [watch])
    on = {"device": "cpu", "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        on = {"device": torch.cuda.get_device_name(), "peak_flops": _matmul_peak()}
    return {"run": run, "steps": watch.steps, **watch.measured, **on}


def _matmul_peak() -> float:
    """Floating-point operations a second of a large bfloat16 product: what the device can do at best."""
    size, turns = 8192, 20
    a, b = (torch.randn(size, size, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(turns):
        a @ b
    torch.cuda.synchronize()
    return 2 * size**3 * turns / (time.perf_counter() - started)


def _other_parts(run: str) -> dict[str, Any]:
    """The collator and trainer of the runs that no recipe describes."""
    if run == "released":
        from vistadpo_plugin.bench.released import ReleasedCollator, ReleasedTrainer

        return {"collator_class": ReleasedCollator, "trainer_class": ReleasedTrainer}
    return {}


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    Path(given["result"]).write_text(json.dumps(measure(given)))
