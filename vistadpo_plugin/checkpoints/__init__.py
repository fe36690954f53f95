"""Checkpoints in their authors' own layouts, made into what transformers loads; one key map a file."""
