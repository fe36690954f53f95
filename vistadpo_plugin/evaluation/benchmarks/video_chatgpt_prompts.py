"""What a judge of Video-ChatGPT's benchmark is told, for each of the five aspects.

After mbzuai-oryx/Video-ChatGPT, quantitative_evaluation/evaluate_benchmark_1 to 5.
"""

from __future__ import annotations

from dataclasses import dataclass

from vistadpo_plugin.evaluation.judge import JudgePrompt


@dataclass(frozen=True)
class Aspect:
    """One figure: its name, the subset of questions it is judged on, and what the judge is told."""

    name: str
    subset: str
    judge_prompt: JudgePrompt


# The published wording, to the letter: its missing spaces and malformed example are what published judges were told.
_TASK = "You are an intelligent chatbot designed for evaluating the {what} of generative outputs for {pairs}. "
_HOW = " Here's how you can accomplish the task:------##INSTRUCTIONS: "
_PAIR = "Question: {question}\nCorrect Answer: {answer}\nPredicted Answer: {prediction}\n\n"
_TWO = (
    "Question 1: {question1}\nQuestion 2: {question2}\nCorrect Answer: {answer}\n"
    "Predicted Answer to Question 1: {prediction1}\nPredicted Answer to Question 2: {prediction2}\n\n"
)


def _prompt(
    what: str, task: str, points: list[str], value: str, highest: str, article: str = "the ", shown: str = _PAIR
) -> JudgePrompt:
    pairs = "similar video-based question-answer pairs" if shown is _TWO else "video-based question-answer pairs"
    system = _TASK.format(what=what, pairs=pairs) + task + _HOW + "\n".join(f"- {point}" for point in points)
    user = (
        f"Please evaluate the following video-based question-answer pair:\n\n{shown}"
        f"Provide your evaluation only as a {value} where the {value} is an integer value between 0 and 5, with 5 "
        f"indicating the highest level of {highest}. Please generate the response in the form of a Python dictionary "
        f"string with keys 'score', where its value is {article}{value} in INTEGER, not STRING."
        "DO NOT PROVIDE ANY OTHER OUTPUT TEXT OR EXPLANATION. Only provide the Python dictionary string. "
        "For example, your response should look like this: {''score': 4.8}."
    )
    return JudgePrompt(system, user)


_COMPARE = "Your task is to compare the predicted answer with the correct answer and determine "
ASPECTS = (
    Aspect(
        "correctness of information",
        "generic",
        _prompt(
            "factual accuracy",
            _COMPARE + "if they are factually consistent.",
            [
                "Focus on the factual consistency between the predicted answer and the correct answer. The predicted "
                "answer should not contain any misinterpretations or misinformation.",
                "The predicted answer must be factually accurate and align with the video content.",
                "Consider synonyms or paraphrases as valid matches.",
                "Evaluate the factual accuracy of the prediction compared to the answer.",
            ],
            "factual accuracy score",
            "factual consistency",
        ),
    ),
    Aspect(
        "detail orientation",
        "generic",
        _prompt(
            "detail orientation",
            _COMPARE + "its level of detail, considering both completeness and specificity.",
            [
                "Check if the predicted answer covers all major points from the video. The response should not leave "
                "out any key aspects.",
                "Evaluate whether the predicted answer includes specific details rather than just generic points. It "
                "should provide comprehensive information that is tied to specific elements of the video.",
                "Consider synonyms or paraphrases as valid matches.",
                "Provide a single evaluation score that reflects the level of detail orientation of the prediction, "
                "considering both completeness and specificity.",
            ],
            "detail orientation score",
            "detail orientation",
        ),
    ),
    Aspect(
        "contextual understanding",
        "generic",
        _prompt(
            "contextual understanding",
            _COMPARE + "if the generated response aligns with the overall context of the video content.",
            [
                "Evaluate whether the predicted answer aligns with the overall context of the video content. It should "
                "not provide information that is out of context or misaligned.",
                "The predicted answer must capture the main themes and sentiments of the video.",
                "Consider synonyms or paraphrases as valid matches.",
                "Provide your evaluation of the contextual understanding of the prediction compared to the answer.",
            ],
            "contextual understanding score",
            "contextual understanding",
            article="",
        ),
    ),
    Aspect(
        "temporal understanding",
        "temporal",
        _prompt(
            "temporal understanding",
            _COMPARE + "if they correctly reflect the temporal sequence of events in the video content.",
            [
                "Focus on the temporal consistency between the predicted answer and the correct answer. The predicted "
                "answer should correctly reflect the sequence of events or details as they are presented in the video "
                "content.",
                "Consider synonyms or paraphrases as valid matches, but only if the temporal order is maintained.",
                "Evaluate the temporal accuracy of the prediction compared to the answer.",
            ],
            "temporal accuracy score",
            "temporal consistency",
        ),
    ),
    Aspect(
        "consistency",
        "consistency",
        _prompt(
            "consistency",
            "You will be given two very similar questions, a common answer common to both the questions and predicted "
            "answers for the two questions .Your task is to compare the predicted answers for two very similar "
            "question, with a common correct answer and determine if they are consistent.",
            [
                "Focus on the consistency between the two predicted answers and the correct answer. Both predicted "
                "answers should correspond to the correct answer and to each other, and should not contain any "
                "contradictions or significant differences in the conveyed information.",
                "Both predicted answers must be consistent with each other and the correct answer, in terms of the "
                "information they provide about the video content.",
                "Consider synonyms or paraphrases as valid matches, but only if they maintain the consistency in the "
                "conveyed information.",
                "Evaluate the consistency of the two predicted answers compared to the correct answer.",
            ],
            "consistency score",
            "consistency",
            shown=_TWO,
        ),
    ),
)
