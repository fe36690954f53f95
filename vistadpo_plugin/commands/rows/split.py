"""`vistadpo rows split`: training, validation and test rows by whole recordings."""

from __future__ import annotations

from collections import Counter

from vistadpo_plugin.commands.rows import common
from vistadpo_plugin.curation.output import plan_output
from vistadpo_plugin.curation.split import split_recordings
from vistadpo_plugin.curation.stats.measure import NOT_SAID, label
from vistadpo_plugin.data.views.frames import plural
from vistadpo_plugin.datasets.accounting import Account

TRAIN, PARTS = "train", ("val", "test")
_SHOWN = 20


def main(argv: list[str]) -> int:
    """Write DATA.jsonl, DATA_val.jsonl and on demand DATA_test.jsonl; returns 0."""
    parser = common.parser(
        "split",
        "Divide rows by whole recordings: all rows about one video, about files of the same content, of one `group`, "
        "and that share a rejected video go to one side. Writes DATA.jsonl and DATA_val.jsonl, with --test-share also "
        "DATA_test.jsonl.",
    )
    common.add_output(parser)
    parser.add_argument("--val-share", type=common.share, default=0.1, help="share of the rows (default: 0.1)")
    parser.add_argument("--test-share", type=common.share, help="share of the rows (default: no test rows)")
    parser.add_argument(
        "--stratify",
        nargs="*",
        default=["kind", "source"],
        metavar="FIELD",
        help="fields whose values go to all sides in like shares (default: kind source)",
    )
    parser.add_argument("--seed", type=int, default=0, help="decides who goes where (default: 0)")
    options = parser.parse_args(argv)
    shares = {"val": options.val_share, "test": options.test_share}
    shares = {part: share for part, share in shares.items() if share is not None}
    if sum(shares.values()) >= 1:
        parser.error("--val-share and --test-share leave no rows to train on")

    found = common.sources(options)
    output = plan_output(
        options.output, options.name, common.files(found), options.overwrite, parts=tuple(shares), possible=PARTS
    )
    account = Account(noun="row")
    entries = common.read(options, found, account)
    recordings = common.recordings(entries, with_rejected=True).names
    strata = [tuple(label(entry, field, NOT_SAID) for field in options.stratify) for entry in entries]
    shares = {TRAIN: 1 - sum(shares.values()), **shares}
    sides = split_recordings(recordings, strata, shares, options.seed)
    parts = [[entry for entry, side in zip(entries, sides, strict=True) if side == name] for name in shares]
    account.written = sum(map(len, parts))
    account.check()
    output.write(parts, account)
    _say(list(shares), sides, recordings)
    for field, values in zip(options.stratify, zip(*strata, strict=True), strict=False):
        _say_stratum(field, list(shares), sides, values)
    common.say(output, parts, account)
    return 0


def _say(names: list[str], sides: list[str], recordings: list[str]) -> None:
    for name in names:
        members = [recording for recording, side in zip(recordings, sides, strict=True) if side == name]
        count = plural(len(set(members)), "recording")
        print(f"{name}: {plural(len(members), 'row')} ({len(members) / len(sides):.1%}) about {count}")


def _say_stratum(field: str, names: list[str], sides: list[str], values: tuple[str, ...]) -> None:
    """Rows by value and side, where there are several values."""
    counts, totals = Counter(zip(values, sides, strict=True)), Counter(values).most_common()
    if len(totals) == 1:
        return
    print(f"by {field}:")
    for value, total in totals[:_SHOWN]:
        print(f"  {value}: {', '.join(f'{name} {counts[value, name]}' for name in names)} of {total}")
    if len(totals) > _SHOWN:
        print(f"  ... and {len(totals) - _SHOWN} more values")
