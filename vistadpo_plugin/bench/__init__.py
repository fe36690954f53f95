"""`vistadpo bench`: what the hierarchical objective costs beside the host's plain DPO, side by side in one run.

In: a preset. Out: seconds, memory and tokens of every run, as JSON, a table and a picture. A run is a process of its
own (`worker`). May import the demo and what lies below it.
"""
