"""Ten sentences each of Charades-STA, ActivityNet Captions and QVHighlights by hand, in the released layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# Three events one after the other in AAAAA, two in BBBBB, one each in CCCCC and DDDDD.
CHARADES = """\
AAAAA 0.0 5.0##a person is putting a book on a shelf.
AAAAA 6.0 12.0##person sits down on the chair.
AAAAA 12.5 20.0##the person opens the door.
AAAAA 12.5 20.0##person opening a door.
BBBBB 1.0 6.5##person drinks from a cup.
BBBBB 7.0 14.0##person turn a light on.
BBBBB 7.0 14.0##person flipped the light switch near the door.
CCCCC 2.0 9.0##person eats a sandwich.
CCCCC 2.0 9.0##a person eating a sandwich on the sofa.
DDDDD 3.0 8.0##person drinks from a bottle.
"""

ACTIVITYNET: dict[str, Any] = {
    "v_uqiMw7tQ1Cc": {
        "duration": 55.15,
        "timestamps": [[0.28, 55.15], [13.79, 54.32]],
        "sentences": ["A weight lifting tutorial is given.", "  The coach helps the guy in red."],
    },
    "v_bXdq2zI1Ms0": {
        "duration": 73.1,
        "timestamps": [[0, 10.23], [10.0, 39.84], [38.01, 73.1]],
        "sentences": ["A man speaks to the camera.", " He performs martial arts.", " He waves and leaves."],
    },
    "v_FsS_NCZEfaI": {
        "duration": 100.0,
        "timestamps": [[0, 20], [20, 40], [40, 60], [60, 80], [80, 100]],
        "sentences": ["Boats ride.", "A girl swims.", "A fish hides.", "Boats ride.", "The camera pans up."],
    },
}


def highlight(qid: int, vid: str, query: str, windows: Any, clips: list[int], scores: Any = None) -> dict[str, Any]:
    """One line; the first clip is the best liked one unless scores are given."""
    scores = [[4, 3, 4], *[[1, 2, 1]] * (len(clips) - 1)] if scores is None else scores
    return {
        "qid": qid, "query": query, "duration": 150, "vid": vid, "relevant_clip_ids": clips, "saliency_scores": scores,
        "relevant_windows": windows,
    }  # fmt: skip


QVHIGHLIGHTS = [
    highlight(9769, "j7rJstUseKg_360.0_510.0", "some soldiers show safety measures.", [[72, 82], [84, 94]], [42, 36]),
    highlight(10016, "j7rJstUseKg_210.0_360.0", "Two men repair a truck", [[0, 10]], [0, 1, 2, 3, 4]),
    highlight(3, "_6hnl_BrFvs_360.0_510.0", "A boat on calm water", [[10, 20]], [5, 6], [[1, 1, 1], [1, 1, 1]]),
    highlight(4, "_6hnl_BrFvs_360.0_510.0", "A woman cooks rice on a stove", [[30, 50]], [20, 15]),
    highlight(5, "aaaaaaaaaaa_0.0_150.0", "A dog runs on the beach", [[0, 2]], [0]),
    highlight(6, "bbbbbbbbbbb_0.0_150.0", "Kids paint a wall", [[4, 6]], [2]),
    highlight(7, "ccccccccccc_0.0_150.0", "A chef slices onions", [[6, 8]], [3]),
    highlight(8, "ddddddddddd_0.0_150.0", "A man slices bread", [[8, 10]], [4]),
    highlight(9, "eeeeeeeeeee_0.0_150.0", "A plane lands", [[2, 4]], [1]),
    highlight(10, "fffffffffff_0.0_150.0", "A choir sings", [[0, 4]], [0, 1]),
]


def write_charades_sta(folder: Path, text: str = CHARADES) -> Path:
    path = folder / "charades_sta_train.txt"
    path.write_text(text)
    return path


def write_activitynet(folder: Path, content: Any = ACTIVITYNET) -> Path:
    path = folder / "val_1.json"
    path.write_text(json.dumps(content))
    return path


def write_qvhighlights(folder: Path, lines: Any = QVHIGHLIGHTS) -> Path:
    path = folder / "highlight_train_release.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
