"""What `vistadpo validate` finds out: source -> rows -> files -> findings -> report, in the order of the work.

Whether a row is usable and which terms it carries is decided by the functions that training calls, nowhere here.
"""
