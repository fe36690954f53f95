"""The last layer's MLP at answer positions only, against the whole layer."""

from __future__ import annotations

from typing import Any

import pytest
import steps
import torch
from conftest import FRAME_TOKENS, IMAGE_SIZE, Demo

from vistadpo_plugin.scoring import scorer as scoring


class Whole:
    """The layer as it is."""

    def __init__(self, layer: torch.nn.Module):
        pass


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("row_tokens", [10**9, None])
def test_values_and_gradients_are_the_whole_layers(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, row_tokens: int | None, checkpointing: bool
) -> None:
    """And the MLP sees as many positions as it should: those of answers in a packed row, all in separate rows."""
    family = steps.video_llava(demo.model, IMAGE_SIZE, FRAME_TOKENS)
    step = steps.random_step(family, 0)
    found, seen = [], []
    for layer in (scoring.LastLayer, Whole):
        monkeypatch.setattr(scoring, "LastLayer", layer)
        policy = steps.make_policy(family.load(), "lora")
        batch = steps.batch_of(policy, family, step, row_tokens)
        widths: list[int] = []
        mlp = policy.get_decoder().layers[-1].mlp
        mlp.gate_proj.register_forward_pre_hook(lambda module, args, widths=widths: widths.append(args[0].shape[1]))
        found.append(steps.fast_step(policy, None, batch, checkpointing=checkpointing))
        # Before it fuses an MLP, `fuse_mlps` asks it twice on two positions.
        assert widths[:2] == [2, 2]
        seen.append(widths[2:])
    part, whole = found
    # gate_proj is a LoRA layer, whose hooks run with it: once for the reference and once or, recomputed, twice for the
    # policy.
    groups = batch["groups"]
    assert len(seen[0]) == len(seen[1]) == len(groups) * (3 if checkpointing else 2)
    if row_tokens is not None:
        answers = len(groups[0]["answers"]["column"].unique())
        assert set(seen[0]) == {answers} and answers < groups[0]["input_ids"].shape[1] / 3
        assert set(seen[1]) == {groups[0]["input_ids"].shape[1]}
    else:
        assert seen[0] == seen[1]
    for name in ("log_probs", "reference", "kl"):
        torch.testing.assert_close(getattr(part, name), getattr(whole, name), atol=1e-5, rtol=1e-6)
    for name, gradient in whole.gradients.items():
        bound = 1e-5 * float(gradient.abs().max())
        torch.testing.assert_close(part.gradients[name], gradient, atol=bound, rtol=0, msg=name)


def test_the_layers_output_is_the_wholes_at_answers_and_the_residual_elsewhere() -> None:
    """A layer that adds x * 10 through its MLP: 11 x at answer positions, x at the others."""

    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mlp = torch.nn.Linear(1, 1, bias=False)
            torch.nn.init.constant_(self.mlp.weight, 10.0)

        def forward(self, hidden: torch.Tensor, **_: Any) -> torch.Tensor:
            return hidden + self.mlp(hidden)

    layer = Layer()
    scoring.LastLayer(layer)
    hidden = torch.tensor([[[1.0], [2.0], [3.0]]])
    forest = {"answers": torch.tensor([0, 2])}
    assert layer(hidden, forest=forest).flatten().tolist() == [11, 2, 33]
    assert layer(hidden).flatten().tolist() == [11, 22, 33]
