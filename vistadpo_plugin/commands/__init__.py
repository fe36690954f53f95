"""The subcommands of `vistadpo`: each module has a `main(argv) -> int`.

In: a command line. Out: an exit code, 0 for success, 1 for a failure, 2 for a wrong argument. They parse, call, and
print; the work is in the packages, which are imported when a command needs them. May import everything below.
"""
