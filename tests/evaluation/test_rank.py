"""The threshold-free rank: of numbers by hand and by scipy's rank-sum, and its margins by plain transformers."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import FRAMES, Demo
from eventhallusion_made import write_annotations

from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.evaluation.benchmarks import BENCHMARKS
from vistadpo_plugin.evaluation.inference import Responder
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.rank import asks_yes_or_no, auc, first_tokens, rank_figures, truth


def asked(*answers: str, subset: str = "") -> list[Question]:
    return [Question(f"{subset}{index}", "v", "?", answer, subset) for index, answer in enumerate(answers)]


def test_by_hand() -> None:
    """Pairs of (1, 3) against (2, 3, 0): 1 beats 0 only; 3 beats 2 and 0 and ties with 3: 1 + 2.5 of 6."""
    assert auc([1.0, 3.0], [2.0, 3.0, 0.0]) == pytest.approx(3.5 / 6)
    margins = {"0": 1.0, "1": 2.0, "2": 3.0, "3": 3.0, "4": 0.0}
    found = rank_figures(asked("yes", "no", "Yes.", "No.", "no"), margins)
    assert {name: (one.value, one.of) for name, one in found.items()} == {"rank": (pytest.approx(350 / 6), 5)}


def test_every_subset_has_its_own() -> None:
    """a: 1 beats 0. b: 2 loses to 3. All: (1, 2) against (0, 3), each beats 0 alone: 2 of 4. c is of one kind only."""
    questions = asked("yes", "no", subset="a") + asked("yes", "no", subset="b")
    margins = {"a0": 1.0, "a1": 0.0, "b0": 2.0, "b1": 3.0}
    found = {name: one.value for name, one in rank_figures(questions, margins).items()}
    assert found == {"a/rank": 100, "b/rank": 0, "rank": 50}
    more = rank_figures(questions + asked("yes", subset="c"), {**margins, "c0": -1.0})
    assert {name: (one.value, one.of) for name, one in more.items()} == {
        "a/rank": (100, 2), "b/rank": (0, 2), "rank": (pytest.approx(200 / 6), 5)
    }  # fmt: skip


def test_as_the_rank_sum_has_it() -> None:
    from scipy.stats import mannwhitneyu

    rng = random.Random(0)
    true = [round(rng.gauss(0.5, 1), 1) for _ in range(57)]  # rounded, so that there are ties
    false = [round(rng.gauss(0, 1), 1) for _ in range(43)]
    assert auc(true, false) == pytest.approx(mannwhitneyu(true, false).statistic / (57 * 43))


def test_no_threshold_moves_it() -> None:
    true, false = [0.3, -0.2, 1.5], [0.1, -0.9]
    assert auc([x - 7 for x in true], [x - 7 for x in false]) == auc(true, false)


def test_which_benchmarks_have_it(tmp_path: Path) -> None:
    assert [truth(question) for question in asked("yes", "No.", "a dog")] == [True, False, None]
    assert asks_yes_or_no(BENCHMARKS["eventhallusion"].questions(write_annotations(tmp_path)))
    assert not asks_yes_or_no(asked("yes", "no", "a dog"))
    assert not asks_yes_or_no(asked("yes", "yes"))
    assert rank_figures(asked("yes", "no"), {"0": 1.0}) == {}  # of one kind only


class Spelling:
    """A tokenizer of these tokens, longest first; 0 is unknown."""

    unk_token_id = 0

    def __init__(self, *tokens: str):
        self.tokens = ["?", *tokens]

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        found = []
        while text:
            token = max((t for t in self.tokens[1:] if text.startswith(t)), key=len, default=None)
            found.append(self.tokens.index(token) if token else 0)
            text = text[len(token) if token else 1 :]
        return found


def test_first_tokens() -> None:
    """A bare space begins both words and says nothing; what is not in the vocabulary says nothing either."""
    assert first_tokens(Spelling(" ", "yes", "Y", "no", "No")) == ([2, 3], [4, 5])
    assert first_tokens(Spelling(" yes", " no")) == ([1], [2])
    assert first_tokens(Spelling(" ", "yes")) is None


def test_margins_are_the_models_own(demo: Demo) -> None:
    """By plain transformers, in a forward of its own; alone and in a batch, where shorter prompts are padded."""
    responder = Responder(
        {"model_name_or_path": str(demo.model), "template": "video_llava", "video_maxlen": FRAMES}, max_new_tokens=3
    )
    video = sorted((demo.data / "videos").glob("*.mp4"))[0]
    row = GroundedRow("v", "v", str(video))
    prepared = [responder.prepare(prompt, row) for prompt in ("Is it red?", "Does the square move to the left or so?")]
    expected = [plain_margin(responder, one) for one in prepared]
    assert expected[0] != pytest.approx(expected[1], abs=1e-3)
    assert [answer.yes_margin for answer in responder.answer(prepared)] == pytest.approx(expected, abs=1e-4)
    assert responder.answer(prepared[:1])[0].yes_margin == pytest.approx(expected[0], abs=1e-4)
    assert [answer.text for answer in responder.answer(prepared)] == responder.reply(prepared)


def test_half_precision_does_not_tie_margins(demo: Demo) -> None:
    """The head's logits, raised to where bfloat16 knows quarters only, are not what margins are made of."""
    keys = {"model_name_or_path": str(demo.model), "template": "video_llava", "video_maxlen": FRAMES}
    responder = Responder({**keys, "infer_dtype": "bfloat16"}, max_new_tokens=1)
    model = responder.engine.model.bfloat16()
    row = GroundedRow("v", "v", str(sorted((demo.data / "videos").glob("*.mp4"))[0]))
    prepared = [
        responder.prepare(f"Is the {colour} shape a square?", row) for colour in ("red", "blue", "green", "white")
    ]
    states = []
    handle = model.get_output_embeddings().register_forward_hook(lambda _, inputs, __: states.append(inputs[0][0, -1]))
    with torch.no_grad():
        head = model.get_output_embeddings()
        head.bias = torch.nn.Parameter(torch.full((head.out_features,), 40.0, dtype=torch.bfloat16))
        made = [responder.answer([one])[0].yes_margin for one in prepared]
        handle.remove()
        yes, no = first_tokens(responder.engine.tokenizer)
        for margin, hidden in zip(made, states, strict=True):
            logits = (hidden.double() @ head.weight.double().T) + 40
            assert margin == pytest.approx((logits[yes].logsumexp(0) - logits[no].logsumexp(0)).item(), abs=1e-4)
            assert (margin * 4) % 1 > 1e-3


def plain_margin(responder: Responder, prepared: dict[str, Any]) -> float:
    tokenizer = responder.engine.tokenizer
    first = {
        word: {tokenizer.encode(f"{space}{form}", add_special_tokens=False)[0] for space in ("", " ") for form in forms}
        for word, forms in {"yes": ("yes", "Yes", "YES"), "no": ("no", "No", "NO")}.items()
    }
    shared = first["yes"] & first["no"]
    with torch.no_grad():
        inputs = {"input_ids": prepared["inputs"], "pixel_values_videos": prepared["pixel_values_videos"]}
        probabilities = responder.engine.model(**inputs).logits[0, -1].double().softmax(0)
    yes, no = (sum(float(probabilities[token]) for token in first[word] - shared) for word in ("yes", "no"))
    return float(torch.tensor(yes / no, dtype=torch.float64).log())
