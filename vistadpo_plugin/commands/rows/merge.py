"""`vistadpo rows merge`: several files as one."""

from __future__ import annotations

from vistadpo_plugin.commands.rows import common
from vistadpo_plugin.curation.merge import merge_entries
from vistadpo_plugin.curation.output import plan_output
from vistadpo_plugin.datasets.accounting import Account


def main(argv: list[str]) -> int:
    """Write all rows, copies of others left out and named; returns 0."""
    parser = common.parser(
        "merge",
        "Put the rows of several files into one, in order. A copy of a row, all fields the same, is left out and "
        "named; ids given twice, and rows that repeat or contradict an earlier one, are named and stay. Paths are "
        "rewritten to hold from the new file's folder.",
        several=True,
    )
    common.add_output(parser)
    parser.add_argument("--keep-copies", action="store_true", help="write copies too: such rows count twice")
    options = parser.parse_args(argv)
    found = common.sources(options)
    output = plan_output(options.output, options.name, common.files(found), options.overwrite)
    account = Account(noun="row")
    entries = common.read(options, found, account)
    kept = merge_entries(entries, options.keep_copies, account)
    account.written = len(kept)
    account.check()
    output.write([kept], account)
    common.say(output, [kept], account)
    return 0
