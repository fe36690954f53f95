"""The demo's own data, model and table: everything it needs is made on the spot.

In: a seed. Out: drawn videos with rows (`shapes`), a tiny model (`tiny_model`), and the table that says which terms the
training moved (`table`). May import what `evaluation` may.
"""
