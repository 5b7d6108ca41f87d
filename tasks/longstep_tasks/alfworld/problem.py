"""What is asked in a scene, and the PDDL problem that says so."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

from longstep_tasks.alfworld.rooms import (
    FIXED,
    LAMPS,
    Scene,
    read_text,
    receptacle_type,
    table,
)

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
"""ALFWorld's six task types, in its numbering."""

_TREATMENT = {
    "pick_clean_then_place_in_recep": ("cleanable", "SinkBasin"),
    "pick_heat_then_place_in_recep": ("heatable", "Microwave"),
    "pick_cool_then_place_in_recep": ("coolable", "Fridge"),
}
_BASINS = ("SinkBasin", "BathtubBasin")
_PREDICATES = ("cleanable", "heatable", "coolable", "toggleable", "sliceable")
_MANGLED = (
    ("-", "_minus_"),
    ("#", "-"),
    ("|", "_bar_"),
    ("+", "_plus_"),
    (".", "_dot_"),
    (",", "_comma_"),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked: the object type, and where it goes or under which lamp it is looked at."""

    task_type: str
    target: str
    receptacle: str = ""
    lamp: str = ""


def draw_wish(task_type: str, scene: Scene, rng: random.Random) -> Wish | None:
    """Something of `task_type` that the scene allows and that is not true yet, None if nothing."""
    amounts = Counter(kind for kind, _ in scene.objects.values())
    kinds = [kind for kind in sorted(amounts) if kind not in FIXED]
    if task_type == "look_at_obj_in_light":
        lamps = [kind for kind in LAMPS if kind in amounts]
        if not (lamps and kinds):
            return None
        return Wish(task_type, rng.choice(kinds), lamp=rng.choice(lamps))
    present = {receptacle_type(r) for r in scene.receptacles}
    property_needed, appliance = _TREATMENT.get(task_type, (None, None))
    if property_needed is not None:
        kinds = [kind for kind in kinds if kind in table("actions")[property_needed]]
    if task_type == "pick_two_obj_and_place":
        kinds = [kind for kind in kinds if amounts[kind] > 1]
    if not kinds or (appliance is not None and appliance not in present):
        return None
    target = rng.choice(kinds)
    receptacles = [
        r
        for r in sorted(present)
        if target in table("contains").get(r, ()) and _is_news(task_type, target, r, scene)
    ]
    return Wish(task_type, target, rng.choice(receptacles)) if receptacles else None


def _is_news(task_type: str, target: str, receptacle: str, scene: Scene) -> bool:
    """Whether putting `target` there is no trivial wish, and not fulfilled at the start."""
    if task_type in _TREATMENT:
        appliance = _TREATMENT[task_type][1]
        return receptacle not in (_BASINS if appliance in _BASINS else (appliance,))
    there = sum(
        kind == target and receptacle_type(home) == receptacle
        for kind, home in scene.objects.values()
    )
    return there < (2 if task_type == "pick_two_obj_and_place" else 1)


def mangle(text: str) -> str:
    """PDDL-safe names, as ALFWorld spells them; `#` stands for the type marker."""
    for plain, spelled in _MANGLED:
        text = text.replace(plain, spelled)
    return text


def describe(wish: Wish, rng: random.Random) -> str:
    """The wish as a sentence, from ALFWorld's templates."""
    template = rng.choice(_goals()[wish.task_type]["templates"])
    return str(
        template.format(
            obj=wish.target.lower(), recep=wish.receptacle.lower(), toggle=wish.lamp.lower()
        )
    )


def problem_text(name: str, wish: Wish, scene: Scene) -> str:
    """The PDDL problem: objects, initial facts, goal."""
    goal = _goals()[wish.task_type]["pddl"].format(
        obj=wish.target, recep=wish.receptacle, toggle=wish.lamp
    )
    head = [f"(define (problem plan_{name})", "(:domain alfred)", "(:objects", *_names(scene), ")"]
    facts = dict.fromkeys(_facts(scene))  # a dict keeps the order and drops what came twice
    return mangle("\n".join([*head, "(:init", *facts, ")", goal]))


def _goals() -> Any:
    return json.loads(read_text("goals.json"))


def _names(scene: Scene) -> list[str]:
    object_types, receptacle_types = table("object_types"), table("receptacle_types")
    locations = sorted({*scene.receptacles.values(), scene.start})
    return [
        "agent1 # agent",
        *(f"{kind} # object" for kind in object_types),
        *(f"{kind}Type # otype" for kind in object_types),
        *(f"{kind}Type # rtype" for kind in receptacle_types),
        *(f"{o} # object" for o in sorted(scene.objects)),
        *(f"{r} # receptacle" for r in sorted(scene.receptacles)),
        *(f"{location} # location" for location in locations),
    ]


def _facts(scene: Scene) -> list[str]:
    movable, openable = table("movable_receptacles"), table("openable")
    actions, contains = table("actions"), table("contains")
    kind_of = {o: kind for o, (kind, _) in scene.objects.items()}
    types = {r: receptacle_type(r) for r in scene.receptacles}
    present = set(kind_of.values())
    return [
        *(f"(receptacleType {r} {t}Type)" for r, t in types.items()),
        *(f"(objectType {o} {kind}Type)" for o, kind in kind_of.items()),
        *(
            f"(canContain {t}Type {kind}Type)"
            for t in dict.fromkeys(types.values())
            for kind in contains.get(t, ())
            if kind in present
        ),
        *(f"(pickupable {o})" for o, kind in kind_of.items() if kind not in FIXED),
        *(f"(isReceptacleObject {o})" for o, kind in kind_of.items() if kind in movable),
        *(f"(openable {r})" for r, t in types.items() if t in openable),
        f"(atLocation agent1 {scene.start})",
        *(
            f"({word} {o})"
            for word in _PREDICATES
            for o, kind in kind_of.items()
            if kind in actions[word]
        ),
        *(f"(inReceptacle {o} {home})" for o, (_, home) in scene.objects.items()),
        *(f"(receptacleAtLocation {r} {place})" for r, place in scene.receptacles.items()),
        *(
            f"(objectAtLocation {o} {scene.receptacles[home]})"
            for o, (_, home) in scene.objects.items()
        ),
    ]
