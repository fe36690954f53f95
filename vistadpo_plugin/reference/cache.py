"""What the reference says of every row, on disk: computed once, reused by later epochs, runs and resumes.

A folder holds one cache: `manifest.json` says what its numbers depend on (weights, precision, processor, keys), and
each view of a row has a file named by a hash of all that its scores depend on (`data.views.score_keys`). A folder of
another identity is refused; a row that changed has other names and is computed; files appear whole or not at all, and
are on the disk before they have their name. What is on the disk is not believed: a file says whose it is and has a
checksum, and one that is damaged, another's or not finite is computed again.

Log-probabilities serve the pairwise terms; for the token term the last hidden states at the answer positions are kept,
from which the frozen head makes the same distributions.
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
from llamafactory.extras import logging
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vistadpo_plugin.data.batches.known_scores import ViewScores
from vistadpo_plugin.data.video.settings import video_settings
from vistadpo_plugin.scoring.sharded import whole

logger = logging.get_logger("llamafactory.vistadpo")

MANIFEST = "manifest.json"
_LOG_PROBS, _NAMES, _HIDDEN, _KEY, _CHECKSUM = "log_probs", "names", "hidden ", "key", "checksum"
_UNFINISHED = ".unfinished"


class Damaged(Exception):
    """Why a file's content is not what was written."""


class ReferenceCache:
    """The cache in `folder`; `identity` names everything that changes a number of every row.

    `damaged` has by path the reasons of what `lacking` found. Raises ValueError when the folder holds a cache of
    another identity, or something else, or cannot be written.
    """

    def __init__(self, folder: str, identity: dict[str, str]):
        self.folder = Path(folder)
        self.damaged: dict[Path, str] = {}
        self.identity = _digest(json.dumps(identity, sort_keys=True))
        manifest = self.folder / MANIFEST
        try:
            _check_identity(manifest, identity)
            return
        except FileNotFoundError:
            if not self._others():
                self._write(manifest, _manifest(identity))
                return
            fault = ValueError(
                f"`vista_reference_cache: {folder}` is a folder with other files in it and no {MANIFEST}. "
                "Name a new folder."
            )
        except Damaged:
            fault = ValueError(f"{manifest} is damaged: delete the folder, or name another one.")
        except OSError as error:
            raise ValueError(f"`vista_reference_cache: {folder}` cannot be read: {error.strerror}.") from error
        if not self._says_so_itself():
            raise fault
        logger.warning(f"{manifest} is damaged or gone. The files beside it say that they are of this reference.")
        self._write(manifest, _manifest(identity))

    def lacking(self, key: str, answers: Iterable[str], hidden: Iterable[str] = ()) -> set[str]:
        """Those of `answers` and of `hidden` whose log-probability, or hidden states, are not in the view's file.

        All are, when the file is absent, or `damaged`.
        """
        answers, hidden = set(answers), set(hidden)
        try:
            known = self._load(key)
        except FileNotFoundError:
            return answers | hidden
        except Damaged as damage:
            self.damaged[self._path(key)] = str(damage)
            return answers | hidden
        return (answers - known.log_probs.keys()) | (hidden - known.hidden.keys())

    def read(self, key: str, answers: Iterable[str] = ()) -> ViewScores:
        """The view's file. Raises ValueError when it, or one of `answers`, is not there any more."""
        try:
            known = self._load(key)
            lost = set(answers) - known.log_probs.keys()
            if not lost:
                return known
            reason = f"it has no {' and '.join(sorted(lost))} any more"
        except (OSError, Damaged) as error:
            reason = str(error)
        raise ValueError(
            f"{self._path(key)} cannot be read: {reason}. Was the reference cache changed during the run, or is it not "
            "on storage that all machines share? The next run computes again what is damaged."
        )

    def write(self, key: str, scores: ViewScores, where: str) -> None:
        """Write the view's file; what it held of other answers stays. `where` names the row in errors.

        Raises ValueError for values that are not finite, and when the folder cannot be written.
        """
        answer = scores.not_finite()
        if answer is not None:
            raise ValueError(
                f"{where}: what the reference says of `{answer}` is not finite ({scores.log_probs.get(answer)} nats), "
                "and every margin with it would be lost. Look at the weights of the reference, and its precision."
            )
        try:
            known = self._load(key)
            scores = ViewScores(known.log_probs | scores.log_probs, known.hidden | scores.hidden)
        except (FileNotFoundError, Damaged):
            pass
        tensors = {_HIDDEN + answer: value.contiguous().cpu() for answer, value in scores.hidden.items()}
        tensors[_LOG_PROBS] = torch.tensor(list(scores.log_probs.values()), dtype=torch.float32)
        names = json.dumps(list(scores.log_probs))
        metadata = {_NAMES: names, _KEY: key, _CHECKSUM: self._checksum(key, names, tensors)}
        self._write(self._path(key), save(tensors, metadata=metadata))

    def _load(self, key: str) -> ViewScores:
        """The view's file, if it is all that was written. Raises FileNotFoundError, Damaged."""
        path = self._path(key)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            if metadata[_KEY] != key:
                raise Damaged(f"it is the file of {metadata[_KEY]}")
            if metadata[_CHECKSUM] != self._checksum(key, metadata[_NAMES], tensors):
                raise Damaged("its checksum is another")
            log_probs = dict(zip(json.loads(metadata[_NAMES]), tensors.pop(_LOG_PROBS).tolist(), strict=True))
        except FileNotFoundError:
            raise
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise Damaged(f"{type(error).__name__}: {error}") from None
        scores = ViewScores(log_probs, {name.removeprefix(_HIDDEN): value for name, value in tensors.items()})
        if scores.not_finite() is not None:
            raise Damaged("a value is not finite")
        return scores

    def _checksum(self, key: str, names: str, tensors: dict[str, Tensor]) -> str:
        digest = hashlib.blake2b(json.dumps([self.identity, key, names]).encode(), digest_size=16)
        for name in sorted(tensors):
            _add(digest, name, tensors[name])
        return digest.hexdigest()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def _others(self) -> bool:
        return self.folder.is_dir() and any(path.suffix != _UNFINISHED for path in self.folder.iterdir())

    def _says_so_itself(self) -> bool:
        """Whether a file of a view is whole and of this identity."""
        for path in self.folder.rglob("*.safetensors"):
            try:
                self._load(path.stem)
                return True
            except (FileNotFoundError, Damaged):
                continue
        return False

    def _write(self, path: Path, content: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(path, content)
        except OSError as error:
            raise ValueError(
                f"`vista_reference_cache: {self.folder}`: {path} cannot be written: {error.strerror}. Make room, or "
                "make it writable, or name another folder. What is there already stays, and the next run computes the "
                "rest."
            ) from error


def _manifest(identity: dict[str, str]) -> bytes:
    checksum = _digest(json.dumps(identity, sort_keys=True))
    return json.dumps({"identity": identity, "checksum": checksum}, indent=1).encode()


def _check_identity(manifest: Path, identity: dict[str, str]) -> None:
    """Raises FileNotFoundError, Damaged, and ValueError where the manifest is another's."""
    try:
        content = json.loads(manifest.read_text())
        known = dict(content["identity"])
        if content["checksum"] != _digest(json.dumps(known, sort_keys=True)):
            raise Damaged("its checksum is another")
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(str(error)) from None
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
    """Another process sees the old file or the new one, never a part; nor does anybody after a loss of power."""
    unfinished = path.with_name(f"{path.stem}-{socket.gethostname()}-{os.getpid()}{_UNFINISHED}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _add(digest: Any, name: str, value: Tensor) -> None:
    """Let a hash take in a tensor: its name, shape, type and bytes."""
    digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
    digest.update(value.contiguous().flatten().view(torch.uint8).numpy().data)


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
        _add(digest, name, whole(tensors[name]).cpu())
    return digest.hexdigest()


@dataclass(frozen=True)
class Conditions:
    """Everything but weights and rows that the reference's numbers depend on.

    `precision` is as the recipe has it, `versions` are those of the packages that compute. What only some views depend
    on is in their own names, see `data.views.score_keys`.
    """

    tokenizer: Any
    processor: Any
    template: str
    default_system: str | None
    precision: dict[str, Any]
    versions: dict[str, str]

    def identity(self, weights: str) -> dict[str, str]:
        """The same with the hash of the weights, by names a user knows."""
        parts: dict[str, Any] = {
            "weights of the reference": weights,
            "tokenizer": _digest(json.dumps(self.tokenizer.get_vocab(), sort_keys=True)),
            "template": [self.template, self.default_system],
            "processor": None if self.processor is None else _digest(self.processor.to_json_string()),
            "frames": video_settings(self.processor),
            "precision": self.precision,
            "versions": self.versions,
        }
        return {name: json.dumps(value, sort_keys=True) for name, value in parts.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
