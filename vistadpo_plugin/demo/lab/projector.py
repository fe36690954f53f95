"""The first lesson, of tower and projector: each shape in a frame becomes the sum of the words for it.

A language model that is taught by answers alone treats new tokens as noise for a long while. Words it knows; so tower
and projector first learn, without the language model and in minutes, to say them. A sum keeps its words together: what
is red is the square. Were a patch to say all that is in it, red and square could be of two shapes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, VideoLlavaForConditionalGeneration, VideoLlavaProcessor

from vistadpo_plugin.demo.base_descent import descend
from vistadpo_plugin.demo.base_tower import BINS, features, normalize
from vistadpo_plugin.demo.shapes import COLOURS, SHAPES

EXTREMES = (("left", "right"), ("top", "bottom"), ("small", "large"))
"""Of column, row and size: what is between is a mix of both words, so that a change points from one to the other."""
SHAPE = 2.0
"""How much the word for the shape counts, the others once: it is the hardest to see."""
NOTHING = "nothing"
BATCH, LEARNING_RATE = 256, 1e-3


class Words:
    """What tower and projector are to say of a frame: sums of the embeddings of words, about the mean of all."""

    def __init__(self, model: VideoLlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerBase):
        self._embeddings = model.get_input_embeddings().weight.detach()
        self._tokenizer = tokenizer
        self.mean = self._embeddings.mean(0)
        self.colours = self._of([*COLOURS])
        self.shapes = SHAPE * torch.cat([torch.zeros_like(self.mean)[None], self._of(SHAPES)])
        self.extremes = [self._of(words) for words in EXTREMES]
        self.nothing = self._of([NOTHING])

    def _of(self, words: list[str] | tuple[str, ...]) -> Tensor:
        """(words, width); a word of several tokens is their mean."""
        encoded = [self._tokenizer.encode(f" {word}", add_special_tokens=False) for word in words]
        return torch.stack([self._embeddings[ids].mean(0) for ids in encoded]) - self.mean

    def of_frames(self, states: Tensor, patches: int) -> Tensor:
        """States (N, colours, 4), as `base_tower.look` gives them -> the words (N, 1 + patches, width): the frame's own
        token says every colour with its shape; the patches' tokens say all about one shape each, in the order of the
        colours, and the rest that there is nothing. More shapes than patches are not all told."""
        there = states[..., 0] > 0
        said = self.colours + self.shapes[states[..., 0]]
        frame = (said * there[..., None]).sum(1, keepdim=True)
        for part, (low, high) in enumerate(self.extremes, start=1):
            place = (states[..., part].to(self.mean.dtype) - 0.5) / BINS
            said = said + low + (high - low) * place[..., None]
        first = (~there).to(torch.uint8).argsort(dim=1, stable=True)[:, :patches]  # those that are there, in order
        told = said.gather(1, first[..., None].expand(-1, -1, said.shape[-1]))
        told = torch.where(there.gather(1, first)[..., None], told, self.nothing)
        return torch.cat([frame, told], 1) + self.mean


def teach_words(
    model: VideoLlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    processor: VideoLlavaProcessor,
    pixels: Tensor,
    states: Tensor,
    steps: int,
    seed: int,
) -> None:
    """Train the video tower and the projector in place on what `base_tower.look` returned; the image tower becomes a
    copy of the video tower."""
    words, tower = Words(model, tokenizer), model.model.video_tower
    pixels, states = pixels.flatten(0, 1), states.flatten(0, 1)
    parameters = [*tower.parameters(), *model.model.multi_modal_projector.parameters()]
    generator = torch.Generator().manual_seed(seed)

    def loss_of() -> Tensor:
        drawn = torch.randint(len(pixels), (BATCH,), generator=generator)
        return _left(model, words, normalize(pixels[drawn], processor), states[drawn])

    descend("words", parameters, loss_of, steps, LEARNING_RATE)
    model.model.image_tower.load_state_dict(tower.state_dict())


def _left(model: VideoLlavaForConditionalGeneration, words: Words, frames: Tensor, states: Tensor) -> Tensor:
    """The share of the words' variance that is not said; states as bytes would be taken for a mask."""
    said = model.model.multi_modal_projector(features(model, frames))
    wanted = words.of_frames(states.long(), said.shape[1] - 1)
    return nn.functional.mse_loss(said, wanted) / (wanted - words.mean).square().mean()


@torch.no_grad()
def words_told(
    model: VideoLlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    processor: VideoLlavaProcessor,
    pixels: Tensor,
    states: Tensor,
) -> float:
    """The share of the words' variance that tower and projector say of these videos."""
    frames = normalize(pixels.flatten(0, 1), processor)
    return 1 - _left(model, Words(model, tokenizer), frames, states.flatten(0, 1)).item()
