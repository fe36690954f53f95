"""How long a recipe's sequences are: tokens of every view, of a row's texts, and what `cutoff_len` says to that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from vistadpo_plugin.arguments import TERMS
from vistadpo_plugin.data.rows.grounded_rows import GroundedRows
from vistadpo_plugin.data.rows.grounding import assume_files
from vistadpo_plugin.data.rows.reader import read_rows
from vistadpo_plugin.data.rows.schema import Row, RowError, parse_row
from vistadpo_plugin.data.rows.values import rejected_name
from vistadpo_plugin.data.views.frames import FrameCounts
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.models import family_of
from vistadpo_plugin.recipe_check.recipe import Recipe
from vistadpo_plugin.validation.source import find_source

MORE = "more rejected"
FULL_VIEW, CLIP_VIEW, KEYFRAME_VIEW = "full video", "clip", "keyframe"
# A question and an answer of VistaDPO-7k's length, in Vicuna's template.
_BEFORE, _AFTER, _ANSWER = 36, 28, 64
_ROWS_TOKENIZED = 500
_CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True)
class Texts:
    """Tokens of a typical row before its video, between video and answer, and of its three answers; `longest` row;
    `more`: of as many further rejected answers as a row has at most."""

    before: int
    after: int
    chosen: int
    rejected: int
    irrelevant: int
    longest: int
    source: str
    more: tuple[int, ...] = ()

    @property
    def answers(self) -> dict[str, int]:
        """Tokens by the names under which answers are scored; 0 of one that no row has."""
        more = {rejected_name(place): tokens for place, tokens in enumerate(self.more, start=1)}
        return {"chosen": self.chosen, "rejected": self.rejected, "irrelevant": self.irrelevant, **more}


@dataclass(frozen=True)
class View:
    """Frames and tokens of a kind of view; `most`: the video decides, these are the most."""

    frames: int
    tokens: int
    most: bool


class Tokenizer:
    """The model's own tokenizer, template and processor: there only where its folder is."""

    def __init__(self, recipe: Recipe):
        from llamafactory.data import get_template_and_fix_tokenizer
        from llamafactory.model import load_tokenizer

        module = load_tokenizer(recipe.model)
        self.tokenizer, self.processor = module["tokenizer"], module["processor"]
        self.template = get_template_and_fix_tokenizer(self.tokenizer, recipe.data)

    def frames(self, recipe: Recipe) -> FrameCounts:
        return FrameCounts(self.template.mm_plugin, self.processor, ViewKeys.of(recipe.finetuning))

    def turn(self, question: str, answer: str) -> tuple[int, int]:
        """Tokens of a prompt without a video, and of an answer to it."""
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        prompt, reply = self.template.encode_oneturn(self.tokenizer, messages)
        return len(prompt), len(reply) + self.template.efficient_eos


def tokenizer_of(recipe: Recipe) -> Tokenizer | None:
    """None where the model is a name on the hub, which is not asked."""
    return Tokenizer(recipe) if (Path(recipe.model.model_name_or_path) / "config.json").is_file() else None


def views_of(recipe: Recipe, tokenizer: Tokenizer | None) -> dict[str, View] | None:
    """Frames and tokens of the views that the recipe's terms look at; None for a model that nobody knows."""
    family = family_of(recipe.data.template, recipe.model.model_name_or_path)
    counts = None if tokenizer is None else tokenizer.frames(recipe)
    if counts is None or counts.tokens(1) is None:
        if family is None or (counts is None and recipe.model.model_name_or_path != family.checkpoint):
            return None
        tokens_of: Callable[[int], int] = lambda frames: frames * family.tokens_a_frame  # noqa: E731
    else:
        tokens_of = counts.tokens
    exact = family.exact_frames if family is not None else False
    full, terms = recipe.model.video_maxlen, set(recipe.finetuning.terms)
    views = {}
    if {"response", "video", "token"} & terms:
        views[FULL_VIEW] = View(full, tokens_of(full), not exact)
    if "clip" in terms:
        clip = recipe.finetuning.vista_clip_frames
        views[CLIP_VIEW] = View(clip or full, tokens_of(clip or full), not exact)
    if {"object", "token"} & terms:
        views[KEYFRAME_VIEW] = View(1, tokens_of(1), False)
    return views


@dataclass(frozen=True)
class Rows:
    """The rows of a recipe as far as their files are here: the good ones, how many are bad, what was not found."""

    good: list[Row]
    bad: int
    files: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def grounded(self) -> GroundedRows:
        """As the annotations have them: no video is opened."""
        return GroundedRows([assume_files(row) for row in self.good])


def rows_of(recipe: Recipe) -> Rows:
    """Read the rows of the recipe's training data."""
    good: list[Row] = []
    files: list[str] = []
    missing, bad = [], 0
    for name in recipe.data.dataset or []:
        try:
            source = find_source(name, recipe.data.dataset_dir)
            read = [(file, read_rows(file)) for file in source.files]
        except (ValueError, OSError) as error:
            missing.append(str(error))
            continue
        for file, rows in read:
            files.append(file)
            for where, text in rows:
                try:
                    good.append(parse_row(text, where))
                except RowError:
                    bad += 1
    return Rows(good, bad, tuple(files), tuple(missing))


def texts_of(rows: list[Row], tokenizer: Tokenizer | None) -> Texts:
    """Medians over rows; without any, a question and answers as VistaDPO-7k has them."""
    if not rows:
        answers = (_ANSWER,) * 3
        return Texts(_BEFORE, _AFTER, *answers, _BEFORE + _AFTER + _ANSWER, "assumed, no rows are here")
    if tokenizer is None:
        count: Callable[[str, str], tuple[int, int]] = _by_characters
        empty = _BEFORE
        source = f"{_CHARACTERS_A_TOKEN} characters taken for a token"
    else:
        # Special tokens stand for the video wherever it is; what the template puts before it is half of an empty turn.
        count, empty = tokenizer.turn, tokenizer.turn("", "x")[0]
        source = "by the model's tokenizer"
    lengths: dict[str, list[int]] = {"prompt": [], "chosen": [], "rejected": [], "irrelevant": [], MORE: []}
    longest = 0
    step = max(1, len(rows) // _ROWS_TOKENIZED)
    for row in rows[::step]:
        question = row.prompt.replace("<video>", "")
        counted = {name: count(question, text) for name, text in row.answers.items()}
        prompt = counted["chosen"][0]
        lengths["prompt"].append(prompt)
        for name, (_, tokens) in counted.items():
            lengths[name if name in lengths else MORE].append(tokens)
        longest = max(longest, prompt + max(tokens for _, tokens in counted.values()))
    typical = {name: round(median(found)) if found else 0 for name, found in lengths.items()}
    before = min(empty, typical["prompt"])
    answers = (typical[name] for name in ("chosen", "rejected", "irrelevant"))
    more = (typical[MORE],) * max(len(row.more_rejected) for row in rows)
    return Texts(before, typical["prompt"] - before, *answers, longest, source, more)


def _by_characters(question: str, answer: str) -> tuple[int, int]:
    return _BEFORE + 8 + -(-len(question) // _CHARACTERS_A_TOKEN), 1 + -(-len(answer) // _CHARACTERS_A_TOKEN)


def needed_length(views: dict[str, View], texts: Texts) -> int:
    """Tokens of the longest sequence."""
    return max((view.tokens for view in views.values()), default=0) + texts.longest


def row_kinds(rows: Rows) -> dict[str, int]:
    """How many rows carry each kind of grounding."""
    grounded = rows.grounded.grounded
    several = sum(bool(row.more_rejected) for row in rows.good)
    own = sum(any(map(row.own_negatives, TERMS)) for row in grounded)
    return {
        "rows": len(grounded),
        "event": sum("event" not in row.off for row in grounded),
        "keyframe": sum("keyframe" not in row.off for row in grounded),
        "box": sum("box" not in row.off for row in grounded),
        "irrelevant answer": sum(row.rejected_irrelevant is not None for row in rows.good),
        **({"several rejected answers": several} if several else {}),
        **({"rejected view of their own": own} if own else {}),
    }
