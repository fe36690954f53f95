"""Which tokens belong to a phrase: by characters, whatever the tokenizer and the template make of an answer."""

from __future__ import annotations

from typing import Any

import pytest
from llamafactory.data.template import TEMPLATES
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from vistadpo_plugin.data.tokens.phrases import NoPlace, phrase_places
from vistadpo_plugin.models import families

CONTENT = ["{{content}}"]


def wrapped(core: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="module")
def pieces() -> Any:
    """As Llama's: a blank belongs to the word behind it, and the text begins with one; `mugs` is two tokens."""
    words = ["<unk>", "</s>", "▁a", "▁red", "▁mug", "s", "▁on", ".", "▁"]
    core = Tokenizer(models.Unigram([(word, -float(len(word) == 1)) for word in words], unk_id=0))
    core.normalizer = normalizers.Replace("\u200b", "")
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    return wrapped(core)


@pytest.fixture(scope="module")
def letters() -> Any:
    """As Qwen's without a single merge: every byte is a token; `<|im_end|>` is one."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True) for token in ("<|im_end|>", "</s>", "<unk>")])
    return wrapped(core)


def places(tokenizer: Any, answer: str, phrase: str, slots: Any = CONTENT, front: list[int] | None = None) -> list[int]:
    """Of a phrase that is in the answer once; `front` are tokens that stand before its turn, the end behind it."""
    text = next(slot for slot in slots if "{{content}}" in slot).replace("{{content}}", answer)
    ids = [*(front or []), *tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
    start = answer.index(phrase)
    return phrase_places(tokenizer, slots, answer, ids, [(start, start + len(phrase))])


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("a", [0]),
        ("red", [1]),
        ("red mug", [1, 2]),
        ("ed m", [1, 2]),  # parts of two words
        ("gs", [2, 3]),
        ("mugs", [2, 3]),
        ("s on", [3, 4]),
        (".", [5]),
        ("a red mugs on.", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_token_belongs_to_a_phrase_if_it_shares_a_character(pieces: Any, phrase: str, expected: list[int]) -> None:
    """a | red| mug|s| on|."""
    assert places(pieces, "a red mugs on.", phrase) == expected


def test_phrases_may_overlap_and_stand_in_any_order(pieces: Any) -> None:
    ids = pieces.encode("a red mugs on.", add_special_tokens=False)
    assert phrase_places(pieces, CONTENT, "a red mugs on.", ids, [(11, 13), (2, 5), (2, 9)]) == [1, 2, 4]


@pytest.mark.parametrize(("phrase", "expected"), [("é", [1, 2]), ("😀", [4, 5, 6, 7]), ("b😀", [3, 4, 5, 6, 7])])
def test_all_bytes_of_a_character_belong_to_it(letters: Any, phrase: str, expected: list[int]) -> None:
    """a, two bytes of é, b, four of 😀, c."""
    assert places(letters, "aéb😀c", phrase) == expected


def test_the_end_of_a_turn_belongs_to_no_phrase(letters: Any) -> None:
    """Nor does what a template puts before an answer, in its text or as tokens (an empty thought)."""
    slots = ["\n{{content}}<|im_end|>\n"]
    assert places(letters, "ab", "b") == [1]
    assert places(letters, "ab", "b", slots) == [2]
    assert places(letters, "ab", "ab", slots) == [1, 2]
    assert places(letters, "ab", "ab", slots, front=[9, 9, 9]) == [4, 5]
    assert places(letters, "ab", "ab", [{"eos_token"}, "\n", "{{content}}", {"eos_token"}], front=[9]) == [1, 2]


@pytest.mark.parametrize("template", sorted({name for family in families() for name in family.templates}))
@pytest.mark.parametrize("thinks", [None, True, False])
def test_in_the_turns_of_all_our_families(letters: Any, template: str, thinks: bool | None) -> None:
    """The tokens of the phrase are its letters, also where the answer's tokens begin with an empty thought."""
    for family in families():
        if template in family.templates and template not in TEMPLATES:
            family.register()
    made = TEMPLATES[template]
    before = made.enable_thinking
    made.enable_thinking = thinks
    try:
        turns = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "a red mug, a knife"}]
        _, ids = made.encode_oneturn(letters, turns)
    finally:
        made.enable_thinking = before
    found = phrase_places(letters, made.format_assistant.slots, "a red mug, a knife", ids, [(2, 9)])
    assert letters.decode([ids[place] for place in found]) == "red mug"
    assert found == list(range(found[0], found[0] + 7))


def test_what_cannot_be_told_is_refused(pieces: Any) -> None:
    ids = pieces.encode("a red mug", add_special_tokens=False)
    with pytest.raises(NoPlace, match="the template changes the answer"):
        phrase_places(pieces, CONTENT, "a red mugs", ids, [(0, 1)])
    with pytest.raises(NoPlace, match="to the tokenizer .* is no text"):
        places(pieces, "a\u200b red", "\u200b")
    slow = ByT5Tokenizer()
    with pytest.raises(NoPlace, match="ByT5Tokenizer does not say which characters a token stands for"):
        phrase_places(slow, CONTENT, "a", slow.encode("a"), [(0, 1)])
