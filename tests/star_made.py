"""STAR questions in the released layout, on videos of 10 frames a second that last 4 s."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CLOTHES, PERSON, BOX = "o019", "o000", "o015"


def situation(*labelled: tuple[str, list[float] | None]) -> dict[str, Any]:
    """One annotated frame: (class, [x1, y1, x2, y2])."""
    labels, boxes = [label for label, _ in labelled], [box for _, box in labelled]
    return {"actions": ["a004"], "bbox": boxes, "bbox_labels": labels, "rel_pairs": [], "rel_labels": []}


def star_question(name: str, **changes: Any) -> dict[str, Any]:
    """'Which object was tidied up?' - 'The clothes.', whose box is in frames 12, 21 and 28."""
    choices = ("The closet/cabinet.", "The blanket.", "The clothes.", "The table.")
    person = (PERSON, [1.0, 1.0, 60.0, 40.0])
    made = {
        "question_id": name,
        "question": "Which object was tidied up by the person?",
        "video_id": "6H78U",
        "start": 1.0,
        "end": 3.0,
        "answer": "The clothes.",
        "question_program": [],
        "choices": [
            {
                "choice_id": number,
                "choice": choice,
                "choice_program": [{"function": "Equal", "value_input": [choice.lower().removeprefix("the ")[:-1]]}],
            }
            for number, choice in enumerate(choices)
        ],
        "situations": {
            "000012": situation((CLOTHES, [5.0, 6.0, 20.5, 30.0]), person),
            "000021": situation(person, (CLOTHES, [6.0, 7.0, 22.0, 31.0])),
            "000024": situation(person, (BOX, [0.0, 0.0, 9.0, 9.0]), (CLOTHES, None)),
            "000028": situation((CLOTHES, [7.0, 8.0, 24.0, 32.0])),
        },
    }
    return {**made, **changes}


def _choices(*texts: str) -> list[dict[str, Any]]:
    return [{"choice_id": number, "choice": text} for number, text in enumerate(texts)]


def acted(name: str, question: str, right: str, wrong: str, **changes: Any) -> dict[str, Any]:
    """A question whose choices are what was done."""
    return star_question(name, question=question, answer=right, choices=_choices(wrong, right), **changes)


def _chosen(name: str, video: str, question: str, choices: Sequence[str], **changes: Any) -> dict[str, Any]:
    """A question of which the first of `choices` is right."""
    made = _choices(*choices)
    return star_question(name, video_id=video, question=question, answer=choices[0], choices=made, **changes)


TEN = [
    star_question("Interaction_T1_1"),
    _chosen("Interaction_T2_1", "6H78U", "What did the person do with the clothes?",
            ("Threw.", "Washed.", "Put down.", "Took."), start=0.5),
    _chosen("Interaction_T1_2", "YSKX3", "Which object was opened by the person?",
            ("The door.", "The laptop.", "The book.", "The box.")),
    _chosen("Interaction_T2_2", "YSKX3", "What did the person do with the door?",
            ("Opened.", "Closed.", "Held.", "Fixed.")),
    _chosen("Sequence_T1_1", "B2N4K", "Which object did the person take after they put down the dish?",
            ("The sandwich.", "The towel.", "The broom.", "The medicine.")),
    _chosen("Sequence_T3_1", "B2N4K", "What happened after the person held the dish?",
            ("Ate the sandwich.", "Washed the mirror.", "Sat on the floor.", "Took the towel.")),
    _chosen("Sequence_T1_2", "9T0LM", "Which object did the person put down before they sat at the table?",
            ("The phone.", "The cup.", "The vacuum.", "The bag.")),
    _chosen("Sequence_T4_1", "9T0LM", "What happened before the person held the phone?",
            ("Sat at the table.", "Closed the window.", "Tidied up the blanket.", "Drank from the cup.")),
    _chosen("Interaction_T4_1", "ZZ7Q2", "Which object did the person watch?",
            ("The television.", "The pillow.", "The shelf.", "The dish.")),
    star_question("Prediction_T3_1"),
]  # fmt: skip
"""Ten questions about five videos; what the last asks for is not shown, and only `--types` takes it in."""


def write_star(folder: Path, content: Any = TEN) -> Path:
    path = folder / "STAR_val.json"
    path.write_text(json.dumps(content))
    return path
