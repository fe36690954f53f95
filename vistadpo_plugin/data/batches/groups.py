"""Sequences -> what the model is fed: one packed row of prefix trees, or one row an answer.

A *group* is one forward of the model:

| key | what |
|---|---|
| input_ids | int64 (rows, L) |
| attention_mask | shared: a stand-in, `forest` says who sees whom; separate: (rows, L), 0 for padding |
| position_ids | int64 (rows, L), or (axes, rows, L) for families with several; separate rows of other families have none |
| forest | shared only, see `attention.Forest` |
| views | numbers of the views in the order in which the rows, or trees, show them |
| answers | `row`, `column` (N,) of the position that predicts each answer token, `token` (N,), `sequence` (N,) it belongs to, its `place` (N,) there from 0, `outside` bool (N,): whether it is outside of the phrases marked in its answer, `token_term` (K,) those of the token term, `others` (N - K,) the rest |
"""  # noqa: E501

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vistadpo_plugin.data.batches.prefix_tree import PrefixTree, common_prefix, merge


@dataclass(frozen=True)
class Sequence:
    """One answer on one view. `view` is its number in the batch, None for text alone; `outside` are the places of the
    answer tokens outside of its phrases, none where it has no phrases."""

    prompt_ids: list[int]
    answer_ids: list[int]
    view: int | None
    outside: frozenset[int] = frozenset()

    @property
    def input_ids(self) -> list[int]:
        """What the model reads: nothing is predicted from the last answer token."""
        return (self.prompt_ids + self.answer_ids)[:-1]


@dataclass(frozen=True)
class Bundle:
    """Sequences that show the same view after the same tokens.

    `numbers` of the sequences; `view` they show, None for text alone; `prefix`: their tokens up to the end of the view,
    of which the first `before` are text; `positions` int64 (1, n) or (axes, 1, n): position ids by depth, as the
    longest of them has them. What follows a view is text, so they hold for all.
    """

    numbers: list[int]
    view: int | None
    prefix: tuple[int, ...]
    before: int
    positions: Tensor


def same_beginning(sequences: list[Sequence], placeholders: set[int]) -> dict[tuple, list[int]]:
    """Numbers of the sequences by (view, tokens up to the end of the view, how many of these come before it).

    `placeholders` are the tokens that stand for what is seen. Text alone counts none.
    """
    found: dict[tuple, list[int]] = defaultdict(list)
    for number, sequence in enumerate(sequences):
        seen = [place for place, token in enumerate(sequence.prompt_ids) if token in placeholders]
        end, before = (seen[-1] + 1, seen[0]) if seen else (0, 0)
        found[sequence.view, tuple(sequence.prompt_ids[:end]), before].append(number)
    return found


def packed_groups(
    sequences: list[Sequence], bundles: list[Bundle], token_term: set[int], most: int
) -> list[dict[str, Any]]:
    """Every bundle as a prefix tree; trees stand side by side in rows of `most` tokens, or of one larger tree."""
    rows: list[list[tuple[Bundle, PrefixTree]]] = []
    room = 0
    for bundle in bundles:
        tree = merge([sequences[number].input_ids for number in bundle.numbers])
        if not rows or len(tree.tokens) > room:
            rows.append([])
            room = most
        rows[-1].append((bundle, tree))
        room -= len(tree.tokens)
    return [_packed_group(sequences, row, token_term) for row in rows]


def _packed_group(
    sequences: list[Sequence], trees: list[tuple[Bundle, PrefixTree]], token_term: set[int]
) -> dict[str, Any]:
    root = _shared_beginning(trees)
    first_bundle, first_tree = trees[0]
    tokens, positions = [first_tree.tokens[:root]], [first_bundle.positions[..., :root]]
    lengths, masks = [root], []
    paths: dict[int, np.ndarray] = {}
    for bundle, tree in trees:
        branches = len(tree.tokens) - tree.trunk
        # What is shared stands at the front of the row and not in the tree; everything else moves by as much.
        shift = sum(lengths) - root
        lengths += [tree.trunk - root, branches]
        masks.append(None if tree.mask is None else torch.from_numpy(tree.mask))
        tokens.append(tree.tokens[root:])
        positions.append(bundle.positions[..., torch.from_numpy(tree.depths[root:])])
        for number, path in zip(bundle.numbers, tree.paths, strict=True):
            paths[number] = np.where(np.arange(len(path)) < root, path, path + shift)
    axes = max(position.dim() for position in positions)
    widest = next(position for position in positions if position.dim() == axes)
    answers = _answers(sequences, {number: (0, path) for number, path in paths.items()}, token_term)
    return {
        "input_ids": torch.from_numpy(np.concatenate(tokens)).unsqueeze(0),
        # Four axes, so that transformers builds no mask of its own.
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool),
        # Text alone has one axis of positions, the same on all where the family has several.
        "position_ids": torch.cat([p.expand(*widest.shape[:-1], p.shape[-1]) for p in positions], dim=-1),
        "forest": {"lengths": lengths, "masks": masks, "answers": answers["column"].unique()},
        "views": [bundle.view for bundle, _ in trees if bundle.view is not None],
        "answers": answers,
    }


def _shared_beginning(trees: list[tuple[Bundle, PrefixTree]]) -> int:
    """Tokens that all trees begin with: text before the first view, so position ids are alike too."""
    if len(trees) == 1:
        return 0
    return common_prefix([tree.tokens[: min(tree.trunk, bundle.before)].tolist() for bundle, tree in trees])


def separate_groups(
    sequences: list[Sequence], bundles: list[Bundle], token_term: set[int], padding: int
) -> list[dict[str, Any]]:
    """One row an answer, padded with the token `padding` on the right; views of as many tokens share a group."""
    alike: dict[int, list[tuple[int, Bundle]]] = defaultdict(list)
    for bundle in bundles:
        alike[len(bundle.prefix)] += [(number, bundle) for number in bundle.numbers]
    return [_separate_group(sequences, members, token_term, padding) for members in alike.values()]


def _separate_group(
    sequences: list[Sequence], members: list[tuple[int, Bundle]], token_term: set[int], padding: int
) -> dict[str, Any]:
    ids = [sequences[number].input_ids for number, _ in members]
    longest = max(map(len, ids))
    group: dict[str, Any] = {
        "input_ids": torch.tensor([row + [padding] * (longest - len(row)) for row in ids]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids]),
    }
    if members[0][1].positions.dim() == 3:  # families with one axis count for themselves
        rows = [bundle.positions[..., : len(row)] for row, (_, bundle) in zip(ids, members, strict=True)]
        group["position_ids"] = torch.cat([F.pad(row, (0, longest - row.shape[-1])) for row in rows], dim=1)
    columns = {number: (row, np.arange(len(ids[row]))) for row, (number, _) in enumerate(members)}
    group["views"] = [bundle.view for _, bundle in members if bundle.view is not None]
    group["answers"] = _answers(sequences, columns, token_term)
    return group


def _answers(
    sequences: list[Sequence], places: dict[int, tuple[int, np.ndarray]], token_term: set[int]
) -> dict[str, Tensor]:
    """Where each answer token is predicted; `places`: row, and column by depth, of the sequences of the group."""
    rows, columns, tokens, owners, within, outside = [], [], [], [], [], []
    for number, (row, path) in places.items():
        sequence = sequences[number]
        first = max(1, len(sequence.prompt_ids))  # without a prompt nothing predicts the first token
        for place, token in enumerate(sequence.answer_ids, start=len(sequence.prompt_ids)):
            if place >= first:
                rows.append(row)
                columns.append(int(path[place - 1]))
                tokens.append(token)
                owners.append(number)
                within.append(place - first)
                outside.append(place - len(sequence.prompt_ids) in sequence.outside)
    compared = [index for index, number in enumerate(owners) if number in token_term]
    others = [index for index, number in enumerate(owners) if number not in token_term]
    named = {"row": rows, "column": columns, "token": tokens, "sequence": owners, "place": within}
    named |= {"token_term": compared, "others": others}
    answers = {name: torch.tensor(values, dtype=torch.long) for name, values in named.items()}
    return {**answers, "outside": torch.tensor(outside, dtype=torch.bool)}
