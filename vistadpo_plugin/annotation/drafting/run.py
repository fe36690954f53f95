"""All videos drafted: a few at a time, each of them one thing after another, and what came of it put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vistadpo_plugin.annotation.drafting.checks import ask_back
from vistadpo_plugin.annotation.drafting.draft import Settings, draft_stretch, plan
from vistadpo_plugin.annotation.drafting.footage import Footage
from vistadpo_plugin.annotation.drafting.pictures import VIDEO_TYPES, Pictures
from vistadpo_plugin.annotation.drafting.prompts import PromptPack
from vistadpo_plugin.annotation.drafting.reply import Complaint
from vistadpo_plugin.data.video.packets import VideoError
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.endpoint import Ask, Caller, Chat, Job, Messages

SOURCE = "annotate"
CALLER = Caller("vistadpo annotate", "--model", "--base-url", "vistadpo-plugin[annotate]", "drafting", "video")

UNREADABLE = "a video that cannot be read"
SAME_CONTENT = "a video of the same content as another"
NOT_AS_STORED = "a video that is sent as frames only: it is shown turned, or its pixels are not square"
NOT_SENT = "a video of a kind that is sent as frames only"


def ids(name: str, drafts: int) -> list[str]:
    """The ids that the drafts of a video have."""
    return [f"{name}-{number}" for number in range(1, drafts + 1)]


def leave_out(account: Account, name: str, drafts: int, reason: str, detail: str) -> None:
    """Count all drafts of a video that is not asked about."""
    for id_ in ids(name, drafts):
        account.leave_out(reason, id_, detail)


def choose_videos(
    footages: Sequence[Footage], wrong: dict[str, str], settings: Settings, account: Account
) -> list[Footage]:
    """The videos to ask about; the others are left out, with all their drafts."""
    account.read += settings.drafts * (len(footages) + len(wrong))
    for name, sentence in wrong.items():
        leave_out(account, name, settings.drafts, UNREADABLE, sentence)
    chosen: dict[str, Footage] = {}
    for footage in footages:
        first = chosen.get(footage.digest)
        reason, detail = None, footage.path
        if first is not None:
            reason, detail = SAME_CONTENT, f"{footage.path} is {first.path} again"
        elif settings.whole and not footage.as_stored:
            reason = NOT_AS_STORED
        elif settings.whole and not footage.path.lower().endswith(tuple(VIDEO_TYPES)):
            reason = NOT_SENT
        if reason is None:
            chosen[footage.digest] = footage
        else:
            leave_out(account, footage.name, settings.drafts, reason, detail)
    return list(chosen.values())


@dataclass
class _Made:
    """What came of one video: rows, and by id why others did not."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, Complaint] = field(default_factory=dict)


def draft_videos(
    footages: Sequence[Footage],
    chat: Chat,
    pictures: Pictures,
    pack: PromptPack,
    settings: Settings,
    video_name: Callable[[Footage], str],
    account: Account,
    replied: Callable[[], None],
    done: Callable[[], object],
) -> list[dict[str, Any]]:
    """The rows of all videos, in their order; what was left out is counted.

    `video_name` gives a video as rows name it. `replied` is called after each reply, `done` after each video. Raises
    ChatError or KeyboardInterrupt, see `Chat.run`.
    """
    made = {footage.name: _Made() for footage in footages}

    def job(footage: Footage) -> Job:
        async def draft(ask: Ask) -> None:
            async def counted(messages: Messages) -> str | None:
                reply = await ask(messages)
                replied()
                return reply

            await _draft_video(counted, footage, pack, settings, video_name(footage), made[footage.name])

        return draft

    chat.run(map(job, footages), done, pictures.fill)
    for one in made.values():
        for id_, complaint in one.missing.items():
            account.leave_out(complaint.reason, id_, complaint.detail)
    return [row for one in made.values() for row in one.rows]


async def _draft_video(
    ask: Ask, footage: Footage, pack: PromptPack, settings: Settings, video: str, made: _Made
) -> None:
    number = 1
    try:
        for stretch in plan(footage, settings):
            numbers = range(number, number + stretch.drafts)
            number += stretch.drafts
            drafts, missing = await draft_stretch(ask, footage, stretch, pack, settings, video, numbers)
            made.missing |= missing
            for draft in drafts:
                asked = await ask_back(ask, draft, footage, pack, settings) if settings.ask_back else ({}, [])
                made.rows.append({**draft.row, "checks": asked[0], "decide": asked[1], "source": SOURCE})
    except VideoError as error:
        there = {row["id"] for row in made.rows} | made.missing.keys()
        unread = [id_ for id_ in ids(footage.name, settings.drafts) if id_ not in there]
        made.missing |= dict.fromkeys(unread, Complaint(UNREADABLE, str(error)))
