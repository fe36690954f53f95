"""Video-MME (Fu et al., CVPR 2025, arXiv 2405.21075): 2,700 questions of multiple choice about 900 videos, no
subtitles.

General ability, not hallucination: a set that must not fall. The rule is that of the script its repository names
(thanku-all/parse_answer, eval_your_results.py), restated: some openings are taken out of a reply, and the first capital
from A to D in what is left is its choice, wherever it stands. A reply without one is left out of the official figures;
here it is wrong, and the official figure stands beside.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.benchmarks.annotations import find_files, read_entries, read_text
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Figure, Judge, Score

DURATIONS = ("short", "medium", "long")
DOMAINS = (
    "Knowledge",
    "Film & Television",
    "Sports Competition",
    "Artistic Performance",
    "Life Record",
    "Multilingual",
)
PARQUET = "test-00000-of-00001.parquet"

PROMPT = (
    "Select the best answer to the following multiple-choice question based on the video. Respond with only the letter "
    "(A, B, C, or D) of the correct option.\n{question}\n{options}\nThe best answer is:"
)

# In the script's order. Two of its list have run into their neighbours for want of a comma, and never occur.
_OPENINGS = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "Answer:",
    "Option:",
    "The correct answer",
    "The correct option",
)


def chosen_letter(reply: str) -> str | None:
    """The first capital from A to D once the openings are out; None where there is none.

    So "Because ..." chooses B, and so does "Best option: C": only the openings listed above are known.
    """
    text = reply.strip()
    for opening in _OPENINGS:
        text = text.replace(opening, "")
    found = re.search("[ABCD]", text)
    return found[0] if found else None


class VideoMME:
    """`annotations` has the hub's table (videomme/test-00000-of-00001.parquet, or the file itself), or its rows as a
    JSON list, videomme.json. The videos lie side by side, ID.mp4, as in the folder data of the released archives.
    Question ids are the benchmark's: `001-1`."""

    name = "videomme"
    prompt = PROMPT
    needs_judge = False
    headline = "overall"

    def files(self, annotations: Path) -> list[Path]:
        names = ("videomme.json", PARQUET, f"videomme/{PARQUET}")
        return find_files(self.name, annotations, [next((n for n in names if (annotations / n).is_file()), names[-1])])

    def questions(self, annotations: Path) -> list[Question]:
        (path,) = self.files(annotations)
        return [_question(row, f"{path}, row {index}") for index, row in enumerate(_rows(path))]

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        answered = [question for question in questions if question.id in replies]
        said = {question.id: chosen_letter(replies[question.id]) for question in answered}

        def figure(asked: list[Question]) -> Figure:
            return Figure(sum(said[question.id] == question.answer for question in asked), len(asked))

        figures = {name: figure([q for q in answered if q.details["domain"] == name]) for name in DOMAINS}
        figures |= {name: figure([q for q in answered if q.subset == name]) for name in DURATIONS}
        figures |= {
            "overall": figure(answered),
            "overall (official rule)": figure([question for question in answered if said[question.id]]),
        }
        nothing = sum(letter is None for letter in said.values())
        notes = ["The official rule leaves replies that name no option out of its figure."]
        return Score(figures, {"missing": len(questions) - len(answered), "unparsable": nothing}, notes)


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".json":
        return read_entries(path)
    # Comes with the host; takes a moment to import.
    from pyarrow import ArrowException, parquet

    try:
        return parquet.read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise ValueError(f"{path} is no table in Parquet ({error}). Fetch the annotation file again.") from None


def _question(row: dict[str, Any], where: str) -> Question:
    options, answer = row.get("options"), read_text(row, "answer", where)
    if not isinstance(options, list) or not options or not all(isinstance(option, str) for option in options):
        raise ValueError(f"{where}: field 'options' has to be a list of texts, found {options!r:.80}.")
    if answer not in ("A", "B", "C", "D"):
        raise ValueError(f"{where}: field 'answer' has to be A, B, C or D, found {answer!r:.80}.")
    duration, domain = read_text(row, "duration", where), read_text(row, "domain", where)
    if duration not in DURATIONS or domain not in DOMAINS:
        raise ValueError(f"{where}: 'duration' {duration!r:.40} or 'domain' {domain!r:.40} is none of the benchmark's.")
    return Question(
        id=read_text(row, "question_id", where),
        video=f"{read_text(row, 'videoID', where)}.mp4",
        prompt=PROMPT.format(question=read_text(row, "question", where), options="\n".join(options)),
        answer=answer,
        subset=duration,
        details={"domain": domain, "task": row.get("task_type")},
    )


videomme = VideoMME()
