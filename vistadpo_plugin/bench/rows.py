"""The rows of a benchmark: all of one length, or of lengths and groundings as people's rows have them."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from vistadpo_plugin.bench.presets import Preset

# Rows that carry every term; the demo's first eight do.
ROWS = 8
UNEVEN_ROWS = 32
PROMPT_TOKENS = 8
WORDS = (
    "the a man woman child dog cat bird red blue green round small large box ball cup table chair door window walks "
    "runs jumps takes puts holds opens closes turns looks left right up down away before after while then and with "
    "from into over under near behind first last again slowly quickly together kitchen garden street room water"
).split()

# Spread of the logarithm of a length. An answer in ten is then 1.7 times as long as the mean or longer, one in ten
# shorter than half of it; the two answers of a pair are closer to each other, as answers to one question are.
SPREAD, PAIR_SPREAD = 0.5, 0.2


class RowWriter:
    """Rows of random words for a preset, the same each time.

    Even rows carry every term, and their answers have the preset's number of tokens, one fewer and one more. Uneven
    ones have these as their mean; of eight rows one lacks the event, one the box, and one the irrelevant answer.
    """

    def __init__(self, preset: Preset, tokenizer: Any):
        self._preset, self._tokenizer, self._rng = preset, tokenizer, random.Random(0)

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """Write `folder/videos` and return the rows for them."""
        from vistadpo_plugin.demo.shapes import build_videos

        uneven = self._preset.uneven
        count = ROWS + UNEVEN_ROWS if uneven else ROWS
        drawn = [json.loads(line) for line in build_videos(folder, count, seed=0).read_text().splitlines()]
        rows = drawn[ROWS:] if uneven else drawn
        for row in rows:
            for field, tokens in self._lengths().items():
                if field in row:
                    row[field] = self._text(tokens)
        return rows

    def with_more(self, row: dict[str, Any], count: int) -> dict[str, Any]:
        """The row with so many rejected answers more."""
        return {**row, "rejected": [row["rejected"], *(self._text(self._lengths()["chosen"]) for _ in range(count))]}

    def _text(self, tokens: int) -> str:
        """Random words that take exactly so many tokens; one word where a word takes more."""
        words = self._rng.choices(WORDS, k=tokens)
        while len(words) > 1 and len(self._tokenizer.encode(" ".join(words), add_special_tokens=False)) > tokens:
            words.pop()
        return " ".join(words)

    def _lengths(self) -> dict[str, int]:
        """Tokens of each text of a row; an answer's end-of-sequence token is one more."""
        answer, prompt = self._preset.answer_tokens - 1, PROMPT_TOKENS
        if not self._preset.uneven:
            return {"chosen": answer, "rejected": answer - 1, "rejected_irrelevant": answer + 1, "prompt": prompt}
        chosen = self._draw(answer, SPREAD)
        return {
            "chosen": chosen,
            "rejected": self._draw(chosen, PAIR_SPREAD),
            "rejected_irrelevant": self._draw(answer, SPREAD),
            "prompt": self._draw(prompt, SPREAD),
        }

    def _draw(self, mean: float, spread: float) -> int:
        return max(1, round(self._rng.lognormvariate(math.log(mean) - spread**2 / 2, spread)))


def in_our_order(folder: Path, rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The rows as `stage: vistadpo` takes them in its first epoch, mates together; `folder` holds their videos.

    The host shuffles otherwise. With rows of unequal length a step is comparable only with one over the same rows.
    """
    from vistadpo_plugin.data.batches.pairing import PairedRows, PairedSampler
    from vistadpo_plugin.data.rows.grounding import ground
    from vistadpo_plugin.data.rows.schema import parse_row

    grounded = [ground(parse_row(row, row["id"]), str(folder), 2.0).to_json() for row in rows]
    drawn = PairedSampler(PairedRows({"grounded": grounded}, seed), shuffle=True, mates_together=True)
    return [rows[pick.row] for pick in drawn]
