"""Readers of public annotations, one module a source: its files in, questions and what the data card says of it out.

Every reader counts what it reads in the account and leaves out, with a reason, what it cannot use. May import the
modules of datasets but rows, card and what rewrites.
"""
