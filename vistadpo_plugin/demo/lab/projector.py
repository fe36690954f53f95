"""The projector's first lesson: what a patch shows becomes the sum of the words for it.

A language model that is taught by answers alone treats new tokens as noise for a long while. Words it knows; so the
projector first learns, without the language model and in a minute, to say them: colour, shape, column, row and size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, VideoLlavaForConditionalGeneration

from vistadpo_plugin.demo.base_tower import BINS
from vistadpo_plugin.demo.shapes import COLOURS, SHAPES

COLUMN_WORDS = ("A", "B", "C", "D", "E", "F", "G", "H")
ROW_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
SIZE_WORDS = ("tiny", "small", "little", "medium", "big", "large", "huge", "giant")
BATCH, LEARNING_RATE = 256, 1e-3


class Words:
    """What the projector is to say of a frame: sums of the embeddings of words, about the mean of all embeddings."""

    def __init__(self, model: VideoLlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerBase):
        self._embeddings = model.get_input_embeddings().weight.detach()
        self._tokenizer = tokenizer
        self.mean = self._embeddings.mean(0)
        self.colours = self._of([*COLOURS])
        states = (SHAPES, COLUMN_WORDS[:BINS], ROW_WORDS[:BINS], SIZE_WORDS[:BINS])
        self.states = [torch.cat([torch.zeros_like(self.mean)[None], self._of(words)]) for words in states]

    def _of(self, words: list[str] | tuple[str, ...]) -> Tensor:
        """(words, width); a word of several tokens is their mean."""
        encoded = [self._tokenizer.encode(f" {word}", add_special_tokens=False) for word in words]
        return torch.stack([self._embeddings[ids].mean(0) for ids in encoded]) - self.mean

    def of_frames(self, cells: Tensor, states: Tensor) -> Tensor:
        """Cells (N, patches, CELLS²) and states (N, colours, 4), as `base_tower.look` gives them -> the words
        (N, 1 + patches, width): of the frame, every colour's with its shape; of a patch, all about each colour in it,
        by how much of that colour it holds."""
        there = (states[..., :1] > 0).to(self.mean.dtype)
        said = [words[states[..., part]] for part, words in enumerate(self.states)]
        frame = ((self.colours + said[0]) * there).sum(1, keepdim=True)
        count = torch.stack([(cells == 1 + colour).sum(-1) for colour in range(len(COLOURS))], -1)
        share = count / count.sum(1, keepdim=True).clamp(min=1)
        return torch.cat([frame, share @ ((self.colours + sum(said)) * there)], 1) + self.mean


def teach_words(
    model: VideoLlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    features: Tensor,
    cells: Tensor,
    states: Tensor,
    steps: int,
    seed: int,
) -> float:
    """Train the projector in place on encoded videos; returns the share of the words' variance that is left."""
    words, projector = Words(model, tokenizer), model.model.multi_modal_projector
    cells, states = cells.flatten(0, 1), states.flatten(0, 1).long()  # bytes would be taken for a mask
    features = features.reshape(len(cells), 1 + cells.shape[1], -1)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(projector.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    progress = tqdm(range(steps), desc="words", unit="step")
    for _ in progress:
        drawn = torch.randint(len(features), (BATCH,), generator=generator)
        wanted = words.of_frames(cells[drawn], states[drawn])
        left = nn.functional.mse_loss(projector(features[drawn]), wanted) / (wanted - words.mean).square().mean()
        optimizer.zero_grad()
        left.backward()
        optimizer.step()
        schedule.step()
        progress.set_postfix(left=f"{left.item():.3f}", refresh=False)
    return left.item()
