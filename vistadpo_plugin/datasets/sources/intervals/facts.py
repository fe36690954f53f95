"""What the data card says of Charades-STA, ActivityNet Captions and QVHighlights."""

from __future__ import annotations

from vistadpo_plugin.datasets.source import Source

ANSWERS = (
    "`chosen` is the sentence of the event. `rejected` is the sentence of another event of the same video, which does "
    "not happen at the time that the question asks for; where the video has none, the sentence of another video's "
    "event that is most like it among 300 drawn ones of the row's own split: shares up to half of the words, says "
    "something that no sentence about this video says, and leaves out something that the right one says. These are "
    "counted below; they may still be true, as the sentences do not tell everything that a video shows.",
)

RULES = (
    'Three kinds of question. `after` and `before`: "What happens after X?", X the nearest other event on one side of '
    'which lies the right, on the other the wrong answer. `when`: "What happens between 3 and 9.5 seconds of the '
    'video?", where the events of the video leave no such choice.',
    "Two events are one before the other when they overlap by no more than a tenth of the shorter one. Sentences are "
    "compared by their content words without regular endings.",
    "`event` holds the annotated windows.",
)

BOXES = (
    "`box` and `keyframe`, where Action Genome or STAR was given: the first object class that the sentence names and "
    "that has a box in an annotated frame of the event; the frame nearest to the middle. Frame n is taken to be shown "
    "at (n - 1) / rate seconds, rate being the video's own unless --fps was given.",
)

FACTS = {
    "charades-sta": Source(
        title="Charades-STA",
        repository="https://github.com/jiyanggao/TALL",
        license={"license": "other", "license_name": "unverified"},
        terms=(
            "Annotations: Charades-STA (Gao et al., ICCV 2017). A license of their own was not found; they derive from "
            "Charades'.",
            "Videos: not part of this data set. They are Charades', under the license that comes with them.",
        ),
        answers=ANSWERS,
        rules=(*RULES, *BOXES),
    ),
    "activitynet": Source(
        title="ActivityNet Captions",
        repository="https://cs.stanford.edu/people/ranjaykrishna/densevid/",
        license={"license": "other", "license_name": "unverified"},
        terms=(
            "Annotations: ActivityNet Captions (Krishna et al., ICCV 2017). Their license could not be verified.",
            "Videos: not part of this data set. They are of YouTube, and each has the license that its author gave it.",
        ),
        answers=ANSWERS,
        rules=RULES,
    ),
    "qvhighlights": Source(
        title="QVHighlights",
        repository="https://github.com/jayleicn/moment_detr",
        license={"license": "cc-by-nc-sa-4.0"},
        terms=(
            "Annotations: QVHighlights (Lei et al., NeurIPS 2021), CC BY-NC-SA 4.0.",
            "Videos: not part of this data set. They are of YouTube, and each has the license that its author gave it.",
        ),
        answers=ANSWERS,
        rules=(
            *RULES,
            "`keyframe` is the middle of the two-second clip with the highest sum of saliency scores, the earliest of "
            "several; a question asks for the window that it lies in, else for the longest one.",
            "`group` is the upload that the video is cut from.",
        ),
    ),
}
