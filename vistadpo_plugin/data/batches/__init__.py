"""What a step of training is fed: rows with their mates, and micro-batches of packed prefix trees.

In: processed rows (`pairing`, `mates`) and a view builder. Out: the batch that `collator` describes, packed by `groups`
as `prefix_tree` says; with known scores (`known_scores`) it brings those along. May import data.views, data.rows,
data.video and arguments.
"""
