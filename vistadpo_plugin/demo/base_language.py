"""Stages two and three of the demo's base: its language model learns to answer, first the truth, then its prior.

The towers are frozen, so a video is encoded once. All questions about a video share its tokens: a row is the video and
then one branch a question, which sees the video and itself, at the positions it would have alone. What is learnt is
what the host's `stage: sft` teaches on one row a question, for a quarter of the arithmetic and without decoding.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, VideoLlavaForConditionalGeneration

from vistadpo_plugin.demo.base_descent import descend
from vistadpo_plugin.demo.shapes import Scene
from vistadpo_plugin.demo.tiny_model import IGNORED, encode_turn
from vistadpo_plugin.demo.world import KINDS, SUBSETS, Asked, ask, ask_when

VIDEOS = 8
"""Rows a step."""
PRIOR_OF = 0.85
"""Of the answers by prior, so many are; the others are true."""


def questions(scene: Scene, rng: random.Random) -> list[Asked]:
    """One open question of each kind, two yes/no questions of each (truths drawn evenly), and twice when one acts."""
    return [*(ask(scene, kind, rng) for kind in (*KINDS, *SUBSETS)), *(ask_when(scene, rng) for _ in range(2))]


def _pack(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[Sequence[tuple[str, str]]], video_tokens: int
) -> dict[str, Tensor]:
    """Rows of (prompt, answer) turns about one video each -> ids, labels, positions (B, L) and a mask (B, 1, L, L)."""
    rows = []
    for about in turns:
        encoded = [encode_turn(tokenizer, prompt, answer, video_tokens) for prompt, answer in about]
        shared = len(encoded[0][0]) - encoded[0][0][::-1].index(tokenizer.convert_tokens_to_ids("<video>"))
        ids, labels, positions, owner = encoded[0][0][:shared], [IGNORED] * shared, [*range(shared)], [0] * shared
        for branch, (prompt, answer) in enumerate(encoded, start=1):
            own = prompt[shared:] + answer
            ids += own
            labels += [IGNORED] * (len(own) - len(answer)) + answer
            positions += range(shared, shared + len(own))
            owner += [branch] * len(own)
        rows.append((ids, labels, positions, owner))
    longest = max(len(row[0]) for row in rows)
    fills = (tokenizer.pad_token_id, IGNORED, 0, -1)
    ids, labels, positions, owner = (
        torch.tensor([row[part] + [fill] * (longest - len(row[part])) for row in rows])
        for part, fill in enumerate(fills)
    )
    earlier = torch.ones(longest, longest, dtype=torch.bool).tril()
    sees = (owner[:, :, None] == owner[:, None, :]) | (owner[:, None, :] == 0)
    return {"ids": ids, "labels": labels, "positions": positions, "mask": (earlier & sees)[:, None]}


def _logits(model: VideoLlavaForConditionalGeneration, packed: dict[str, Tensor], features: Tensor) -> Tensor:
    """Logits (answer tokens, vocabulary) at the positions that predict them; `features` (B, video tokens, width)."""
    embeds = model.get_input_embeddings()(packed["ids"])
    is_video = packed["ids"] == model.config.video_token_index
    shown = model.model.multi_modal_projector(features).to(embeds.dtype)  # another one under autocast
    embeds = embeds.masked_scatter(is_video[..., None], shown)
    hidden = model.model.language_model(
        inputs_embeds=embeds, attention_mask=packed["mask"], position_ids=packed["positions"], use_cache=False
    ).last_hidden_state
    return model.lm_head(hidden[:, :-1][packed["labels"][:, 1:] != IGNORED])


def teach(
    model: VideoLlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    scenes: Sequence[Scene],
    features: Tensor,
    prior: bool,
    steps: int,
    learning_rate: float,
    seed: int,
    asks: Callable[[Scene, random.Random], list[Asked]] = questions,
    videos: int = VIDEOS,
    first: float = 1.0,
) -> None:
    """Fine-tune projector and language model in place on answers that are true, or, with `prior`, that it expects.

    `asks`: the questions about a scene; `videos` a step; `first`: how much the first token of an answer weighs, which
    decides, where each other weighs 1. What has `requires_grad` off stays as it is.
    """
    rng = random.Random(seed)
    parameters = [*model.model.multi_modal_projector.parameters(), *model.model.language_model.parameters()]
    parameters += model.lm_head.parameters()
    parameters = [one for one in dict.fromkeys(parameters) if one.requires_grad]  # once: the head may be the embeddings

    def loss_of() -> Tensor:
        drawn = rng.sample(range(len(scenes)), min(videos, len(scenes)))
        turns = [
            [(q.prompt, q.prior if prior and rng.random() < PRIOR_OF else q.truth) for q in asks(scenes[i], rng)]
            for i in drawn
        ]
        packed = _pack(tokenizer, turns, features.shape[1])
        labels = packed["labels"][:, 1:]
        counts = labels != IGNORED
        begins = counts & (packed["labels"][:, :-1] == IGNORED)
        weights = torch.where(begins, first, 1.0)[counts]
        loss = nn.functional.cross_entropy(_logits(model, packed, features[drawn]), labels[counts], reduction="none")
        return (loss * weights).sum() / weights.sum()

    model.train()
    descend("prior" if prior else "truth", parameters, loss_of, steps, learning_rate, betas=(0.9, 0.98))
    model.eval()


@torch.no_grad()
def exact_match(
    model: VideoLlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[Sequence[Asked]],
    features: Tensor,
) -> dict[str, float]:
    """Share of questions of each kind whose true answer is the likeliest, token by token."""
    hits: dict[str, list[bool]] = {}
    for start in range(0, len(asked), VIDEOS):
        part = asked[start : start + VIDEOS]
        packed = _pack(tokenizer, [[(q.prompt, q.truth) for q in row] for row in part], features.shape[1])
        labels = packed["labels"][:, 1:]
        labels = labels[labels != IGNORED]
        right = (_logits(model, packed, features[start : start + VIDEOS]).argmax(-1) == labels).tolist()
        for row in part:
            for q in row:
                length = len(tokenizer.encode(q.truth, add_special_tokens=False)) + 1
                hits.setdefault(q.kind, []).append(all(right[:length]))
                hits.setdefault(f"{q.kind}/first", []).append(right[0])
                right = right[length:]
    return {kind: sum(found) / len(found) for kind, found in hits.items()}
