"""What a run compares with, loaded: a second model, a cache of what one says, or nothing but its output head."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState
from llamafactory.extras import logging

from vistadpo_plugin.data.batches.collator import VistaCollator
from vistadpo_plugin.data.batches.pairing import PairedRows
from vistadpo_plugin.reference.cache import Conditions, ReferenceCache, weights_hash
from vistadpo_plugin.reference.configuration import configuration_hash
from vistadpo_plugin.reference.fill import missing_rows
from vistadpo_plugin.scoring.sharded import WholeHead, from_first_rank

logger = logging.get_logger("llamafactory.vistadpo")


@dataclass(frozen=True)
class ReferenceKeys:
    """What a recipe says of its reference: whether it names one, whether the policy is an adapter on it, whether the
    run trains, the cache's folder, and whether parameters are spread over ranks."""

    named: bool
    adapter: bool
    trains: bool
    cache: str | None
    spread: bool


@dataclass(frozen=True)
class LoadedReference:
    """`model` is the second model (None: the policy with its adapter off), `cache` what is known of it, `head` what
    stands for a model that need not be loaded."""

    model: Any | None = None
    cache: ReferenceCache | None = None
    head: torch.nn.Module | None = None


def load_reference(
    keys: ReferenceKeys,
    conditions: Conditions,
    model: Any,
    collator: VistaCollator,
    datasets: list[PairedRows],
    load_second: Callable[[], Any | None],
) -> LoadedReference:
    """Load as little as `keys` allow; `load_second` is the host's way to a second model (None: it needs none).

    A cache that knows all rows makes a second model superfluous: only its output head is needed, and that of the policy
    `model`, as long as nothing is trained yet, is that. With a cache the pairing of `datasets` is fixed, and `collator`
    looks the scores up.
    """
    if keys.cache is not None and not keys.trains:
        logger.warning_rank0("`vista_reference_cache` is for training: this run only evaluates and leaves it alone.")
    if not keys.named and not keys.trains:
        # As the host does; margins are then 0 by definition.
        logger.warning_rank0("No `ref_model` in an evaluation-only run: the model is its own reference.")
        return LoadedReference(model)
    if keys.cache is None or not keys.trains:
        return LoadedReference(load_second())
    second = load_second() if keys.named else None
    # Where FSDP loads sparingly, only the first rank has read the weights.
    weights = from_first_rank(weights_hash(second or model, trained=second is None and keys.adapter))
    identity = conditions.identity(weights)
    identity["configuration of the reference"] = configuration_hash(second or model)
    state = PartialState()
    with state.local_main_process_first():
        cache = ReferenceCache(keys.cache, identity)
    for rows in datasets:
        rows.fix_pairing(collator.views)
    # One rank looks, so that all agree.
    complete = from_first_rank(
        state.is_main_process
        and not any(
            missing_rows(rows, cache, collator, stage) for rows in datasets for stage in range(len(rows.reference_keys))
        )
    )
    collator.cache = cache
    if second is not None or keys.adapter:
        return LoadedReference(second, cache)
    if not complete:
        return LoadedReference(load_second(), cache)
    logger.info_rank0("The reference cache is complete: no second model is loaded.")
    head = model.get_output_embeddings()
    whole = WholeHead(head, state.device) if keys.spread else copy.deepcopy(head).requires_grad_(False)
    return LoadedReference(None, cache, whole)
