"""Grounded rows out of public annotations: questions read, wrong answers drawn, rows checked, a data card written.

In: annotation files (`sources`) and their videos. Out: rows.jsonl with a dataset_info.json, a card, and an
account of what was left out and why. Answers are polished by a language model (`endpoint`) where one is named. May
import data and arguments.
"""
