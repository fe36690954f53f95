"""What looks like a secret, by the name of a setting and by the text of its value.

In: a name, a value, a text. Out: whether it is one; who asks leaves it out. For what is written down of a run and for
what an endpoint says. Imports nothing of ours.
"""
