"""What a tokenizer takes for more than text: tokens of media, and tokens that control a model.

In: texts, a tokenizer, a model's configuration. Out: what is found in them, for rows, validation and training to refuse
or to count. Imports nothing of ours.
"""
