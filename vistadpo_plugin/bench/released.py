"""The schedule of the authors' released code, pass by pass, with our rows and the host's model: what it costs.

For policy and reference alike eight forwards of two full sequences each: three answers on the full video as two pairs,
a pair on the unrelated video, each clip and each keyframe (shown as a full video of repeated frames), and a pair for
the token term. Every forward computes float32 logits at every position and runs the vision tower for each sequence. The
policy's visual log-probabilities are detached, as they are there. What its losses are worth is not the question here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from llamafactory.data import MultiModalDataCollatorForSeq2Seq
from llamafactory.train.trainer_utils import get_batch_logps
from torch import Tensor

from vistadpo_plugin.data.batches.collator import Media, VistaCollator, host_features
from vistadpo_plugin.data.views.views import SampledFrames
from vistadpo_plugin.training.trainer import VistaDPOTrainer

PASSES = (
    ("full", "chosen", "rejected"),
    ("full", "chosen", "irrelevant"),
    ("video_negative", "chosen", "rejected"),
    ("clip", "chosen", "rejected"),
    ("clip_negative", "chosen", "rejected"),
    ("keyframe", "chosen", "rejected"),
    ("keyframe_negative", "chosen", "rejected"),
    ("keyframe", "chosen", "rejected"),
)
RESPONSE, TOKEN = (0, 1), 7


class ReleasedCollator(VistaCollator):
    """`passes`: the host's own batch of each of PASSES, first answers first."""

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        requests = [self._request(row) for row in features]
        built = [one.views for one in self.views.build_all(requests)]
        passes = []
        for view, *answers in PASSES:
            sequences = [
                self._sequence(row, self._repeated(views[view]), row[f"{answer}_ids"])
                for answer in answers
                for row, views in zip(features, built, strict=True)
            ]
            passes.append(dict(MultiModalDataCollatorForSeq2Seq.__call__(self, sequences)))
        rows = torch.tensor([row["index"] for row in features])
        return {"rows": rows, "where": [row["where"] for row in features], "passes": passes}

    def _repeated(self, frames: SampledFrames) -> SampledFrames:
        return frames if len(frames) > 1 else SampledFrames(list(frames) * self.views.video_maxlen)

    def _sequence(self, row: dict[str, Any], frames: SampledFrames, answer: list[int]) -> dict[str, Any]:
        media = Media([], [frames])
        return host_features(self._prompt_ids(row, media), answer, media)


class ReleasedTrainer(VistaDPOTrainer):
    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        unwrapped = self.accelerator.unwrap_model(model)
        deltas = []
        for number, batch in enumerate(inputs["passes"]):
            policy = self._log_probs(model, batch)
            if number not in (*RESPONSE, TOKEN):
                policy = policy.detach()
            with torch.no_grad(), unwrapped.disable_adapter():
                reference = self._log_probs(model, batch)
            deltas.append(policy - reference)
        margins = [delta.chunk(2)[0] - delta.chunk(2)[1] for delta in deltas]
        return -sum(F.logsigmoid(self.beta * margin).mean() for margin in margins)

    @staticmethod
    def _log_probs(model: Any, batch: dict[str, Any]) -> Tensor:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        logits = model(**inputs, use_cache=False, return_dict=True).logits.to(torch.float32)
        return get_batch_logps(logits, batch["labels"])[0]
