"""The fast way against the slow obvious one, in values and in every gradient.

Packed rows, one encode a view and a head that looks at answers only are held to one unpadded sequence at a time, all
logits, through plain transformers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import steps
import torch
from conftest import FRAME_TOKENS, IMAGE_SIZE, Demo
from rounding import LOSS, NATS, SHARE
from steps import Family, Fast, Step
from tiny_qwen import SPECIAL, build_tiny_qwen
from truth import Slow, slow_step

ONE_ROW, SMALL_ROWS, SEPARATE = 10**9, 80, None


@pytest.fixture(scope="session")
def families(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Family]:
    folder = tmp_path_factory.mktemp("packing") / "qwen"
    build_tiny_qwen(folder, [str(value) for row in demo.rows for value in row.values()])
    start, end, pad = (SPECIAL.index(f"<|{name}|>") for name in ("vision_start", "vision_end", "video_pad"))
    return {
        "video_llava": steps.video_llava(demo.model, IMAGE_SIZE, FRAME_TOKENS),
        "qwen": steps.qwen(folder, 2 * 3 * 14 * 14, start, pad, end),
    }


@pytest.fixture(scope="session")
def slow(families: dict[str, Family]) -> Callable[..., tuple[Step, Slow]]:
    """A random step and the truth about it in float64, computed once."""
    known: dict[tuple, tuple[Step, Slow]] = {}

    def of(family: str, tuning: str, seed: int, **trained: bool) -> tuple[Step, Slow]:
        key = (family, tuning, seed, *trained)
        if key not in known:
            made = families[family]
            step = steps.random_step(made, seed)
            known[key] = step, exact(made, step, tuning, **trained)
        return known[key]

    return of


def exact(family: Family, step: Step, tuning: str, **trained: bool) -> Slow:
    policy = steps.make_policy(family.load(), tuning, **trained).double().train()
    return slow_step(policy, family.load().double(), step.plain(family, torch.float64), step.terms, step.rows)


def load(family: Family, attention: str) -> Any:
    """The model with this attention in its language model; transformers would not load it with flash attention."""
    if attention != "flash_attention_2":
        return family.load(attention)
    model = family.load("sdpa")
    model.config.get_text_config()._attn_implementation_internal = attention
    return model


def fast(
    family: Family,
    step: Step,
    tuning: str,
    row_tokens: int | None,
    attention: str = "sdpa",
    spoil: Callable[[dict[str, Any]], None] | None = None,
    trained: dict[str, bool] | None = None,
    dtype: torch.dtype = torch.float64,
    **options: Any,
) -> Fast:
    base = load(family, attention)
    reference = None if tuning == "lora" else load(family, attention).to(dtype)
    batch = steps.batch_of(base, family, step, row_tokens)
    batch["views"] = [{**view, "pixel_values_videos": view["pixel_values_videos"].to(dtype)} for view in batch["views"]]
    if spoil is not None:
        spoil(batch)
    policy = steps.make_policy(base, tuning, **(trained or {})).to(dtype)
    return steps.fast_step(policy, reference, batch, **options)


def assert_alike(found: Fast, truth: Slow) -> None:
    """Values and gradients differ by what float32 rounds; where the rest is in float64, our head and the norms do."""
    for name in ("log_probs", "reference", "kl"):
        assert nats_apart(found, truth, name) < NATS, name
    for term, loss in truth.losses.items():
        assert (found.losses[term].double() - loss.double()).abs().max() < LOSS, term
    error, name = worst_gradient(found, truth)
    assert error < SHARE, (name, error)


def nats_apart(found: Fast, truth: Slow, name: str) -> float:
    return float((getattr(found, name).double() - getattr(truth, name).double()).abs().max())


def worst_gradient(found: Fast, truth: Slow) -> tuple[float, str]:
    """As a share of the gradient's largest entry."""
    errors = steps.errors(found, truth)
    return max((errors[name], name) for name, gradient in truth.gradients.items() if gradient is not None)


@pytest.mark.parametrize(
    ("family", "tuning", "row_tokens", "attention", "checkpointing", "seed"),
    [
        ("video_llava", "lora", ONE_ROW, "sdpa", False, 0),
        ("video_llava", "lora", ONE_ROW, "eager", True, 1),
        ("video_llava", "lora", SMALL_ROWS, "sdpa", True, 1),
        ("video_llava", "lora", SMALL_ROWS, "eager", False, 0),
        ("video_llava", "lora", SEPARATE, "sdpa", True, 0),
        ("video_llava", "full", ONE_ROW, "sdpa", True, 1),
        ("video_llava", "full", SEPARATE, "eager", False, 1),
        ("qwen", "lora", ONE_ROW, "sdpa", True, 1),
        ("qwen", "lora", SMALL_ROWS, "eager", False, 0),
        ("qwen", "lora", SEPARATE, "sdpa", False, 1),
        ("qwen", "full", ONE_ROW, "eager", True, 0),
        ("qwen", "full", SMALL_ROWS, "sdpa", False, 0),
        # Packed rows do without the package flash-attn, which is not here.
        ("video_llava", "lora", SMALL_ROWS, "flash_attention_2", True, 0),
        ("qwen", "full", ONE_ROW, "flash_attention_2", True, 0),
    ],
)
def test_values_and_gradients_equal_the_slow_way(
    families: dict[str, Family],
    slow: Callable[..., tuple[Step, Slow]],
    family: str,
    tuning: str,
    row_tokens: int | None,
    attention: str,
    checkpointing: bool,
    seed: int,
) -> None:
    step, truth = slow(family, tuning, seed)
    found = fast(families[family], step, tuning, row_tokens, attention, checkpointing=checkpointing)
    assert found.log_probs.dtype == torch.float32
    # Nothing below compares zeros.
    assert all(gradient.abs().max() > 0 for gradient in truth.gradients.values())
    assert (truth.log_probs - truth.reference).abs().max() > 0.1 and truth.kl.max() > 0.05
    assert found.encodes == len(step.views)
    assert_alike(found, truth)


@pytest.mark.parametrize("keys", [{}, {"ftx": 0.5, "ld_alpha": 0.3}], ids=["plain", "anchored"])
@pytest.mark.parametrize("row_tokens", [ONE_ROW, SMALL_ROWS, SEPARATE])
@pytest.mark.parametrize("family", ["video_llava", "qwen"])
def test_lists_of_rejected_answers_and_the_anchor_equal_the_slow_way(
    families: dict[str, Family], family: str, row_tokens: int | None, keys: dict[str, float]
) -> None:
    """Three, two and one rejected answers in one batch, of other lengths than the chosen one."""
    made = families[family]
    step = steps.random_step(made, 0, listed=True)
    assert sorted(len(numbers) for _, numbers in step.terms["response"]) == [3, 3, 3, 4, 5]
    policy = steps.make_policy(made.load(), "lora").double().train()
    truth = slow_step(policy, made.load().double(), step.plain(made, torch.float64), step.terms, step.rows, **keys)
    assert_alike(fast(made, step, "lora", row_tokens, **keys), truth)


def marked(step: Step) -> tuple[Step, dict[int, list[int]]]:
    """The step with phrases in about two of three of its answers, the same tokens in all sequences of one answer."""
    phrases: dict[int, list[int]] = {}
    for number, sequence in enumerate(step.sequences):
        places = [place for place in range(len(sequence.answer_ids) - 1) if sum(sequence.answer_ids[: place + 1]) % 2]
        if places and sum(sequence.answer_ids) % 3:
            phrases[number] = places
    sequences = [
        dataclasses.replace(one, outside=frozenset(range(len(one.answer_ids))).difference(phrases[number]))
        if number in phrases
        else one
        for number, one in enumerate(step.sequences)
    ]
    return dataclasses.replace(step, sequences=sequences), phrases


@pytest.mark.parametrize("outside", [0.0, 0.25])
@pytest.mark.parametrize("row_tokens", [ONE_ROW, SMALL_ROWS, SEPARATE])
@pytest.mark.parametrize("family", ["video_llava", "qwen"])
def test_phrases_equal_the_slow_way(
    families: dict[str, Family], family: str, row_tokens: int | None, outside: float
) -> None:
    """Answers of which some have phrases, with the anchor, which takes whole answers as the token term does."""
    made = families[family]
    step, phrases = marked(steps.random_step(made, 0, listed=True))
    for term in ("response", "video", "clip", "object", "token"):
        named = {number in phrases for _, numbers in step.terms[term] for number in numbers if number >= 0}
        assert True in named, term
    assert 0 < len(phrases) < len(step.sequences)
    policy = steps.make_policy(made.load(), "lora").double().train()
    keys = {"ftx": 0.5, "outside": outside}
    slow = (made.load().double(), step.plain(made, torch.float64), step.terms, step.rows)
    truth = slow_step(policy, *slow, phrases=phrases, **keys)
    whole = slow_step(policy, *slow, ftx=0.5)
    changed = {term: (truth.losses[term] - loss).abs().max() for term, loss in whole.losses.items()}
    assert changed.pop("token") == 0 and min(changed.values()) > 1e-3
    assert_alike(fast(made, step, "lora", row_tokens, **keys), truth)


@pytest.mark.parametrize("row_tokens", [ONE_ROW, SEPARATE])
@pytest.mark.parametrize("family", ["video_llava", "qwen"])
def test_float32_differs_by_rounding_alone(families: dict[str, Family], family: str, row_tokens: int | None) -> None:
    """Both ways in float32."""
    made = families[family]
    step = steps.random_step(made, 0)
    policy = steps.make_policy(made.load(), "lora").train()
    truth = slow_step(policy, made.load(), step.plain(made, torch.float32), step.terms, step.rows)
    assert_alike(fast(made, step, "lora", row_tokens, dtype=torch.float32), truth)


def test_a_step_is_what_its_description_says(families: dict[str, Family]) -> None:
    """The cases meant above do come up: rows packed alone and together, shared roots, forks within answers, text."""
    family = families["video_llava"]
    model = family.load()
    for seed in (0, 1):
        step = steps.random_step(family, seed)
        (whole,) = steps.batch_of(model, family, step, ONE_ROW)["groups"]
        lengths = whole["forest"]["lengths"]
        assert lengths[0] > 0 or any(sequence.view is None for sequence in step.sequences)
        assert any(mask is None for mask in whole["forest"]["masks"])
        counts = [len(bundle.numbers) for bundle in steps.bundles_of(model, family, step)]
        assert 1 in counts and max(counts) >= 4
        assert sum(mask is not None for mask in whole["forest"]["masks"]) >= 3
        small = steps.batch_of(model, family, step, SMALL_ROWS)["groups"]
        assert len(small) > 3 and any(len(group["forest"]["masks"]) > 1 for group in small), seed
        separate = steps.batch_of(model, family, step, SEPARATE)["groups"]
        assert any((group["attention_mask"] == 0).any() for group in separate)


def test_rows_share_the_root_of_their_trees(
    families: dict[str, Family], slow: Callable[..., tuple[Step, Slow]]
) -> None:
    """Without the row of text alone every tree begins with the system prompt, which stands in the row once."""
    for family, seed in (("video_llava", 0), ("qwen", 1)):
        step, _ = slow(family, "lora", seed)
        step = without_text(step)
        made = families[family]
        (group,) = steps.batch_of(made.load(), made, step, ONE_ROW)["groups"]
        shared = group["forest"]["lengths"][0]
        prompts = [sequence.prompt_ids[:shared] for sequence in step.sequences]
        assert shared >= 3 and all(prompt == prompts[0] for prompt in prompts)
        assert made.placeholder not in prompts[0]
        assert_alike(fast(made, step, "lora", ONE_ROW), exact(made, step, "lora"))


def without_text(step: Step) -> Step:
    """The step without its last row, whose sequences stand last."""
    kept = [sequence for sequence in step.sequences if sequence.view is not None]
    assert step.sequences[: len(kept)] == kept
    terms = {name: [(row, numbers) for row, numbers in having if row < 4] for name, having in step.terms.items()}
    return Step(kept, step.views, terms, 4)


def causal_masks(batch: dict[str, Any]) -> None:
    for group in batch["groups"]:
        group["forest"]["masks"] = [
            None if mask is None else torch.ones_like(mask).tril(mask.shape[1] - mask.shape[0])
            for mask in group["forest"]["masks"]
        ]


def running_positions(batch: dict[str, Any]) -> None:
    """Every axis counts on over the whole row."""
    for group in batch["groups"]:
        positions = group["position_ids"]
        group["position_ids"] = torch.arange(positions.shape[-1]).expand(positions.shape).clone()


def running_branches(batch: dict[str, Any]) -> None:
    """Trees start anew, but the second branch of a tree counts on where the first ended."""
    for group in batch["groups"]:
        root, *parts = group["forest"]["lengths"]
        end = root
        for trunk, branches in zip(parts[::2], parts[1::2], strict=True):
            end += trunk
            if branches:
                first = group["position_ids"][..., end : end + 1].clone()
                group["position_ids"][..., end : end + branches] = first + torch.arange(branches)
            end += branches


def black(batch: dict[str, Any]) -> None:
    for view in batch["views"]:
        view["pixel_values_videos"] = torch.zeros_like(view["pixel_values_videos"])


def one_black(batch: dict[str, Any]) -> None:
    batch["views"][-1]["pixel_values_videos"] = torch.zeros_like(batch["views"][-1]["pixel_values_videos"])


def swapped(batch: dict[str, Any]) -> None:
    """Two views of as many tokens change places."""
    shapes = [tuple(view["pixel_values_videos"].shape) for view in batch["views"]]
    one, other = next((i, j) for i in range(len(shapes)) for j in range(i) if shapes[i] == shapes[j])
    views = batch["views"]
    views[one]["pixel_values_videos"], views[other]["pixel_values_videos"] = (
        views[other]["pixel_values_videos"],
        views[one]["pixel_values_videos"],
    )


@pytest.mark.parametrize("family", ["video_llava", "qwen"])
@pytest.mark.parametrize("spoil", [causal_masks, running_positions, running_branches, black, one_black, swapped])
def test_controls_are_seen(
    families: dict[str, Family],
    slow: Callable[..., tuple[Step, Slow]],
    family: str,
    spoil: Callable[[dict[str, Any]], None],
) -> None:
    """What would be wrong shows in the log-probabilities and in the gradients, far above what they may differ by."""
    step, truth = slow(family, "lora", 0)
    copied = dataclasses.replace(step, views=[dict(view) for view in step.views])
    found = fast(families[family], copied, "lora", ONE_ROW, spoil=spoil)
    assert nats_apart(found, truth, "log_probs") > 100 * NATS
    assert worst_gradient(found, truth)[0] > 100 * SHARE


def test_a_root_with_video_tokens_is_seen(families: dict[str, Family]) -> None:
    """Two views of as many tokens behind the same prompt: were their video tokens shared, one video would be lost."""
    family = families["video_llava"]
    step = steps.random_step(family, 0)
    pixels = torch.randn(2, 1, 2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0))
    prompt = [300, 301] + [family.placeholder] * 2 * FRAME_TOKENS + [302]
    sequences = [steps.Sequence(prompt, answer, view) for view in (0, 1) for answer in ([310, 1], [311, 1])]
    step = Step(sequences, [{"pixel_values_videos": one} for one in pixels], {"response": [], "token": []}, 1)
    model = family.load()
    (right,) = steps.packed_groups(sequences, steps.bundles_of(model, family, step), set(), ONE_ROW)
    assert right["forest"]["lengths"][0] == 2
    assert (right["input_ids"] == family.placeholder).sum() == 4 * FRAME_TOKENS
    wrong = [dataclasses.replace(b, before=len(b.prefix)) for b in steps.bundles_of(model, family, step)]
    batch = {"sequences": 4, "views": step.views, "groups": steps.packed_groups(sequences, wrong, set(), ONE_ROW)}
    steps.share_prefixes(model)
    scorer = steps.Scorer(model)
    with pytest.raises(ValueError, match="tokens"):  # transformers counts features against placeholders
        scorer(model, batch, steps.Encoded())
    scorer(model, {**batch, "groups": [right]}, steps.Encoded())


def test_bfloat16_is_as_close_as_the_slow_way_is_to_itself(
    families: dict[str, Family], slow: Callable[..., tuple[Step, Slow]]
) -> None:
    """Under bfloat16 autocast, the first row alone: no further from float64 than the slow way, padded or not."""
    family = families["video_llava"]
    step = first_row(slow("video_llava", "lora", 0)[0])
    truth = exact(family, step, "lora")
    spread = []
    for padding in ([], [steps.PADDING] * 7):
        policy = steps.make_policy(family.load(), "lora").train()
        with torch.autocast("cpu", torch.bfloat16):
            plain = step.plain(family, torch.float32)
            spread.append(distance(slow_step(policy, family.load(), plain, step.terms, 1, padding), truth))
    assert min(spread[0]) > 1e-3, "this is not bfloat16"
    for row_tokens in (ONE_ROW, SEPARATE):
        found = distance(fast(family, step, "lora", row_tokens, dtype=torch.float32, autocast=True), truth)
        for ours, one, other in zip(found, *spread, strict=True):
            assert ours < 1.3 * max(one, other)


def first_row(step: Step) -> Step:
    """The step's first row alone, whose sequences stand first."""
    end = min(number for having in step.terms.values() for row, numbers in having if row == 1 for number in numbers)
    terms = {name: [(row, numbers) for row, numbers in having if row == 0] for name, having in step.terms.items()}
    return Step(step.sequences[:end], step.views, terms, 1)


def distance(one: Any, exact: Slow) -> tuple[float, float]:
    """Relative Euclidean distance of the log-probabilities and of all gradients together."""
    pairs = [(one.gradients[name].double(), gradient.double()) for name, gradient in exact.gradients.items()]
    gradients = sum((a - b).square().sum() for a, b in pairs) / sum(b.square().sum() for _, b in pairs)
    values = (one.log_probs.double() - exact.log_probs).norm() / exact.log_probs.norm()
    return float(values), float(gradients.sqrt())


class _Logits(torch.utils._python_dispatch.TorchDispatchMode):
    """Sizes of every tensor any operation makes whose last dimension is the vocabulary."""

    def __init__(self, vocabulary: int):
        super().__init__()
        self.vocabulary = vocabulary
        self.rows: list[int] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.t.default:  # the head's own weight
            return output
        if isinstance(output, torch.Tensor) and output.dim() > 1 and output.shape[-1] == self.vocabulary:
            self.rows.append(output.numel() // self.vocabulary)
        return output


@pytest.mark.parametrize("row_tokens", [ONE_ROW, SEPARATE])
def test_logits_exist_at_answer_positions_only(families: dict[str, Family], row_tokens: int | None) -> None:
    """Whatever the operation, forward or backward, policy or reference: never (batch, sequence, vocabulary)."""
    family = families["video_llava"]
    step = steps.random_step(family, 0)
    model = family.load()
    groups = steps.batch_of(model, family, step, row_tokens)["groups"]
    answers = max(len(group["answers"]["token"]) for group in groups)
    positions = max(group["input_ids"].numel() for group in groups)
    assert answers < positions / 2
    with _Logits(model.config.get_text_config().vocab_size) as logits:
        fast(family, step, "lora", row_tokens, checkpointing=True)
    assert 0 < max(logits.rows) <= answers


@pytest.mark.parametrize(
    ("family", "tuning", "row_tokens", "trained"),
    [
        ("video_llava", "lora", ONE_ROW, {"projector": True}),
        ("video_llava", "lora", SMALL_ROWS, {"projector": True, "tower": True}),
        ("video_llava", "full", SEPARATE, {"projector": True}),
        ("video_llava", "full", ONE_ROW, {"projector": True, "tower": True}),
        ("qwen", "full", SMALL_ROWS, {"tower": True}),  # its projector is part of the tower
    ],
)
def test_what_lies_below_the_language_model_can_be_trained(
    families: dict[str, Family],
    slow: Callable[..., tuple[Step, Slow]],
    family: str,
    tuning: str,
    row_tokens: int | None,
    trained: dict[str, bool],
) -> None:
    """Its gradients equal the slow way's, and the reference, which sees through its own tower, says what it does."""
    step, truth = slow(family, tuning, 0, **trained)
    found = fast(families[family], step, tuning, row_tokens, trained=trained)
    below = [name for name in truth.gradients if any(part in name for part in ("projector", "visual", "tower"))]
    assert sum(truth.gradients[name] is not None and bool(truth.gradients[name].abs().max() > 0) for name in below) > 3
    assert_alike(found, truth)
