"""Drafts of rows by a vision-language model: videos -> frames -> questions to an endpoint -> rows, checked -> files.

`run.py` is the whole way. What a model says is believed where it passes `reply.py`; what it is worth `checks.py` asks.
"""
