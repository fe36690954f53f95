"""Does the scene change, and from where to where.

Whether is scored by the Matthews correlation of replies and truth (MCC), as ((MCC + 1) / 2)²; from where to where,
where both say that it changes, by how like the two places are to the true ones: the cosine of their sentence embeddings
under SimCSE, 0 up to 0.5 and from there on bent by a sigmoid to 1. The official total is 0.6 of the first and 0.4 of
the second. SimCSE's weights are not part of this package: put the folder sup-simcse-roberta-large (princeton-nlp)
beside sth.json, or go without the places and the total.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.benchmarks.annotations import find_files, read_object, read_text
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Figure, Judge, Score

SIMCSE = "sup-simcse-roberta-large"
LEAST_SIMILARITY = 0.5
WHETHER, WHERE = 0.6, 0.4

Similarity = Callable[[str, str], float]
"""The cosine of two texts' embeddings."""


def read_reply(text: str) -> tuple[bool, str]:
    """(whether the scene changes, the places) of "Scene change: Yes, Locations: from A to B.", as the scorer reads "
    "it."""
    change, _, places = text.partition(", Locations: ")
    said = change.split(": ", 1)[-1].split(",")[0].strip()
    return said.lower() == "yes", places.strip()


def read_places(text: str) -> tuple[str, str] | None:
    """The two places of a text that begins "from A to B."; None where there are none."""
    found = re.match(r"from (.+?) to (.+?)\.", text, re.IGNORECASE)
    return (found[1].strip(), found[2].strip()) if found else None


def matthews(truth: Sequence[bool], said: Sequence[bool]) -> float:
    """The Matthews correlation coefficient, 0 where one of the two never varies."""
    pairs = list(zip(truth, said, strict=True))
    both, neither = pairs.count((True, True)), pairs.count((False, False))
    missed, alarms = pairs.count((True, False)), pairs.count((False, True))
    spread = (both + missed) * (both + alarms) * (neither + missed) * (neither + alarms)
    return (both * neither - missed * alarms) / math.sqrt(spread) if spread else 0.0


def likeness(similarity: float) -> float:
    """From 0 at `LEAST_SIMILARITY` and below to 1 at 1."""
    if similarity <= LEAST_SIMILARITY:
        return 0.0
    least = _sigmoid(LEAST_SIMILARITY)
    return (_sigmoid(similarity) - least) / (_sigmoid(1.0) - least)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def simcse(folder: str) -> Similarity:
    """The similarity under the model in a folder: its first token's last hidden state, no pooler."""
    import functools

    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    @functools.cache
    def embed(text: str) -> torch.Tensor:
        with torch.no_grad():
            return model(**tokenizer(text, return_tensors="pt", truncation=True)).last_hidden_state[0, 0]

    return lambda one, other: float(torch.cosine_similarity(embed(one), embed(other), dim=0))


@dataclass(frozen=True)
class VidHallucScene:
    """The videos lie side by side, NAME.mp4. Question ids are the videos' names."""

    name: str = "vidhalluc_sth"
    prompt: str = (
        "Watch the given video and determine if a scene change occurs. If no change occurs, respond: 'Scene change: "
        "No, Locations: None'. If there is a scene change, respond in the format: 'Scene change: Yes, Locations: from "
        "[location1] to [location2].'"
    )
    needs_judge: bool = False
    headline: str = "whether"

    def files(self, annotations: Path) -> list[Path]:
        return find_files(self.name, annotations, ["sth.json"])

    def questions(self, annotations: Path) -> list[Question]:
        (path,) = self.files(annotations)
        model = annotations / SIMCSE
        details = {"simcse": str(model)} if model.is_dir() else {}
        return [self._question(f"{path}, {name}", name, entry, details) for name, entry in read_object(path).items()]

    def _question(self, where: str, name: str, entry: Any, details: dict[str, str]) -> Question:
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: an object with Scene change and Locations is expected, found {entry!r:.80}.")
        change = read_text(entry, "Scene change", where)
        if change.lower() not in ("yes", "no"):
            raise ValueError(f"{where}: field 'Scene change' has to be Yes or No, found {change!r:.80}.")
        places = entry.get("Locations")
        return Question(
            id=name,
            video=f"{name.removesuffix('.mp4')}.mp4",
            prompt=self.prompt,
            answer=f"Scene change: {change}",  # no bare yes or no: those are not what a reply begins with
            subset="questions",
            details={
                "change": change.lower() == "yes",
                "places": places if isinstance(places, str) else "",
                **details,
            },
        )

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        """`MCC`, `whether` ((MCC + 1) / 2)², and with SimCSE `where` and `overall`; `yes rate`.

        `counts`: `unparsable` replies say neither yes nor no, which is a no to the scorer.
        """
        answered = [question for question in questions if question.id in replies]
        n = len(answered)
        truth = [question.details["change"] for question in answered]
        read = [read_reply(replies[question.id]) for question in answered]
        said = [change for change, _ in read]
        mcc = matthews(truth, said)
        whether = ((mcc + 1) / 2) ** 2
        figures = {"MCC": Figure(mcc * n, n, "MCC"), "whether": Figure(whether * n, n)}
        notes = ["whether: ((MCC + 1) / 2)², the official classification score."]
        folder = next((question.details["simcse"] for question in answered if "simcse" in question.details), None)
        if folder is None:
            notes.append(f"where and overall need SimCSE: put {SIMCSE} beside sth.json.")
        else:
            pairs = [
                (places, question.details["places"])
                for question, (change, places) in zip(answered, read, strict=True)
                if change and question.details["change"]
            ]
            where = where_score(pairs, simcse(folder))
            figures["where"] = Figure(where * len(pairs), len(pairs))
            figures["overall"] = Figure((WHETHER * whether + WHERE * where) * n, n)
        figures["yes rate"] = Figure(sum(said), n)
        words = [replies[question.id].lower() for question in answered]
        nothing = sum(not change and not re.search(r"\bno\b", text) for change, text in zip(said, words, strict=True))
        return Score(figures, {"missing": len(questions) - n, "unparsable": nothing}, notes)


def where_score(pairs: Sequence[tuple[str, str]], similarity: Similarity) -> float:
    """The mean likeness of the places in (said, true) texts; a text without two places has none. 0 without pairs."""
    total = 0.0
    for said, true in pairs:
        ours, theirs = read_places(said), read_places(true)
        if ours and theirs:
            total += sum(likeness(similarity(one, other)) for one, other in zip(ours, theirs, strict=True))
    return total / (2 * len(pairs)) if pairs else 0.0


vidhalluc_sth = VidHallucScene()
