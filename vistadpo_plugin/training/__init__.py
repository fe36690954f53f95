"""A run: the workflow that puts its parts together, the trainer, and the objective with its five losses.

In: the host's four groups of arguments, which only `workflow` reads; every other part is handed what it needs of them.
Out: a trained model, logged figures, the run's record. A step goes batch -> scores -> `objective` -> loss, and
`losses` are pure functions of tensors. `bad_rows` and `summary` say before the first step what the rows are good for.
May import serving, run_record, reference, scoring, models, data and arguments.
"""
