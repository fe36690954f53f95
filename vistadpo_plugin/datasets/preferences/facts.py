"""What a data card says of each layout: whose it is, and under what terms its data come."""

from __future__ import annotations

from vistadpo_plugin.datasets.source import Source

_UNVERIFIED = {"license": "other", "license_name": "unverified"}

LLAVA_HOUND = Source(
    title="LLaVA-Hound's preference data",
    repository="https://github.com/RifleZhang/LLaVA-Hound-DPO",
    license={"license": "apache-2.0"},
    terms=(
        "Pairs: LLaVA-Hound (Zhang et al. 2024, arXiv 2404.01258), answers of its own model, scored by a language "
        "model; their hub page says Apache-2.0, their repository has no license file.",
        "Videos: not part of this data set. They are ActivityNet's, WebVid's and VIDAL's, each under its own terms.",
    ),
    rules=(
        "`chosen` and `rejected` are the file's own; its `answer`, the reference they were judged by, is not used.",
    ),
)
RRPO = Source(
    title="RRPO's self-alignment data",
    repository="https://github.com/pritamqu/RRPO",
    license=_UNVERIFIED,
    terms=(
        "Pairs: RRPO (Sarkar and Etemad, NeurIPS 2025). The code is Apache-2.0; a license of the pairs could not be "
        "verified: ask their authors before you pass this data set on.",
        "Videos: not part of this data set. They are those of the instruction data of VideoChat2, each under its own "
        "terms.",
    ),
    rules=("`chosen` is `answer`, `rejected` is `pred`; `phrases` are what is marked in either.",),
)
SWIFT = Source(
    title="pairs in the layout of ms-swift",
    repository="https://github.com/modelscope/ms-swift",
    license=_UNVERIFIED,
    terms=(
        "Pairs: in the layout of ms-swift, which TEMPLE writes too. A layout says nothing of who made the pairs: their "
        "terms, and those of the videos, are their makers'. TEMPLE's repository has no license file.",
    ),
    rules=(
        "`chosen` is the last answer in `messages`, `rejected` the one in `rejected_messages` or `rejected_response`; "
        "`rejected_video` is there where the rejected side has a video of its own.",
    ),
)
TRL = Source(
    title="pairs in the layout of TRL",
    repository="https://github.com/huggingface/trl",
    license=_UNVERIFIED,
    terms=(
        "Pairs: in the layout of TRL. A layout says nothing of who made the pairs: their terms, and those of the "
        "videos, are their makers'.",
    ),
    rules=("`prompt`, `chosen` and `rejected` are the file's own, of conversations the one question and answer.",),
)
