"""Rows made and reviewed by people and models: drafts from an endpoint, and reviews in the tools people have.

In: videos or files of rows. Out: rows as docs/data.md has them, and an account of every one. May import what training,
`validate` and `build` read rows with; knows nothing of models or training.
"""
