"""Stage one of the demo's base: what its video tower sees of the world, and how it learns to see.

The target is dense: for each patch of a frame the colour of every cell of a grid, and for the frame's class token the
shape, place and size of every colour. A caption of a whole video would teach so small a tower nothing in minutes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import VideoLlavaForConditionalGeneration, VideoLlavaProcessor

from vistadpo_plugin.demo.base_descent import descend
from vistadpo_plugin.demo.shapes import COLOURS, HEIGHT, LEFT, SHAPES, Scene, draw_frames
from vistadpo_plugin.models.video_llava import FRAMES as SEEN

CELLS = 6
"""Cells along a side of a patch."""
BINS = 8
"""Steps in which the class token tells place and size."""
BATCH = 256
LEARNING_RATE = 1e-3

_PALETTE = np.array([*COLOURS.values()])
_NEAR = 80
"""Colour channels' summed distance within which a pixel has a shape's colour; the background is darker."""


def seen_frames(scene: Scene) -> list[int]:
    """The numbers of the frames that the model is shown of the whole video."""
    return np.linspace(0, scene.frames - 1, SEEN).astype(int).tolist()


def look(scenes: Sequence[Scene], processor: VideoLlavaProcessor, grid: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw the scenes as a model sees them, and say what is there.

    Returns, all uint8, pixels (N, SEEN, 3, side, side), not normalized; cells (N, SEEN, grid², CELLS²), 0 for the
    background, else 1 + the colour; and states (N, SEEN, colours, 4), see `_states`. `grid`: patches along a side of a
    frame.
    """
    side = processor.video_processor.crop_size["height"]
    # Filled in place: the pieces of thousands of videos would keep the heap they lie in, some gigabytes.
    pixels = torch.empty(len(scenes), SEEN, 3, side, side, dtype=torch.uint8)
    cells = torch.empty(len(scenes), SEEN, grid**2, CELLS**2, dtype=torch.uint8)
    states = torch.empty(len(scenes), SEEN, len(COLOURS), 4, dtype=torch.uint8)
    for index, scene in enumerate(tqdm(scenes, desc="drawing videos", unit="video")):
        frames = list(draw_frames(scene, seen_frames(scene)))
        made = processor.video_processor(videos=[frames], return_tensors="pt", do_rescale=False, do_normalize=False)
        pixels[index] = made["pixel_values_videos"][0]
        cells[index] = torch.from_numpy(np.stack([_cells(frame, grid) for frame in frames]))
        states[index] = torch.from_numpy(np.stack([_states(scene, number) for number in seen_frames(scene)]))
    return pixels, cells, states


def _cells(frame: np.ndarray, grid: int) -> np.ndarray:
    """The colour in the middle of each cell, patch by patch: (grid², CELLS²)."""
    places = ((np.arange(grid * CELLS) + 0.5) * HEIGHT / (grid * CELLS)).astype(int)
    middle = frame[places][:, LEFT + places].astype(int)
    distance = np.abs(middle[:, :, None] - _PALETTE).sum(-1)
    found = np.where(distance.min(-1) < _NEAR, 1 + distance.argmin(-1), 0)
    return found.reshape(grid, CELLS, grid, CELLS).swapaxes(1, 2).reshape(grid**2, CELLS**2)


def _states(scene: Scene, number: int) -> np.ndarray:
    """Of each colour in a frame its shape, its middle's column and row, and its size, (colours, 4); 0 for none."""
    found = np.zeros((len(COLOURS), 4), dtype=np.int64)
    for actor in scene.actors:
        if actor.visible(number):
            x, y, side, _ = actor.box(number)
            places = [(middle + side // 2) * BINS // HEIGHT for middle in (x - LEFT, y)]
            found[list(COLOURS).index(actor.colour)] = (
                1 + SHAPES.index(actor.shape),
                *(1 + place for place in places),
                1 + side * BINS // HEIGHT,
            )
    return found


def normalize(pixels: Tensor, processor: VideoLlavaProcessor) -> Tensor:
    """uint8 (..., 3, side, side) -> what the tower gets, float32."""
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (processor.video_processor.image_mean, processor.video_processor.image_std)
    )
    return (pixels.float() * processor.video_processor.rescale_factor - mean) / std


def features(model: VideoLlavaForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Normalized frames (N, 3, side, side) -> the tower's features that the projector sees (N, 1 + patches, width)."""
    hidden = model.model.video_tower(pixels, output_hidden_states=True).hidden_states
    return hidden[model.config.vision_feature_layer]


def train_tower(
    model: VideoLlavaForConditionalGeneration,
    processor: VideoLlavaProcessor,
    seen: tuple[Tensor, Tensor, Tensor],
    steps: int,
    seed: int,
) -> None:
    """Train the video tower in place on what `look` returned; the image tower becomes a copy of it."""
    pixels, cells, states = (part.flatten(0, 1) for part in seen)
    tower, width = model.model.video_tower, model.config.vision_config.hidden_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        of_patch = nn.Linear(width, CELLS**2 * (1 + len(COLOURS)))
        of_frame = nn.Linear(width, len(COLOURS) * 4 * (1 + BINS))
    generator = torch.Generator().manual_seed(seed)
    parameters = [*tower.parameters(), *of_patch.parameters(), *of_frame.parameters()]

    def loss_of() -> Tensor:
        drawn = torch.randint(len(pixels), (BATCH,), generator=generator)
        found = features(model, normalize(pixels[drawn], processor))
        colours = of_patch(found[:, 1:]).reshape(-1, 1 + len(COLOURS))
        loss = nn.functional.cross_entropy(colours, cells[drawn].flatten().long())
        told = states[drawn].long()
        state = of_frame(found[:, 0]).reshape(*told.shape, 1 + BINS)
        loss = loss + nn.functional.cross_entropy(state.flatten(0, -2), told.flatten())
        shape = told[..., 0]  # the hardest to see: where there is one, it counts once more
        return loss + nn.functional.cross_entropy(state[..., 0, :][shape > 0], shape[shape > 0])

    descend("tower", parameters, loss_of, steps, LEARNING_RATE)
    model.model.image_tower.load_state_dict(tower.state_dict())


@torch.no_grad()
def encode(model: VideoLlavaForConditionalGeneration, processor: VideoLlavaProcessor, pixels: Tensor) -> Tensor:
    """uint8 videos (N, SEEN, 3, side, side) -> the tower's features (N, SEEN · (1 + patches), width), float32."""
    chunks = [features(model, normalize(part.flatten(0, 1), processor)) for part in pixels.split(64)]
    return torch.cat(chunks).reshape(len(pixels), -1, chunks[0].shape[-1])
