"""Random steps of training by hand, and one such step the fast way: the package's own parts without the host."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText
from truth import LISTED

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.batches.groups import Bundle, Sequence, packed_groups, same_beginning, separate_groups
from vistadpo_plugin.reference.reference import Reference
from vistadpo_plugin.scoring.attention import share_prefixes
from vistadpo_plugin.scoring.fast.fused_lora import fuse_lora
from vistadpo_plugin.scoring.fast.fused_mlp import fuse_mlps
from vistadpo_plugin.scoring.scorer import Scorer
from vistadpo_plugin.scoring.view_features import Encoded
from vistadpo_plugin.training.objective import Objective

PADDING, EOS = 2, 1
WORDS = range(280, 460)  # neither special nor beyond the tiny vocabularies


@dataclass
class Family:
    """How a family shows a view: `make(rng)` gives its inputs and the token ids that stand for it."""

    folder: Path
    placeholder: int
    make: Callable[[random.Random], tuple[dict[str, Any], list[int]]]
    gain: float = 1.0

    def load(self, attention: str = "sdpa", dtype: torch.dtype = torch.float32) -> Any:
        """Its weights scaled up by `gain`, so that what an answer scores depends on what stands before it."""
        model = AutoModelForImageTextToText.from_pretrained(self.folder, attn_implementation=attention, dtype=dtype)
        with torch.no_grad():
            for module in model.model.language_model.modules():
                if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
                    module.weight.mul_(self.gain)
            model.lm_head.weight.mul_(self.gain)
        return model


def video_llava(folder: Path, size: int, frame_tokens: int) -> Family:
    token = 4

    def make(rng: random.Random) -> tuple[dict[str, Any], list[int]]:
        frames = rng.randint(1, 3)
        generator = torch.Generator().manual_seed(rng.randrange(2**31))
        pixels = torch.randn(1, frames, 3, size, size, generator=generator)
        return {"pixel_values_videos": pixels}, [token] * frames * frame_tokens

    return Family(folder, token, make)


def qwen(folder: Path, patch_numbers: int, start: int, pad: int, end: int) -> Family:
    """Qwen2.5-VL: a view is (frame pairs, height, width) patches, four a token, and has three axes of positions."""

    def make(rng: random.Random) -> tuple[dict[str, Any], list[int]]:
        grid = [rng.randint(1, 3), 2 * rng.randint(1, 2), 2 * rng.randint(1, 2)]
        patches = grid[0] * grid[1] * grid[2]
        generator = torch.Generator().manual_seed(rng.randrange(2**31))
        pixels = torch.randn(patches, patch_numbers, generator=generator)
        inputs = {"pixel_values_videos": pixels, "video_grid_thw": torch.tensor([grid])}
        inputs["second_per_grid_ts"] = torch.tensor([rng.choice([0.5, 1.0, 2.0])])
        return inputs, [start] + [pad] * (patches // 4) + [end]

    return Family(folder, pad, make, gain=5.0)


@dataclass
class Step:
    """A micro-batch: its sequences, views, and terms as (row, numbers of the sequences)."""

    sequences: list[Sequence]
    views: list[dict[str, Any]]
    terms: dict[str, list[tuple[int, list[int]]]]
    rows: int

    def plain(self, family: Family, dtype: torch.dtype) -> list[tuple[list[int], list[int], dict[str, Any]]]:
        """What plain transformers take for every sequence; families with several axes are told what is video."""
        found = []
        for sequence in self.sequences:
            inputs = {} if sequence.view is None else dict(self.views[sequence.view])
            if inputs:
                inputs["pixel_values_videos"] = inputs["pixel_values_videos"].to(dtype)
            if "video_grid_thw" in inputs:
                inputs["mm_token_type_ids"] = lambda ids: (ids == family.placeholder).int() * 2
            found.append((sequence.prompt_ids, sequence.answer_ids, inputs))
        return found


@dataclass
class _Making:
    rng: random.Random
    sequences: list[Sequence] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    ids: list[list[int]] = field(default_factory=list)

    def words(self, low: int, high: int) -> list[int]:
        return [self.rng.choice(WORDS) for _ in range(self.rng.randint(low, high))]

    def view(self, family: Family) -> int:
        inputs, ids = family.make(self.rng)
        self.views.append(inputs)
        self.ids.append(ids)
        return len(self.views) - 1


def random_step(family: Family, seed: int, listed: bool = False) -> Step:
    """Five rows, one to five answers a view.

    0 and 1 are mates; 2 looks at 0's video with another question; 3 lacks terms, and its answers are identical; 4 is
    text alone. Answers of a row begin alike; one is its end-of-sequence alone. Every second seed row 1 has another
    system prompt, so that less than the whole of it is shared. With `listed` row 0 has three rejected answers,
    row 3 two.
    """
    rng = random.Random(seed)
    making = _Making(rng)
    system = making.words(5, 9)
    full = [making.view(family), making.view(family)]
    full += [full[0], making.view(family), None]
    terms: dict[str, list[tuple[int, list[int]]]] = {
        term: [] for term in ("response", "video", "clip", "object", "token")
    }
    for row in range(5):
        start = system[:3] + making.words(2, 4) if row == 1 and seed % 2 else system
        question, common = making.words(2, 8), making.words(0, 3)
        answers = {name: common + making.words(0, 5) + [EOS] for name in ("chosen", "rejected")}
        answers["irrelevant"] = making.words(0, 6) + [EOS]
        if row == 1:
            answers["rejected"] = [EOS]
        if row == 3:
            answers["rejected"] = list(answers["chosen"])
        known: dict[tuple[int | None, str], int] = {}

        def number(view: int | None, answer: str) -> int:
            if (view, answer) not in known:  # noqa: B023
                shown = [] if view is None else making.ids[view]
                known[view, answer] = len(making.sequences)  # noqa: B023
                making.sequences.append(Sequence(start + shown + question, answers[answer], view))  # noqa: B023
            return known[view, answer]  # noqa: B023

        names = ["chosen", "rejected", "irrelevant"]
        scored = [number(full[row], name) for name in names[: 2 if row == 3 else 3]]
        more = [f"rejected[{place}]" for place in range(1, {0: 3, 3: 2}.get(row, 1) if listed else 1)]
        answers |= {name: common + making.words(1, 7) + [EOS] for name in more}
        terms["response"].append((row, scored + [-1] * (3 - len(scored)) + [number(full[row], name) for name in more]))
        if row < 3:
            terms["video"].append((row, [number(full[row], "chosen"), number(full[1 - row % 2], "chosen")]))
            clip = [making.view(family), making.view(family)]
            terms["clip"].append((row, [number(view, "chosen") for view in clip]))
        if row in (0, 3):
            keyframe = [making.view(family), making.view(family)]
            terms["object"].append((row, [number(view, "chosen") for view in keyframe]))
            terms["token"].append((row, [number(keyframe[0], "chosen"), number(keyframe[0], "rejected")]))
        elif row < 4:
            terms["token"].append((row, [number(full[row], "chosen"), number(full[row], "rejected")]))
    return Step(making.sequences, making.views, terms, 5)


def bundles_of(model: Any, family: Family, step: Step) -> list[Bundle]:
    """Sequences that begin alike, with the position ids the family itself gives the longest of them."""
    bundles = []
    for (view, prefix, before), numbers in same_beginning(step.sequences, {family.placeholder}).items():
        longest = max((step.sequences[number].input_ids for number in numbers), key=len)
        positions = torch.arange(len(longest)).unsqueeze(0)
        if view is not None and hasattr(model.model, "get_rope_index"):
            ids = torch.tensor([longest])
            given = {name: value for name, value in step.views[view].items() if not name.startswith("pixel")}
            positions, _ = model.model.get_rope_index(ids, (ids == family.placeholder).int() * 2, **given)
        bundles.append(Bundle(numbers, view, prefix, before, positions))
    return bundles


def batch_of(model: Any, family: Family, step: Step, row_tokens: int | None) -> dict[str, Any]:
    """The batch of a step: packed rows of `row_tokens`, or (None) one row an answer."""
    compared = {number for _, numbers in step.terms["token"] for number in numbers}
    bundles = bundles_of(model, family, step)
    if row_tokens is None:
        groups = separate_groups(step.sequences, bundles, compared, PADDING)
    else:
        groups = packed_groups(step.sequences, bundles, compared, row_tokens)
    terms = {
        term: {
            "row": torch.tensor([row for row, _ in having]),
            "sequences": torch.tensor(_filled([numbers for _, numbers in having], -1)),
        }
        for term, having in step.terms.items()
    }
    weights = [LISTED[len(numbers) - 2] for _, numbers in step.terms["response"]]
    terms["response"]["weights"] = torch.tensor(_filled(weights, 0.0))
    return {"sequences": len(step.sequences), "views": step.views, "groups": groups, "terms": terms}


def _filled(rows: list[list[Any]], empty: Any) -> list[list[Any]]:
    width = max(map(len, rows), default=0)
    return [row + [empty] * (width - len(row)) for row in rows]


def make_policy(base: Any, tuning: str, projector: bool = False, tower: bool = False) -> Any:
    """A policy that differs from its reference `base`: LoRA (A and B drawn) or trained in full; the same every time."""
    generator = torch.Generator().manual_seed(3)
    parts = ["language_model"] + ["multi_modal_projector"] * projector + ["tower|visual"] * tower
    if tuning == "lora":
        linear = r"(q|k|v|o|gate|up|down|out)_proj|fc[12]|linear_[12]"
        target = rf".*({'|'.join(parts)}).*\.({linear})"
        policy = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=target, lora_dropout=0.0))
        trained = {name: p for name, p in policy.named_parameters() if p.requires_grad}
    else:
        policy = copy.deepcopy(base)
        wanted = [*parts[0:1], *(part for group in parts[1:] for part in group.split("|")), "lm_head"]
        trained = {name: p for name, p in policy.named_parameters() if any(part in name for part in wanted)}
        for name, parameter in policy.named_parameters():
            parameter.requires_grad_(name in trained)
    with torch.no_grad():
        for name, parameter in trained.items():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
            if "lora_" in name:
                parameter.copy_(noise * (0.02 if "lora_B" in name else parameter.shape[1] ** -0.5))
            else:
                parameter.mul_(1 + 0.1 * noise)
    return policy


@dataclass
class Fast:
    """The package's answers to what `truth.Slow` says."""

    log_probs: torch.Tensor
    reference: torch.Tensor
    kl: torch.Tensor
    losses: dict[str, torch.Tensor]
    gradients: dict[str, torch.Tensor]
    encodes: int


def fast_step(
    policy: Any,
    reference: Any | None,
    batch: dict[str, Any],
    checkpointing: bool = False,
    autocast: bool = False,
    change: Callable[[Scorer], None] | None = None,
    ftx: float = 0.0,
    ld_alpha: float | None = None,
    outside: float = 1.0,
) -> Fast:
    """One step. `reference` None: the policy without its adapter. `change` may watch the scorer before it starts."""
    if "forest" in batch["groups"][0]:
        for model in (policy, reference):
            if model is not None:
                share_prefixes(model)
    # Every MLP of the language model is fused where its layers have adapters.
    assert fuse_mlps(policy) == (policy.config.get_text_config().num_hidden_layers if fuse_lora(policy) else 0)
    scorer = Scorer(policy)
    if change is not None:
        change(scorer)
    policy.train()
    if checkpointing:
        policy.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        policy.enable_input_require_grads()
    encoded = Encoded()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        known = Reference(policy, scorer, reference, reference)(policy, batch, encoded)
        scores = scorer(policy, batch, encoded, known)
    objective = Objective.of(VistaArguments(vista_outside_phrases=outside), 0.1, "sigmoid", 0.0, ftx, ld_alpha)
    results = objective(scores, known, batch)
    rows = 1 + max(int(scored["row"].max()) for scored in batch["terms"].values())
    (objective.total(results, rows).sum() / rows).backward()
    return Fast(
        scores.log_probs.detach(),
        known.log_probs,
        scores.kl.detach(),
        {term: result.loss.detach() for term, result in results.items()},
        {name: p.grad for name, p in policy.named_parameters() if p.requires_grad},
        encoded.encodes,
    )


def errors(fast: Any, slow: Any) -> dict[str, float]:
    """Largest difference of every figure and every gradient, relative to the largest entry of the slow one.

    A gradient that is zero but for rounding (the bias of a key, which moves all scores alike) counts as zero.
    """
    assert fast.gradients.keys() == slow.gradients.keys()
    pairs = {name: (getattr(fast, name), getattr(slow, name)) for name in ("log_probs", "reference", "kl")}
    pairs |= {f"loss {term}": (fast.losses[term], loss) for term, loss in slow.losses.items()}
    pairs |= {name: (fast.gradients[name], gradient) for name, gradient in slow.gradients.items()}
    found = {}
    least = 1e-5 * max(float(gradient.abs().max()) for gradient in slow.gradients.values() if gradient is not None)
    for name, (one, other) in pairs.items():
        assert (one is None) == (other is None), name
        if other is not None:
            largest = max(float(other.abs().max()), least if name in slow.gradients else 0.0)
            found[name] = float((one.double() - other.double()).abs().max()) / largest
    return found
