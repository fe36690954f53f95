"""What rows hold of a model's own tokens, when it is told which model they are for."""

from __future__ import annotations

from collections.abc import Iterator

from vistadpo_plugin.data.rows.schema import Row
from vistadpo_plugin.data.tokens.control_tokens import AddedTokens, FoundTokens, TokenKinds


class ModelTokens:
    """The tokens of the model in a folder (or of that name in the hub); nothing else of it is loaded.

    Raises OSError or ValueError where there is no model.
    """

    def __init__(self, model: str):
        from transformers import AutoConfig, AutoTokenizer

        import vistadpo_plugin.models.pllava_model  # noqa: F401 (transformers does not know it by itself)

        tokenizer = AutoTokenizer.from_pretrained(model)
        self.added = AddedTokens(tokenizer)
        self.kinds = TokenKinds(tokenizer, AutoConfig.from_pretrained(model))

    def media_error(self, row: Row) -> str | None:
        """Why training with this model refuses the row's texts."""
        return self.kinds.media_error(self._found(row))

    def controls(self, row: Row) -> Iterator[str]:
        """A sentence for every control token in the row's texts."""
        for field, token in self.kinds.controls(self._found(row)):
            yield f"`{field}` contains {token}"

    def _found(self, row: Row) -> FoundTokens:
        return self.added.found(row.texts.items())
