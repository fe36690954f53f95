"""The benchmarks by name, each a `score.Benchmark`; its module is imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

from vistadpo_plugin.evaluation.score import Benchmark

_MODULES = {
    "videohallucer": "videohallucer",
    "videohallucer_200": "videohallucer",
    "shapes": "videohallucer",
    "eventhallusion": "eventhallusion",
    "eventhallusion_description": "eventhallusion_description",
    "mvbench": "mvbench",
    "msvd_qa": "video_qa",
    "msrvtt_qa": "video_qa",
    "tgif_qa": "video_qa",
    "activitynet_qa": "video_qa",
    "video_chatgpt": "video_chatgpt",
    "tempcompass_multi_choice": "tempcompass",
    "tempcompass_yes_no": "tempcompass",
    "tempcompass_caption_matching": "tempcompass",
    "vidhalluc_bqa": "vidhalluc.actions",
    "vidhalluc_mcq": "vidhalluc.actions",
    "vidhalluc_tsh": "vidhalluc.order",
    "vidhalluc_sth": "vidhalluc.scene",
    "tomato": "tomato",
    "videomme": "videomme",
}


class _Benchmarks(Mapping[str, Benchmark]):
    def __getitem__(self, name: str) -> Benchmark:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


BENCHMARKS: Mapping[str, Benchmark] = _Benchmarks()
