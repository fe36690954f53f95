"""The recipe's keys that decide what a view is and which answers are scored, settled once a run."""

from __future__ import annotations

from dataclasses import dataclass

from vistadpo_plugin.arguments import VistaArguments


@dataclass(frozen=True)
class ViewKeys:
    """`terms` are those that are on, `irrelevant` says whether the irrelevant answer has a weight; the others are keys
    of `VistaArguments` without their `vista_`."""

    terms: tuple[str, ...]
    video_negative: str
    clip_negative: str
    object_negative: str
    mask_fill: str
    clip_frames: int | None
    token_view: str
    irrelevant: bool
    heed_holds: bool

    @classmethod
    def of(cls, vista: VistaArguments) -> ViewKeys:
        """Those of a recipe."""
        return cls(
            terms=vista.terms,
            video_negative=vista.vista_video_negative,
            clip_negative=vista.vista_clip_negative,
            object_negative=vista.vista_object_negative,
            mask_fill=vista.vista_mask_fill,
            clip_frames=vista.vista_clip_frames,
            token_view=vista.vista_token_view,
            irrelevant=vista.vista_irrelevant_weight > 0,
            heed_holds=vista.vista_heed_holds,
        )

    def scores(self, answer: str) -> bool:
        """Whether an answer has a say: one of weight 0 is not scored."""
        return answer != "irrelevant" or self.irrelevant

    def negative(self, term: str) -> str | None:
        """How the rejected view of a term comes about; None for a term without one."""
        return {"video": self.video_negative, "clip": self.clip_negative, "object": self.object_negative}.get(term)
