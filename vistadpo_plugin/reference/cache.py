"""What the reference says of every row, on disk: computed once, reused by later epochs, runs and resumes.

A folder holds one cache: `manifest.json` says what its numbers depend on (weights, precision, processor, keys), and
each row has a file named by a hash of all that row depends on. A folder of another identity is refused; a row that
changed has another name and is computed; files appear whole or not at all. Log-probabilities serve the pairwise terms;
for the token term the last hidden states at the answer positions are kept, from which the frozen head makes the same
distributions.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vistadpo_plugin.data.batches.known_scores import RowScores
from vistadpo_plugin.data.video.settings import video_settings
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.scoring.sharded import whole

MANIFEST = "manifest.json"
_LOG_PROBS, _NAMES, _HIDDEN = "log_probs", "names", "hidden "
_UNFINISHED = ".unfinished"


class ReferenceCache:
    """The cache in `folder`; `identity` names everything that changes a number of every row.

    Raises ValueError when the folder holds a cache of another identity, or something else.
    """

    def __init__(self, folder: str, identity: dict[str, str]):
        self.folder = Path(folder)
        manifest = self.folder / MANIFEST
        if manifest.is_file():
            _check_identity(manifest, identity)
        else:
            if self.folder.is_dir() and any(path.suffix != _UNFINISHED for path in self.folder.iterdir()):
                raise ValueError(
                    f"`vista_reference_cache: {folder}` is a folder with other files in it and no {MANIFEST}. "
                    "Name a new folder."
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_whole(manifest, json.dumps({"identity": identity}, indent=1).encode())

    def missing(self, key: str, names: Iterable[str] = (), hidden: Iterable[str] = ()) -> bool:
        """Whether the row's file is absent, damaged, or lacks a log-probability or hidden states (terms may have been
        off)."""
        try:
            with safe_open(self._path(key), framework="pt") as file:
                wanted = {_HIDDEN + name for name in hidden}
                return not (set(names) <= set(json.loads(file.metadata()[_NAMES])) and wanted <= set(file.keys()))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return True

    def read(self, key: str) -> RowScores:
        """The row's file. Raises ValueError when it is not there any more."""
        try:
            with safe_open(self._path(key), framework="pt") as file:
                names = json.loads(file.metadata()[_NAMES])
                hidden = {
                    name.removeprefix(_HIDDEN): file.get_tensor(name)
                    for name in file.keys()  # noqa: SIM118 (not a dict)
                    if name.startswith(_HIDDEN)
                }
                return RowScores(dict(zip(names, file.get_tensor(_LOG_PROBS).tolist(), strict=True)), hidden)
        except (OSError, SafetensorError) as error:
            raise ValueError(
                f"{self._path(key)} cannot be read: {error}. Was the reference cache changed during the run, or is it "
                "not on storage that all machines share?"
            ) from None

    def write(self, key: str, scores: RowScores) -> None:
        """Write the row's file; what it held of other sequences stays."""
        if not self.missing(key):
            known = self.read(key)
            scores = RowScores(known.log_probs | scores.log_probs, known.hidden | scores.hidden)
        tensors = {_HIDDEN + name: value.contiguous().cpu() for name, value in scores.hidden.items()}
        tensors[_LOG_PROBS] = torch.tensor(list(scores.log_probs.values()), dtype=torch.float32)
        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        _write_whole(path, save(tensors, metadata={_NAMES: json.dumps(list(scores.log_probs))}))

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


def _check_identity(manifest: Path, identity: dict[str, str]) -> None:
    try:
        known = dict(json.loads(manifest.read_text())["identity"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{manifest} is damaged: delete the folder, or name another one.") from None
    differences = [
        f"{name}: {known.get(name)} there, {identity.get(name)} here"
        for name in sorted(known.keys() | identity.keys())
        if known.get(name) != identity.get(name)
    ]
    if differences:
        raise ValueError(
            f"`vista_reference_cache: {manifest.parent}` was made for another reference or other settings ("
            + "; ".join(differences)
            + "). Name another folder, or delete this one."
        )


def _write_whole(path: Path, content: bytes) -> None:
    """Another process sees the old file or the new one, never a part."""
    unfinished = path.with_name(f"{path.stem}-{socket.gethostname()}-{os.getpid()}{_UNFINISHED}")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def weights_hash(model: torch.nn.Module, trained: bool) -> str:
    """A hash of the reference's weights: all of `model`, or with `trained` those below an adapter that is trained.

    The same base gives the same hash with and without an adapter around it.
    """
    tensors = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not (trained and tensor.requires_grad):
            name = name.removeprefix("base_model.model.").replace(".base_layer", "").replace(".original_module", "")
            tensors[name] = tensor
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        value = whole(tensors[name]).cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Conditions:
    """Everything but weights and rows that the reference's numbers depend on.

    `precision` and `seeds` (of noise, and of who is whose mate) are as the recipe has them, `versions` those of the
    packages that compute.
    """

    tokenizer: Any
    processor: Any
    template: str
    default_system: str | None
    precision: dict[str, Any]
    seeds: tuple[int, int | None]
    versions: dict[str, str]
    view_keys: ViewKeys

    def identity(self, weights: str) -> dict[str, str]:
        """The same with the hash of the weights, by names a user knows."""
        parts: dict[str, Any] = {
            "weights of the reference": weights,
            "tokenizer": _digest(json.dumps(self.tokenizer.get_vocab(), sort_keys=True)),
            "template": [self.template, self.default_system],
            "processor": None if self.processor is None else _digest(self.processor.to_json_string()),
            "frames": video_settings(self.processor),
            "precision": self.precision,
            "seed": self.seeds,
            "versions": self.versions,
            # Not those of the token term and of the terms that are on: they only say what is looked up.
            "vista_video_negative": self.view_keys.video_negative,
            "vista_clip_negative": self.view_keys.clip_negative,
            "vista_object_negative": self.view_keys.object_negative,
            "vista_mask_fill": self.view_keys.mask_fill,
            "vista_clip_frames": self.view_keys.clip_frames,
        }
        return {name: json.dumps(value, sort_keys=True) for name, value in parts.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
