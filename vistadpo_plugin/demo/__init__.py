"""The demo: a world whose truth is known, a tiny model that hallucinates in it, and what training changed.

In: a seed. Out: drawn videos (`shapes`) of a `world`, rows and questions on disk (`splits`); the model that ships in
`base/` and how it is made (`base_build`, `base_tower`, `base_language`, by `base_descent`, on `tiny_model`); the
comparison (`result`) and its `page`. May import what `evaluation` may.
"""
