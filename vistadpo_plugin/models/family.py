"""What a family of models is to this plugin: facts about it, and what it needs from outside to train right.

Nothing here or in a family's file imports the host at module level, so that facts can be read without waiting for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vistadpo_plugin.data.views.views import Sampling


@dataclass(frozen=True)
class Shape:
    """The shape of a published checkpoint's language model, and the parameters below it (towers and projector)."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    tower_parameters: int


@dataclass(frozen=True)
class Family:
    """One family. What is left out is right in the host.

    `name` as people call it; `model_type` of its config; `templates` of the host (or ours) it is trained with, the
    recipe's first; `recipe` that ships; `checkpoint` which that names, its `shape`, and the tokens a frame takes there
    at the recipe's settings; `differs`: what is known to differ from the original model, empty where nothing is.

    `exact_frames`: every video has exactly `video_maxlen` frames, because the model stacks videos; such a family counts
    its tokens itself: `video_tokens(processor, frames)`, and `image_tokens(processor, inputs, number)` of the image
    `number` of those which the image processor made `inputs` of. `sampling`: where those frames lie in a video.
    `centre_crop`: the processor sees the centre square of a frame only. `tells_time`: the model is told when each frame
    was shown. `shares_prefixes`: its layers can follow branches, so that answers on one view stand in one row.

    `mend` makes a plugin that works of the host's multimodal plugin.

    `towers`: the attributes with vision encoders, and parameters beside them, where the host's entry names others and
    so leaves them unfrozen. `video_end`: the parameter that the model itself puts behind the features of every video.
    `register` adds what the host or transformers lack (model classes, templates, names of weights). `refusal(messages,
    images, videos)`: a sentence on why the host would compute wrong numbers for this input, None where it does not;
    asked where the installed host has the `fault`, see `host.HOSTS`.
    """

    name: str
    model_type: str
    templates: tuple[str, ...]
    recipe: str
    checkpoint: str
    shape: Shape
    tokens_a_frame: int
    differs: str = ""
    exact_frames: bool = False
    sampling: Sampling = "ends"
    video_tokens: Callable[[Any, int], int] | None = None
    image_tokens: Callable[[Any, dict[str, Any], int], int] | None = None
    centre_crop: bool = False
    tells_time: bool = False
    shares_prefixes: bool = True
    mend: Callable[[Any], Any] | None = None
    towers: tuple[str, ...] = ()
    video_end: str | None = None
    register: Callable[[], None] | None = None
    refusal: Callable[[list[dict[str, str]], list[Any], list[Any]], str | None] | None = None
    fault: str | None = None
