"""Chat and API: a user's videos, given as the host gives them, turned into the frames that training would show.

In: requests (`requests`), paths and URLs (`videos`), a terminal (`terminal`). Out: what the host's chat engine takes,
or an error that says what is wrong with the request. Called by `host` only. May import run_record, models, data and
arguments.
"""
