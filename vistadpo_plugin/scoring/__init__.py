"""Batches to log-probabilities: one forward of a model, wrapped as it may be.

In: a model and a batch of `data.batches`. Out: `scorer.Scores`. Answers share prefixes through `attention`, views are
encoded once (`view_features`), the head looks at answer positions only (`answer_head`), `sharded` has what models
spread over ranks need, `fast/` what is faster and gives the same numbers. May import models, data and arguments.
"""
