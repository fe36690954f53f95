"""The vista_* keys through the host's own parser: YAML dictionaries, command-line lists and `key=value` overrides."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import yaml
from llamafactory.hparams import get_eval_args, get_infer_args, get_train_args
from llamafactory.train.tuner import run_exp

from vistadpo_plugin.arguments import TERMS, VistaArguments, pairwise_loss
from vistadpo_plugin.host import is_vistadpo

KEYS = [item.name for item in fields(VistaArguments)]
HINTS = get_type_hints(VistaArguments)
CHOICES = {key: get_args(HINTS[key]) for key in KEYS if get_origin(HINTS[key]) is Literal}
FLOATS = [key for key in KEYS if HINTS[key] is float]
COUNTS = [key for key in KEYS if HINTS[key] == int | None]
SWITCHES = [key for key in KEYS if HINTS[key] is bool]
FOLDERS = [key for key in KEYS if HINTS[key] == str | None]

WRONG_NUMBERS = (-0.1, -1, float("nan"), float("inf"), "0.4", "much", True, None, [1.0], 10**400)
WRONG_CHOICES = ("nonsense", "", 3, True, None)
WRONG_COUNTS = (0, -1, 2.5, True, "4")
WRONG_SWITCHES = ("false", "yes", "", 0, 1, None)
WRONG_FOLDERS = ("", "  ", 3, True, ["folder"])

PAPER = {
    "vista_response_weight": 1.0,
    "vista_video_weight": 1.0,
    "vista_clip_weight": 0.4,
    "vista_object_weight": 0.2,
    "vista_token_weight": 0.1,
    "vista_relevant_weight": 0.7,
    "vista_irrelevant_weight": 0.3,
    "vista_outside_phrases": 1.0,
    "vista_token_alpha": 0.5,
    "vista_token_loss": "tdpo2",
}


@pytest.fixture
def base(tmp_path: Path) -> dict[str, Any]:
    """The least a training recipe needs; nothing of it is opened by the parser."""
    return {
        "model_name_or_path": "model",
        "stage": "vistadpo",
        "do_train": True,
        "dataset": "rows",
        "template": "default",
        "output_dir": str(tmp_path / "out"),
        "report_to": "none",
        "use_cpu": True,
    }


@pytest.fixture
def parse(base: dict[str, Any]) -> Callable[..., Any]:
    """Fine-tuning arguments of the recipe with changes, as from YAML."""
    return lambda **changes: get_train_args({**base, **changes})[3]


@pytest.fixture
def parse_cli(base: dict[str, Any]) -> Callable[..., Any]:
    """Fine-tuning arguments of the recipe with more command-line words."""
    return lambda *words: get_train_args([f"--{key}={value}" for key, value in base.items()] + list(words))[3]


@pytest.fixture
def parse_file(base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Fine-tuning arguments of a recipe file, with `key=value` words behind its name on the command line."""

    def parse(*overrides: str, **changes: Any) -> Any:
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({**base, **changes}))
        monkeypatch.setattr(sys, "argv", ["llamafactory-cli", str(path), *overrides])
        return get_train_args()[3]

    return parse


# --- the stage -------------------------------------------------------------------------------------------------------


def test_stage_arrives_as_dpo_with_a_flag(parse: Callable[..., Any]) -> None:
    args = parse()
    assert args.stage == "dpo" and is_vistadpo(args)
    assert args.use_ref_model  # the host derives this from stage dpo and pref_loss


@pytest.mark.parametrize("stage", ["dpo", "sft"])
def test_other_stages_have_no_flag(parse: Callable[..., Any], stage: str) -> None:
    args = parse(stage=stage)
    assert args.stage == stage and not is_vistadpo(args)


@pytest.mark.parametrize("key", ["predict_with_generate", "neat_packing", "train_on_prompt", "mask_history"])
def test_the_hosts_checks_for_dpo_hold(parse: Callable[..., Any], key: str) -> None:
    with pytest.raises(ValueError, match="except SFT"):
        parse(**{key: True})


def test_stage_from_the_command_line(parse_cli: Callable[..., Any], parse_file: Callable[..., Any]) -> None:
    assert is_vistadpo(parse_cli())
    assert is_vistadpo(parse_file("stage=vistadpo", stage="sft"))


# --- defaults and values that arrive ---------------------------------------------------------------------------------


@pytest.mark.parametrize("key", PAPER)
def test_default_is_the_papers(parse: Callable[..., Any], parse_cli: Callable[..., Any], key: str) -> None:
    assert getattr(parse(), key) == getattr(parse_cli(), key) == PAPER[key]


def test_all_terms_are_on_by_default(parse: Callable[..., Any]) -> None:
    assert parse().terms == TERMS


@pytest.mark.parametrize("key", FLOATS)
def test_numbers_arrive_as_floats(parse: Callable[..., Any], parse_cli: Callable[..., Any], key: str) -> None:
    for args in (parse(**{key: 0}), parse_cli(f"--{key}", "0")):
        assert getattr(args, key) == 0.0 and isinstance(getattr(args, key), float)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in CHOICES.items() for value in values])
def test_every_choice_is_accepted(
    parse: Callable[..., Any], parse_cli: Callable[..., Any], key: str, value: str
) -> None:
    assert getattr(parse(**{key: value}), key) == getattr(parse_cli(f"--{key}={value}"), key) == value


def test_a_magnitude_is_a_number_to_yaml(parse: Callable[..., Any]) -> None:
    assert parse(vista_temporal_magnitude=4).vista_temporal_magnitude == "4"
    assert parse(vista_temporal_magnitude="4").vista_temporal_magnitude == "4"
    with pytest.raises(ValueError, match="allowed: frames, 16, 8, 4, 2, curriculum"):
        parse(vista_temporal_magnitude=1)


def test_clip_frames(parse: Callable[..., Any], parse_cli: Callable[..., Any]) -> None:
    assert parse().vista_clip_frames is None
    assert parse(vista_clip_frames=None).vista_clip_frames is None
    assert parse(vista_clip_frames=1).vista_clip_frames == parse_cli("--vista_clip_frames=1").vista_clip_frames == 1


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("key", SWITCHES)
def test_switches(parse: Callable[..., Any], parse_cli: Callable[..., Any], key: str, value: bool) -> None:
    assert getattr(parse(), key) is getattr(parse_cli(), key) is True
    for args in (parse(**{key: value}), parse_cli(f"--{key}={str(value).lower()}"), parse_cli(f"--{key}", str(value))):
        assert getattr(args, key) is value


@pytest.mark.parametrize("key", FOLDERS)
def test_folders(parse: Callable[..., Any], parse_cli: Callable[..., Any], key: str) -> None:
    assert getattr(parse(), key) is getattr(parse_cli(), key) is getattr(parse(**{key: None}), key) is None
    assert getattr(parse(**{key: "saves/a b"}), key) == getattr(parse_cli(f"--{key}=saves/a b"), key) == "saves/a b"


@pytest.mark.parametrize("term", TERMS)
def test_weight_zero_switches_one_term_off(parse: Callable[..., Any], term: str) -> None:
    args = parse(**{f"vista_{term}_weight": 0})
    assert args.terms == tuple(name for name in TERMS if name != term)
    assert args.weights[term] == 0


def test_overrides_on_the_command_line_win(parse_file: Callable[..., Any]) -> None:
    args = parse_file(
        "vista_clip_weight=0.0",
        "vista_token_loss=kl",
        "vista_clip_frames=null",
        "vista_video_weight=1e-2",
        "vista_prefix_sharing=false",
        "vista_reference_cache=saves/reference",
        vista_clip_weight=0.9,
        vista_clip_frames=4,
        vista_object_weight=0.7,
    )
    assert args.vista_clip_weight == 0.0 and "clip" not in args.terms
    assert args.vista_token_loss == "kl"
    assert args.vista_clip_frames is None
    assert args.vista_video_weight == 0.01
    assert args.vista_prefix_sharing is False
    assert args.vista_reference_cache == "saves/reference"
    assert args.vista_object_weight == 0.7  # not overridden


# --- unknown keys ----------------------------------------------------------------------------------------------------


def assert_names_the_typo(error: pytest.ExceptionInfo[ValueError]) -> None:
    text = str(error.value)
    assert "`vista_vidoe_weight`" in text
    assert "Did you mean `vista_video_weight`?" in text
    listed = text.split("The vista_ keys are: ")[1]
    assert [key for key in KEYS if not re.search(rf"\b{key}\b", listed)] == []


def test_unknown_key_in_a_recipe(parse: Callable[..., Any]) -> None:
    with pytest.raises(ValueError) as error:
        parse(vista_vidoe_weight=1.0)
    assert_names_the_typo(error)


@pytest.mark.parametrize("words", [("--vista_vidoe_weight", "1"), ("--vista_vidoe_weight=1",)])
def test_unknown_key_on_the_command_line(parse_cli: Callable[..., Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError) as error:
        parse_cli(*words)
    assert_names_the_typo(error)


def test_unknown_key_as_an_override(parse_file: Callable[..., Any]) -> None:
    with pytest.raises(ValueError) as error:
        parse_file("vista_vidoe_weight=1")
    assert_names_the_typo(error)


@pytest.mark.parametrize("stage", ["dpo", "sft"])
def test_unknown_key_in_another_stage(parse: Callable[..., Any], stage: str) -> None:
    with pytest.raises(ValueError, match="`vista_vidoe_weight`"):
        parse(stage=stage, vista_vidoe_weight=1.0)


def test_unknown_key_while_the_host_lets_extra_keys_pass(
    parse: Callable[..., Any], base: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLOW_EXTRA_ARGS", "1")
    assert is_vistadpo(parse(some_other_key=1))
    with pytest.raises(ValueError, match="`vista_vidoe_weight`"):
        parse(vista_vidoe_weight=1.0)
    with pytest.raises(ValueError, match="`vista_vidoe_weight`"):
        run_exp({**base, "vista_vidoe_weight": 1.0})


def test_unknown_keys_of_the_host_still_fail(parse: Callable[..., Any], parse_cli: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="learning_rat"):
        parse(learning_rat=1.0)
    with pytest.raises(ValueError, match="learning_rat"):
        parse_cli("--not_learning_rat=1.0")


def test_key_that_resembles_none(parse: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="unknown key `vista_zzzzzzzzzz`. The vista_ keys are") as error:
        parse(vista_zzzzzzzzzz=1)
    assert "Did you mean" not in str(error.value)


def test_dashed_spelling_is_the_same_key(parse_cli: Callable[..., Any]) -> None:
    # The help lists `--vista_clip_weight VISTA_CLIP_WEIGHT, --vista-clip-weight VISTA_CLIP_WEIGHT`.
    assert parse_cli("--vista-clip-weight=0.0").vista_clip_weight == 0.0


# --- wrong values ----------------------------------------------------------------------------------------------------


def test_every_kind_of_key_has_wrong_values_here() -> None:
    assert sorted([*FLOATS, *CHOICES, *COUNTS, *SWITCHES, *FOLDERS]) == sorted(KEYS)


def refusal(parse: Callable[..., Any], key: str, value: Any) -> str:
    """The sentence that refuses the value; it names key and value."""
    with pytest.raises(ValueError) as error:
        parse(**{key: value})
    assert f"`{key}`" in str(error.value)
    assert repr(value) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("value", WRONG_NUMBERS, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize("key", FLOATS)
def test_wrong_number(parse: Callable[..., Any], key: str, value: Any) -> None:
    assert "allowed: a finite number, 0 or larger" in refusal(parse, key, value)


@pytest.mark.parametrize("value", WRONG_CHOICES, ids=repr)
@pytest.mark.parametrize("key", CHOICES)
def test_wrong_choice(parse: Callable[..., Any], key: str, value: Any) -> None:
    assert ", ".join(CHOICES[key]) in refusal(parse, key, value)


@pytest.mark.parametrize("value", WRONG_COUNTS, ids=repr)
@pytest.mark.parametrize("key", COUNTS)
def test_wrong_count(parse: Callable[..., Any], key: str, value: Any) -> None:
    assert "a whole number, 1 or larger" in refusal(parse, key, value)


@pytest.mark.parametrize("value", WRONG_SWITCHES, ids=repr)
@pytest.mark.parametrize("key", SWITCHES)
def test_wrong_switch(parse: Callable[..., Any], key: str, value: Any) -> None:
    assert "allowed: true, false" in refusal(parse, key, value)


@pytest.mark.parametrize("value", WRONG_FOLDERS, ids=repr)
@pytest.mark.parametrize("key", FOLDERS)
def test_wrong_folder(parse: Callable[..., Any], key: str, value: Any) -> None:
    assert "the path of a folder" in refusal(parse, key, value)


@pytest.mark.parametrize("key", SWITCHES)
def test_wrong_switch_on_the_command_line(
    parse_cli: Callable[..., Any], capsys: pytest.CaptureFixture[str], key: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_cli(f"--{key}=perhaps")
    assert stop.value.code != 0
    assert re.search(rf"argument --{key}\b.*perhaps", capsys.readouterr().err)


@pytest.mark.parametrize("key", FLOATS)
def test_wrong_number_on_the_command_line(
    parse_cli: Callable[..., Any], capsys: pytest.CaptureFixture[str], key: str
) -> None:
    for value in ("-1", "nan"):
        with pytest.raises(ValueError, match=f"`{key}`"):
            parse_cli(f"--{key}={value}")
    with pytest.raises(SystemExit) as stop:
        parse_cli(f"--{key}=much")
    assert stop.value.code != 0
    assert re.search(rf"argument --{key}\b.*'much'", capsys.readouterr().err)


@pytest.mark.parametrize("key", CHOICES)
def test_wrong_choice_on_the_command_line(
    parse_cli: Callable[..., Any], capsys: pytest.CaptureFixture[str], key: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_cli(f"--{key}=nonsense")
    assert stop.value.code != 0
    message = capsys.readouterr().err.rsplit("error:", 1)[1]
    assert f"--{key}" in message and all(choice in message for choice in CHOICES[key])


def test_wrong_value_as_an_override(parse_file: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="`vista_clip_weight` is 'much'; allowed: a finite number"):
        parse_file("vista_clip_weight=much")


def test_all_weights_zero(parse: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="nothing to train") as error:
        parse(**{f"vista_{term}_weight": 0.0 for term in TERMS})
    assert all(f"`vista_{term}_weight`" in str(error.value) for term in TERMS)


def test_response_term_without_a_rejected_answer(parse: Callable[..., Any]) -> None:
    shares = {"vista_relevant_weight": 0, "vista_irrelevant_weight": 0}
    with pytest.raises(ValueError, match="`vista_relevant_weight` and `vista_irrelevant_weight` are both 0"):
        parse(**shares)
    assert "response" not in parse(**shares, vista_response_weight=0).terms


# --- keys that do not go together ------------------------------------------------------------------------------------

CHANGED: dict[str, Any] = {
    **{key: 0.123 for key in FLOATS},
    **{key: choices[-1] for key, choices in CHOICES.items()},
    **{key: 3 for key in COUNTS},
    **{key: False for key in SWITCHES},
    **{key: "saves/reference" for key in FOLDERS},
}


@pytest.mark.parametrize("stage", ["dpo", "sft"])
@pytest.mark.parametrize("key", KEYS)
def test_key_without_the_stage(parse: Callable[..., Any], stage: str, key: str) -> None:
    with pytest.raises(ValueError) as error:
        parse(stage=stage, **{key: CHANGED[key]})
    assert f"`{key}`" in str(error.value)
    assert f"`stage: {stage}`" in str(error.value) and "`stage: vistadpo`" in str(error.value)


REFUSED = [
    ("pref_loss", "orpo", "sigmoid, hinge, ipo"),
    ("pref_loss", "simpo", "sigmoid, hinge, ipo"),
    ("pref_loss", "kto_pair", "sigmoid, hinge, ipo"),
    ("pref_beta", 0, "above 0"),
    ("pref_beta", -0.1, "above 0"),
    ("dpo_label_smoothing", 0.7, "from 0 to below 0.5"),
    ("dpo_label_smoothing", 0.5, "from 0 to below 0.5"),
    ("dpo_label_smoothing", -0.1, "from 0 to below 0.5"),
    ("pref_ftx", -0.1, "0 or larger"),
    ("pref_bco_weight", 0.1, "remove it"),
    ("ld_alpha", 1.5, "from 0 to 1"),
    ("ld_alpha", -0.5, "from 0 to 1"),
]


@pytest.mark.parametrize(("key", "value", "allowed"), REFUSED)
def test_preference_key_of_the_host_that_has_no_meaning_here(
    parse: Callable[..., Any], key: str, value: Any, allowed: str
) -> None:
    with pytest.raises(ValueError) as error:
        parse(**{key: value})
    assert f"`{key}" in str(error.value)
    assert allowed in str(error.value)


@pytest.mark.parametrize(("key", "value", "allowed"), REFUSED)
def test_plain_dpo_takes_what_the_host_takes(parse: Callable[..., Any], key: str, value: Any, allowed: str) -> None:
    assert getattr(parse(stage="dpo", **{key: value}), key) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.1", None], ids=repr)
def test_preference_beta_that_is_no_finite_number(parse: Callable[..., Any], value: Any) -> None:
    with pytest.raises(ValueError, match="`pref_beta`"):
        parse(pref_beta=value)


@pytest.mark.parametrize("loss", ["sigmoid", "hinge", "ipo"])
def test_preference_losses_that_are_defined(parse: Callable[..., Any], loss: str) -> None:
    assert parse(pref_loss=loss).pref_loss == loss


@pytest.mark.parametrize("key", ["pref_ftx", "ld_alpha"])
@pytest.mark.parametrize("value", [float("nan"), "0.1", True], ids=repr)
def test_anchor_that_is_no_finite_number(parse: Callable[..., Any], key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"`{key}`"):
        parse(**{key: value})


def test_anchor_that_is_defined(parse: Callable[..., Any]) -> None:
    args = parse(pref_ftx=1, ld_alpha=0)
    assert (args.pref_ftx, args.ld_alpha) == (1, 0)


ALONE = {
    term: {f"vista_{other}_weight": float(other == term) for other in TERMS} for term in ("response", "video", "token")
}
WITHOUT_EFFECT = [
    ({"pref_ftx": 0.1, **ALONE["video"]}, "`pref_ftx` needs .*`vista_response_weight`"),
    ({"ld_alpha": 0.5, **ALONE["video"]}, "`ld_alpha` has no effect"),
    ({"ld_alpha": 0.5, **ALONE["token"], "vista_token_loss": "kl"}, "`ld_alpha` has no effect"),
    ({"vista_outside_phrases": 0.5, **ALONE["token"]}, "`vista_outside_phrases: 0.5` has no effect"),
    ({"vista_outside_phrases": 0.5, "ld_alpha": 0.5}, "`vista_outside_phrases` and `ld_alpha`"),
    ({"vista_outside_phrases": 1.5}, "`vista_outside_phrases` is 1.5; allowed: from 0 to 1"),
    ({"vista_loss": "apo_zero", **ALONE["token"]}, "`vista_loss: apo_zero` has no effect"),
    ({"vista_loss": "apo_zero", "dpo_label_smoothing": 0.1}, "`dpo_label_smoothing` has no effect.*robust, exo_pair"),
    ({"vista_loss": "apo_zero", "pref_loss": "hinge"}, "in the place of `pref_loss: hinge`"),
]


@pytest.mark.parametrize(("changes", "reason"), WITHOUT_EFFECT)
def test_preference_key_without_effect(parse: Callable[..., Any], changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(**changes)


def test_preference_keys_with_effect(parse: Callable[..., Any]) -> None:
    """What stands beside each refusal above, and goes."""
    for changes in (
        {"pref_ftx": 0.1, **ALONE["response"]},
        {"ld_alpha": 0.5, **ALONE["token"]},
        {"vista_loss": "apo_zero", **ALONE["video"]},
        {"vista_outside_phrases": 0, **ALONE["video"]},
        {"vista_outside_phrases": 1, "ld_alpha": 0.5},
    ):
        parse(**changes)
    for loss in ("robust", "exo_pair"):  # the host takes smoothing with its sigmoid alone
        args = parse(vista_loss=loss, dpo_label_smoothing=0.1)
        assert (pairwise_loss(args), args.pref_loss, args.dpo_label_smoothing) == (loss, "sigmoid", 0.1)
    assert pairwise_loss(parse(pref_loss="hinge")) == "hinge"


def test_label_smoothing_that_is_defined(parse: Callable[..., Any]) -> None:
    assert parse(dpo_label_smoothing=0.1).dpo_label_smoothing == 0.1


# --- the other commands and the help ---------------------------------------------------------------------------------


def test_recipes_for_inference_without_our_keys() -> None:
    finetuning_args = get_infer_args({"model_name_or_path": "model", "template": "default"})[2]
    assert finetuning_args.stage == "sft" and not is_vistadpo(finetuning_args)


def test_recipes_for_inference_with_the_keys_of_training() -> None:
    recipe = {"model_name_or_path": "model", "template": "default", "stage": "vistadpo", "vista_clip_weight": 0.0}
    assert get_infer_args(recipe)[2].vista_clip_weight == 0.0
    with pytest.raises(ValueError, match="`vista_vidoe_weight`"):
        get_infer_args({**recipe, "vista_vidoe_weight": 1.0})


def test_recipes_for_the_hosts_evaluation() -> None:
    recipe = {"model_name_or_path": "model", "template": "default", "task": "mmlu_test", "task_dir": "nowhere"}
    assert not is_vistadpo(get_eval_args(recipe)[3])


def test_help_documents_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_exp(["-h"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "--pref_beta" in printed  # it is the help of `train`, not of one group of arguments
    assert [key for key in KEYS if not re.search(rf"^ +--{key}\b", printed, re.MULTILINE)] == []
    # Help is wrapped to the width of the terminal, so all white space goes before the texts are compared.
    dense = re.sub(r"\s", "", printed)
    texts = {item.name: re.sub(r"\s", "", item.metadata["help"]) for item in fields(VistaArguments)}
    assert [key for key, text in texts.items() if text not in dense] == []
    assert re.search(r"--stage \{[a-z,]*vistadpo\}", printed)
