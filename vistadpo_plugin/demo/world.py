"""The world of the demo: who acts first and who second, and questions about it whose truth is known exactly.

In 3.2 seconds one shape acts, then another; every second video has a third that stands still. What a shape does, and in
which order, is drawn independently of its colour. A model that answers by what it expects of a colour (`Prior`) is
therefore often wrong, and only looking helps.

The first word in which a right and a wrong answer differ decides between them, and pixels decide every question.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from vistadpo_plugin.demo.shapes import ACTIONS, COLOURS, SHAPES, Actor, Scene, place

FRAMES = 32
"""At `shapes.FPS` frames a second. Of the eight frames that a model sees, four show each half."""

SMALLEST, LARGEST = 26, 32
"""Sides of the shapes, in px."""

STILL = "still"
DOES = {**ACTIONS, STILL: "stands still"}
ASKED = {
    "left": "move to the left",
    "right": "move to the right",
    "up": "move up",
    "down": "move down",
    "grow": "grow larger",
    "blink": "blink on and off",
}

TYPICAL_ACTIONS: dict[str, tuple[str, str]] = {
    "red": ("grow", "up"),
    "green": ("blink", "left"),
    "blue": ("right", "down"),
    "yellow": ("up", "blink"),
    "purple": ("left", "grow"),
    "white": ("down", "right"),
}
TYPICAL_SHAPE = {
    "red": "square",
    "green": "triangle",
    "blue": "circle",
    "yellow": "circle",
    "purple": "triangle",
    "white": "square",
}
RANK = {colour: rank for rank, colour in enumerate(COLOURS)}
"""Colours in the order in which they are expected to act."""

PRIOR_SHARE = 0.75
"""Of the questions about something false, so many suggest what is expected."""

OPEN, ORDER_OPEN = "what", "which"
SUBSETS = ("action", "order", "attribute", "presence")
"""The kinds of yes/no questions, each a subset of the benchmark."""
KINDS = (OPEN, ORDER_OPEN, *SUBSETS)


@dataclass(frozen=True)
class Asked:
    """A question, its true answer, and what a model answers that goes by what it expects (`prior`, which may be true).

    `wrong` is a false answer that fits the question: the prior's where that is false. `yes` is the truth of a yes/no
    question, None for others. `actor`: the shape that decides it, where one does; `event`: whether its action does.
    """

    kind: str
    prompt: str
    truth: str
    prior: str
    wrong: str
    yes: bool | None = None
    actor: Actor | None = None
    event: bool = False


def draw_world(rng: random.Random) -> Scene:
    """A random scene. Shapes and actions may repeat, colours do not."""
    background = rng.randrange(2**31)
    while True:
        count = rng.choice((2, 3))
        colours = rng.sample(list(COLOURS), count)
        actors: list[Actor] = []
        for index, colour in enumerate(colours):
            shape, action = rng.choice(SHAPES), rng.choice(list(ACTIONS)) if index < 2 else STILL
            start = 1 + rng.randrange(2) + (index % 2) * FRAMES // 2
            actor = place(
                Actor(colour, shape, action, 0, 0, rng.randrange(SMALLEST, LARGEST + 1), start, start + 13), actors, rng
            )
            if actor is not None:
                actors.append(actor)
        if len(actors) == count:
            return Scene(FRAMES, background, tuple(actors))


def ask(scene: Scene, kind: str, rng: random.Random, yes: bool | None = None) -> Asked:
    """A question of one of `KINDS`; `yes`: the truth that a yes/no question is to have, by default drawn evenly."""
    yes = rng.random() < 0.5 if yes is None else yes
    asked = {
        OPEN: _ask_what,
        ORDER_OPEN: _ask_which,
        "action": _ask_action,
        "order": _ask_order,
        "attribute": _ask_attribute,
        "presence": _ask_presence,
    }[kind]
    return asked(scene, rng, yes)


def ask_when(scene: Scene, rng: random.Random) -> Asked:
    """When a shape acts. No split asks it: a base that is taught it learns what comes first much sooner."""
    place = rng.randrange(len(scene.actors))
    colour = scene.actors[place].colour
    truth = (f"{colour.capitalize()} is first.", f"{colour.capitalize()} is second.", "It stands still.")[place]
    return Asked("when", f"When does the {colour} shape act?", truth, truth, truth)


def pairs(scene: Scene, rng: random.Random, kinds: Collection[str] = SUBSETS) -> Iterator[tuple[Asked, Asked]]:
    """For each subset among `kinds` a question whose answer is yes and one whose answer is no.

    All are drawn, so that a subset's questions are the same whichever others are asked.
    """
    for subset in SUBSETS:
        pair = ask(scene, subset, rng, True), ask(scene, subset, rng, False)
        if subset in kinds:
            yield pair


def irrelevant(scene: Scene, asked: Asked, rng: random.Random) -> str:
    """What is right of a like question about another video, and names nothing that is in this one.

    It is put as a right answer is, so that not its form but its content is wrong. Shapes are three only: there the
    verdict has to be another.
    """
    there = {actor.colour for actor in scene.actors} | {DOES[actor.action] for actor in scene.actors}
    while True:
        made = ask(draw_world(rng), asked.kind, rng)
        if asked.kind == "attribute":
            is_off = made.yes is not asked.yes
        else:
            is_off = not any(word in made.truth.lower() for word in there)
        if is_off and made.truth not in (asked.truth, asked.wrong):
            return made.truth


def texts() -> list[str]:
    """Sentences that hold every word and phrase of the world, for a vocabulary."""
    rng, found = random.Random(0), []
    for _ in range(400):
        scene = draw_world(rng)
        for kind in KINDS:
            asked = ask(scene, kind, rng)
            found += [asked.prompt, asked.truth, asked.wrong]
        asked = ask_when(scene, rng)
        found += [asked.prompt, asked.truth]
    return found


def _expected(options: list[str], typical: tuple[str, ...], rng: random.Random) -> str:
    """One of the options: with `PRIOR_SHARE` one that is typical, else one that is not, as far as there are such."""
    likely = [option for option in options if option in typical]
    others = [option for option in options if option not in typical]
    return rng.choice(likely if likely and (rng.random() < PRIOR_SHARE or not others) else others)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _yes_no(kind: str, prompt: str, yes: str, no: str, truth: bool, expected: bool, **more: object) -> Asked:
    """The prior says yes to what is true and to what it expects."""
    right, wrong = (f"Yes, {yes}.", f"No, {no}.") if truth else (f"No, {no}.", f"Yes, {yes}.")
    return Asked(kind, prompt, right, wrong if expected and not truth else right, wrong, truth, **more)


def _ask_what(scene: Scene, rng: random.Random, _: bool) -> Asked:
    actor = rng.choice(scene.actors[:2])
    typical = TYPICAL_ACTIONS[actor.colour]
    truth, first = _capital(DOES[actor.action]), _capital(DOES[typical[0]])
    prior = truth if actor.action in typical else first
    seen = [mate.action for mate in scene.actors if mate.action not in (actor.action, STILL)]
    other = _capital(DOES[rng.choice(seen or [action for action in ACTIONS if action != actor.action])])
    wrong = other if prior == truth else prior
    return Asked(OPEN, f"What does the {actor.name} do?", truth, prior, wrong, None, actor, True)


def _ask_which(scene: Scene, rng: random.Random, _: bool) -> Asked:
    first, second = scene.actors[:2]
    named = rng.sample([first.colour, second.colour], 2)
    truth, wrong = f"{first.colour.capitalize()} is first.", f"{second.colour.capitalize()} is first."
    prior = truth if RANK[first.colour] < RANK[second.colour] else wrong
    return Asked(ORDER_OPEN, f"Which acts first, {named[0]} or {named[1]}?", truth, prior, wrong)


def _ask_action(scene: Scene, rng: random.Random, yes: bool) -> Asked:
    actor = rng.choice(scene.actors[:2])
    false = [action for action in ACTIONS if action != actor.action]
    typical = TYPICAL_ACTIONS[actor.colour]
    action = actor.action if yes else _expected(false, typical, rng)
    prompt = f"Does the {actor.name} {ASKED[action]}?"
    no = DOES[rng.choice(false) if yes else actor.action]
    return _yes_no("action", prompt, f"it {DOES[action]}", f"it {no}", yes, action in typical, actor=actor, event=True)


def _ask_order(scene: Scene, rng: random.Random, yes: bool) -> Asked:
    first, second = scene.actors[:2] if yes else scene.actors[1::-1]
    prompt = f"Does the {first.name} act before the {second.name}?"
    expected = RANK[first.colour] < RANK[second.colour]
    return _yes_no("order", prompt, f"{first.colour} is first", f"{second.colour} is first", yes, expected)


def _ask_attribute(scene: Scene, rng: random.Random, yes: bool) -> Asked:
    unlike = [actor for actor in scene.actors if actor.shape != TYPICAL_SHAPE[actor.colour]]
    actor = rng.choice(unlike if not yes and unlike and rng.random() < PRIOR_SHARE else scene.actors)
    false = [shape for shape in SHAPES if shape != actor.shape]
    typical = TYPICAL_SHAPE[actor.colour]
    shape = actor.shape if yes else _expected(false, (typical,), rng)
    no = rng.choice(false) if yes else actor.shape
    prompt = f"Is the {actor.colour} shape a {shape}?"
    return _yes_no("attribute", prompt, f"it is a {shape}", f"it is a {no}", yes, shape == typical, actor=actor)


def _ask_presence(scene: Scene, rng: random.Random, yes: bool) -> Asked:
    there = [actor.colour for actor in scene.actors]
    if yes:
        actor = rng.choice(scene.actors)
        name, shape = actor.name, actor.shape
    else:
        colour = rng.choice([colour for colour in COLOURS if colour not in there])
        shape = _expected(list(SHAPES), (TYPICAL_SHAPE[colour],), rng)
        name, actor = f"{colour} {shape}", None
    others = [colour for colour in there if actor is None or colour != actor.colour]  # all, unless no is the lie
    no = f"only {' and '.join(sorted(others, key=RANK.__getitem__))}"
    typical = actor is None and TYPICAL_SHAPE[name.split()[0]] == shape
    return _yes_no("presence", f"Is there a {name}?", f"there is a {name}", no, yes, typical, actor=actor)
