"""Sentences with intervals of Charades-STA, ActivityNet Captions and QVHighlights, and the questions made of them.

In: one annotation file, and boxes of Action Genome or STAR for Charades' videos where they are at hand. Out: questions
(`questions`), each about one sentence (`events`). May import what datasets.sources may.
"""
