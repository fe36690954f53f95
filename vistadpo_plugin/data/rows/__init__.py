"""Rows: read, checked field by field, grounded in their videos, and tokenized.

In: JSON, JSONL, Parquet or the host's own data sets. Out: the columns of `processor`, of which `grounded` says what the
row's video shows where (`schema` -> `grounding`). A row that cannot be used carries the reason. May import data.video
and arguments.
"""
