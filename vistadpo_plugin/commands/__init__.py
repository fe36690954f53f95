"""The subcommands of `vistadpo`: each module has a `main(argv) -> int`."""
