"""Rows whose answers a language model has made into fuller sentences, as far as the rule lets them."""

from __future__ import annotations

from dataclasses import replace

from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.rewrite import Request, Rewriter
from vistadpo_plugin.datasets.rewrite_rule import refusal
from vistadpo_plugin.datasets.rows import Draft, Splits
from vistadpo_plugin.datasets.text import sentence

REWRITTEN = "answers rewritten by the model"


def polish(splits: Splits, rewriter: Rewriter, account: Account) -> Splits:
    """The same splits, rows rewritten where every answer of the row passes the rule.

    A row's answers are rewritten together or not at all: else their form alone would tell right from wrong. An
    irrelevant answer is rewritten as the answer to its own question. Raises RewriteError, see `Rewriter.ask`.
    """
    drafts = [*splits.train, *splits.validation]
    requests = [Request(question.prompt, option) for draft in drafts for question, option in _answers(draft).values()]
    replies = rewriter.ask(requests)

    def rewritten(draft: Draft) -> Draft:
        texts = {}
        for name, (question, option) in _answers(draft).items():
            reply = replies[Request(question.prompt, option)]
            others = [other for other in question.options if other != option]
            reason = "no reply" if reply is None else refusal(reply, question.prompt, option, others)
            if reason:
                detail = f"{name}: {option!r} -> {reply!r}" if reply is not None else f"{name}: {option!r}"
                account.note(f"rewrite not taken, row kept as it is: {reason}", draft.question.id, detail)
                return draft
            texts[name] = sentence(reply.strip().strip('"'))
        account.note(REWRITTEN, draft.question.id)
        return replace(draft, **texts)

    return splits.map(rewritten)


def _answers(draft: Draft) -> dict[str, tuple[Question, str]]:
    """Field of the draft -> the question it answers, and the option it is."""
    answers = {"chosen": (draft.question, draft.chosen), "rejected": (draft.question, draft.rejected)}
    if draft.irrelevant is not None:
        source = draft.irrelevant.source
        answers["irrelevant_text"] = (source, source.right)
    return answers
