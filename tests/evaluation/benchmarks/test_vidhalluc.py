"""VidHalluc: the rules of its four tasks beside a second writing of the official ones, and figures by hand."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from vistadpo_plugin.evaluation.benchmarks.vidhalluc.actions import chosen_letters, vidhalluc_bqa, vidhalluc_mcq
from vistadpo_plugin.evaluation.benchmarks.vidhalluc.order import order_of, vidhalluc_tsh
from vistadpo_plugin.evaluation.benchmarks.vidhalluc.scene import (
    likeness,
    matthews,
    read_places,
    read_reply,
    vidhalluc_sth,
    where_score,
)
from vistadpo_plugin.evaluation.rank import asks_yes_or_no


def put(folder: Path, name: str, content: Any) -> Path:
    (folder / name).write_text(json.dumps(content))
    return folder


def totals(score: Any) -> dict[str, tuple[float, int]]:
    return {name: (figure.total, figure.of) for name, figure in score.figures.items()}


BQA = {
    "g1": [
        {"q": "Does he run?", "a": {"v1": "Yes", "v2": "No"}},
        {"q": "Does he sit?", "a": {"v1": "No", "v2": "Yes"}},
    ],
    "g2": [{"q": "Does it fly?", "a": {"v3": "No"}}],
}


def test_yes_no_questions_are_right_when_all_their_clips_are(tmp_path: Path) -> None:
    """Of three questions the last is right; the second has one wrong clip, the first a word that is neither."""
    questions = vidhalluc_bqa.questions(put(tmp_path, "ach_binaryqa.json", BQA))
    assert [question.id for question in questions] == ["g1/0/v1", "g1/0/v2", "g1/1/v1", "g1/1/v2", "g2/0/v3"]
    assert questions[0].prompt == "Does he run? Only answer with a single word 'Yes' or 'No'."
    assert questions[4].video == "v3.mp4" and asks_yes_or_no(questions)
    said = ["yes, he does", "Not", "no.", "No", " NO. Yes"]
    replies = {question.id: reply for question, reply in zip(questions, said, strict=True)}
    score = vidhalluc_bqa.score(questions, replies)
    assert totals(score) == {"accuracy": (1, 3), "clips": (3, 5), "yes rate": (1, 5)}
    assert score.counts == {"missing": 0, "incomplete": 0, "unparsable": 1}
    del replies["g1/0/v2"]
    score = vidhalluc_bqa.score(questions, replies)
    assert totals(score)["accuracy"] == (1, 2) and score.counts["incomplete"] == score.counts["missing"] == 1


CHOICES = {"A": "Running", "B": "sit", "C": "Jumping high"}


def official_letters(said: str, choices: dict[str, str]) -> set[str]:
    """eval_mcq.py: extract_answer, and match_model_answer where that finds nothing."""
    found = {letter.upper() for letter in re.findall(r"\b[A-D]\b", said)}
    if found:
        return found
    for key, text in choices.items():
        if text.lower() in said.lower():
            return {key.strip().upper()}
    return set()


def test_letters_are_those_of_the_official_rule() -> None:
    words = ["", "A", "b", "AB", "A, B", "A.C", "D", "running", "He sits", "A man jumping high", "E", "none", "(B)"]
    for reply in [*words, *map(" ".join, itertools.product(words, repeat=2))]:
        assert chosen_letters(reply, CHOICES) == official_letters(reply, CHOICES), reply
    assert chosen_letters("AB", CHOICES) == set() and chosen_letters("A man sits", CHOICES) == {"A"}


def test_several_options_have_to_be_named_all(tmp_path: Path) -> None:
    entry = {"Question": "What is done?", "Choices": CHOICES, "Correct Answer": "AB"}
    content = {"g": {"v1": entry, "v2": {**entry, "Correct Answer": "C"}, "v3": entry}}
    questions = vidhalluc_mcq.questions(put(tmp_path, "ach_mcq.json", content))
    assert questions[0].prompt == (
        "What is done? Please select the correct answer (one or more options), only return your answer(s). "
        "(e.g., ABCD)\nChoices:\nA. Running\nB. sit\nC. Jumping high\n"
    )
    score = vidhalluc_mcq.score(questions, {"g/v1": "B and A", "g/v2": "jumping high", "g/v3": "AB"})
    assert totals(score) == {"accuracy": (2, 3)} and score.counts == {"missing": 0, "unparsable": 1}


def official_order(said: str) -> str:
    """eval_tsh.py, model_answer_to_correct_answer."""
    said = said.lower()
    if said in ("ab", "ba", "a", "b"):
        return said.upper()
    if "not clear" in said or "no clear" in said:
        return "None"
    first, second = "action a" in said, "action b" in said
    if not (first and second):
        return "A" if first else "B" if second else "None"
    one = r"(action [ab]|[ab][\.\)])"
    if "before" in said:
        if hit := re.search(one + r"[^before]+before[^action]*?" + one, said):
            return hit.group(1)[-1].upper() + hit.group(2)[-1].upper()
    elif "then" in said:
        if hit := re.search(one + r"[^then]+then[^action]*?" + one, said):
            return hit.group(1)[-1].upper() + hit.group(2)[-1].upper()
    elif "after" in said:
        if hit := re.search(one + r"[^after]+after[^action]*?" + one, said):
            return hit.group(2)[-1].upper() + hit.group(1)[-1].upper()
    places = sorted((hit.start(), hit.group(1)[-1].upper()) for hit in re.finditer(one, said))
    return "".join(letter for _, letter in places)


def test_the_order_is_that_of_the_official_rule() -> None:
    words = ["Action A", "action b", "before", "then", " is ", "after", "a.", "b)", ", ", "It is not clear"]
    for length in (1, 2, 3, 4):
        for parts in itertools.product(words, repeat=length):
            for glue in ("", " "):
                reply = glue.join(parts)
                assert order_of(reply) == official_order(reply), reply
    replies = (
        "ba",
        "Action B, then Action A",
        "Action A is it after Action B",
        "Action A\tis\tafter\tAction B",
        "none",
    )
    assert [order_of(reply) for reply in replies] == ["BA", "BA", "AB", "BA", "None"]


def test_orders_are_counted(tmp_path: Path) -> None:
    entry = {"video": "v1", "Question": "Action A: run. Action B: sit. ", "Correct Answer": "AB"}
    content = {"1": entry, "2": {**entry, "Correct Answer": "B"}}
    questions = vidhalluc_tsh.questions(put(tmp_path, "tsh.json", content))
    assert questions[0].video == "v1.mp4"
    assert questions[0].prompt.startswith("Action A: run. Action B: sit. Sort these two actions in the order they")
    score = vidhalluc_tsh.score(questions, {"1": "Action A happens before Action B.", "2": "hm"})
    assert totals(score) == {"accuracy": (1, 2)} and score.counts == {"missing": 0, "unparsable": 1}


def test_what_a_reply_says_of_the_scene() -> None:
    assert read_reply("Scene change: Yes, Locations: from a hall to a park.") == (True, "from a hall to a park.")
    assert read_reply("Scene change: No, Locations: None") == (False, "None")
    assert read_reply("Yes, it does") == (True, "") and read_reply("The scene changes") == (False, "")
    assert read_places("From a hall to a park. It is sunny.") == ("a hall", "a park")
    assert read_places("from a hall to a park") is None and read_places("It goes from a to b.") is None


def test_correlation_and_likeness_by_hand() -> None:
    """2 hits, 1 miss, 1 false alarm, 2 rejections: (2 * 2 - 1 * 1) / sqrt(3 * 3 * 3 * 3) = 1/3."""
    truth, said = [True, True, True, False, False, False], [True, True, False, True, False, False]
    assert matthews(truth, said) == pytest.approx(1 / 3)
    assert matthews(truth, truth) == 1 and matthews(truth, [not one for one in truth]) == -1
    assert matthews(truth, [True] * 6) == 0
    assert likeness(0.5) == likeness(-1) == 0 and likeness(1) == 1
    sigmoid = [1 / (1 + math.exp(-x)) for x in (0.5, 0.75, 1)]
    assert likeness(0.75) == pytest.approx((sigmoid[1] - sigmoid[0]) / (sigmoid[2] - sigmoid[0]))


def test_places_are_scored_two_a_video() -> None:
    """Same places 1, none 0; a text without two places has none of the two points of its video."""
    pairs = [("from a to b.", "from a to b."), ("from x to b.", "from a to b."), ("a hall", "from a to b.")]
    assert where_score(pairs, lambda one, other: float(one == other)) == pytest.approx((2 + 1 + 0) / 6)
    assert where_score([], lambda one, other: 1.0) == 0


STH = {f"v{n}": {"Scene change": "Yes" if n < 3 else "No", "Locations": "from a hall to a park."} for n in range(6)}


def test_scene_figures(tmp_path: Path) -> None:
    """MCC 1/3 as above, so ((1/3 + 1) / 2)² = 4/9."""
    questions = vidhalluc_sth.questions(put(tmp_path, "sth.json", STH))
    assert questions[0].video == "v0.mp4" and not asks_yes_or_no(questions)
    yes, no = "Scene change: Yes, Locations: from a hall to a park.", "Scene change: No, Locations: None"
    said = [yes, yes, no, yes, no, "I see a hall."]
    replies = {question.id: reply for question, reply in zip(questions, said, strict=True)}
    score = vidhalluc_sth.score(questions, replies)
    assert {name: figure.value for name, figure in score.figures.items()} == {
        "MCC": pytest.approx(1 / 3),
        "whether": pytest.approx(400 / 9),
        "yes rate": 50,
    }
    assert score.counts == {"missing": 0, "unparsable": 1} and "put sup-simcse-roberta-large beside" in score.notes[1]


def test_places_under_a_real_encoder(tmp_path: Path) -> None:
    """With weights of SimCSE's class in its folder: the same texts are alike, so where is 1, and overall follows."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

    folder = tmp_path / "sup-simcse-roberta-large"
    words = ["<unk>", "<pad>", "a", "hall", "park"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>").save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=40,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(folder)
    questions = vidhalluc_sth.questions(put(tmp_path, "sth.json", STH))
    yes, no = "Scene change: Yes, Locations: from a hall to a park.", "Scene change: No, Locations: None"
    score = vidhalluc_sth.score(questions, {name: yes if name in ("v0", "v1", "v2") else no for name in STH})
    assert score.figures["where"].of == 3 and score.figures["where"].value == pytest.approx(100)
    assert score.figures["overall"].value == pytest.approx(100)


@pytest.mark.parametrize(
    ("benchmark", "name", "content", "sentence"),
    [
        (vidhalluc_bqa, "ach_binaryqa.json", {"g": {"q": "?"}}, "g: a list of questions is expected"),
        (vidhalluc_bqa, "ach_binaryqa.json", {"g": [{"q": "?", "a": {"v": "maybe"}}]}, "v has to be Yes or No"),
        (vidhalluc_bqa, "ach_binaryqa.json", {"g": [{"q": "?", "a": {}}]}, "question 0: field 'a' has to be an object"),
        (vidhalluc_mcq, "ach_mcq.json", {"g": {"v": {"Question": "?"}}}, "g, v: an object with Question, Choices"),
        (vidhalluc_tsh, "tsh.json", {"1": {"video": "v", "Question": "?"}}, "field 'Correct Answer' has to be a text"),
        (vidhalluc_sth, "sth.json", {"v": {"Scene change": "2"}}, "v: field 'Scene change' has to be Yes or No"),
        (vidhalluc_sth, "sth.json", {}, "an object of entries by name is expected"),
    ],
)
def test_entries_that_cannot_be_asked(benchmark: Any, name: str, content: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        benchmark.questions(put(tmp_path, name, content))
