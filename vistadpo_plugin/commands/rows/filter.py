"""`vistadpo rows filter`: the rows that an expression is true of."""

from __future__ import annotations

from vistadpo_plugin.commands.rows import common
from vistadpo_plugin.curation.output import plan_output
from vistadpo_plugin.curation.where import Where
from vistadpo_plugin.datasets.accounting import Account

FALSE, UNKNOWN = "it is not true of the row", "it compares a field that the row lacks"


def main(argv: list[str]) -> int:
    """Write the rows of which --where is true; returns 0."""
    parser = common.parser(
        "filter",
        "Keep the rows that an expression over their fields is true of, such as "
        "'kind == \"action\" and event_seconds > 2 and not group'. docs/data.md has its parts.",
    )
    common.add_output(parser)
    parser.add_argument("--where", required=True, metavar="EXPRESSION", help="what has to be true of a row")
    options = parser.parse_args(argv)
    where = Where(options.where)
    found = common.sources(options)
    output = plan_output(options.output, options.name, common.files(found), options.overwrite)
    account = Account(noun="row")
    entries = common.read(options, found, account)
    where.check_names({name for entry in entries for name in entry.fields})
    kept = []
    for entry in entries:
        fulfilled = where(entry)
        if fulfilled:
            kept.append(entry)
        else:
            account.leave_out(UNKNOWN if fulfilled is None else FALSE, entry.where)
    account.written = len(kept)
    account.check()
    if not kept:
        print(account.format())
        raise ValueError("no row is left to write.")
    output.write([kept], account)
    common.say(output, [kept], account)
    return 0
