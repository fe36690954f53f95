"""The recipe's keys that decide what a view is and which answers are scored, settled once a run."""

from __future__ import annotations

from dataclasses import dataclass

from vistadpo_plugin.arguments import VistaArguments

TEMPORAL = ("reverse", "shuffle", "drop")
"""Rejected views that are the preferred one's frames at other times; they have a magnitude, see `negatives.groups`."""

CURRICULUM = (16, 8, 4, 2)
"""Magnitudes by epoch, from the easiest to tell to the hardest (Li et al., TEMPLE, AAAI 2026, arXiv 2503.16929)."""


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
    temporal_magnitude: str
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
            temporal_magnitude=vista.vista_temporal_magnitude,
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

    @property
    def stages(self) -> int:
        """After how many epochs the rejected views change no more by their magnitude."""
        temporal = any(self.negative(term) in TEMPORAL for term in self.terms)
        return len(CURRICULUM) if temporal and self.temporal_magnitude == "curriculum" else 1

    def magnitude(self, epoch: int) -> int | None:
        """That of an epoch's temporal rejected views; None: as many groups as there are frames."""
        if self.temporal_magnitude == "curriculum":
            return CURRICULUM[min(epoch, len(CURRICULUM) - 1)]
        return None if self.temporal_magnitude == "frames" else int(self.temporal_magnitude)
