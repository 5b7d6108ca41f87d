"""The fast engine: ALFWorld's rules as a function from state and command to state and text.

It plays the ALFRED PDDL domain without a planner and without a template parser, and gives the
same text, the same admissible commands in the same order and the same win flag as the official
engine. `longstep_envs.alfworld.bench` compares the two.

Quirks of the official engine that are kept: a `go to` that would not move is not offered; only a
held object can be examined; objects in a closed receptacle can be used and sliced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from longstep_envs.alfworld import text
from longstep_envs.alfworld.games import Games
from longstep_envs.alfworld.problem import Problem, State
from longstep_envs.types import DataError

KNOWN_RULES = frozenset({"58af5bd6ad55835a"})
"""Fingerprints of the domain and grammar texts that this engine reproduces: alfworld 0.4's."""

Act = tuple[Callable[[Problem, State, int, int], tuple[State, str]], int, int]

_VIEWS_KEPT = 96
"""Per game; a view takes about 3 kB."""


class View(NamedTuple):
    """The commands of one situation: the sorted list, and what the local ones do."""

    commands: list[str]
    acts: dict[str, Act]


class Turn(NamedTuple):
    """What an engine answers to a command."""

    text: str
    commands: list[str]
    """The admissible commands, in the official order; the caller's own list."""
    won: bool
    valid: bool
    """Whether the command was admissible."""


class Engine(Protocol):
    """What plays a game: this module's `FastEngine`, or the official one."""

    metadata: dict[str, str]

    def start(self, game_id: str) -> Turn:
        """Begin a game."""

    def act(self, command: str) -> Turn:
        """Play one command."""


class FastEngine:
    """Plays the games of one source; the state is one immutable value."""

    metadata = {"concurrency": "thread", "snapshot": "native"}

    problem: Problem
    state: State

    def __init__(self, games: Games) -> None:
        self._games = games

    def start(self, game_id: str) -> Turn:
        """Begin a game.

        Raises:
            DataError: the game's own rules or texts are others than this engine reproduces.
        """
        problem = self._games.problem(game_id)
        if problem.rules not in KNOWN_RULES:
            raise DataError(
                f"{game_id}: its rules or texts are not those of alfworld 0.4, which the fast "
                'engine reproduces; play it with engine="textworld"'
            )
        self.problem, self.state = problem, problem.start
        return self.turn(text.intro(problem, self.state), valid=True)

    def act(self, command: str) -> Turn:
        """Play one command."""
        self.state, feedback, valid = apply(self.problem, self.state, command)
        return self.turn(feedback, valid=valid)

    def turn(self, feedback: str, *, valid: bool) -> Turn:
        """The present situation, described."""
        problem, state = self.problem, self.state
        commands = view(problem, state).commands.copy()
        return Turn(feedback, commands, won(problem, state), valid)


def view(problem: Problem, state: State) -> View:
    """The admissible commands of `state`, cached by all that they depend on.

    The list is shared: copy it before giving it away.
    """
    location, held = state.location, state.held
    key = (
        location,
        held,
        *[(state.opened >> r & 1, state.inside[r]) for r in problem.here[location]],
        state.lying if held >= 0 and problem.knives >> held & 1 else None,
    )
    found: View | None = problem.views.get(key)
    if found is None:
        if len(problem.views) >= _VIEWS_KEPT:
            problem.views.clear()
        acts = _local_acts(problem, state)
        found = View(sorted([*acts, *problem.moves[location]]), acts)
        problem.views[key] = found
    return found


def apply(problem: Problem, state: State, command: str) -> tuple[State, str, bool]:
    """Play one command: the next state, its text, and whether the command was admissible."""
    command = command.strip()
    target = problem.destination.get(command)
    if target is not None:
        place = problem.at[target]
        if place == state.location:
            return state, text.NOTHING_HAPPENS, False
        state = state._replace(location=place)
        shown = text.receptacle(problem, state, target)
        return state, f"You arrive at {problem.receptacles[target]}. {shown}", True
    act = view(problem, state).acts.get(command)
    if act is None:
        return state, text.NOTHING_HAPPENS, False
    play, first, second = act
    state, feedback = play(problem, state, first, second)
    return state, feedback, True


def won(problem: Problem, state: State) -> bool:
    """Whether `state` satisfies the game's goal."""
    goal = problem.goal
    if goal.lamps:
        return state.held in goal.objects and any(
            o in goal.lamps and state.toggled >> o & 1
            for r in problem.here[state.location]
            for o in state.inside[r]
        )
    bits = getattr(state, goal.condition) if goal.condition else -1
    return any(
        sum(1 for o in state.inside[r] if o in goal.objects and bits >> o & 1) >= goal.count
        for r in goal.receptacles
    )


def _local_acts(problem: Problem, state: State) -> dict[str, Act]:
    acts: dict[str, Act] = {
        "look": (_look, 0, 0),
        "inventory": (_inventory, 0, 0),
        "help": (_help, 0, 0),
    }
    for r in problem.here[state.location]:
        _receptacle_acts(problem, state, r, acts)
    if state.held >= 0:
        _held_acts(problem, state, acts)
    return acts


def _receptacle_acts(problem: Problem, state: State, r: int, acts: dict[str, Act]) -> None:
    name = problem.receptacles[r]
    acts[f"examine {name}"] = (_examine, r, 0)
    reachable = True
    if problem.openable >> r & 1:
        reachable = bool(state.opened >> r & 1)
        verb, act = ("close", _close) if reachable else ("open", _open)
        acts[f"{verb} {name}"] = (act, r, 0)
    for o in state.inside[r]:
        if reachable and state.held < 0 and problem.pickupable >> o & 1:
            acts[f"take {problem.objects[o]} from {name}"] = (_take, o, r)
        if problem.toggleable >> o & 1:
            acts[f"use {problem.objects[o]}"] = (_use, o, 0)
    if reachable and state.held >= 0 and problem.accepts[r] >> state.held & 1:
        acts[f"move {problem.objects[state.held]} to {name}"] = (_move, state.held, r)


def _held_acts(problem: Problem, state: State, acts: dict[str, Act]) -> None:
    held, name = state.held, problem.objects[state.held]
    acts[f"examine {name}"] = (_examine_held, held, 0)
    for r in problem.here[state.location]:
        if problem.sinks >> r & 1 and problem.cleanable >> held & 1:
            acts[f"clean {name} with {problem.receptacles[r]}"] = (_clean, held, r)
        if problem.microwaves >> r & 1 and problem.heatable >> held & 1:
            acts[f"heat {name} with {problem.receptacles[r]}"] = (_heat, held, r)
        if problem.fridges >> r & 1 and problem.coolable >> held & 1:
            acts[f"cool {name} with {problem.receptacles[r]}"] = (_cool, held, r)
    if problem.knives >> held & 1:
        for o, place in state.lying:
            if place == state.location and problem.sliceable >> o & 1:
                acts[f"slice {problem.objects[o]} with {name}"] = (_slice, o, held)


# What each command does. All take (problem, state, first argument, second argument).


def _look(problem: Problem, state: State, _: int, __: int) -> tuple[State, str]:
    return state, text.look(problem, state)


def _inventory(problem: Problem, state: State, _: int, __: int) -> tuple[State, str]:
    return state, text.inventory(problem, state)


def _help(problem: Problem, state: State, _: int, __: int) -> tuple[State, str]:
    return state, text.HELP


def _examine(problem: Problem, state: State, r: int, _: int) -> tuple[State, str]:
    return state, text.receptacle(problem, state, r)


def _examine_held(problem: Problem, state: State, o: int, _: int) -> tuple[State, str]:
    return state, text.held_object(problem, state, o)


def _open(problem: Problem, state: State, r: int, _: int) -> tuple[State, str]:
    state = state._replace(opened=state.opened | 1 << r)
    shown = text.receptacle(problem, state, r)
    return state, f"You open the {problem.receptacles[r]}. {shown}"


def _close(problem: Problem, state: State, r: int, _: int) -> tuple[State, str]:
    state = state._replace(opened=state.opened & ~(1 << r))
    return state, f"You close the {problem.receptacles[r]}."


def _take(problem: Problem, state: State, o: int, r: int) -> tuple[State, str]:
    inside = list(state.inside)
    inside[r] = tuple(other for other in inside[r] if other != o)
    state = state._replace(
        held=o,
        inside=tuple(inside),
        lying=state.lying - {(o, state.location)},
        left=state.left | {(o, r)},
    )
    return state, f"You pick up the {problem.objects[o]} from the {problem.receptacles[r]}."


def _move(problem: Problem, state: State, o: int, r: int) -> tuple[State, str]:
    inside = list(state.inside)
    inside[r] = tuple(sorted({*inside[r], o}))
    state = state._replace(
        held=-1,
        inside=tuple(inside),
        lying=state.lying | {(o, state.location)},
        left=state.left - {(o, r)},
    )
    return state, f"You move the {problem.objects[o]} to the {problem.receptacles[r]}."


def _use(problem: Problem, state: State, o: int, _: int) -> tuple[State, str]:
    state = state._replace(toggled=state.toggled | 1 << o)
    return state, f"You turn on the {problem.objects[o]}."


def _clean(problem: Problem, state: State, o: int, r: int) -> tuple[State, str]:
    state = state._replace(clean=state.clean | 1 << o)
    return state, _using("clean", problem, o, r)


def _heat(problem: Problem, state: State, o: int, r: int) -> tuple[State, str]:
    state = state._replace(hot=state.hot | 1 << o, cool=state.cool & ~(1 << o))
    return state, _using("heat", problem, o, r)


def _cool(problem: Problem, state: State, o: int, r: int) -> tuple[State, str]:
    state = state._replace(cool=state.cool | 1 << o, hot=state.hot & ~(1 << o))
    return state, _using("cool", problem, o, r)


def _slice(problem: Problem, state: State, o: int, knife: int) -> tuple[State, str]:
    state = state._replace(sliced=state.sliced | 1 << o)
    return state, f"You sliced the {problem.objects[o]} with the {problem.objects[knife]}."


def _using(verb: str, problem: Problem, o: int, r: int) -> str:
    return f"You {verb} the {problem.objects[o]} using the {problem.receptacles[r]}."
