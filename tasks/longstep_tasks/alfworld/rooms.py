"""The tables of real rooms, and random household scenes in them.

The tables (`data/`) come from the alfworld package, MIT licence, notice beside them: which
receptacles stand where in 120 floor plans, what can lie in what, what can be heated or sliced.
"""

from __future__ import annotations

import functools
import json
import random
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

LAMPS = ("DeskLamp", "FloorLamp")
LAMP_HOMES = ("Desk", "SideTable", "Dresser", "CoffeeTable", "TVStand", "DiningTable", "Shelf")
"""Where lamps stand; the tables put them nowhere, and looking by their light needs them."""
FIXED = frozenset(
    {
        *LAMPS,
        "Blinds",
        "Chair",
        "Curtains",
        "HousePlant",
        "LightSwitch",
        "Mirror",
        "Painting",
        "Television",
        "Window",
    }
)
"""Objects that cannot be picked up."""

_UNSEEN_FROM = 25


@dataclass(frozen=True, slots=True)
class Scene:
    """A furnished room."""

    plan: int
    receptacles: dict[str, str]
    """Location per receptacle."""
    objects: dict[str, tuple[str, str]]
    """Type and receptacle per object."""
    start: str
    """The agent's location."""

    def of_type(self, kind: str) -> list[str]:
        """The objects of a type, in the order of their ids."""
        return sorted(o for o, (object_kind, _) in self.objects.items() if object_kind == kind)


@functools.cache
def read_text(name: str) -> str:
    """A file of `data/`."""
    return (files("longstep_tasks.alfworld") / "data" / name).read_text("utf-8")


@functools.cache
def table(name: str) -> Any:
    """A table of `data/types.json`."""
    return json.loads(read_text("types.json"))[name]


@functools.cache
def layouts() -> dict[int, dict[str, Any]]:
    """Per floor plan: its receptacles with standing points, and the object types found there."""
    kinds = set(table("receptacle_types"))
    return {
        int(plan): {
            "objects": layout["objects"],
            "receptacles": {
                r: _location(*point)
                for r, point in layout["receptacles"].items()
                if receptacle_type(r) in kinds
            },
        }
        for plan, layout in json.loads(read_text("layouts.json")).items()
    }


def receptacle_type(receptacle: str) -> str:
    """`Cabinet|+00.68|…` is a Cabinet; `Sink|…|SinkBasin` is a SinkBasin."""
    parts = receptacle.split("|")
    return str(parts[4] if len(parts) > 4 else parts[0])


def is_unseen(plan: int) -> bool:
    """Whether a floor plan is held out of training: the last 6 of the 30 of each room."""
    return plan % 100 >= _UNSEEN_FROM


def plans_for(goal: str, *, unseen: bool, max_receptacles: int | None) -> tuple[int, ...]:
    """The floor plans that a task type may take place in, in order."""
    bounds = [table("rooms")[room] for room in table("goal_rooms")[goal]]
    return tuple(
        plan
        for plan, layout in sorted(layouts().items())
        if any(low <= plan <= high for low, high in bounds)
        and is_unseen(plan) == unseen
        and (max_receptacles is None or len(layout["receptacles"]) <= max_receptacles)
    )


def furnish(plan: int, rng: random.Random, keep: int | None = None) -> Scene:
    """A random scene: one or two objects of each type of the room, where the type belongs.

    `keep` leaves a random part of the room's receptacles, at most so many, out of as many types
    as possible.
    """
    layout, contains = layouts()[plan], table("contains")
    receptacles: dict[str, str] = layout["receptacles"]
    if keep is not None:
        receptacles = _some_of(receptacles, keep, rng)
    movable = set(table("object_types"))
    objects: dict[str, tuple[str, str]] = {}
    for kind in layout["objects"]:
        if kind not in movable:
            continue
        lamp = kind in LAMPS
        homes = [
            r
            for r in receptacles
            if (
                receptacle_type(r) in LAMP_HOMES
                if lamp
                else kind in contains.get(receptacle_type(r), ())
            )
        ]
        for _ in range(1 if lamp else rng.randint(1, 2)):
            if homes:
                home = rng.choice(homes)
                objects.setdefault(_object_id(kind, home, rng), (kind, home))
    return Scene(plan, receptacles, objects, _start(receptacles, rng))


def _some_of(receptacles: dict[str, str], keep: int, rng: random.Random) -> dict[str, str]:
    order = sorted(receptacles)
    rng.shuffle(order)
    first = {receptacle_type(r): r for r in reversed(order)}
    chosen = [*first.values(), *(r for r in order if r not in first.values())][:keep]
    return {r: location for r, location in receptacles.items() if r in chosen}


def _object_id(kind: str, home: str, rng: random.Random) -> str:
    x, y, z = (float(part) for part in home.split("|")[1:4])
    spot = (x + rng.uniform(-0.4, 0.4), y + 0.1, z + rng.uniform(-0.4, 0.4))
    return "|".join((kind, *map(_coordinate, spot)))


def _coordinate(value: float) -> str:
    return f"{'+' if value >= 0 else '-'}{abs(value):05.2f}"


def _location(x: float, z: float, rotation: float, horizon: float) -> str:
    return f"loc|{round(x / 0.25)}|{round(z / 0.25)}|{int(rotation) // 90 % 4}|{int(horizon)}"


def _start(receptacles: dict[str, str], rng: random.Random) -> str:
    """A location off every receptacle, from which the first look shows the whole room."""
    taken = set(receptacles.values())
    while True:
        x, z, turn = rng.randint(-8, 8), rng.randint(-8, 8), rng.randint(0, 3)
        spot = f"loc|{x}|{z}|{turn}|30"
        if spot not in taken:
            return spot
