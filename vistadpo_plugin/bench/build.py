"""The model, the videos and the rows of a benchmark, made on the spot, and one recipe for each way of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vistadpo_plugin.bench.presets import Preset
from vistadpo_plugin.bench.rows import WORDS, RowWriter, in_our_order

# What a run draws its order of rows from, see `in_our_order`.
SEED = 42
# Rejected answers more than the one that the other rows have, by the run that trains on them.
MORE = {"four": 1, "five": 2}


def build(folder: Path, preset: Preset) -> None:
    """Write `folder/model`, `folder/data` (videos/, host.json, rows, plain, and one of `MORE` each, .jsonl) and its
    dataset_info.json."""
    from vistadpo_plugin.demo.tiny_model import train_tokenizer

    data = folder / "data"
    tokenizer = train_tokenizer([f" {word}" for word in WORDS] * 4)
    writer = RowWriter(preset, tokenizer)
    rows = writer.rows(data)
    plain = [{name: row[name] for name in ("id", "video", "prompt", "chosen", "rejected")} for row in rows]
    host = [
        {
            "conversations": [{"from": "human", "value": f"<video>\n{row['prompt']}"}],
            "chosen": {"from": "gpt", "value": row["chosen"]},
            "rejected": {"from": "gpt", "value": row["rejected"]},
            "videos": [row["video"]],
        }
        for row in (in_our_order(data, rows, SEED) if preset.uneven else rows)
    ]
    more = {name: [writer.with_more(row, count) for row in rows] for name, count in MORE.items()}
    for name, lines in {"rows": rows, "plain": plain, **more}.items():
        (data / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (data / "host.json").write_text(json.dumps(host))
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "videos": "videos"}
    info: dict[str, Any] = {
        "rows": {"file_name": "rows.jsonl", "formatting": "vistadpo"},
        "plain": {"file_name": "plain.jsonl", "formatting": "vistadpo"},
        **{name: {"file_name": f"{name}.jsonl", "formatting": "vistadpo"} for name in MORE},
        "host": {"file_name": "host.json", "formatting": "sharegpt", "ranking": True, "columns": columns},
    }
    (data / "dataset_info.json").write_text(json.dumps(info))
    build_model(folder / "model", tokenizer, preset)


def build_model(folder: Path, tokenizer: Any, preset: Preset) -> None:
    """Write a Video-LLaVA of this shape with random weights, and its processor."""
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, VideoLlavaConfig, VideoLlavaForConditionalGeneration

    from vistadpo_plugin.models.video_llava import make_processor

    vision = CLIPVisionConfig(
        hidden_size=preset.tower_hidden,
        intermediate_size=4 * preset.tower_hidden,
        num_hidden_layers=preset.tower_layers,
        num_attention_heads=preset.tower_heads,
        image_size=preset.image,
        patch_size=preset.patch,
        projection_dim=preset.tower_hidden,
    )
    text = LlamaConfig(
        vocab_size=preset.vocabulary,
        hidden_size=preset.hidden,
        intermediate_size=preset.ffn,
        num_hidden_layers=preset.layers,
        num_attention_heads=preset.heads,
        num_key_value_heads=preset.heads,
        max_position_embeddings=4096,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = VideoLlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_seq_length=preset.frame_tokens - 1,
        video_seq_length=preset.video_tokens,
    )
    config.dtype = torch.bfloat16 if preset.bf16 else torch.float32
    # Where it will run: seven billion random numbers in float32 on a CPU take minutes and 28 GB.
    on = torch.device("cuda" if preset.bf16 and torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[on] if on.type == "cuda" else []), on:
        torch.manual_seed(0)
        model = VideoLlavaForConditionalGeneration._from_config(config)
    model.save_pretrained(folder)
    make_processor(tokenizer, preset.image, preset.patch).save_pretrained(folder)


RUNS = {
    "host": "the host's own stage dpo: two answers",
    "cold": "VistaDPO: nine answers, six views",
    "warm": "VistaDPO, reference cached",
    "kept": "VistaDPO, reference cached, all activations kept",
    "separate": "VistaDPO, one row an answer",
    "dpo": "VistaDPO, response term with one negative: exactly DPO",
    "released": "the released code's schedule, pass by pass",
    "four": "VistaDPO and a fourth answer on the full video",
    "five": "VistaDPO and a fourth and a fifth",
}
"""The ways of training that are measured; the first is what the others are compared with."""


def recipe(folder: Path, preset: Preset, run: str, output_dir: Path, on_gpu: bool, profiled: bool) -> dict[str, Any]:
    """What `llamafactory-cli train` would be given for one of `RUNS`; a step more where that is to be `profiled`."""
    args: dict[str, Any] = {
        "model_name_or_path": str(folder / "model"),
        "template": "video_llava",
        "stage": "dpo" if run == "host" else "vistadpo",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_target": "all",
        "lora_rank": preset.lora_rank,
        "dataset": {"host": "host", "dpo": "plain", **{name: name for name in MORE}}.get(run, "rows"),
        "dataset_dir": str(folder / "data"),
        "media_dir": str(folder / "data"),
        "cutoff_len": 4096,
        "video_maxlen": preset.frames,
        "video_fps": 4.0,
        "seed": SEED,
        "output_dir": str(output_dir),
        "overwrite_output_dir": True,
        "overwrite_cache": True,
        "per_device_train_batch_size": preset.batch,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-5,
        "lr_scheduler_type": "constant",
        "max_steps": preset.warmup + preset.steps + profiled,
        "logging_steps": 1000,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": preset.bf16,
        "use_cpu": not on_gpu,
        # What the plugin sets for its own runs, so that the host's checkpointing is the same.
        "use_reentrant_gc": False,
    }
    if run == "host" and preset.uneven:
        args["disable_shuffling"] = True  # its file is in the order in which the other runs draw their rows
    if run in ("warm", "kept"):
        args["vista_reference_cache"] = str(output_dir / "reference")
    if run == "kept":
        args["vista_activation_memory"] = 1024
    if run == "separate":
        args["vista_prefix_sharing"] = False
    if run == "dpo":
        args |= {f"vista_{term}_weight": 0.0 for term in ("video", "clip", "object", "token")}
    return args
