"""Weights of a folder, in the files that checkpoints come in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from checkpoints.authors_layouts import Weights, save_bin
from huggingface_hub import save_torch_state_dict
from safetensors import safe_open

from vistadpo_plugin.checkpoints.weights import Weight, read_weights, write_weights


@pytest.fixture
def tensors() -> Weights:
    kinds = (torch.float32, torch.bfloat16, torch.float16, torch.int64)
    return {f"layer.{index}": torch.arange(12).reshape(3, 4).to(kind) + index for index, kind in enumerate(kinds)}


@pytest.mark.parametrize("size", ["1GB", 40])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_both_kinds_in_one_file_or_several(tensors: Weights, tmp_path: Path, kind: str, size: str | int) -> None:
    if kind == "bin":
        save_bin(tensors, tmp_path, size)
    else:
        save_torch_state_dict(tensors, tmp_path, max_shard_size=size)
    assert len(list(tmp_path.glob(f"*.{kind}"))) == (1 if size == "1GB" else 4)
    found = read_weights(tmp_path)
    assert {name: (one.shape, one.dtype) for name, one in found.items()} == {
        name: ((3, 4), tensor.dtype) for name, tensor in tensors.items()
    }
    assert all(torch.equal(found[name].make(), tensor) for name, tensor in tensors.items())


def test_weights_are_made_file_by_file(tmp_path: Path) -> None:
    """A weight is made once, and not before the files of those before it are written."""
    made: list[tuple[str, int]] = []

    def make(name: str) -> torch.Tensor:
        made.append((name, len(list(tmp_path.glob("*.safetensors")))))
        return torch.full((10,), float(name))

    weights = {str(index): Weight((10,), torch.float32, lambda name=str(index): make(name)) for index in range(6)}
    assert write_weights(tmp_path, weights, 80) == 3
    assert made == [("0", 0), ("1", 0), ("2", 1), ("3", 1), ("4", 2), ("5", 2)]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 240
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / file, framework="pt") as opened:
            assert opened.get_tensor(name).tolist() == [float(name)] * 10


def test_tied_weights_can_be_written(tmp_path: Path) -> None:
    """`torch.save` keeps two names of one tensor, safetensors refuses them unless each is a copy."""
    shared = torch.ones(4, 2)
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    save_bin({"embed": shared, "head": shared}, tmp_path / "in", "1GB")
    write_weights(tmp_path / "out", read_weights(tmp_path / "in"), "1GB")
    assert read_weights(tmp_path / "out").keys() == {"embed", "head"}


def test_files_that_are_not_there(tensors: Weights, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no weights: one of model.safetensors.index.json, "):
        read_weights(tmp_path)
    save_torch_state_dict(tensors, tmp_path, max_shard_size=40)
    gone = sorted(tmp_path.glob("*.safetensors"))[1]
    kept = gone.read_bytes()
    gone.unlink()
    with pytest.raises(ValueError, match=rf"{gone.name} is not there, though model\.safetensors\.index\.json names it"):
        read_weights(tmp_path)

    gone.write_bytes(kept)
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["layer.9"] = gone.name
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"names 1 weights that its files lack, such as layer\.9"):
        read_weights(tmp_path)
