"""What a set of rows is like: lengths of videos, events and answers, boxes, kinds of negatives, source by source.

In: data files and, where they are at hand, the headers of their videos. Out: `measure`'s facts of every row, a table of
text and a picture of them. May import validation and what lies below.
"""
