"""Rows to and from VistaDPO-7k's released layout, and to the host's plain preference format."""
