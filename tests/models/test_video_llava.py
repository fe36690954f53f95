"""Video-LLaVA in the host's own stages: what fails without the plugin works with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from capture import FirstBatch, Gradients
from conftest import FRAME_TOKENS, FRAMES, Demo, Run, run_recipe
from PIL import Image
from scoring.test_scorer import sequences_with_pixels

from vistadpo_plugin.demo.shapes import build_videos


@pytest.fixture(scope="module")
def unequal(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Preference and instruction rows of the host's own format over clips of 4 to 6 s, one of 3 frames, one folder."""
    folder = tmp_path_factory.mktemp("unequal")
    build_videos(folder, 4, seed=5)
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    short = [folder / "short" / f"{index}.png" for index in range(3)]
    short[0].parent.mkdir()
    for index, path in enumerate(short):
        Image.fromarray(np.full((60, 80, 3), 60 * index, np.uint8)).save(path)
    preferences, instructions = [], []
    for row in rows:
        question = [{"from": "human", "value": "<video>" + row["prompt"]}]
        answers = {key: {"from": "gpt", "value": row[key]} for key in ("chosen", "rejected")}
        preferences.append({"conversations": question, **answers, "videos": [row["video"]]})
        instructions.append({"conversations": [*question, answers["chosen"]], "videos": [row["video"]]})
    frames = [{**row, "videos": [[str(path) for path in short]]} for row in preferences[:2]]
    columns = {"messages": "conversations", "videos": "videos"}
    pairs = {**columns, "chosen": "chosen", "rejected": "rejected"}
    info = {
        "pairs": {"file_name": "pairs.json", "formatting": "sharegpt", "ranking": True, "columns": pairs},
        "frames": {"file_name": "frames.json", "formatting": "sharegpt", "ranking": True, "columns": pairs},
        "turns": {"file_name": "turns.json", "formatting": "sharegpt", "columns": columns},
        "rows": {"file_name": "rows.jsonl", "formatting": "vistadpo"},
    }
    for name, content in (("pairs", preferences), ("frames", frames), ("turns", instructions)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def data(folder: Path, name: str) -> dict[str, Any]:
    return {"dataset": name, "dataset_dir": str(folder), "media_dir": str(folder)}


@pytest.mark.parametrize(("stage", "name"), [("dpo", "pairs"), ("dpo", "frames"), ("dpo", "rows"), ("sft", "turns")])
def test_the_hosts_own_stages_train(train: Callable[..., Run], unequal: Path, stage: str, name: str) -> None:
    """Clips of unequal length stack: every video has exactly video_maxlen frames."""
    losses = train(stage=stage, **data(unequal, name)).series("loss")
    assert len(losses) == 2
    if stage == "dpo":
        assert losses[0] == pytest.approx(0.693147, abs=1e-5)
        assert losses[1] != losses[0]


def test_lora_leaves_towers_and_projector_alone(recipe: dict[str, Any], unequal: Path) -> None:

    gradients = Gradients()
    run_recipe({**recipe, "stage": "dpo", "max_steps": 1, **data(unequal, "pairs")}, gradients)
    assert gradients.trainable
    assert all("language_model" in name for name in gradients.trainable)


def autograd_nodes(tensor: torch.Tensor) -> set[str]:
    """Names of all nodes of the graph behind a tensor."""
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return {node.name() for node in seen}


def test_plain_dpo_uses_non_reentrant_checkpointing(recipe: dict[str, Any], unequal: Path) -> None:
    """Reentrant checkpointing leaves a CheckpointFunction node a layer in the graph, the other kind none."""

    nodes: set[str] = set()

    def look(model: Any, batch: Any) -> None:
        assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        nodes.update(autograd_nodes(model(**inputs, use_cache=False).logits))

    run_recipe({**recipe, "stage": "dpo", "max_steps": 1, **data(unequal, "pairs")}, FirstBatch(look))
    assert "AddBackward0" in nodes
    assert not any("CheckpointFunction" in name for name in nodes)


@pytest.mark.parametrize(("stage", "name"), [("dpo", "pairs"), ("sft", "turns")])
def test_a_cut_prompt_is_an_error(train: Callable[..., Run], unequal: Path, stage: str, name: str) -> None:
    """8 x 5 video tokens and the text do not fit 64; the host would cut the question without a word."""
    with pytest.raises(ValueError, match=r"tokens but `cutoff_len` is 64, which would cut.*Set `cutoff_len: 128`"):
        train(stage=stage, cutoff_len=64, **data(unequal, name))


@pytest.mark.parametrize("cutoff_len", [512, 64])
def test_rows_to_predict_on_need_no_answer(demo: Demo, cutoff_len: int) -> None:
    """The host then encodes an empty answer; the check of the prompt's length must do the same."""
    from llamafactory.data.loader import _get_dataset_processor
    from llamafactory.data.template import TEMPLATES
    from llamafactory.hparams import DataArguments
    from transformers import AutoProcessor, AutoTokenizer

    processor, tokenizer = AutoProcessor.from_pretrained(demo.model), AutoTokenizer.from_pretrained(demo.model)
    processor.video_maxlen = FRAMES
    template, args = TEMPLATES["video_llava"], DataArguments(cutoff_len=cutoff_len)
    made = _get_dataset_processor(args, "sft", template, tokenizer, processor, do_generate=True)
    row = {"prompt": [{"role": "user", "content": "<video>\nWhat moves?"}], "response": [], "system": "", "tools": ""}
    media = {"images": None, "videos": ["a.mp4"], "audios": None}
    examples = {f"_{name}": [value] for name, value in {**row, **media}.items()}
    if cutoff_len == 64:
        with pytest.raises(ValueError, match="`cutoff_len` is 64, which would cut"):
            made.preprocess_dataset(examples)
    else:
        (ids,) = made.preprocess_dataset(examples)["input_ids"]
        assert ids.count(processor.video_token_id) == FRAMES * FRAME_TOKENS


def test_plain_dpo_and_vistadpo_see_the_same_frames(recipe: dict[str, Any], unequal: Path) -> None:
    """Pixels of the full video in both stages, to the last bit; the batch of 4 rows holds them in row order."""

    seen: dict[str, torch.Tensor] = {}
    common = {**recipe, **data(unequal, "rows"), "disable_shuffling": True, "per_device_train_batch_size": 4}
    common["max_steps"] = 1

    def plain(model: Any, batch: Any) -> None:
        seen["plain"] = batch["pixel_values_videos"][:4]  # the chosen half

    def ours(model: Any, batch: Any) -> None:
        pixels = sequences_with_pixels(batch)
        chosen = batch["terms"]["response"]["sequences"][:, 0].tolist()
        assert [batch["names"][number] for number in chosen] == [(row, "full/chosen") for row in range(4)]
        seen["ours"] = torch.stack([pixels[number] for number in chosen])

    run_recipe({**common, "stage": "dpo"}, FirstBatch(plain))
    run_recipe(common, FirstBatch(ours))
    assert seen["plain"].shape == (4, FRAMES, 3, 28, 28)
    assert torch.equal(seen["plain"], seen["ours"])


def test_token_counts_and_placeholders(demo: Demo) -> None:
    """Two videos in one conversation: each placeholder grows to 8 * (2 * 2 + 1) tokens, the text stays in order."""
    from llamafactory.data.template import TEMPLATES
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(demo.model)
    processor.video_maxlen, processor.video_fps = FRAMES, 2.0
    plugin = TEMPLATES["video_llava"].mm_plugin
    messages = [{"role": "user", "content": "<video>a<video>b"}]
    (message,) = plugin.process_messages(messages, [], ["x.mp4", "y.mp4"], [], processor)
    run = "<video>" * (FRAMES * FRAME_TOKENS)
    assert message["content"] == f"{run}a{run}b"
    with pytest.raises(ValueError, match="number of videos"):
        plugin.process_messages(messages, [], ["x.mp4"], [], processor)
