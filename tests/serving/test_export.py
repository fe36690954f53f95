"""What comes out of a run is a plain model: another program loads it without us, and it says the same.

One interpreter without the plugin, with transformers and peft alone, looks at the exported adapter, at the folder of a
fully tuned model, and at base model and adapter put together by peft.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from conftest import FRAMES, Demo, run_recipe, tiny_recipe
from data.barcode_video import H264, draw
from host_commands import start

from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.evaluation.inference import Responder

QUESTION, NEW_TOKENS = "Which shape moves to the left?", 12

# Knows nothing but transformers, peft, and the prompt that docs/result.md names.
SCRIPT = """
import contextlib
import io
import sys
from pathlib import Path

import torch
from peft import PeftModel
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

folders = {"base": sys.argv[1], "merged": sys.argv[2], "full": sys.argv[3]}
adapter, images, question, new_tokens, report, documented = sys.argv[4:10]
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
frames = [Image.open(path).convert("RGB") for path in sorted(Path(images).glob("*.png"))]


def ask(model, processor):
    video = "<video>" * model.config.video_seq_length
    pieces = (SYSTEM, f"USER: {video}\\n{question} ASSISTANT:")
    ids = [token for piece in pieces for token in processor.tokenizer(piece, add_special_tokens=False)["input_ids"]]
    pixels = processor.video_processor(videos=[frames], return_tensors="pt")
    return {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long), **pixels}


def look(model, processor):
    inputs = ask(model, processor)
    with torch.inference_mode():
        logits = model(**inputs).logits
        made = model.generate(**inputs, do_sample=False, max_new_tokens=int(new_tokens))
    reply = processor.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return {"inputs": inputs, "logits": logits, "reply": reply[0]}


found = {}
for name, folder in folders.items():
    model, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    processor = AutoProcessor.from_pretrained(folder)
    found[name] = look(model, processor) | {
        "problems": {key: sorted(map(str, value)) for key, value in info.items() if value},
        "towers": {key: value for key, value in model.state_dict().items() if "tower" in key},
    }
    if name == "base":
        tuned = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(folder), adapter)
        found["peft"] = look(tuned, AutoProcessor.from_pretrained(adapter))
with contextlib.redirect_stdout(io.StringIO()) as printed:
    exec(documented, {})
found["documented"] = printed.getvalue().removesuffix("\\n")
found["modules"] = sorted(name for name in sys.modules if name.startswith(("vistadpo_plugin", "llamafactory")))
torch.save(found, report)
"""


@dataclass
class Made:
    """Folders of a base model, its adapter, that exported, and of the base model fully tuned; frames of one video."""

    base: Path
    adapter: Path
    merged: Path
    full: Path
    images: tuple[str, ...]
    video: Path


@pytest.fixture(scope="module")
def made(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("result")
    common = tiny_recipe(demo, folder / "adapter") | {"learning_rate": 1e-2}
    run_recipe(common)
    lora = ("lora_target", "lora_rank")
    full = {key: value for key, value in common.items() if key not in lora}
    run_recipe(
        {**full, "finetuning_type": "full", "output_dir": str(folder / "full"), "save_strategy": "steps"}
        | {"save_steps": 1, "save_only_model": True}
    )
    keys = {
        "model_name_or_path": demo.model,
        "adapter_name_or_path": folder / "adapter",
        "export_dir": folder / "merged",
        "infer_dtype": "float32",  # bfloat16 in the recipe: nothing could be compared
    }
    exporting = start("export", "export_videollava", keys, folder)
    out, _ = exporting.communicate(timeout=200)
    assert exporting.returncode == 0, out + (folder / "stderr.txt").read_text()[-3000:]
    images = folder / "images"
    images.mkdir()
    for number in range(FRAMES):
        draw(number).save(images / f"{number}.png")
    paths = tuple(map(str, sorted(images.iterdir())))
    video = write_large_video(folder / "large.mp4")
    return Made(demo.model, folder / "adapter", folder / "merged", folder / "full", paths, video)


def write_large_video(path: Path) -> Path:
    """20 frames of 320 x 240 pixels, more than the 65,536 that the host shrinks frames to."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(H264, rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(20):
            container.mux(stream.encode(av.VideoFrame.from_image(draw(number * 12).resize((320, 240)))))
        container.mux(stream.encode(None))
    return path


def documented_program(made: Made) -> str:
    """The program of docs/result.md that loads an exported folder, on ours."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "result.md").read_text()
    (program,) = (part for part in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "from transformers" in part)
    changes = {
        '"saves/export_videollava"': repr(str(made.merged)),
        '"data/clips/kitchen.mp4"': repr(str(made.video)),
        '"What does the man pick up?"': repr(QUESTION),
        "max_new_tokens=256": f"max_new_tokens={NEW_TOKENS}",
    }
    for text, ours in changes.items():
        assert program.count(text) == 1
        program = program.replace(text, ours)
    return program


@pytest.fixture(scope="module")
def plain(made: Made, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script found."""
    report = tmp_path_factory.mktemp("plain") / "found.pt"
    folders = [made.base, made.merged, made.full, made.adapter, Path(made.images[0]).parent]
    arguments = [*folders, QUESTION, NEW_TOKENS, report, documented_program(made)]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            SCRIPT,
            *map(str, arguments),
            QUESTION,
            str(NEW_TOKENS),
            report,
            documented_program(made),
        ],
        env={**os.environ, "VISTADPO_AUTOLOAD": "0", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return torch.load(report, weights_only=False)


def respond(video: str | tuple[str, ...], **keys: Any) -> tuple[dict[str, Any], str]:
    """What the host gives the model with the frames of training, and its reply."""
    responder = Responder({"template": "video_llava", "video_maxlen": FRAMES, **keys}, NEW_TOKENS)
    prepared = responder.prepare(QUESTION, GroundedRow("", "", video))
    (reply,) = responder.reply([prepared])
    return prepared, reply


def test_loads_without_us_and_without_a_key_too_few_or_too_many(plain: dict[str, Any]) -> None:
    # With the hook off, its `.pth` still imports the package and the module of the hook.
    assert set(plain["modules"]) <= {"vistadpo_plugin", "vistadpo_plugin.autoload", "vistadpo_plugin.watcher"}
    assert [plain[name]["problems"] for name in ("base", "merged", "full")] == [{}, {}, {}]


def test_merged_weights_are_base_and_adapter(plain: dict[str, Any]) -> None:
    """Beyond what float32 rounds: W + BA once a weight when merged, Wx + BAx once a token when not."""
    merged, tuned, base = (plain[name]["logits"] for name in ("merged", "peft", "base"))
    torch.testing.assert_close(merged, tuned, rtol=0, atol=1e-3)
    assert (merged - base).abs().max() > 1  # what the adapter does
    assert plain["merged"]["reply"] == plain["peft"]["reply"]


@pytest.mark.parametrize("name", ["merged", "full"])
def test_frozen_towers_come_out_as_they_went_in(plain: dict[str, Any], name: str) -> None:
    towers, saved = plain["base"]["towers"], plain[name]["towers"]
    assert {key.split(".")[1] for key in towers} == {"video_tower", "image_tower"}
    assert towers.keys() == saved.keys()
    assert all(torch.equal(towers[key], saved[key]) for key in towers)


def test_same_prompt_pixels_and_reply_as_with_the_host(made: Made, plain: dict[str, Any]) -> None:
    host = {
        "merged": {"model_name_or_path": str(made.base), "adapter_name_or_path": str(made.adapter)},
        "full": {"model_name_or_path": str(made.full)},
    }
    replies = {}
    for name, keys in host.items():
        prepared, replies[name] = respond(made.images, **keys)
        inputs = plain[name]["inputs"]
        assert torch.equal(inputs["input_ids"], prepared["inputs"])
        assert torch.equal(inputs["pixel_values_videos"], prepared["pixel_values_videos"])
        assert plain[name]["reply"] == replies[name]
    assert replies["merged"] != plain["base"]["reply"] != replies["full"]


def test_the_documented_program_says_what_the_host_says(made: Made, plain: dict[str, Any]) -> None:
    _, reply = respond(str(made.video), model_name_or_path=str(made.base), adapter_name_or_path=str(made.adapter))
    assert plain["documented"] == reply
    assert reply != plain["merged"]["reply"]  # which is about other frames


def test_no_name_of_ours_is_saved(made: Made) -> None:
    """`vista_sdpa`, which training writes into the model's configuration, would stop every other program."""
    read = ("config", "generation_config", "adapter_config", "processor_config", "tokenizer_config")
    for folder in (made.merged, made.full, made.full / "checkpoint-1", made.adapter):
        files = [folder / f"{name}.json" for name in read if (folder / f"{name}.json").is_file()]
        assert len(files) == (3 if folder == made.adapter else 4), folder
        assert [file for file in files if "vista" in file.read_text()] == []
