"""What a question's right answer does in a rejected view, where the world is known exactly; for trials of the method.

Two things are said of the visual terms that this world can decide: that an unrelated video drawn at random is too easy
to tell apart, against which stands the counterfactual one, and that some answers stay true where the model is told
that they are not.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from vistadpo_plugin.demo.shapes import ACTIONS, SHAPES, Actor, Scene, fits, place
from vistadpo_plugin.demo.world import DOES, ORDER_OPEN, SMALLEST, Asked


def counterfactual(scene: Scene, asked: Asked, rng: random.Random) -> Scene:
    """The same scene but for one thing, by which `asked.wrong` is true in it and `asked.truth` is not.

    What a shape does, its shape, the order of two, or whether it is there; a shape that no longer fits where it was is
    moved.
    """
    if asked.kind in ("order", ORDER_OPEN):
        first, second, *rest = scene.actors
        swapped = (
            replace(second, start=first.start, end=first.end),
            replace(first, start=second.start, end=second.end),
        )
        return replace(scene, actors=(*swapped, *rest))
    if asked.kind == "presence":
        if asked.yes:
            return replace(scene, actors=tuple(actor for actor in scene.actors if actor != asked.actor))
        colour, shape = asked.prompt.rstrip("?").split()[-2:]
        return _with(scene, rng.randrange(len(scene.actors)), rng, lambda one: replace(one, colour=colour, shape=shape))
    at = scene.actors.index(asked.actor)
    if asked.kind == "attribute":
        shape = next(shape for shape in SHAPES if shape in asked.wrong)
        return _with(scene, at, rng, lambda one: replace(one, shape=shape))
    action = next(action for action in ACTIONS if DOES[action] in asked.wrong.lower())
    return _with(scene, at, rng, lambda one: replace(one, action=action))


def holds_in_rejected_view(asked: Asked) -> list[str]:
    """The terms in whose rejected view the verdict of `asked.truth` stays true.

    A "no" does where what it is about is not shown: in most other videos, and where a shape was asked for
    what it does, in the half in which it does nothing.
    """
    if asked.yes is not False:
        return []
    return ["video", "clip"] if asked.event else ["video"]


def _with(scene: Scene, at: int, rng: random.Random, change: Callable[[Actor], Actor]) -> Scene:
    """The scene with one actor changed, where it was if it fits there, else with all of them placed anew.

    Where there is no room for them they get smaller, down to the least of `draw_world`.
    """
    actors = [change(actor) if index == at else actor for index, actor in enumerate(scene.actors)]
    if fits(actors[at], [actor for index, actor in enumerate(actors) if index != at]):
        return replace(scene, actors=tuple(actors))
    while True:
        placed: list[Actor] = []
        for actor in actors:
            found = place(actor, placed, rng)
            if found is not None:
                placed.append(found)
        if len(placed) == len(actors):
            return replace(scene, actors=tuple(placed))
        actors = [replace(actor, side=max(SMALLEST, actor.side - 1)) for actor in actors]
