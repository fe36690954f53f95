"""The kinds of findings. docs/data.md says of each what it means and what to do."""

from __future__ import annotations

from dataclasses import dataclass

ERROR, WARNING, NOTE = "error", "warning", "note"

SEVERITIES = {
    ERROR: "the row cannot be used; training stops at it, or goes on without it with `vista_on_bad_row: skip`",
    WARNING: "the row is used, but a term is off or has nothing to learn from",
    NOTE: "worth knowing; nothing is off",
}


@dataclass(frozen=True)
class Kind:
    """How grave findings of a kind are, what they have in common (a clause), and what to do (a sentence).

    `whole` marks what is found of the data set and not of a row.
    """

    severity: str
    title: str
    remedy: str
    whole: bool = False


KINDS = {
    # the row itself, from data/rows/
    "unreadable-rows": Kind(
        ERROR,
        "the file of rows cannot be read, or has none",
        "Save it as UTF-8, one JSON object a line, or all in one JSON list.",
        whole=True,
    ),
    "bad-json": Kind(
        ERROR,
        "a line is no JSON object",
        "Write one JSON object a line; commas, quotes and brackets are what mostly is missing.",
    ),
    "repeated-key": Kind(
        ERROR, "a JSON object gives a key twice", "Keep one of the two: a reader of JSON sees only the last."
    ),
    "bad-characters": Kind(
        ERROR, "a text holds half a character", "Write the text again: `\\ud83d` and its like come only in pairs."
    ),
    "misspelt-field": Kind(
        ERROR,
        "a field's name is almost one of ours",
        "Take the name that the message offers, or rename a field of your own so that it is no near miss.",
    ),
    "conflicting-fields": Kind(
        ERROR,
        "two fields say the same, or one of a pair is missing",
        "Keep one name of a field; give `clip_w` and `clip_l` together and without `event`.",
    ),
    "bad-id": Kind(
        ERROR,
        "`id` is neither text nor a whole number",
        "Correct it, or leave it out: the file and the line name the row then.",
    ),
    "bad-video": Kind(ERROR, "`video` is missing or no path", "Give a file, a folder of frames or a list of frames."),
    "missing-text": Kind(ERROR, "a text that every row needs is missing or empty", "Write it, or remove the row."),
    "bad-text": Kind(ERROR, "a text is no string", "Put the text in quotes; lists of messages are for other formats."),
    "bad-placeholder": Kind(
        ERROR,
        "a text holds a media placeholder that does not belong there",
        "Write `<video>` once in the prompt or nowhere, and no other placeholder.",
    ),
    "media-token": Kind(
        ERROR,
        "a text holds a token that is a place for an image or a video to the model (with --model)",
        "Write it otherwise, or remove the row.",
    ),
    "bad-weights": Kind(
        ERROR,
        "`rejected_weights` is not one number for each answer of a list, together 1",
        "Write as many numbers above 0 as `rejected` has answers, or leave it out: they count alike then.",
    ),
    "bad-phrases": Kind(
        ERROR,
        "`phrases` names a phrase that is not in its answer, or is there several times",
        "Copy it from the answer to the letter, longer where it comes up again, or give its characters `[start, end]`.",
    ),
    "bad-event": Kind(
        ERROR,
        "`event` is no interval of seconds",
        "Write `[start, end]` in seconds with 0 <= start < end, or a list of such pairs.",
    ),
    "bad-keyframe": Kind(
        ERROR,
        "`keyframe` is neither seconds nor a path",
        "Write seconds from the start of the video, or the path of an image.",
    ),
    "bad-box": Kind(
        ERROR,
        "`box` is not four numbers",
        "Write `[x, y, width, height]` in pixels of the original frame, or a list of such boxes.",
    ),
    "bad-group": Kind(
        ERROR, "`group` is no name", "Write text or a whole number, the same for all videos of one recording."
    ),
    "bad-folder": Kind(
        ERROR,
        "`clip_w`, `clip_l` or `frame` is no path",
        "Write the path of a folder of images, or leave the field out.",
    ),
    "bad-rejected-view": Kind(
        ERROR,
        "`rejected_video`, `rejected_clip` or `rejected_keyframe` is no path",
        "Write a path, a list of images (one video of them), or a list of videos.",
    ),
    "bad-holds": Kind(
        ERROR,
        "`holds_in_rejected_view` is neither true, false nor a list of terms",
        "Write true, false, or a list of video, clip and object.",
    ),
    # its files, from data/grounding.py and data/video.py
    "rejected-is-preferred": Kind(
        ERROR, "a rejected view is the row's own preferred one", "Name another, or remove the field."
    ),
    "missing-file": Kind(
        ERROR,
        "a file or folder was not found",
        "Correct the path, or name the folder it starts from with --media-dir (`media_dir` in the recipe).",
    ),
    "empty-folder": Kind(
        ERROR, "a folder of frames holds no images", "Put the frames there (jpg, png, bmp, webp), or correct the path."
    ),
    "unreadable-file": Kind(
        ERROR, "a video or image cannot be opened, or ends too early", "Fetch or encode the file again."
    ),
    "event-outside-video": Kind(
        ERROR,
        "an event lies outside its video",
        "Correct the times (seconds, not frames or milliseconds) or the path of the video.",
    ),
    "keyframe-outside-video": Kind(
        ERROR,
        "a keyframe lies outside its video",
        "Correct the time (seconds, not frames or milliseconds) or the path of the video.",
    ),
    "undecodable-file": Kind(
        ERROR, "a video or image opens, but frames that the row needs do not decode", "Fetch or encode the file again."
    ),
    "file-hangs": Kind(
        ERROR,
        "reading a video did not end in time",
        "Encode the file again; if it is whole and only long, raise --time-limit.",
    ),
    "file-crashes": Kind(
        ERROR,
        "reading a video killed the process that read it",
        "Encode the file again, or remove the row: it would kill the training as well.",
    ),
    "unexpected-error": Kind(
        ERROR,
        "reading a video failed in a way the plugin does not know",
        "Report it with the file; a training run would stop at it too.",
    ),
    # terms that are off, or on for nothing
    "media-absent": Kind(
        WARNING,
        "no video was found, so only the annotations were judged",
        "Name the folder of the videos with --media-dir, or say --no-media if they are not here.",
        whole=True,
    ),
    "no-irrelevant-answer": Kind(
        WARNING,
        "the irrelevant rejected answer is empty",
        "Write an answer that is off the video, or remove the field; `rejected` takes its weight.",
    ),
    "event-without-frame": Kind(
        WARNING, "an event is so short that no frame lies in it", "Widen the event to at least two frames of the video."
    ),
    "event-fills-video": Kind(
        WARNING,
        "too little of the video lies outside the event",
        "Narrow the event, or train the clip term with another `vista_clip_negative`.",
    ),
    "box-without-area": Kind(WARNING, "a box has no width or no height", "Draw the box again, or remove it."),
    "box-outside-frame": Kind(
        WARNING,
        "a box lies outside the frame",
        "Give pixels of the frame as players show it, from its top left corner; not shares of it or a resized copy's.",
    ),
    "box-without-keyframe": Kind(
        WARNING,
        "a box is given, but not on which frame",
        "Add `keyframe`: the time or the image on which the box was drawn.",
    ),
    "rejected-alone": Kind(
        WARNING,
        "a rejected clip or keyframe is given, but not what it is held against",
        "Add `event` (or `clip_w`) for a rejected clip, `keyframe` for a rejected keyframe.",
    ),
    "boxes-as-corners": Kind(
        WARNING,
        "the boxes look like corners, not like corner and size",
        "Write `[x1, y1, x2 - x1, y2 - y1]`; now wrong pixels are masked.",
        whole=True,
    ),
    "boxes-as-shares": Kind(
        WARNING,
        "the boxes look like shares of the frame, not like pixels",
        "Multiply x and width by the width of the frame, y and height by its height.",
        whole=True,
    ),
    "one-video": Kind(
        WARNING,
        "all rows are about one video, so none is another row's negative",
        "Add rows of other videos, or set `vista_video_negative` to noise, black, reverse, shuffle or drop.",
        whole=True,
    ),
    "alike-videos": Kind(
        WARNING,
        "videos look alike, and may be taken for each other's unrelated video",
        "Give rows of one recording the same `group`; leave others as they are.",
        whole=True,
    ),
    "control-token": Kind(
        WARNING,
        "a text holds a token that ends an answer or begins a turn to the model (with --model)",
        "Write it otherwise, unless the model is to learn just that.",
    ),
    "same-answers": Kind(
        WARNING,
        "the chosen answer is also a rejected one",
        "Write a rejected answer that is wrong, or remove the row: it teaches nothing.",
    ),
    "contradiction": Kind(
        WARNING,
        "an answer is chosen in one row and rejected in another, for the same video and question",
        "Decide which is right and remove the other row.",
    ),
    "repeated-row": Kind(
        WARNING,
        "video, question and answers are those of an earlier row",
        "Remove the copy, unless the row is to count twice.",
    ),
    # worth knowing
    "repeated-question": Kind(
        NOTE, "video and question are those of an earlier row, with other answers", "Nothing, if both are true."
    ),
    "repeated-id": Kind(
        NOTE,
        "the id is that of an earlier row",
        "Nothing for training; give each row its own id if you look rows up by it.",
    ),
    "same-rejected": Kind(
        NOTE, "two rejected answers are the same", "Write another: an irrelevant one is off the video."
    ),
    "ignored-field": Kind(
        NOTE, "a field is not ours and is ignored", "Nothing, if it is your own; else see the fields above."
    ),
    "event-cut": Kind(
        NOTE,
        "an event ends a little behind its video and is cut there",
        "Nothing, if times are rounded up to a second.",
    ),
    "keyframe-moved": Kind(
        NOTE,
        "a keyframe lies a little behind its video and is moved to the last frame",
        "Nothing, if times are rounded up to a second.",
    ),
    "picture-late": Kind(
        NOTE,
        "a picture begins later than its sound; times are counted from the sound",
        "Nothing, if times were read in a player; else add the delay to times that count from the first frame.",
    ),
    "keyframe-folder": Kind(
        NOTE, "a keyframe folder holds several images; the first is taken", "Name the image itself if another is meant."
    ),
    "box-clipped": Kind(
        NOTE,
        "a box reaches over the edge of the frame and is clipped to it",
        "Nothing, if the object does; else see box-outside-frame.",
    ),
    "crop-hides-box": Kind(
        NOTE,
        "a box lies in the part that a centred square crop cuts off",
        "A model that crops so (Video-LLaVA does) never sees the object: leave such rows out for it.",
    ),
    "length-gap": Kind(
        NOTE,
        "one of `chosen` and `rejected` is over three times as long as the other",
        "Nothing for a few rows; for many, write answers of like length.",
    ),
    "length-bias": Kind(
        NOTE,
        "length alone tells `chosen` from `rejected` too often",
        "Write answers of like length, or the model learns to be long (or short) instead of right.",
        whole=True,
    ),
    "odd-characters": Kind(
        NOTE,
        "a text looks damaged: replacement or control characters, or a wrong encoding",
        "Fetch the text again and read it as UTF-8.",
    ),
    "outer-space": Kind(
        NOTE, "an answer begins or ends with white space", "Strip it: the model learns it as part of the answer."
    ),
    "other-note": Kind(NOTE, "something else that training notes", "See the message."),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was found in one row, or in the whole data set (then `place` is its name and `id` None).

    `place` is as in `rows.jsonl:12`, `line` its number from 1 (None for a row of a JSON list).
    """

    kind: str
    place: str
    id: str | None
    message: str

    @property
    def severity(self) -> str:
        return KINDS[self.kind].severity

    @property
    def line(self) -> int | None:
        _, colon, number = self.place.rpartition(":")
        return int(number) if colon and number.isdecimal() else None

    @property
    def where(self) -> str:
        """The row as the log of a training run names it: `rows.jsonl:12 (id 7)`."""
        return self.place if self.id is None else f"{self.place} (id {self.id})"
