"""Keys of the host that change a forward: right at step 1 and 2, packed and separate, cached and not; or refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from capture import record_scores
from conftest import Demo, Run, keep_log, run_recipe

from vistadpo_plugin.arguments import refuse_megatron
from vistadpo_plugin.scoring.randomness import evaluating, switch_off_dropout
from vistadpo_plugin.training import workflow

LOG_2 = math.log(2)
WEIGHTS = 1.0 + 1.0 + 0.4 + 0.2 + 0.1
STEPS = {"max_samples": 4, "per_device_train_batch_size": 4, "max_steps": 2, "disable_shuffling": True}
FULL = {"finetuning_type": "full", "lora_target": None, "lora_rank": None}

# Everything that changes what a forward computes and goes on with us; a learning rate of 1e-3 from the first step on.
GOES = {
    "kinds of lora, precision, no checkpointing": {
        "lora_dropout": 0.5, "use_dora": True, "use_rslora": True,
        "upcast_layernorm": True, "upcast_lmhead_output": True, "disable_gradient_checkpointing": True,
    },
    "new tokens, trained embeddings and head": {
        "add_tokens": "<new>,<newer>", "add_special_tokens": "<|new|>", "resize_vocab": True,
        "additional_target": "embed_tokens,lm_head",
    },
    "eager attention, lora in the tower": {"flash_attn": "disabled", "freeze_vision_tower": False},
    "tower alone": {"freeze_language_model": True, "freeze_vision_tower": False},
    "full with tower and projector": {
        **FULL, "learning_rate": 1e-4, "freeze_vision_tower": False, "freeze_multi_modal_projector": False,
    },
    "oft with dropout": {**FULL, "finetuning_type": "oft", "oft_block_size": 4, "module_dropout": 0.5},
}  # fmt: skip


def values(run: Run) -> list[dict[str, float]]:
    """The figures of the terms, step by step."""
    named = ("loss", "rewards/", "vista/")
    return [
        {key: value for key, value in entry.items() if key.startswith(named)} for entry in run.log if "loss" in entry
    ]


def assert_right(train: Callable[..., Run], folder: Path, **changes: Any) -> None:
    """Step 1 is log 2 a term, step 2 is not; the same figures packed and separate, with the reference as it runs
    beside the policy and as it was before the first step."""
    found = {}
    for packed in (True, False):
        for cache in (None, str(folder / f"cache-{packed}")):
            name = f"packed {packed}, cached {cache is not None}"
            keys = {"vista_prefix_sharing": packed, "vista_reference_cache": cache}
            found[name] = values(train(**STEPS, **changes, **keys, output_dir=str(folder / name.replace(" ", "-"))))
    for name, (first, second) in found.items():
        assert first["loss"] == pytest.approx(WEIGHTS * LOG_2, abs=1e-4), name
        assert first["vista/kl_rejected"] == pytest.approx(0, abs=1e-6), name
        assert abs(second["vista/response_margin"]) > 1e-4, f"{name}: the policy has not moved"
    expected = found.pop("packed False, cached False")
    for name, steps in found.items():
        for step, entry in zip(steps, expected, strict=True):
            assert step == pytest.approx(entry, abs=3e-4, rel=3e-4), name


@pytest.mark.parametrize("changes", GOES.values(), ids=GOES)
def test_policy_and_reference_differ_by_training_alone(
    changes: dict[str, Any], train: Callable[..., Run], tmp_path: Path
) -> None:
    assert_right(train, tmp_path, **changes)


@pytest.fixture(scope="module")
def dropping(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny model, half of whose attention in language model and tower drops out in training."""
    folder = tmp_path_factory.mktemp("dropping") / "model"
    shutil.copytree(demo.model, folder)
    config = json.loads((folder / "config.json").read_text())
    for part in ("text_config", "vision_config"):
        config[part]["attention_dropout"] = 0.5
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize("changes", [{}, {**FULL, "learning_rate": 1e-4}], ids=["lora", "full"])
def test_dropout_inside_the_model_is_off_and_said(
    dropping: str, changes: dict[str, Any], train: Callable[..., Run], tmp_path: Path
) -> None:
    """Llama and CLIP keep the rate as a number, which the host's DPO does not find: 1.85 became 1.9 at step 1."""
    with keep_log([]) as said:
        assert_right(train, tmp_path, model_name_or_path=dropping, **changes)
    (line,) = {message for message in said if message.startswith("Dropout is off")}
    assert "attention_dropout: 0.5 (3 layers)" in line and "dropout: 0.5 (" in line


def test_lora_dropout_that_the_host_switches_off_is_said(train: Callable[..., Run]) -> None:
    """3 layers of 7 linear maps; a run without says nothing."""
    with keep_log([]) as said:
        train(lora_dropout=0.5, max_steps=1)
        train(max_steps=1)
    assert [message for message in said if "Dropout" in message] == [
        "Dropout is off in policy and reference, as in the host's DPO: lora_dropout: 0.5 (21 layers)."
    ]


def test_noise_on_embeddings_is_the_policys_alone(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NEFTune in separate rows: the reference says what it says without, live at both steps and in the cache; the
    policy says something else, and draws anew at every step."""
    args = {**recipe, **STEPS, "vista_prefix_sharing": False, "output_dir": str(tmp_path / "plain")}
    plain, noisy, cached = record_scores(monkeypatch), [], []
    run_recipe(args)
    plain = list(plain)
    noise = {**args, "neftune_noise_alpha": 5.0, "output_dir": str(tmp_path / "noisy")}
    for record, keys in ((noisy, {}), (cached, {"vista_reference_cache": str(tmp_path / "cache")})):
        passes = record_scores(monkeypatch)
        run_recipe({**noise, **keys})
        record += passes
    reference = [one.scores.log_probs for one in plain if one.reference is None]
    assert len(reference) == 2 and torch.equal(*reference)
    live = [one.scores.log_probs for one in noisy if one.reference is None]
    known = [one.reference.log_probs for one in cached if one.reference is not None]
    assert len(live) == len(known) == 2
    for scores in (*live, *known):
        torch.testing.assert_close(scores, reference[0], rtol=0, atol=1e-5)
    policy = [one.scores.log_probs.detach() for one in noisy if one.reference is not None]
    assert ((policy[0] - reference[0]).abs() > 1e-3).any(), "at step 1 only the noise tells policy and reference apart"


def test_noise_on_embeddings_in_packed_rows_is_refused(train: Callable[..., Run]) -> None:
    with pytest.raises(
        ValueError, match="`neftune_noise_alpha: 5` does not go with packed rows.*prefix_sharing: false"
    ):
        train(neftune_noise_alpha=5.0)


class StochasticDepth(torch.nn.Module):
    """A layer that leaves itself out at random while training, as a model's own code may; it names no rate."""

    def __init__(self, layer: torch.nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        keep = 1.0 if not self.training else (torch.rand(()) < 0.5).to(hidden)
        return self.layer(hidden) * keep


def test_stochastic_depth_of_the_models_own_code(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused in packed rows. In separate rows it is the policy's, and the reference with and without a cache is the
    whole model: what the cache keeps equals what the model says without it."""
    load = workflow.load_model

    def load_random(*args: Any, **kwargs: Any) -> Any:
        model = load(*args, **kwargs)
        for layer in model.get_decoder().layers[:2]:
            layer.self_attn.o_proj = StochasticDepth(layer.self_attn.o_proj)
        return model

    passes = record_scores(monkeypatch)
    train(**STEPS, vista_prefix_sharing=False, output_dir=str(tmp_path / "whole"))
    whole = next(one.scores.log_probs for one in passes if one.reference is None)
    monkeypatch.setattr(workflow, "load_model", load_random)
    with pytest.raises(ValueError, match="draws random numbers in its forward.*`vista_prefix_sharing: false`"):
        train(**STEPS, output_dir=str(tmp_path / "packed"))
    for keys in ({}, {"vista_reference_cache": str(tmp_path / "cache")}):
        passes.clear()
        train(**STEPS, **keys, vista_prefix_sharing=False, output_dir=str(tmp_path / f"separate-{len(keys)}"))
        policy = [one for one in passes if one.reference is not None]
        assert len(policy) == 2
        for one in policy:
            torch.testing.assert_close(one.reference.log_probs, whole, rtol=0, atol=1e-5)
        assert ((policy[0].scores.log_probs - whole).abs() > 1e-3).any()


REFUSED = {
    "shift_attn": True,
    "mixture_of_depths": "convert",
    "use_unsloth": True,
    "use_unsloth_gc": True,
    "use_v1_kernels": True,
    "enable_liger_kernel": True,
    "rope_scaling": "linear",
    "moe_aux_loss_coef": 0.1,
    "train_from_scratch": True,
    "split_special_tokens": True,
    "packing": True,
    "use_liger_kernel": True,
    "gradient_checkpointing": True,
    "torch_compile": True,
    "fp8": True,
    "bf16_full_eval": True,
    "fp16_full_eval": True,
    "label_smoothing_factor": 0.1,
    "use_dft_loss": True,
    "use_asft_loss": True,
    "use_eaft_loss": True,
    "use_hyper_parallel": True,
    "ref_model_adapters": "adapter",
    "ref_model_quantization_bit": 4,
}


@pytest.mark.parametrize("key", REFUSED)
def test_a_key_that_cannot_be_is_refused_with_a_sentence(
    key: str, train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages that some of them need are not here; the host's check of these is passed over."""
    from llamafactory.hparams import parser

    monkeypatch.setattr(parser, "_check_extra_dependencies", lambda *args: None)
    with pytest.raises(ValueError, match=rf"`{key}(: .*)?` (does not go with `stage: vistadpo`: it|has no effect)"):
        train(**{key: REFUSED[key]})


@pytest.mark.parametrize("changes", [FULL, {"ref_model": "demo"}], ids=["full", "ref_model"])
def test_new_tokens_of_two_models_are_refused(demo: Demo, changes: dict[str, Any], train: Callable[..., Run]) -> None:
    """Each would draw its own embeddings for them, and every distribution has them in its sum."""
    if "ref_model" in changes:
        changes = {"ref_model": str(demo.model)}
    with pytest.raises(ValueError, match="`resize_vocab` does not go with a reference that is a second model"):
        train(**changes, add_tokens="<new>", resize_vocab=True)


def test_megatron_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host would train plain DPO there, and never come to our code."""
    refuse_megatron()
    monkeypatch.setenv("USE_MCA", "1")
    with pytest.raises(ValueError, match="USE_MCA=1 would train plain DPO"):
        refuse_megatron()


def test_every_rate_is_found() -> None:
    """Dropout of each kind, rates that are plain numbers, and none that is 0 or no rate."""

    class DropPath(torch.nn.Module):
        def __init__(self, rate: float):
            super().__init__()
            self.drop_prob = rate

    class Router(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router_jitter_noise, self.eps, self.attention_dropout = 0.01, 1e-5, 0.0

    model = torch.nn.ModuleDict(
        {
            "dropout": torch.nn.Dropout(0.1),
            "two": torch.nn.Sequential(torch.nn.Dropout2d(0.2), torch.nn.AlphaDropout(0.3)),
        }
    )
    model.update({"paths": torch.nn.ModuleList([DropPath(0.0), DropPath(0.4)]), "router": Router()})
    model["attention"] = torch.nn.MultiheadAttention(4, 1, dropout=0.5)
    found = switch_off_dropout(model.train())
    assert found == {
        "dropout: 0.1": 1, "Dropout2d: 0.2": 1, "AlphaDropout: 0.3": 1, "drop_prob: 0.4": 1,
        "router_jitter_noise: 0.01": 1, "dropout: 0.5": 1,
    }  # fmt: skip
    assert model["router"].eps == 1e-5 and not switch_off_dropout(model)
    x = torch.randn(3, 8)
    assert torch.equal(model["dropout"](x), x)


def test_evaluating_gives_back_what_it_found() -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Sequential(torch.nn.Dropout(0.5)))
    model.train()
    model[1].eval()
    with pytest.raises(KeyError), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert [module.training for module in model.modules()] == [True, True, False, False]
