"""Random errands through a game: what makes a comparison of engines visit its rare corners.

Aimless walks seldom hold a knife beside an apple. An errand takes something, treats it, looks at
it and puts it down again, with full knowledge of the state.
"""

from __future__ import annotations

import random

from longstep_envs.alfworld.problem import Problem, State

_KNIFE_SHARE = 0.4
_CUT_SHARE = 0.7
_LAMP_SHARE = 0.2
_TREATMENTS = (
    ("clean", "sinks", "cleanable"),
    ("heat", "microwaves", "heatable"),
    ("cool", "fridges", "coolable"),
)


def errand(problem: Problem, state: State, rng: random.Random) -> list[str]:
    """A few commands that belong together; most are admissible when their turn comes."""
    if rng.random() < _LAMP_SHARE and (commands := _light(problem, state, rng)):
        return commands
    if state.held < 0:
        return _fetch(problem, state, rng)
    if problem.knives >> state.held & 1 and rng.random() < _CUT_SHARE:
        return _cut(problem, state, rng)
    choices = [_treat(problem, state, rng), _put(problem, state, rng)]
    return rng.choice([choice for choice in choices if choice] or [["look"]])


def _light(problem: Problem, state: State, rng: random.Random) -> list[str]:
    lamps = [
        (o, r)
        for r, inside in enumerate(state.inside)
        for o in inside
        if problem.toggleable >> o & 1
    ]
    if not lamps:
        return []
    o, r = rng.choice(lamps)
    return [*_visit(problem, state, r, rng), f"use {problem.objects[o]}", "inventory"]


def _fetch(problem: Problem, state: State, rng: random.Random) -> list[str]:
    there = [(o, r) for r, inside in enumerate(state.inside) for o in inside]
    takeable = [(o, r) for o, r in there if problem.pickupable >> o & 1]
    knives = [(o, r) for o, r in takeable if problem.knives >> o & 1]
    if not takeable:
        return []
    o, r = rng.choice(knives if knives and rng.random() < _KNIFE_SHARE else takeable)
    name = problem.objects[o]
    return [
        *_visit(problem, state, r, rng),
        f"take {name} from {problem.receptacles[r]}",
        *rng.sample([f"examine {name}", "look", "inventory", "close " + problem.receptacles[r]], 2),
    ]


def _treat(problem: Problem, state: State, rng: random.Random) -> list[str]:
    name = problem.objects[state.held]
    ways = [
        (verb, r)
        for verb, appliances, able in _TREATMENTS
        if getattr(problem, able) >> state.held & 1
        for r in range(len(problem.receptacles))
        if getattr(problem, appliances) >> r & 1
    ]
    commands = []
    for verb, r in rng.sample(ways, min(len(ways), 2)):
        place = problem.receptacles[r]
        commands += [f"go to {place}", f"{verb} {name} with {place}", f"examine {name}"]
    return commands


def _put(problem: Problem, state: State, rng: random.Random) -> list[str]:
    homes = [r for r, fits in enumerate(problem.accepts) if fits >> state.held & 1]
    if not homes:
        return []
    r = rng.choice(homes)
    place = problem.receptacles[r]
    return [
        *_visit(problem, state, r, rng),
        f"move {problem.objects[state.held]} to {place}",
        *rng.sample(["look", f"examine {place}", f"close {place}", "inventory"], 2),
    ]


def _cut(problem: Problem, state: State, rng: random.Random) -> list[str]:
    food = [(o, place) for o, place in sorted(state.lying) if problem.sliceable >> o & 1]
    if not food:
        return []
    o, place = rng.choice(food)
    here = problem.here[place]
    going = [f"go to {problem.receptacles[here[0]]}"] if here else []
    knife, name = problem.objects[state.held], problem.objects[o]
    holder = next((r for r in here if o in state.inside[r]), None)
    if holder is None:
        return [*going, f"slice {name} with {knife}", "look"]
    stand = problem.receptacles[holder]
    return [
        *going,
        f"slice {name} with {knife}",
        f"examine {knife}",
        f"open {stand}",
        f"move {knife} to {stand}",
        f"take {name} from {stand}",
        f"examine {name}",
    ]


def _visit(problem: Problem, state: State, r: int, rng: random.Random) -> list[str]:
    name = problem.receptacles[r]
    commands = [f"go to {name}"]
    if problem.openable & ~state.opened & 1 << r:
        commands.append(f"open {name}")
    elif rng.random() < 0.2:
        commands.append("look")
    return commands
