"""From questions to rows: videos found, times and boxes held against them, splits drawn, irrelevant answers taken."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vistadpo_plugin.data.rows.grounding import ground
from vistadpo_plugin.data.rows.schema import RowError, parse_row
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.likeness import LikeSentences
from vistadpo_plugin.datasets.questions import (
    Irrelevant,
    IrrelevantPool,
    Question,
    draw_rejected,
    right_answers,
    split_videos,
    video_words,
)
from vistadpo_plugin.datasets.text import plain
from vistadpo_plugin.datasets.videos import VideoIndex, path_for

NO_IRRELEVANT = "no irrelevant answer: the split has no other video with one"
CLOSE_IRRELEVANT = "an irrelevant answer that shares a word with the question or its options"
OTHER_KIND = "an irrelevant answer to a question of another type"
LIKE_REJECTED = "a rejected answer that is a like sentence about another video"
NO_LIKE = "no event of another video of its split has a sentence that can be its wrong answer"


@dataclass(frozen=True)
class Draft:
    """A row about to be written: its question, the video as the row names it, and the answers drawn for it.

    `rejected` is None until a like sentence is drawn from the row's own split. `notes` are counted when it is written.
    """

    question: Question
    video: str
    chosen: str
    rejected: str | None
    irrelevant: Irrelevant | None = None
    irrelevant_text: str | None = None
    notes: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """The row as JSON holds it: fields of one type throughout a file, those without a value left out."""
        made = {
            "id": self.question.id,
            "video": self.video,
            "prompt": self.question.prompt,
            "chosen": self.chosen,
            "rejected": self.rejected,
            "rejected_irrelevant": self.irrelevant_text,
            "event": [list(interval) for interval in self.question.events],
            "keyframe": self.question.keyframe,
            "box": [list(box) for box in self.question.boxes] or None,
            "group": self.question.group,
        }
        return {name: value for name, value in made.items() if value is not None}


@dataclass
class Splits:
    """The drafts of the training and of the validation rows, in order of their ids."""

    train: list[Draft]
    validation: list[Draft] = field(default_factory=list)

    def named(self) -> dict[str, list[Draft]]:
        """The splits that are there, by name."""
        return {"train": self.train} | ({"validation": self.validation} if self.validation else {})

    def map(self, change: Any) -> Splits:
        return Splits([change(draft) for draft in self.train], [change(draft) for draft in self.validation])


def draft_rows(
    questions: list[Question], videos: VideoIndex, folder: Path, allow_missing: bool, seed: int, account: Account
) -> list[Draft]:
    """A draft for every question whose row our reader takes, with its rejected answer; the others are left out.

    `folder` is where the data file will lie. Rows of videos that are there are held against them. A question without
    wrong options gets its rejected answer from `split_rows`.
    """
    images_fps = videos.frames_per_second or 1.0
    shown, right = video_words(questions), right_answers(questions)
    drafts = []
    for question in tqdm(questions, desc="checking rows", unit="row", disable=None):
        found = videos.find(question.video)
        if found is None and not allow_missing:
            account.leave_out("its video is not in the folder", question.id, f"{question.video} not found")
            continue
        known = right[question.video, plain(question.prompt)]
        rejected = draw_rejected(question, shown[question.video], known, seed)
        if rejected is None and question.wrong:
            account.leave_out("every other option is right where the question is asked again", question.id)
            continue
        video = path_for(videos.expected(question.video), folder)
        draft = Draft(question, video, question.right, rejected)
        try:
            # What is checked are files and times; an answer to come has no part in them.
            row = parse_row(replace(draft, rejected=rejected or "?").row(), question.id)
            notes = ground(row, str(folder), images_fps).notes if found else ()
        except RowError as error:
            account.leave_out(_REASONS.get(error.kind, "a row that our reader refuses"), question.id, error.message)
            continue
        absent = () if found else ("a row whose video is not in the folder yet",)
        drafts.append(replace(draft, notes=(*absent, *sorted({*question.notes, *notes}))))
    return drafts


_REASONS = {
    "event-outside-video": "an event outside its video",
    "keyframe-outside-video": "a keyframe outside its video",
    "unreadable-file": "a video that cannot be read",
}


def split_rows(drafts: list[Draft], share: float, seed: int, account: Account) -> Splits:
    """Training and validation rows, by recording, each with what it takes from another video of its own split: an
    irrelevant answer, and the rejected one where that is to be a like sentence.

    So no training row holds a held-out video, nor a text about one, and no validation row a text that training knows
    from a row. Rows that find no rejected answer are left out. Raises ValueError when a share cannot be held out.
    """
    held_out = split_videos([draft.question.recording for draft in drafts], share, seed)
    splits = Splits(
        _with_rejected([draft for draft in drafts if draft.question.recording not in held_out], seed, account),
        _with_rejected([draft for draft in drafts if draft.question.recording in held_out], seed, account),
    )
    for members in (splits.train, splits.validation):
        pool = IrrelevantPool([draft.question for draft in members], seed)
        for index, draft in enumerate(members):
            for note in draft.notes:
                account.note(note, draft.question.id)
            drawn = pool.draw(draft.question)
            if drawn is None:
                account.note(NO_IRRELEVANT, draft.question.id)
                continue
            if drawn.close:
                account.note(CLOSE_IRRELEVANT, draft.question.id)
            if drawn.source.kind != draft.question.kind:
                account.note(OTHER_KIND, draft.question.id)
            members[index] = replace(draft, irrelevant=drawn, irrelevant_text=drawn.source.right)
    return splits


def _with_rejected(drafts: list[Draft], seed: int, account: Account) -> list[Draft]:
    """The drafts of one split, those without a rejected answer with a like sentence of another recording among them."""
    likes = LikeSentences([draft.question for draft in drafts], seed)
    kept = []
    for draft in drafts:
        if draft.rejected is None:
            text = likes.draw(draft.question)
            if text is None:
                account.leave_out(NO_LIKE, draft.question.id)
                continue
            question = replace(draft.question, wrong=(text,))
            draft = replace(draft, question=question, rejected=text, notes=(*draft.notes, LIKE_REJECTED))
        kept.append(draft)
    return kept
