"""Preference pairs that people already have, in the layouts of other projects, as plain rows of ours.

In: JSON files of pairs (LLaVA-Hound's, RRPO's, ms-swift's and TEMPLE's, TRL's) and their videos. Out: rows without
grounding, for the response and the video term, and an account of every pair. May import the modules of datasets but
those about questions and rewriting.
"""
