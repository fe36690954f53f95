"""The frozen model that training compares with, and what is kept of it on disk.

In: batches and a scorer. Out: log-probabilities of the sequences, and the hidden states from which the token term's
distributions are made: from a forward of the model (`reference`), or from a folder (`cache`) that `fill` completes
before the first step. May import scoring, models, data and arguments.
"""
