"""From videos to rows: drafts by a vision-language model (`drafting`), and their review by people.

A draft is an ordinary row with `kind`, `checks`, `decide` and `source` besides. May import validation, layouts,
datasets, data, endpoint and arguments.
"""
