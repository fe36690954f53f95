"""Rows to and from VistaDPO-7k's released layout, and to the host's plain preference format.

In: data files in one of the layouts. Out: rows in ours with their clips cut, or the other way round, with everything
counted that has no place there. May import datasets, data and arguments.
"""
