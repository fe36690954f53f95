"""`vistadpo rows sample`: some rows, or all rows of some videos."""

from __future__ import annotations

from vistadpo_plugin.commands.rows import common
from vistadpo_plugin.commands.validate import count
from vistadpo_plugin.curation.output import plan_output
from vistadpo_plugin.curation.sample import draw
from vistadpo_plugin.datasets.accounting import Account

NOT_DRAWN = "not drawn"


def main(argv: list[str]) -> int:
    """Write the rows that were drawn; returns 0."""
    parser = common.parser(
        "sample", "Draw rows, or videos with all of their rows. A smaller sample of a seed is part of its larger ones."
    )
    common.add_output(parser)
    parser.add_argument("-n", "--count", type=count, required=True, help="how many rows, or videos")
    parser.add_argument(
        "--by", choices=("row", "video"), default="row", help="what is drawn; copies of a video are one (default: row)"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides which (default: 0)")
    options = parser.parse_args(argv)
    found = common.sources(options)
    output = plan_output(options.output, options.name, common.files(found), options.overwrite)
    account = Account(noun="row")
    entries = common.read(options, found, account)
    owners = list(map(str, range(len(entries)))) if options.by == "row" else common.recordings(entries).names
    try:
        drawn = draw(owners, options.count, options.seed)
    except ValueError as error:
        raise ValueError(f"--count {options.count}: of {options.by}s, {error}") from None
    kept = [entries[index] for index in drawn]
    for index in sorted(set(range(len(entries))) - set(drawn)):
        account.leave_out(NOT_DRAWN, entries[index].where)
    account.written = len(kept)
    account.check()
    output.write([kept], account)
    common.say(output, [kept], account)
    return 0
