"""Videos and folders of frames: packets and times without decoding, then only the frames that are wanted.

In: a path and a function from times to indices. Out: `PIL.Image` frames with their times, or a VideoError that names
the file. Knows nothing of rows, views or models. May import arguments.
"""
