"""The six views of a row: which a term looks at, which frames they are, and how rejected ones are made.

In: grounded rows, and what of the recipe decides a view. Out: frames (`PIL.Image`) of each view (`views`), made ones
by `negatives`; `frames` counts frames and tokens without decoding. May import data.rows, data.video and arguments.
"""
