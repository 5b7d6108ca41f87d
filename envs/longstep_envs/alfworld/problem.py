"""One ALFWorld game, parsed: from the text of a `game.tw-pddl` file to tables of small integers.

Objects, receptacles and locations are numbered in the order of their PDDL names, so that sorting
numbers sorts as the official engine sorts names.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from longstep_envs.types import DataError

_FACT = re.compile(r"\(([^()=;]+)\)")
_COMMENT = re.compile(r";[^\n]*")
_TASK = re.compile(r'"task":\s*\[\s*\{\s*"rhs":\s*("(?:[^"\\]|\\.)*")')
_OBJECT_TYPE = re.compile(r"\(objecttype \?(\w+) (\w+)\)")
_RECEPTACLE_TYPE = re.compile(r"\(receptacletype \?\w+ (\w+)\)")
_KNIVES = ("knifetype", "butterknifetype")

TASK_TYPES = {
    "isclean": "pick_clean_then_place_in_recep",
    "ishot": "pick_heat_then_place_in_recep",
    "iscool": "pick_cool_then_place_in_recep",
}
"""The task type that a predicate in the goal gives away."""

Facts = dict[str, list[tuple[str, ...]]]


class State(NamedTuple):
    """Everything that changes in an episode; immutable, so a snapshot is a reference."""

    location: int
    held: int
    """The held object, -1 if none."""
    opened: int
    """Bit set of receptacles; the five below are bit sets of objects."""
    clean: int
    hot: int
    cool: int
    toggled: int
    sliced: int
    inside: tuple[tuple[int, ...], ...]
    """Per receptacle, its objects in order."""
    lying: frozenset[tuple[int, int]]
    """`objectAtLocation`: (object, location)."""
    left: frozenset[tuple[int, int]]
    """(object, receptacle) pairs that an action of ours took apart: `not_inreceptacle`."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What wins: `count` objects of a kind in one receptacle, or an object held by a lit lamp."""

    task_type: str
    objects: frozenset[int]
    receptacles: tuple[int, ...]
    count: int
    condition: str
    """The state bit set that the objects must be in: clean, hot, cool, or empty for none."""
    lamps: frozenset[int]


@dataclass(frozen=True, slots=True)
class Problem:
    """The static half of a game. `views` is the engine's bounded cache of admissible lists."""

    task: str
    goal: Goal
    start: State
    objects: tuple[str, ...]
    """Shown name per object, such as `mug 2`."""
    receptacles: tuple[str, ...]
    at: tuple[int, ...]
    """Location per receptacle."""
    here: tuple[tuple[int, ...], ...]
    """Receptacles per location."""
    moves: tuple[tuple[str, ...], ...]
    """Per location, the sorted `go to` commands that lead elsewhere."""
    destination: dict[str, int]
    """Receptacle per `go to` command."""
    openable: int
    pickupable: int
    cleanable: int
    heatable: int
    coolable: int
    toggleable: int
    sliceable: int
    holders: int
    """Objects that can have things put inside them."""
    knives: int
    sinks: int
    microwaves: int
    fridges: int
    accepts: tuple[int, ...]
    """Bit set of objects that each receptacle can contain."""
    contents: dict[int, tuple[int, ...]]
    """Objects inside objects; no action changes it."""
    rules: str = ""
    """Fingerprint of the game's own domain and grammar."""
    views: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


def parse_problem(pddl: str, grammar: str, rules: str = "") -> Problem:
    """Parse a game's `pddl_problem` and take its task line from `grammar`.

    Raises:
        DataError: a part is missing, or the goal is not of the six task types.
    """
    text = _COMMENT.sub("", pddl).lower() if ";" in pddl else pddl.lower()
    first, last = text.find("(:init"), text.find("(:goal")
    task = _TASK.search(grammar)
    if first < 0 or last < first or task is None:
        raise DataError("no (:init, no (:goal, or no task line in the game's texts")
    facts: Facts = defaultdict(list)
    for fact in _FACT.findall(text, first + 6, last):
        predicate, *arguments = fact.split()
        facts[predicate].append(tuple(arguments))
    facts.pop("distance", None)
    try:
        builder = _Builder(facts)
        return builder.build(str(json.loads(task.group(1))), text[last:], rules)
    except (KeyError, IndexError, ValueError) as error:
        raise DataError(f"the PDDL problem does not hold together: {error!r}") from error


def shown_names(ids: Iterable[str]) -> dict[str, str]:
    """The name that a player reads for each PDDL id: `mug_bar_…` becomes `mug 2`.

    Ids of one kind are numbered downwards in sorted order, as ALFWorld's demangler does.
    """
    ordered = sorted(ids)
    kinds = {
        i: i.partition("_bar_")[0] + ("basin" if "basin" in i else "")
        for i in ordered
        if "_bar_" in i
    }
    left = Counter(kinds.values())
    names = {}
    for i in ordered:
        kind = kinds.get(i)
        if kind is None:
            names[i] = f"{i} "
        else:
            names[i] = f"{kind} {left[kind]}"
            left[kind] -= 1
    return names


class _Builder:
    """Turns the facts of `(:init` into a `Problem`."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.site = dict(_pairs(facts["receptacleatlocation"]))
        self.object_type = dict(_pairs(facts["objecttype"]))
        self.receptacle_type = dict(_pairs(facts["receptacletype"]))
        inside, lying = _pairs(facts["inreceptacle"]), _pairs(facts["objectatlocation"])
        objects = {*self.object_type, *(o for o, _ in inside), *(o for o, _ in lying)}
        self.object_ids = sorted(objects)
        self.receptacle_ids = sorted(self.site)
        places = {*self.site.values(), *(place for _, place in lying), self._agent_place()}
        self.o = {name: number for number, name in enumerate(self.object_ids)}
        self.r = {name: number for number, name in enumerate(self.receptacle_ids)}
        self.p = {name: number for number, name in enumerate(sorted(places))}

    def build(self, task: str, goal: str, rules: str) -> Problem:
        names = shown_names({a for rows in self.facts.values() for row in rows for a in row})
        at = tuple(self.p[self.site[r]] for r in self.receptacle_ids)
        here: list[list[int]] = [[] for _ in self.p]
        for receptacle, place in enumerate(at):
            here[place].append(receptacle)
        receptacles = tuple(names[r] for r in self.receptacle_ids)
        moves = sorted((f"go to {name}", r) for r, name in enumerate(receptacles))
        return Problem(
            task=task,
            goal=self._goal(goal),
            start=self._start(),
            objects=tuple(names[o] for o in self.object_ids),
            receptacles=receptacles,
            at=at,
            here=tuple(map(tuple, here)),
            moves=tuple(
                tuple(command for command, r in moves if at[r] != place)
                for place in range(len(here))
            ),
            destination=dict(moves),
            openable=self._bits(self.r, "openable"),
            pickupable=self._bits(self.o, "pickupable"),
            cleanable=self._bits(self.o, "cleanable"),
            heatable=self._bits(self.o, "heatable"),
            coolable=self._bits(self.o, "coolable"),
            toggleable=self._bits(self.o, "toggleable"),
            sliceable=self._bits(self.o, "sliceable"),
            holders=self._bits(self.o, "isreceptacleobject"),
            knives=_bits(self.o[o] for o, kind in self.object_type.items() if kind in _KNIVES),
            sinks=_bits(self._of_type("sinkbasintype")),
            microwaves=_bits(self._of_type("microwavetype")),
            fridges=_bits(self._of_type("fridgetype")),
            accepts=self._accepts(),
            contents=self._contents(),
            rules=rules,
        )

    def _agent_place(self) -> str:
        return self.facts["atlocation"][0][1]

    def _bits(self, index: dict[str, int], predicate: str) -> int:
        return _bits(index[row[0]] for row in self.facts[predicate] if row[0] in index)

    def _of_type(self, kind: str) -> list[int]:
        return sorted(
            self.r[name] for name, t in self.receptacle_type.items() if t == kind and name in self.r
        )

    def _accepts(self) -> tuple[int, ...]:
        of_type: dict[str, int] = defaultdict(int)
        for name, kind in self.object_type.items():
            of_type[kind] |= 1 << self.o[name]
        fits: dict[str, int] = defaultdict(int)
        for holder, kind in _pairs(self.facts["cancontain"]):
            fits[holder] |= of_type[kind]
        return tuple(fits[self.receptacle_type.get(name, "")] for name in self.receptacle_ids)

    def _contents(self) -> dict[int, tuple[int, ...]]:
        inner: dict[int, list[int]] = defaultdict(list)
        for small, big in _pairs(self.facts["inreceptacleobject"]):
            inner[self.o[big]].append(self.o[small])
        return {big: tuple(sorted(small)) for big, small in inner.items()}

    def _start(self) -> State:
        inside: list[list[int]] = [[] for _ in self.receptacle_ids]
        for o, r in sorted(set(_pairs(self.facts["inreceptacle"]))):
            inside[self.r[r]].append(self.o[o])
        held = self.facts["holds"]
        return State(
            location=self.p[self._agent_place()],
            held=self.o[held[0][1]] if held else -1,
            opened=self._bits(self.r, "opened"),
            clean=self._bits(self.o, "isclean"),
            hot=self._bits(self.o, "ishot"),
            cool=self._bits(self.o, "iscool"),
            toggled=self._bits(self.o, "istoggled"),
            sliced=self._bits(self.o, "issliced"),
            inside=tuple(map(tuple, inside)),
            lying=frozenset(
                (self.o[o], self.p[place]) for o, place in _pairs(self.facts["objectatlocation"])
            ),
            left=frozenset(),
        )

    def _goal(self, text: str) -> Goal:
        if "issliced" in text or "inreceptacleobject" in text:
            raise DataError(
                "sliced and movable-receptacle goals are not among ALFWorld's six task types"
            )
        wanted = _OBJECT_TYPE.findall(text)
        if "istoggled" in text:
            lamp, held = (next(t for v, t in wanted if (v == "ot") is lit) for lit in (True, False))
            toggleable = {row[0] for row in self.facts["toggleable"]}
            lamps = [o for o in self._objects_of(lamp) if self.object_ids[o] in toggleable]
            objects = frozenset(self._objects_of(held))
            return Goal("look_at_obj_in_light", objects, (), 1, "", frozenset(lamps))
        state = next((word for word in TASK_TYPES if word in text), "")
        count = len(wanted)
        plain = "pick_two_obj_and_place" if count == 2 else "pick_and_place_simple"
        able = {"isclean": "cleanable", "ishot": "heatable", "iscool": "coolable"}.get(state)
        objects = frozenset(self._objects_of(wanted[0][1]))
        if able is not None:
            able_ids = {row[0] for row in self.facts[able]}
            objects = frozenset(o for o in objects if self.object_ids[o] in able_ids)
        receptacles = tuple(self._of_type(_RECEPTACLE_TYPE.findall(text)[0]))
        return Goal(
            TASK_TYPES.get(state, plain), objects, receptacles, count, state[2:], frozenset()
        )

    def _objects_of(self, kind: str) -> list[int]:
        return [self.o[name] for name, t in self.object_type.items() if t == kind]


def _pairs(rows: list[tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(first, second) for first, second in rows]


def _bits(numbers: Iterable[int]) -> int:
    total = 0
    for number in numbers:
        total |= 1 << number
    return total
