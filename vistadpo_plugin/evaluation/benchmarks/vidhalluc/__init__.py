"""VidHalluc (Li et al., CVPR 2025): four tasks about videos that look alike but for what happens in them.

In: its annotation files, ach_binaryqa.json and ach_mcq.json (what is done), tsh.json (in which order), sth.json (does
the scene change), and replies. Out: the figures of its public scorer, CyL97/VidHalluc (eval/evaluation), whose rules
are restated. May import the modules beside and above it in `evaluation`.
"""
