"""Exchanges that make a step faster or smaller and leave its numbers alone, each a file and each with a test of that.

In: a model, or one of its modules. Out: the same model with other kernels or other bookkeeping in its place, or
untouched where an exchange does not fit. May import nothing else of ours.
"""
