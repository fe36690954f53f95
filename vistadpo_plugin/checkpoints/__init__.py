"""Checkpoints in their authors' own layouts, made into what transformers loads; one key map a file.

In: a folder as its authors published it. Out: a folder for `model_name_or_path`, or an adapter; every tensor is used
or named. May import models and arguments.
"""
