"""The observation texts of ALFWorld, as the official template grammar derives them.

Some sentences look odd (`look` away from every receptacle sees nothing, `use` only ever turns on):
they are the official engine's, and the equality test holds us to them.
"""

from __future__ import annotations

from collections.abc import Iterable

from longstep_envs.alfworld.problem import Problem, State

NOTHING_HAPPENS = "Nothing happens."
INTRO = "-= Welcome to TextWorld, ALFRED! =-\n\n"
HELP = """Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""


def intro(problem: Problem, state: State) -> str:
    """The first observation: the room, and the task."""
    here = problem.here[state.location]
    room = look(problem, state) if here else _middle(problem.receptacles)
    return f"{INTRO}{room}\n\n{problem.task}"


def look(problem: Problem, state: State) -> str:
    """What `look` shows. Off every receptacle the official grammar lists nothing at all."""
    here = problem.here[state.location]
    if not here:
        return _middle(())
    floor = [
        problem.objects[o]
        for o, place in sorted(state.lying)
        if place == state.location
        for r in here
        if (o, r) in state.left
    ]
    facing = _listing(problem.receptacles[r] for r in here)
    return f"You are facing the {facing}. Next to it, you see {_listing(_a(floor))}."


def receptacle(problem: Problem, state: State, r: int) -> str:
    """What `examine` shows of receptacle `r`."""
    name = problem.receptacles[r]
    if not problem.openable >> r & 1:
        start = f"On the {name}"
    elif state.opened >> r & 1:
        start = f"The {name} is open. In it"
    else:
        return f"The {name} is closed."
    return f"{start}, you see {_listing(_a(problem.objects[o] for o in state.inside[r]))}."


def held_object(problem: Problem, state: State, o: int) -> str:
    """What `examine` shows of the held object `o`."""
    name = problem.objects[o]
    if problem.holders >> o & 1:
        inner = _listing(_a(problem.objects[i] for i in problem.contents.get(o, ())))
        return f"This is a normal {name}. In it, you see {inner}."
    words = _condition(state, o)
    if words:
        return f"This is a {words} {name}."
    if problem.toggleable & state.toggled & 1 << o:
        return f"This {name} is on."
    if problem.sliceable & state.sliced & 1 << o:
        return f"This is a sliced {name}."
    return f"There's nothing special about {name}."


def inventory(problem: Problem, state: State) -> str:
    """What `inventory` shows."""
    if state.held < 0:
        return "You are not carrying anything."
    return f"You are carrying: a {problem.objects[state.held]}."


def _condition(state: State, o: int) -> str:
    clean, sliced = state.clean >> o & 1, state.sliced >> o & 1
    heat = "hot" if state.hot >> o & 1 else "cool" if state.cool >> o & 1 else ""
    if not (clean or heat):
        return ""
    if heat == "cool" and not clean and not sliced:
        return "cold"
    words = " and ".join(filter(None, (heat, "clean" if clean else "")))
    return f"{words} sliced" if sliced else words


def _middle(receptacles: Iterable[str]) -> str:
    seen = _listing(_a(receptacles))
    return f"You are in the middle of a room. Looking quickly around you, you see {seen}."


def _a(names: Iterable[str]) -> list[str]:
    return [f"a {name}" for name in names]


def _listing(names: Iterable[str]) -> str:
    items = list(names)
    if not items:
        return "nothing"
    if len(items) == 1:
        return items[0]
    return f"{', '.join(items[:-1])}, and {items[-1]}"
