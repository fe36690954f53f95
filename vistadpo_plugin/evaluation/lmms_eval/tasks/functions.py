"""What the task files beside this one name: documents out of a benchmark's folder, and figures by its own rule.

lmms-eval loads this file by its path, once for every name. A document is one question; the questions, what is asked and
the scores are those of `vistadpo evaluate`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.benchmarks import BENCHMARKS
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.replies import first_few
from vistadpo_plugin.evaluation.videos import find_video

Document = dict[str, Any]


def videohallucer_docs(stub: Any) -> Any:
    """The questions of the folder VIDEOHALLUCER_DIR, laid out as released: annotations and videos by subset."""
    folder = _folder("VIDEOHALLUCER_DIR")
    return _documents("videohallucer", folder, folder)


def eventhallusion_docs(stub: Any) -> Any:
    """The questions of the folder EVENTHALLUSION_DIR, as in the repository: questions/, and videos/ where it is."""
    folder = _folder("EVENTHALLUSION_DIR")
    videos = folder / "videos"
    return _documents("eventhallusion", folder, videos if videos.is_dir() else folder)


def _folder(variable: str) -> Path:
    folder = os.environ.get(variable)
    if not folder or not Path(folder).is_dir():
        raise ValueError(f"set {variable} to the folder of the benchmark's annotations and videos; it is {folder!r}.")
    return Path(folder).absolute()


def _documents(name: str, annotations: Path, videos: Path) -> Any:
    """A `datasets.Dataset` of one document a question. Raises ValueError where a video is missing."""
    from datasets import Dataset

    questions = BENCHMARKS[name].questions(annotations)
    found = {video: find_video(videos, video) for video in dict.fromkeys(question.video for question in questions)}
    missing = [video for video, path in found.items() if path is None]
    if missing:
        raise ValueError(f"{name}: {first_few(missing, 'video', 'videos')} missing below {videos}.")
    return Dataset.from_list(
        [
            {
                "id": question.id,
                "video": found[question.video],
                "prompt": question.prompt,
                "answer": question.answer,
                "subset": question.subset,
                "details": json.dumps(question.details),
            }
            for question in questions
        ]
    )


def doc_to_visual(doc: Document) -> list[str]:
    return [doc["video"]]


def videohallucer_results(doc: Document, results: list[str]) -> Document:
    return dict.fromkeys(VIDEOHALLUCER, {**doc, "reply": results[0]})


def eventhallusion_results(doc: Document, results: list[str]) -> Document:
    return dict.fromkeys(EVENTHALLUSION, {**doc, "reply": results[0]})


def _figure(name: str, figure: str) -> Callable[[list[Document]], float]:
    """The function that gives a figure, in per cent, of the documents with their replies; nan where it has no value."""

    def value(items: list[Document]) -> float:
        questions = [
            Question(
                item["id"], item["video"], item["prompt"], item["answer"], item["subset"], json.loads(item["details"])
            )
            for item in items
        ]
        replies = {item["id"]: item["reply"] for item in items}
        found = BENCHMARKS[name].score(questions, replies).figures[figure].value
        return math.nan if found is None else found

    return value


VIDEOHALLUCER = {
    "overall": "total/overall",
    "basic": "total/basic",
    "hallucination": "total/hallucination",
    "object_relation": "object_relation/overall",
    "temporal": "temporal/overall",
    "semantic_detail": "semantic_detail/overall",
    "external_factual": "external_factual/overall",
    "external_nonfactual": "external_nonfactual/overall",
}
"""The metrics of the task file, and the figures that they are."""

EVENTHALLUSION = {
    "overall": "overall",
    "entire": "entire",
    "mix": "mix",
    "misleading": "misleading",
}

videohallucer_overall = _figure("videohallucer", VIDEOHALLUCER["overall"])
videohallucer_basic = _figure("videohallucer", VIDEOHALLUCER["basic"])
videohallucer_hallucination = _figure("videohallucer", VIDEOHALLUCER["hallucination"])
videohallucer_object_relation = _figure("videohallucer", VIDEOHALLUCER["object_relation"])
videohallucer_temporal = _figure("videohallucer", VIDEOHALLUCER["temporal"])
videohallucer_semantic_detail = _figure("videohallucer", VIDEOHALLUCER["semantic_detail"])
videohallucer_external_factual = _figure("videohallucer", VIDEOHALLUCER["external_factual"])
videohallucer_external_nonfactual = _figure("videohallucer", VIDEOHALLUCER["external_nonfactual"])

eventhallusion_overall = _figure("eventhallusion", EVENTHALLUSION["overall"])
eventhallusion_entire = _figure("eventhallusion", EVENTHALLUSION["entire"])
eventhallusion_mix = _figure("eventhallusion", EVENTHALLUSION["mix"])
eventhallusion_misleading = _figure("eventhallusion", EVENTHALLUSION["misleading"])
