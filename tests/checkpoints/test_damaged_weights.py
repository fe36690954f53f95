"""Checkpoints that were damaged on their way, or made to do harm: a sentence that names the file, and nothing run."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints.authors_layouts import (
    POOLING,
    hound_weights,
    make_pllava,
    make_video_llava,
    pllava_weights,
    write_hound,
    write_pllava,
    write_vision_config,
)
from safetensors.torch import save_file

from vistadpo_plugin.commands.main import main

KINDS = ("llava-hound", "pllava")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of each kind: LLaVA-Hound's in `torch.save` files, PLLaVA's in safetensors."""
    folder = tmp_path_factory.mktemp("whole")
    write_hound(folder / "llava-hound", hound_weights(make_video_llava()))
    write_pllava(folder / "pllava", pllava_weights(make_pllava()))
    write_vision_config(folder / "vision")
    return folder


def index_of(folder: Path) -> Path:
    return next(folder.glob("*.index.json"))


def a_shard(folder: Path) -> Path:
    return next(path for path in sorted(folder.glob("*.bin")) + sorted(folder.glob("*.safetensors")))


def change_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_index(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda folder: change_json(index_of(folder), lambda index: change(index["weight_map"]))


def change_config(**changes: Any) -> Callable[[Path], None]:
    def change(config: dict[str, Any]) -> None:
        for part in [config[name] for name in ("text_config", "vision_config") if name in config] or [config]:
            part.update(changes)

    return lambda folder: change_json(folder / "config.json", change)


def rename_all(where: str) -> Callable[[Path], None]:
    """The index's first file is said to lie at `where`, and does."""

    def change(folder: Path) -> None:
        shard = a_shard(folder)
        target = folder / where.replace("ABSOLUTE", str(folder.parent))
        if "\\" not in where:
            shutil.copy(shard, target)
        name = where.replace("ABSOLUTE", str(folder.parent))

        def point(index: dict[str, Any]) -> None:
            names = index["weight_map"]
            names.update({weight: name for weight, file in names.items() if file == shard.name})

        change_json(index_of(folder), point)

    return change


def write_shard(content: bytes | Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = a_shard(folder)
        path.write_bytes(content if isinstance(content, bytes) else content(path.read_bytes()))

    return change


def single(name: str, write: Callable[[Path], Any]) -> Callable[[Path], None]:
    """All weights in one file, made by `write`."""

    def change(folder: Path) -> None:
        for path in (*folder.glob("*.index.json"), *folder.glob("*.bin"), *folder.glob("*.safetensors")):
            path.unlink()
        write(folder / name)

    return change


class Runs:
    """Unpickled, it makes a file in the working folder."""

    def __reduce__(self) -> Any:
        return (open, ("it-was-run", "w"))


def odd_kind(path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"ab")


def one_matrix(name: str, tensor: torch.Tensor) -> Callable[[Path], None]:
    return lambda path: save_file({name: tensor}, path)


BIN, SAFE = "pytorch_model.bin", "model.safetensors"
DEEP = b"[" * 100_000
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty shard": (write_shard(b""), "00001-of-"),
    "half a shard": (write_shard(lambda content: content[: len(content) // 2]), "00001-of-"),
    "a shard of text": (write_shard(b"<html>404 not found</html>"), "00001-of-"),
    "a shard of zeros": (write_shard(lambda content: bytes(len(content))), "00001-of-"),
    "a header of 2^60 bytes": (write_shard(struct.pack("<Q", 2**60) + b"{}"), "00001-of-"),
    "a shard too few": (lambda folder: a_shard(folder).unlink(), "is not there, though"),
    "pickled code": (single(BIN, lambda path: torch.save({"w": Runs()}, path)), BIN),
    "pickled code, bare": (single(BIN, lambda path: path.write_bytes(pickle.dumps(Runs()))), BIN),
    "pickled code, old": (
        single(BIN, lambda path: torch.save({"w": Runs()}, path, _use_new_zipfile_serialization=False)),
        BIN,
    ),
    "no tensors": (single(BIN, lambda path: torch.save({"epoch": 3}, path)), "no mapping from names to tensors"),
    "a list of tensors": (single(BIN, lambda path: torch.save([torch.ones(2)], path)), "no mapping from names"),
    "a sparse tensor": (
        single(BIN, lambda path: torch.save({"w": torch.eye(3).to_sparse()}, path)),
        "no mapping from names to tensors",
    ),
    "a tensor of 4 TB": (
        single(BIN, lambda path: torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, path)),
        "holds less than its w",
    ),
    "an unknown type": (single(SAFE, odd_kind), "w is in F8_E4M3, which is not read"),
    "a vocabulary without size": (
        single(SAFE, one_matrix("model.embed_tokens.weight", torch.tensor(1.0))),
        "do not belong together|has no weights of its",
    ),
    "LoRA without rank": (
        single(SAFE, one_matrix("language_model.a.lora_A.default.weight", torch.tensor(1.0))),
        "has LoRA weights but no|has no weights of its",
    ),
    "no weights": (single(SAFE, lambda path: None), "has no weights"),
    "index: no JSON": (lambda folder: index_of(folder).write_text("{"), "index.json"),
    "index: a list": (lambda folder: index_of(folder).write_text("[]"), "index.json"),
    "index: no map": (lambda folder: index_of(folder).write_text("{}"), "index.json has no `weight_map`"),
    "index: numbers": (change_index(lambda names: names.update(a=1)), "index.json has no `weight_map`"),
    "index: deep": (lambda folder: index_of(folder).write_bytes(DEEP), "index.json"),
    "index: a bad byte": (lambda folder: index_of(folder).write_bytes(b'{"\xff": 1}'), "index.json"),
    "index: above": (rename_all("../outside.bin"), "outside of its folder"),
    "index: above, in steps": (rename_all("a/../../outside.bin"), "outside of its folder"),
    "index: absolute": (rename_all("ABSOLUTE/outside.bin"), "outside of its folder"),
    "index: above, on Windows": (rename_all("..\\outside.bin"), "outside of its folder"),
    "index: absolute, on Windows": (rename_all("C:\\outside.bin"), "outside of its folder"),
    "config: no JSON": (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
    "config: a list": (lambda folder: (folder / "config.json").write_text("[1]"), "config.json: names and values"),
    "config: deep": (lambda folder: (folder / "config.json").write_bytes(DEEP), "config.json"),
    "config: missing": (lambda folder: (folder / "config.json").unlink(), "config.json is not there"),
    "config: a word for a size": (change_config(hidden_size="big"), "hidden_size"),
    "config: no width": (change_config(num_attention_heads=0), "ZeroDivisionError"),
    "config: endless layers": (change_config(num_hidden_layers=10**9), "speaks of 1000000000 layers"),
    "config: an unknown activation": (change_config(hidden_act="nonsense"), "config.json"),
    "config: 10^15 wide": (change_config(hidden_size=10**15), "config.json|another shape"),
    "tokenizer: damaged": (lambda folder: (folder / "tokenizer.model").write_bytes(b"\x00\xff" * 50), "a tokenizer"),
    "tokenizer: settings": (lambda folder: (folder / "tokenizer_config.json").write_text("{"), "a tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sentence_and_exit_2(
    whole: Path,
    kind: str,
    damage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change, sentence = DAMAGES[damage]
    folder = tmp_path / "given" / kind
    shutil.copytree(whole / kind, folder)
    (folder / "a").mkdir()
    change(folder)
    monkeypatch.chdir(tmp_path)
    extra = ["--pooling-shape", *map(str, POOLING)] if kind == "pllava" else ["--vision-config", str(whole / "vision")]
    assert main(["convert", kind, str(folder), "-o", str(tmp_path / "out"), *extra]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"vistadpo convert {kind}: ") and len(said.splitlines()) == 1
    assert any(part in said for part in sentence.split("|")), said
    assert not (tmp_path / "out").exists() and not (tmp_path / "it-was-run").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_the_undamaged_one_is_converted(whole: Path, kind: str, tmp_path: Path) -> None:
    """The control, by way of a cache of a hub, whose folders hold links to files elsewhere."""
    folder = tmp_path / kind
    shutil.copytree(whole / kind, tmp_path / "blobs")
    folder.mkdir()
    for path in (tmp_path / "blobs").iterdir():
        (folder / path.name).symlink_to(f"../blobs/{path.name}")
    extra = ["--pooling-shape", *map(str, POOLING)] if kind == "pllava" else ["--vision-config", str(whole / "vision")]
    assert main(["convert", kind, str(folder), "-o", str(tmp_path / "out"), *extra]) == 0


def test_a_weight_is_taken_from_the_file_that_the_index_names(whole: Path, tmp_path: Path) -> None:
    """Another file of the folder, left from an older release, holds a weight of that name too."""
    from vistadpo_plugin.checkpoints.weights import read_weights

    save_file({"a": torch.ones(2), "b": torch.ones(2)}, tmp_path / "1.safetensors")
    save_file({"a": torch.zeros(2), "c": torch.zeros(2)}, tmp_path / "2.safetensors")
    index = {"weight_map": {"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert {name: one.make()[0].item() for name, one in read_weights(tmp_path).items()} == {"a": 1, "b": 1, "c": 0}


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    """No file may have more than 4 KB here, as where no more than that is free."""
    import resource

    from vistadpo_plugin.checkpoints.weights import Weight, write_weights

    weights = {"w": Weight((10_000,), torch.float32, lambda: torch.ones(10_000))}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="model.safetensors cannot be written"):
            write_weights(tmp_path, weights, "1GB")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
