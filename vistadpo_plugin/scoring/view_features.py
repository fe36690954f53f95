"""Every distinct view through the vision tower once, and its features wherever the batch shows that view.

A packed row, or a batch of separate rows, holds many views; the model asks for the features of all of them in one call
(`get_video_features`, `get_image_features`). That call is answered here: view by view, from what is known already when
tower and projector are frozen, so that policy and reference, and all answers, share one encoding.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vistadpo_plugin.models import family_of_model
from vistadpo_plugin.scoring.sharded import describe, empty_view

METHODS = ("get_video_features", "get_image_features")

# Under which of a processor's names each method finds its pixels, most specific first.
_PIXELS = {
    "get_video_features": ("pixel_values_videos",),
    "get_image_features": ("pixel_values_images", "pixel_values"),
}


# Frames that go through the tower in one run: transformers keeps the states of all its layers meanwhile.
STACKED = 32


@dataclass
class Encoded:
    """The features of a batch's views as they become known, by method and view; `encodes` counts the tower's runs."""

    features: dict[tuple[str, int], Any] = field(default_factory=dict)
    encodes: int = 0


@dataclass
class Evenly:
    """What makes a forward run the tower as often as the other ranks do: `counts` by method, `examples` of views."""

    counts: dict[str, int]
    examples: dict[str, dict[str, Any]]


class ViewFeatures:
    """Stands before the vision tower of one model."""

    def __init__(self, model: torch.nn.Module):
        self.inner = _inner(model)
        self.views: list[dict[str, Any]] | None = None
        self.order: list[int] = []
        self.encoded = Encoded()
        self.evenly: Evenly | None = None
        self.encoders = {
            method: self._alone(getattr(self.inner, method)) for method in METHODS if hasattr(self.inner, method)
        }
        for method, encode in self.encoders.items():
            setattr(self.inner, method, self._answering(method, encode))
        family = None if self.inner is None else family_of_model(self.inner.config.model_type)
        # Only models that stack videos themselves, (videos, frames, ...), without further arguments for each.
        self.stacks = family is not None and family.exact_frames
        if self.encoders:
            self.inner_forward = self.inner.forward
            self.inner.forward = self._forward

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """Tower and projector: everything below the model that embeds the views, except its language model."""
        if self.inner is None:
            return {}
        language = {id(parameter) for parameter in self.inner.language_model.parameters()}
        return {name: p for name, p in self.inner.named_parameters() if id(p) not in language}

    @property
    def frozen(self) -> bool:
        return not any(parameter.requires_grad for parameter in self.parameters().values())

    @contextmanager
    def showing(
        self, views: list[dict[str, Any]], order: list[int], encoded: Encoded, evenly: Evenly | None = None
    ) -> Iterator[None]:
        """During one forward: row by row, or tree by tree, the model sees `views[number] for number in order`."""
        self.views, self.order, self.evenly = views, order, evenly
        self.encoded = encoded if self.frozen else Encoded()
        try:
            yield
        finally:
            self.views = self.evenly = None

    def unknown(
        self, views: list[dict[str, Any]], order: list[int], known: Container[tuple[str, int]]
    ) -> dict[str, list[int]]:
        """By method the distinct views of `order` that it has to encode."""
        return {
            method: [n for n in dict.fromkeys(order) if _pixels(method, views[n]) and (method, n) not in known]
            for method in self.encoders
        }

    def examples(self, views: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """By method the smallest of the views that it encodes, described for other ranks."""
        found: dict[str, dict[str, Any]] = {}
        for method, encode in self.encoders.items():
            names = inspect.signature(encode).parameters
            for view in views:
                pixels = _pixels(method, view)
                if pixels is None or (method in found and found[method]["elements"] <= view[pixels].numel()):
                    continue
                found[method] = describe(pixels, {n: v for n, v in view.items() if n in names or n == pixels})
        return found

    def _forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's; where ranks keep in step the tower has run before, first for what is shown, then for nothing."""
        if self.evenly is None:
            return self.inner_forward(*args, **kwargs)
        nothing = self._encode_evenly(self.evenly)
        outputs = self.inner_forward(*args, **kwargs)
        if nothing is not None:
            states = outputs.last_hidden_state
            outputs.last_hidden_state = states + nothing.to(states)
        return outputs

    def _encode_evenly(self, evenly: Evenly) -> Tensor | None:
        """What is shown is known afterwards. The runs for nothing, times 0, for ranks that need gradients of them."""
        nothing = None
        unknown = self.unknown(self.views, self.order, self.encoded.features)
        for method, encode in self.encoders.items():
            names = list(inspect.signature(encode).parameters)
            for number in unknown[method]:
                self._one(method, names, encode, {"return_dict": True}, number)
            for _ in range(evenly.counts.get(method, 0) - len(unknown[method])):
                view = empty_view(evenly.examples[method], next(self.inner.parameters()).device)
                arguments = {names[0]: view.pop(evenly.examples[method]["pixels"]), **view, "return_dict": True}
                with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                    features = _kept(encode(**arguments))
                if not self.frozen:
                    zero = sum(tensor.sum() * 0 for tensor in _tensors(features))
                    nothing = zero if nothing is None else nothing + zero
        return nothing

    def _alone(self, encode: Callable[..., Any]) -> Callable[..., Any]:
        """The model's own method, also where it asks for the other one, as Qwen3-VL's for videos does."""

        @functools.wraps(encode)
        def alone(*args: Any, **kwargs: Any) -> Any:
            views, self.views = self.views, None
            try:
                return encode(*args, **kwargs)
            finally:
                self.views = views

        return alone

    def _answering(self, method: str, encode: Callable[..., Any]) -> Callable[..., Any]:
        names = list(inspect.signature(encode).parameters)

        def features(*args: Any, **kwargs: Any) -> Any:
            if self.views is None:
                return encode(*args, **kwargs)
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            if self.stacks and method == "get_video_features":
                self._encode_alike(method, names, encode, given)
            outputs = [known for number in self.order if (known := self._one(method, names, encode, given, number))]
            end = self._video_end() if method == "get_video_features" else None
            return _join(outputs) if end is None else _join_ended(outputs, end)

        return features

    def _encode_alike(self, method: str, names: list[str], encode: Callable[..., Any], given: dict[str, Any]) -> None:
        """Views of one shape go through the tower together, `STACKED` frames at a time: small work fills no GPU."""
        alike: dict[tuple[int, ...], list[int]] = {}
        for number in self.unknown(self.views, self.order, self.encoded.features)[method]:
            alike.setdefault(tuple(self.views[number][_pixels(method, self.views[number])].shape), []).append(number)
        for shape, numbers in alike.items():
            most = max(1, STACKED // (shape[0] * shape[1]))
            for first in range(0, len(numbers), most):
                together = numbers[first : first + most]
                pixels = torch.cat([self.views[n][_pixels(method, self.views[n])] for n in together])
                with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                    output = _kept(encode(**{**given, names[0]: pixels}))
                for number, pooled in zip(together, _split(output.pooler_output, len(together)), strict=True):
                    self.encoded.features[method, number] = type(output)(pooler_output=pooled)
                self.encoded.encodes += len(together)

    def _video_end(self) -> Tensor | None:
        """What the model itself puts behind the features of every video, (width,)."""
        family = family_of_model(self.inner.config.model_type)
        return None if family is None or family.video_end is None else getattr(self.inner, family.video_end)

    def _one(
        self, method: str, names: list[str], encode: Callable[..., Any], given: dict[str, Any], number: int
    ) -> Any:
        view = self.views[number]
        pixels = _pixels(method, view)
        if pixels is None:
            return None
        key = (method, number)
        if key not in self.encoded.features:
            arguments = {**given, **{name: view[name] for name in names if name in view}, names[0]: view[pixels]}
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                self.encoded.features[key] = _kept(encode(**arguments))
            self.encoded.encodes += 1
        return self.encoded.features[key]


def _inner(model: torch.nn.Module) -> torch.nn.Module | None:
    """The innermost module with a vision tower to ask: the one that puts the features among the token embeddings."""
    found = [module for module in model.modules() if any(hasattr(type(module), method) for method in METHODS)]
    return found[-1] if found else None


def _pixels(method: str, view: dict[str, Any]) -> str | None:
    """Under which name a view has the pixels for a method, None where it has none."""
    return next((name for name in _PIXELS[method] if name in view), None)


def _tensors(features: Any) -> Iterator[Tensor]:
    for value in features.values() if isinstance(features, dict) else features:
        if isinstance(value, Tensor):
            yield value
        elif value is not None:
            yield from _tensors(value)


def _kept(output: Any) -> Any:
    """Without the tower's hidden states, which nobody asks for again."""
    return type(output)(**{name: output[name] for name in ("pooler_output", "deepstack_features") if name in output})


def _split(pooled: Any, views: int) -> list[Any]:
    """The features of each of several views of as many videos, as the model gives them for one view."""
    if isinstance(pooled, Tensor):
        return list(pooled.chunk(views))
    videos = len(pooled) // views
    return [pooled[first : first + videos] for first in range(0, len(pooled), videos)]


def _join(outputs: list[Any]) -> Any:
    """One output for all views in order; transformers gives features as one tensor, or as one tensor a video."""
    pooled = [output.pooler_output for output in outputs]
    tensors = isinstance(pooled[0], Tensor)
    joined = {"pooler_output": torch.cat(pooled) if tensors else [one for view in pooled for one in view]}
    if "deepstack_features" in outputs[0]:
        layers = zip(*(output.deepstack_features for output in outputs), strict=True)
        joined["deepstack_features"] = [torch.cat(layer) for layer in layers]
    return type(outputs[0])(**joined)


def _join_ended(outputs: list[Any], end: Tensor) -> Any:
    """One video for all views in order, of which the model puts `end` behind the last only.

    Videos of unequal length make no tensor (videos, tokens, width).
    """
    videos = [video for output in outputs for video in output.pooler_output]
    parts = [part for video in videos for part in (end.unsqueeze(0).to(video.device), video)][1:]
    return type(outputs[0])(pooler_output=torch.cat(parts).unsqueeze(0))
