"""The daily work with rows that are there already: look at all of them, split, merge, sample, filter.

In: data files as `vistadpo validate` reads them. Out: data files whose rows say what they said, letter for letter where
no path has to change, and figures. Which rows are about one recording is `data.rows.recordings`' to say, what is wrong
with one `validation`'s. May import validation, layouts and what lies below.
"""
