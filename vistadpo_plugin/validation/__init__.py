"""What `vistadpo validate` finds out: source -> rows -> files -> findings -> report, in the order of the work.

Whether a row is usable and which terms it carries is decided by the functions that training calls, nowhere here. May
import training, run_record, data and arguments, and of the host what reads files without torch.
"""
