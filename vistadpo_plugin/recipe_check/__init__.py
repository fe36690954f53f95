"""What `vistadpo recipes check` thinks about a recipe before anything is trained: nothing here needs a GPU or a hub.

In: a recipe. Out: tokens of the views, sequences of a step, memory a device, and cost beside plain DPO, each with the
assumption it rests on. May import host, training and what lies below.
"""
