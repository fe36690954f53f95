"""The recipe's `vista_*` keys: one dataclass, refused with a sentence when a value makes no sense."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_type_hints

TERMS = ("response", "video", "clip", "object", "token")
"""The five terms of Eq. 14, in the order in which they are logged."""


@dataclass
class VistaArguments:
    """Hyper-parameters of VistaDPO. The defaults are the paper's; a weight of 0 switches a term off altogether."""

    vista_response_weight: float = field(
        default=1.0, metadata={"help": "Weight of the response term, Eq. 6-9. 0: neither scored nor decoded."}
    )
    vista_video_weight: float = field(
        default=1.0, metadata={"help": "Weight of the video term, Eq. 10. 0: neither scored nor decoded."}
    )
    vista_clip_weight: float = field(
        default=0.4, metadata={"help": "Weight of the clip term, Eq. 11. 0: neither scored nor decoded."}
    )
    vista_object_weight: float = field(
        default=0.2, metadata={"help": "Weight of the object term, section 5.3. 0: neither scored nor decoded."}
    )
    vista_token_weight: float = field(
        default=0.1, metadata={"help": "Weight of the token term (TDPO2 or Eq. 12). 0: neither scored nor decoded."}
    )
    vista_relevant_weight: float = field(
        default=0.7,
        metadata={"help": "Share of the relevant rejected answer in the response term; takes the irrelevant one's too "
                          "where a row has none."},
    )  # fmt: skip
    vista_irrelevant_weight: float = field(
        default=0.3, metadata={"help": "Share of the irrelevant rejected answer in the response term."}
    )
    vista_loss: Literal["pref_loss", "robust", "exo_pair", "sppo_hard", "apo_zero", "apo_down", "discopop"] = field(
        default="pref_loss",
        metadata={"help": "Pairwise loss of the response, video, clip and object terms: what `pref_loss` says, or one "
                          "of TRL's that it has no name for."},
    )  # fmt: skip
    vista_outside_phrases: float = field(
        default=1.0,
        metadata={"help": "Weight, from 0 to 1, of the tokens outside of an answer's `phrases` in the response, video, "
                          "clip and object terms; answers without phrases count whole. 1: phrases are ignored. 0: they "
                          "alone count (RRPO)."},
    )  # fmt: skip
    vista_token_loss: Literal["tdpo2", "kl"] = field(
        default="tdpo2", metadata={"help": "Token term: TDPO2 (default) or the paper's Eq. 12, the bare KL difference."}
    )
    vista_token_alpha: float = field(
        default=0.5, metadata={"help": "Weight of the KL difference inside the TDPO2 token term."}
    )
    vista_token_view: Literal["auto", "keyframe", "video"] = field(
        default="auto",
        metadata={"help": "What the token term looks at: the keyframe where a row has one, else the full video (auto); "
                          "only keyframes; or always the full video."},
    )  # fmt: skip
    vista_video_negative: Literal["other", "noise", "black", "reverse", "shuffle", "drop"] = field(
        default="other",
        metadata={"help": "Rejected view of the video term where a row brings no `rejected_video`: the video of the "
                          "row's mate, noise, black frames, or the same frames reversed, shuffled or dropped."},
    )  # fmt: skip
    vista_mates: Literal["random", "alike"] = field(
        default="random",
        metadata={"help": "Which other row's video is a row's mate: any, drawn anew every epoch, or one of those that "
                          "look most like its own and are another recording."},
    )  # fmt: skip
    vista_clip_negative: Literal["non_event", "other", "noise", "black", "reverse", "shuffle", "drop"] = field(
        default="non_event",
        metadata={"help": "Rejected view of the clip term where a row brings no `rejected_clip`: the longest stretch "
                          "without the event, or as for the video term."},
    )  # fmt: skip
    vista_temporal_magnitude: Literal["frames", "16", "8", "4", "2", "curriculum"] = field(
        default="frames",
        metadata={"help": "How far reverse, shuffle and drop go: in how many groups of frames a view's order changes, "
                          "or one of how many frames stays. The less, the harder to tell. frames: every frame is a "
                          "group, and one stays. curriculum: 16, 8, 4 and 2, an epoch each, then 2 (TEMPLE)."},
    )  # fmt: skip
    vista_object_negative: Literal["mask", "move", "black", "noise"] = field(
        default="mask",
        metadata={"help": "Rejected view of the object term where a row brings no `rejected_keyframe`: the box "
                          "masked, the object moved to the far corner, or a black or noise frame."},
    )  # fmt: skip
    vista_mask_fill: Literal["mean", "black", "white", "blur"] = field(
        default="mean",
        metadata={"help": "What fills the masked box: the frame's mean colour, black, white, or a blur."},
    )
    vista_clip_frames: int | None = field(
        default=None, metadata={"help": "Frames of the clip views; as many as the full view has when absent."}
    )
    vista_heed_holds: bool = field(
        default=True,
        metadata={"help": "A term is off for the rows whose `holds_in_rejected_view` names it; false: the field is "
                          "ignored, to find out what it is worth."},
    )  # fmt: skip
    vista_prefix_sharing: bool = field(
        default=True,
        metadata={"help": "Answers on the same view share their video and prompt in one packed row; false: one row an "
                          "answer, slower."},
    )  # fmt: skip
    vista_activation_memory: float = field(
        default=0.5,
        metadata={"help": "GiB of activations, on every device, that are kept for the backward pass instead of being "
                          "computed twice by gradient checkpointing: the more, the faster. 0: none."},
    )  # fmt: skip
    vista_reference_cache: str | None = field(
        default=None,
        metadata={"help": "Folder in which the reference's log-probabilities are kept: computed once before training, "
                          "reused by later epochs, runs and resumes. Off when absent."},
    )  # fmt: skip
    vista_on_bad_row: Literal["error", "skip"] = field(
        default="error",
        metadata={"help": "A row that cannot be used stops the run before its first step (error), or is counted and "
                          "listed in skipped_rows.jsonl in the output folder (skip)."},
    )  # fmt: skip

    @property
    def weights(self) -> dict[str, float]:
        """Weight of every term, in the order of `TERMS`."""
        return {term: getattr(self, f"vista_{term}_weight") for term in TERMS}

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms that are on."""
        return tuple(term for term, weight in self.weights.items() if weight > 0)

    def check_vista_values(self) -> None:
        """Raise ValueError with a sentence that names the key and what is allowed."""
        hints = get_type_hints(VistaArguments)
        for item in fields(VistaArguments):
            value, hint = getattr(self, item.name), hints[item.name]
            if item.name == "vista_temporal_magnitude" and isinstance(value, int) and not isinstance(value, bool):
                value = str(value)  # as YAML has it
                setattr(self, item.name, value)
            if get_args(hint) and all(isinstance(choice, str) for choice in get_args(hint)):
                if value not in get_args(hint):
                    raise ValueError(f"`{item.name}` is {value!r}; allowed: {', '.join(get_args(hint))}.")
            elif hint is float:
                if not is_finite_number(value) or value < 0:
                    raise ValueError(f"`{item.name}` is {value!r}; allowed: a finite number, 0 or larger.")
                setattr(self, item.name, float(value))
            elif hint is bool and not isinstance(value, bool):
                raise ValueError(f"`{item.name}` is {value!r}; allowed: true, false.")
        frames = self.vista_clip_frames
        if frames is not None and (isinstance(frames, bool) or not isinstance(frames, int) or frames < 1):
            raise ValueError(
                f"`vista_clip_frames` is {frames!r}; allowed: a whole number, 1 or larger, or leave it out."
            )
        folder = self.vista_reference_cache
        if folder is not None and (not isinstance(folder, str) or not folder.strip()):
            raise ValueError(f"`vista_reference_cache` is {folder!r}; allowed: the path of a folder, or leave it out.")
        if not self.terms:
            raise ValueError(
                "every vista_*_weight of a term is 0, so there is nothing to train: set at least one of "
                + ", ".join(f"`vista_{term}_weight`" for term in TERMS)
                + " above 0."
            )
        if "response" in self.terms and self.vista_relevant_weight + self.vista_irrelevant_weight == 0:
            raise ValueError(
                "`vista_relevant_weight` and `vista_irrelevant_weight` are both 0, so the response term has no "
                "rejected answer: set one above 0, or `vista_response_weight: 0`."
            )

    def vista_keys_that_differ(self) -> list[str]:
        """Names of the keys whose value is not the default."""
        return [item.name for item in fields(VistaArguments) if getattr(self, item.name) != item.default]


def with_vista_keys(host_arguments: type) -> type:
    """A subclass of the host's fine-tuning arguments that knows the vista_* keys and `stage: vistadpo`."""

    @dataclass
    class FinetuningArguments(VistaArguments, host_arguments):
        """The host's fine-tuning arguments plus the vista_* keys."""

        stage: Literal["pt", "sft", "rm", "ppo", "dpo", "kto", "vistadpo"] = field(
            default="sft", metadata={"help": "Which stage will be performed in training."}
        )

        def __post_init__(self) -> None:
            self.use_vistadpo = self.stage == "vistadpo"
            if self.use_vistadpo:
                self.stage = "dpo"  # so that every check the host makes for DPO keeps holding
                self.check_vista_values()
                check_preference_keys(self)
                refuse_megatron()
            elif self.vista_keys_that_differ():
                keys = ", ".join(f"`{key}`" for key in self.vista_keys_that_differ())
                raise ValueError(
                    f"{keys}: no effect in `stage: {self.stage}`. Set `stage: vistadpo`, or remove the key."
                )
            super().__post_init__()

    return FinetuningArguments


SMOOTHED = ("robust", "exo_pair")
"""Values of `vista_loss` that `dpo_label_smoothing` is a part of; of `pref_loss` it is sigmoid alone, the host says."""


def pairwise_loss(args: Any) -> str:
    """Name of the pairwise loss of a recipe, see `losses.preference_loss`."""
    return args.pref_loss if args.vista_loss == "pref_loss" else args.vista_loss


def check_preference_keys(args: Any) -> None:
    """Raise ValueError for the host's preference keys that have no meaning in the hierarchical objective."""
    if args.pref_loss not in ("sigmoid", "hinge", "ipo"):
        raise ValueError(
            f"`pref_loss: {args.pref_loss}` is not defined for `stage: vistadpo`; allowed: sigmoid, hinge, ipo."
        )
    if not is_finite_number(args.pref_beta) or args.pref_beta <= 0:
        raise ValueError(f"`pref_beta` is {args.pref_beta!r}; `stage: vistadpo` allows a finite number above 0.")
    if not is_finite_number(args.dpo_label_smoothing) or not 0 <= args.dpo_label_smoothing < 0.5:
        raise ValueError(f"`dpo_label_smoothing` is {args.dpo_label_smoothing!r}; allowed: from 0 to below 0.5.")
    unsupported = {"pref_bco_weight": 0.0, "include_effective_tokens_per_second": False}
    for key, off in unsupported.items():
        if getattr(args, key) != off:
            raise ValueError(f"`{key}` is not supported in `stage: vistadpo`; remove it.")
    _check_vista_loss(args)
    _check_anchor(args)
    _check_phrases(args)


def _check_vista_loss(args: Any) -> None:
    if args.vista_loss == "pref_loss":
        return
    if args.pref_loss != "sigmoid":
        raise ValueError(
            f"`vista_loss: {args.vista_loss}` stands in the place of `pref_loss: {args.pref_loss}`: remove one of them."
        )
    if args.terms == ("token",):
        raise ValueError(
            f"`vista_loss: {args.vista_loss}` has no effect: the token term has a loss of its own "
            "(`vista_token_loss`), and every other term is off. Remove it."
        )
    if args.dpo_label_smoothing > 0 and args.vista_loss not in SMOOTHED:
        raise ValueError(
            f"`dpo_label_smoothing` has no effect with `vista_loss: {args.vista_loss}`; it is part of "
            f"{', '.join(SMOOTHED)} and of `pref_loss: sigmoid`. Remove one of them."
        )


def _check_anchor(args: Any) -> None:
    """The host's supervised part, and its length desensitization."""
    if not is_finite_number(args.pref_ftx) or args.pref_ftx < 0:
        raise ValueError(f"`pref_ftx` is {args.pref_ftx!r}; allowed: a finite number, 0 or larger.")
    if args.pref_ftx > 0 and "response" not in args.terms:
        raise ValueError(
            "`pref_ftx` needs the chosen answer on the whole video, which the response term scores: set "
            "`vista_response_weight` above 0, or remove it."
        )
    if args.ld_alpha is None:
        return
    if not is_finite_number(args.ld_alpha) or not 0 <= args.ld_alpha <= 1:
        raise ValueError(f"`ld_alpha` is {args.ld_alpha!r}; allowed: from 0 to 1, or leave it out.")
    if "response" not in args.terms and not ("token" in args.terms and args.vista_token_loss == "tdpo2"):
        raise ValueError(
            "`ld_alpha` has no effect: of the terms that are on none compares the log-probabilities of two answers. "
            "Remove it."
        )


def _check_phrases(args: Any) -> None:
    outside = args.vista_outside_phrases
    if outside > 1:
        raise ValueError(f"`vista_outside_phrases` is {outside!r}; allowed: from 0 to 1.")
    if outside == 1:
        return
    if args.terms == ("token",):
        raise ValueError(
            f"`vista_outside_phrases: {outside:g}` has no effect: the token term takes whole answers, and every other "
            "term is off. Remove it."
        )
    if args.ld_alpha is not None:
        raise ValueError(
            "`vista_outside_phrases` and `ld_alpha` both weigh the tokens of answers; together they are not defined: "
            "remove one of them."
        )


def refuse_megatron() -> None:
    """Raise ValueError where the host would dispatch `stage: dpo`, as which it knows ours, past the run we exchange."""
    if os.environ.get("USE_MCA", "0").lower() in ("true", "y", "1"):
        raise ValueError("USE_MCA=1 would train plain DPO: `stage: vistadpo` does not go with it. Unset USE_MCA.")


def is_finite_number(value: Any) -> bool:
    """A number as YAML and JSON write it: no bool, no text, no NaN, infinity or integer beyond all floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def check_vista_names(keys: Iterable[str]) -> None:
    """Raise ValueError for a key that starts with `vista` and is none of ours, naming the nearest and all."""
    known = [item.name for item in fields(VistaArguments)]
    for key in keys:
        if key.startswith("vista") and key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise ValueError(f"unknown key `{key}`.{hint} The vista_ keys are: {', '.join(known)}.")


def keys_set(args: dict[str, Any] | list[str]) -> list[str]:
    """Names of the keys in a recipe, or of the options on a command line."""
    if isinstance(args, dict):
        return list(args)
    # argparse takes `--vista-clip-weight` for `--vista_clip_weight`.
    return [word.removeprefix("--").split("=")[0].replace("-", "_") for word in args if word.startswith("--")]
