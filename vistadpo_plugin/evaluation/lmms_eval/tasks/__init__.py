"""Tasks in lmms-eval's format, for its --include_path: VideoHallucer and EventHallusion from local folders.

In: the benchmarks' folders, named by environment variables. Out: task files (YAML), which lmms-eval reads, and the
functions that they name. May import the modules of `evaluation` but those that load models.
"""
