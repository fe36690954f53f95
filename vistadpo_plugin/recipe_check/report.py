"""The page that `vistadpo recipes check` prints: what a recipe says, and what it will ask of data and machine."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.views.keys import TEMPORAL, ViewKeys
from vistadpo_plugin.data.views.views import needs_mate
from vistadpo_plugin.models import family_of
from vistadpo_plugin.recipe_check import cost, memory, tokens
from vistadpo_plugin.recipe_check.model import ModelShape, shape_of
from vistadpo_plugin.recipe_check.recipe import Recipe
from vistadpo_plugin.scoring.fast.kept_activations import GIB
from vistadpo_plugin.training.summary import term_table
from vistadpo_plugin.training.workflow import row_tokens

_WIDTH = 120


def page(recipe: Recipe, gpus: int, gigabytes: float | None) -> str:
    """The whole page. `gigabytes` is what each GPU has, where that is known."""
    if not getattr(recipe.finetuning, "use_vistadpo", False):
        return f"{recipe.path}: LLaMA-Factory takes it; `stage: {recipe.finetuning.stage}` is its own."
    tokenizer = tokens.tokenizer_of(recipe)
    rows = tokens.rows_of(recipe)
    texts = tokens.texts_of(rows.good, tokenizer)
    views = tokens.views_of(recipe, tokenizer)
    shape = shape_of(recipe.model.model_name_or_path, recipe.data.template)
    lines = [*_head(recipe, shape, gpus), "", *_keys(recipe), "", *_terms(recipe, texts), "", *_rows(recipe, rows)]
    if views is None:
        lines += ["", "No estimates: the model is neither here nor one that is known; give a folder that holds its"]
        lines += ["config and processor, as in `model_name_or_path=FOLDER`."]
        return "\n".join(lines)
    lines += ["", *_views(recipe, views, texts)]
    if recipe.finetuning.vista_prefix_sharing and not _shares(recipe):
        lines += ["", "This family's layers cannot follow branches: a run makes every answer a row of its own."]
        recipe.finetuning.vista_prefix_sharing = False
    batch, most = recipe.training.per_device_train_batch_size, row_tokens(recipe.spreads_parameters, recipe.on_cpu)
    work = cost.work_of(recipe.finetuning, views, texts, batch, most)
    if tokens.FULL_VIEW in views:
        lines += ["", *_cost(recipe, shape, views, texts, work, most, rows)]
    if shape is None:
        lines += ["", "No estimate of memory: the shape of the model is not known here."]
    elif recipe.on_cpu:
        lines += ["", "No estimate of memory: the recipe is for a CPU."]
    else:
        lines += ["", *_memory(recipe, shape, work, gpus, gigabytes)]
    return "\n".join(lines)


def _shares(recipe: Recipe) -> bool:
    family = family_of(recipe.data.template, recipe.model.model_name_or_path)
    return family is None or family.shares_prefixes


def _head(recipe: Recipe, shape: ModelShape | None, gpus: int) -> Iterator[str]:
    training, keys = recipe.training, recipe.finetuning
    batch, steps = training.per_device_train_batch_size, training.gradient_accumulation_steps
    kind = keys.finetuning_type
    if kind == "lora":
        kind += f", rank {keys.lora_rank} on {', '.join(keys.lora_target)}"
    if recipe.model.quantization_bit:
        kind += f", {recipe.model.quantization_bit} bits"
    if recipe.zero_stage:
        kind += f", DeepSpeed ZeRO-{recipe.zero_stage}"
    if recipe.fsdp:
        kind += ", FSDP"
    yield f"{recipe.path}: LLaMA-Factory takes it."
    yield ""
    where = shape.source if shape is not None else "shape not known here"
    size = f", {shape.total / 1e9:.2f}B parameters" if shape is not None else ""
    yield f"model     {recipe.model.model_name_or_path} ({where}{size})"
    yield f"tuning    {kind}"
    devices, count = ("process", 1) if recipe.on_cpu else ("GPU", gpus)
    yield f"step      {batch * steps * count} rows: {batch} a micro-batch x {steps} micro-batches x {count} {devices}"


def _keys(recipe: Recipe) -> Iterator[str]:
    """Every vista_ key: its value, whether that is the default, and what it does."""
    yield f"{'vista_ key':<27}{'value':<11}{'':<9}what it does"
    for item in dataclasses.fields(VistaArguments):
        value = getattr(recipe.finetuning, item.name)
        shown = (
            {True: "true", False: "false", None: "-"}.get(value, value)
            if not isinstance(value, float)
            else f"{value:g}"
        )
        changed = "default" if value == item.default else "changed"
        start = f"{item.name:<27}{shown!s:<11}{changed:<9}"
        if len(str(shown)) > 10:  # a folder
            yield start.rstrip()
            start = " " * 47
        yield from textwrap.wrap(item.metadata["help"], _WIDTH, initial_indent=start, subsequent_indent=" " * 47)


def _terms(recipe: Recipe, texts: tokens.Texts) -> Iterator[str]:
    scored = cost.scored(recipe.finetuning, texts.answers)
    yield f"{'term':<11}{'weight':<9}{'views':<30}answers"
    for term, weight in recipe.finetuning.weights.items():
        if term not in scored:
            yield f"{term:<11}off"
            continue
        views, answers = (list(dict.fromkeys(one[place] for one in scored[term])) for place in (0, 1))
        yield f"{term:<11}{weight:<9g}{', '.join(views):<30}{', '.join(answers)}"
    pairs = {pair for found in scored.values() for pair in found}
    yield f"A row with every grounding: {len(pairs)} answers over {len({view for view, _ in pairs})} views."


def _rows(recipe: Recipe, rows: tokens.Rows) -> Iterator[str]:
    for reason in rows.missing:
        yield from textwrap.wrap(f"Rows not counted: {reason}", _WIDTH)
    if not rows.files:
        return
    kinds = tokens.row_kinds(rows)
    yield f"{kinds.pop('rows')} rows in {', '.join(rows.files)}"
    yield f"with {', '.join(f'{kind} {count}' for kind, count in kinds.items())}; of these a term has"
    yield from term_table(rows.grounded, recipe.finetuning.weights, ViewKeys.of(recipe.finetuning))
    if recipe.finetuning.vista_mates == "alike":
        videos = len({key for key in rows.grounded.video_keys if key is not None})
        yield f"`vista_mates: alike` reads 5 frames of each of {videos} videos before the first step of a run."
    if rows.bad:
        yield f"{rows.bad} rows cannot be used; `vistadpo validate` says why."


def _views(recipe: Recipe, views: dict[str, tokens.View], texts: tokens.Texts) -> Iterator[str]:
    yield f"{'view':<14}{'frames':>7}{'tokens':>9}"
    for name, view in views.items():
        yield f"{name:<14}{view.frames:>7}{view.tokens:>9}{'  at most: the length of the video decides' * view.most}"
    more = f", and up to {len(texts.more)} more rejected of {texts.more[0]}" if texts.more else ""
    yield (
        f"texts: {texts.before} tokens before the video, {texts.after} after it, answers {texts.chosen}, "
        f"{texts.rejected}, {texts.irrelevant}{more} ({texts.source})"
    )
    needed, limit = tokens.needed_length(views, texts), recipe.data.cutoff_len
    verdict = (
        "fits"
        if needed <= limit
        else f"DOES NOT FIT: set `cutoff_len: {-(-needed // 64) * 64}` or lower `video_maxlen`"
    )
    yield f"longest sequence (estimate): {needed} tokens; `cutoff_len: {limit}`: {verdict}"


def _cost(
    recipe: Recipe,
    shape: ModelShape | None,
    views: dict[str, tokens.View],
    texts: tokens.Texts,
    work: cost.Work,
    most: int,
    rows: tokens.Rows,
) -> Iterator[str]:
    """Ratios to the host's plain DPO of the same rows."""
    vista, batch = recipe.finetuning, recipe.training.per_device_train_batch_size
    adapter = vista.finetuning_type in ("lora", "oft")
    backward = 1 if adapter else 2
    plain = cost.plain_work(views, texts)
    again = memory.again_share(recipe, shape, work)
    base = cost.cost_of(plain, shape, backward, float(not recipe.model.disable_gradient_checkpointing), True)
    separate = cost.work_of(cost.without_sharing(vista), views, texts, batch, most)
    ways = [("plain DPO", plain, base)]
    name = "this recipe" if vista.vista_prefix_sharing else "this recipe (one row an answer)"
    ways.append((name, work, cost.cost_of(work, shape, backward, again, True)))
    ways.append(("reference cached", work, cost.cost_of(work, shape, backward, again, False)))
    if vista.vista_prefix_sharing:
        rows_again = memory.again_share(recipe, shape, separate)
        ways.append(("one row an answer", separate, cost.cost_of(separate, shape, backward, rows_again, True)))
    yield f"{'a row (estimate)':<33}{'answers':>8}{'encodes':>9}{'policy positions':>18}{'reference':>11}{'ratio':>8}"
    if batch % 2 and vista.vista_prefix_sharing and vista.vista_video_negative == "other" and "video" in vista.terms:
        pair = cost.work_of(vista, views, texts, 2, most)
        found = cost.cost_of(pair, shape, backward, memory.again_share(recipe, shape, pair), True)
        ways.append(("two rows a micro-batch", pair, found))
    if needs_mate(cost.FULL_ROW, "video", ViewKeys.of(vista)) and any(row.rejected_videos for row in rows.good):
        own = cost.work_of(vista, views, texts, batch, most, own=True)
        found = cost.cost_of(own, shape, backward, memory.again_share(recipe, shape, own), True)
        ways.append(("rejected videos of their own", own, found))
    for name, one, found in ways:
        reference = f"{one.positions:.0f}" if found.reference else "-"
        encodes = 2 * one.encodes if one is plain else one.encodes
        yield (
            f"{name:<33}{one.answers:>8}{encodes:>9.3g}{one.positions:>18.0f}{reference:>11}"
            f"{found.total / base.total:>8.2f}"
        )
    stages = ViewKeys.of(vista).stages
    if stages > 1:
        temporal = [term for term in vista.terms if ViewKeys.of(vista).negative(term) in TEMPORAL]
        more = (stages - 1) * len(temporal)
        yield f"`vista_temporal_magnitude: curriculum`: {more} more answers a row for a reference cache, one for each"
        yield f"further magnitude of {' and '.join(temporal)}."
    layers = (
        f", of which {1 - again:.0%} are kept" if again < 1 and not recipe.model.disable_gradient_checkpointing else ""
    )
    yield from textwrap.wrap(
        f"Ratio: matrix products of the decoder's layers{' and head' if shape else ''}, the policy's forward, its "
        f"{'backward (frozen weights have no gradient)' if adapter else 'backward'} and checkpointing's second forward"
        f"{layers}, and the reference's forward. Left out: vision tower, attention over long rows, elementwise work, "
        "data. Measured beside such counts: docs/performance.md.",
        _WIDTH,
    )


def _memory(recipe: Recipe, shape: ModelShape, work: cost.Work, gpus: int, gigabytes: float | None) -> Iterator[str]:
    parts = memory.parts_of(recipe, shape, work, gpus)
    yield f"{'memory of a GPU (estimate)':<28}{'GiB':>7}"
    for part in parts:
        yield f"{part.name:<28}{part.size / GIB:>7.1f}  {part.what}"
    total = sum(part.size for part in parts)
    have = (
        ""
        if gigabytes is None
        else f"  the recipe's head names GPUs with {gigabytes:g} GB ({gigabytes * 1e9 / GIB:.0f} GiB)"
    )
    yield f"{'total':<28}{total / GIB:>7.1f}{have}"
