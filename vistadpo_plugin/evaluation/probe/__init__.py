"""Margins of a model on grounded rows, level by level, before and after tuning: `vistadpo probe`.

In: a data file and a recipe's keys, through the batches that training makes. Out: a table, a picture, JSON (`measure`
scores, `table` counts, `plot` draws). May import what `evaluation` may.
"""
