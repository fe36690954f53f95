"""What is not asked through vLLM is refused before anything is loaded, and needs no vLLM for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Demo
from eventhallusion_made import link_videos, write_recipe
from peft import LoraConfig, get_peft_model
from tiny_families import qwen2_5_vl, qwen2_vl
from transformers import AutoConfig, AutoModelForImageTextToText

from vistadpo_plugin.commands.main import main
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.recipe import BACKEND_KEYS, RecipeError, read_recipe
from vistadpo_plugin.evaluation.settings import make_settings
from vistadpo_plugin.evaluation.vllm_backend import support
from vistadpo_plugin.evaluation.vllm_backend.worker import trained_positions

QWEN = {"template": "qwen2_vl", "infer_backend": "vllm"}
EXPORT = "Merge the adapter with `llamafactory-cli export`"


def read(folder: Path, **changes: Any) -> dict[str, Any]:
    return read_recipe(write_recipe(folder, **{"models": {"base": {}}, **changes})).models["base"]


def test_the_keys_are_the_hosts_and_reach_the_model(tmp_path: Path) -> None:
    from llamafactory.hparams import ModelArguments

    assert all(hasattr(ModelArguments, key) for key in BACKEND_KEYS)
    keys = read(tmp_path, **QWEN, vllm_maxlen=8192, vllm_config={"max_num_seqs": 16})
    assert keys["infer_backend"] == "vllm"
    assert keys["vllm_maxlen"] == 8192 and keys["vllm_config"] == {"max_num_seqs": 16}


def test_the_hosts_own_inference_needs_no_word(tmp_path: Path) -> None:
    """Replies of a recipe that names it and of one that does not were made alike."""
    assert read(tmp_path, infer_backend="huggingface") == read(tmp_path)
    models = {"base": {"infer_backend": "huggingface"}, "other": {}}
    recipe = read_recipe(write_recipe(tmp_path, **QWEN, models=models, vllm_maxlen=8192))
    assert not set(BACKEND_KEYS) & recipe.models["base"].keys()
    assert set(BACKEND_KEYS) & recipe.models["other"].keys() == {"infer_backend", "vllm_maxlen"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"infer_backend": "sglang"}, "`infer_backend` is 'sglang'; allowed: huggingface, vllm."),
        ({"vllm_maxlen": 8192}, "`vllm_maxlen` says nothing without `infer_backend: vllm`"),
        ({**QWEN, "vllm_maxlen": "long"}, "`vllm_maxlen` is 'long'; allowed: a whole number"),
        ({**QWEN, "template": "video_llava"}, "is not for Video-LLaVA, but for Qwen2-VL, "),
        ({**QWEN, "template": "pllava"}, "is not for PLLaVA"),
        ({**QWEN, "template": "llava_onevision"}, "is not for LLaVA-OneVision"),
        ({**QWEN, "template": "llama3"}, "is not for the template llama3"),
        ({**QWEN, "quantization_bit": 4}, "`quantization_bit` is a key of the host's own inference"),
        ({**QWEN, "adapter_name_or_path": "one, two"}, EXPORT),
    ],
)
def test_refused(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, **changes)
    assert sentence in str(caught.value)


def test_every_supported_family_has_its_template() -> None:
    names = {family.model_type: family.templates[0] for family in support.families()}
    assert {kind: support.refusal({"template": names[kind]}) for kind in support.SUPPORTED} == dict.fromkeys(
        support.SUPPORTED
    )


@pytest.mark.skipif(support.installed_version() is not None, reason="vLLM is installed here")
def test_vllm_is_not_installed(demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    link_videos(tmp_path / "media", sorted((demo.data / "videos").glob("*.mp4")))
    models = {"base": {}, "fast": QWEN}
    recipe = write_recipe(tmp_path, models=models, model_name_or_path=str(demo.model), max_new_tokens=1)
    assert main(["evaluate", str(recipe)]) == 1
    assert "vistadpo evaluate: fast: `infer_backend: vllm`, and vLLM is not installed here." in capsys.readouterr().err
    assert not (tmp_path / "out/eventhallusion/base").exists()  # the other model was not asked before


@pytest.mark.parametrize(("version", "known"), [("0.22.1", True), ("0.22.1+cu129", True), ("0.11.0", False)])
def test_releases(version: str, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "installed_version", lambda: version)
    if known:
        support.check_ready({})
    else:
        with pytest.raises(ValueError, match=r"needs vllm.*0\.22\.1.*; 0\.11\.0 is installed"):
            support.check_ready({})


def test_room_and_start_do_not_decide_replies(tmp_path: Path) -> None:
    def made(**keys: Any) -> dict[str, Any]:
        recipe = read_recipe(write_recipe(tmp_path, models={"base": {**QWEN, **keys}}))
        return make_settings(recipe, "base", "{question}", [Question("a", "a.mp4", "Is it?", "yes", "s")])

    assert made()["infer_backend"] == "vllm"
    assert made(vllm_maxlen=8192, vllm_gpu_util=0.5, vllm_enforce_eager=True, vllm_max_lora_rank=64) == made()
    assert made(vllm_config={"quantization": "fp8"}) != made()


@pytest.fixture(scope="module")
def model(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen")
    qwen2_5_vl.build(folder, [str(value) for row in demo.rows for value in row.values()])
    return folder


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        ({"use_rslora": True}, None),
        ({"target_modules": r".*\.(q_proj|qkv)"}, "visual.blocks.0.attn.qkv"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"use_dora": True}, "use_dora"),
        ({"rank_pattern": {"layers.0.self_attn.q_proj": 2}}, "rank_pattern"),
        ({"r": 1024}, "has rank 1024, vLLM takes up to 512"),
    ],
)
def test_adapters(changes: dict[str, Any], sentence: str | None, model: Path, tmp_path: Path) -> None:
    config = {"r": 4, "target_modules": ["q_proj", "down_proj"], **changes}
    base = AutoModelForImageTextToText.from_pretrained(model)
    if isinstance(config["target_modules"], list) and "lm_head" not in config["target_modules"]:
        config["target_modules"] = r".*language_model.*\.(q_proj|down_proj)"
    get_peft_model(base, LoraConfig(**config)).save_pretrained(tmp_path)
    if sentence is None:
        assert support.lora_rank(str(tmp_path)) == 4
        return
    with pytest.raises(ValueError) as caught:
        support.lora_rank(str(tmp_path))
    assert sentence in str(caught.value) and EXPORT in str(caught.value)


@pytest.mark.parametrize(
    ("family", "grid", "seconds"), [(qwen2_vl, (9, 4, 6), None), (qwen2_5_vl, (3, 4, 6), 2), (qwen2_5_vl, (3, 4, 6), 0)]
)
def test_positions_are_those_of_transformers(
    family: Any, grid: tuple[int, int, int], seconds: int | None, demo: Demo, tmp_path: Path
) -> None:
    """A video of more time than width: the words behind it begin where its width ends, as in training."""
    family.build(tmp_path, ["What?"])
    config = AutoConfig.from_pretrained(tmp_path)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config).model
    steps, height, width = grid
    tokens = steps * height * width // 4
    ids = torch.tensor([[1, 2, 3, *[config.video_token_id] * tokens, 4, 5]])
    more = {} if seconds is None else {"second_per_grid_ts": [seconds]}
    expected, delta = model.get_rope_index(
        ids, mm_token_type_ids=2 * (ids == config.video_token_id), video_grid_thw=torch.tensor([grid]), **more
    )
    factor = 1.0 if seconds is None else seconds * float(config.vision_config.tokens_per_second)
    vllm = SimpleNamespace(iter_mm_grid_thw=lambda features: [(3, steps, height // 2, width // 2, factor)])
    positions, behind = trained_positions(vllm, ids[0].tolist(), [])
    assert positions.tolist() == expected[:, 0].tolist()
    assert behind == int(delta)
    assert positions[0, 3 + tokens] == 3 + width // 2
