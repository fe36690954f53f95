"""The shape of a recipe's model: from its own configuration where it lies here, else as it was published."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.models import family_of
from vistadpo_plugin.models.family import Family


@dataclass(frozen=True)
class ModelShape:
    """A decoder with gated MLPs, and `tower` parameters below it; `source` says where this is from."""

    hidden: int
    layers: int
    query: int
    key_value: int
    intermediate: int
    vocabulary: int
    tied: bool
    tower: int
    source: str

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of the matrices of one layer, by the name LoRA knows them by."""
        return {
            "q_proj": (self.hidden, self.query),
            "k_proj": (self.hidden, self.key_value),
            "v_proj": (self.hidden, self.key_value),
            "o_proj": (self.query, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def layer(self) -> int:
        """Parameters of one layer: its matrices and two norms. Biases, where there are any, are too few to count."""
        return sum(one * other for one, other in self.linears.values()) + 2 * self.hidden

    @property
    def tables(self) -> int:
        """Parameters of the token embeddings and the output head."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def language(self) -> int:
        return self.layers * self.layer + self.hidden + self.tables

    @property
    def total(self) -> int:
        return self.language + self.tower


def shape_of(path: str, template: str | None) -> ModelShape | None:
    """The shape of `model_name_or_path`, None where nobody knows it. A name on the hub is never asked for."""
    family = family_of(template, path)
    if (Path(path) / "config.json").is_file():
        return shape_in(Path(path), family)
    if family is not None and path == family.checkpoint:
        shape = family.shape
        head = shape.hidden // shape.heads
        return ModelShape(
            shape.hidden, shape.layers, shape.heads * head, shape.kv_heads * head, shape.intermediate,
            shape.vocabulary, False, shape.tower_parameters, f"{family.name}, as published",
        )  # fmt: skip
    return None


def shape_in(folder: Path, family: Family | None) -> ModelShape | None:
    """The shape in a folder's config.json; the parameters below the decoder are counted on a model without weights.

    None for a decoder that this file does not describe (a mixture of experts, layers of several kinds).
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    if family is not None and family.register is not None:
        family.register()
    config = AutoConfig.from_pretrained(folder)
    text = config.get_text_config()
    if _is_of_another_kind(text):
        return None
    heads = text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // heads
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    try:
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config)
    except ValueError:  # of no architecture that sees
        return None
    made = ModelShape(
        text.hidden_size, text.num_hidden_layers, heads * head, kv_heads * head, text.intermediate_size,
        text.vocab_size, bool(config.tie_word_embeddings), 0, f"{folder / 'config.json'}",
    )  # fmt: skip
    decoder = {id(parameter) for parameter in model.get_decoder().parameters()}
    decoder |= {id(parameter) for parameter in model.get_output_embeddings().parameters()}
    tower = sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in decoder)
    return ModelShape(**{**vars(made), "tower": tower})


def _is_of_another_kind(text: Any) -> bool:
    kinds = set(getattr(text, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    experts = any(getattr(text, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts"))
    return bool(kinds) or experts or not hasattr(text, "intermediate_size")
