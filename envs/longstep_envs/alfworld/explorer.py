"""The exploring expert: acts on nothing but the text it has seen.

Its belief is rebuilt from observations alone, because ALFWorld's feedback names what was done
("You pick up the mug 1 from the desk 2."). So it can also advise a policy that plays itself: call
`act` after every observation, and play what you like.
"""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.resources import files

from longstep_envs.types import DataError

_NAME = re.compile(r"([a-z]+ \d+)")
_LOOK = re.compile(r"(?:look at|examine) (?:the )?(?P<object>\w+) (?:under|with) the (?P<lamp>\w+)")
_PAIR = re.compile(r"(?:put|find) two (?P<object>\w+) (?:and put them )?(?:in|on) (?P<home>\w+)")
_TREATED = re.compile(
    r"(?:put an? (?P<state>clean|hot|cool) (?P<object>\w+)|"
    r"(?P<verb>clean|heat|cool) some (?P<other>\w+) and put it) (?:in|on) (?P<home>\w+)"
)
_PLAIN = re.compile(r"put (?:an?|some) (?P<object>\w+) (?:in|on) (?P<home>\w+)")
_EVENT = re.compile(
    r"You (?:(?P<go>arrive at|open the|close the) (?P<there>[a-z]+ \d+)"
    r"|pick up the (?P<taken>[a-z]+ \d+) from the (?P<source>[a-z]+ \d+)"
    r"|move the (?P<put>[a-z]+ \d+) to the (?P<goal>[a-z]+ \d+)"
    r"|(?P<verb>heat|clean|cool) the (?P<treated>[a-z]+ \d+) using"
    r"|are carrying: a (?P<carried>[a-z]+ \d+))"
)
_VIEW = re.compile(r"(?:On|The) (?:the )?([a-z]+ \d+)(?: is open\. In it)?, you see ([^.]*)\.")
_VERBS = {"clean": "clean", "hot": "heat", "heat": "heat", "cool": "cool"}
_APPLIANCE = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the task sentence asks for."""

    target: str
    home: str = ""
    lamp: str = ""
    verb: str = ""
    count: int = 1


@functools.lru_cache(maxsize=4096)
def read_task(text: str) -> Wish:
    """The wish in a task sentence that was made from ALFWorld's templates.

    Raises:
        DataError: the sentence is of no known form, for example a human annotation.
    """
    sentence = text.rpartition("Your task is to:")[2].strip().lower()
    if found := _LOOK.match(sentence):
        return Wish(found["object"], lamp=found["lamp"])
    if found := _PAIR.match(sentence):
        return Wish(found["object"], found["home"], count=2)
    if found := _TREATED.match(sentence):
        verb = _VERBS[found["state"] or found["verb"]]
        return Wish(found["object"] or found["other"], found["home"], verb=verb)
    if found := _PLAIN.match(sentence):
        return Wish(found["object"], found["home"])
    raise DataError(f"no exploring expert for a task worded {sentence!r:.200}")


@functools.cache
def likely_places() -> dict[str, frozenset[str]]:
    """Per receptacle type, the object types that are found in it."""
    data = (files("longstep_envs.alfworld") / "likely_places.json").read_text("utf-8")
    return {place: frozenset(kinds) for place, kinds in json.loads(data).items()}


class Explorer:
    """Searches the room for what the task names, then does it.

    With `prior`, receptacles that are likely to hold the thing come first, open ones before those
    that must be opened; without, the order is random. `wander` is the chance, at each decision,
    of walking somewhere at random instead: it makes demonstrations that recover from detours.
    """

    def __init__(
        self, rng: random.Random | None = None, *, prior: bool = True, wander: float = 0.0
    ) -> None:
        self._rng, self._prior, self._wander = rng or random.Random(0), prior, wander
        self._wish: Wish | None = None

    def act(self, observation: str, admissible: Sequence[str]) -> str:
        """The next action. Show it every observation, from the one that names the task on.

        Raises:
            DataError: no observation has named the task yet, or its wording is unknown.
        """
        if "Your task is to:" in observation:
            self._begin(observation, admissible)
        elif self._wish is None:
            raise DataError("the explorer has not seen the observation that names the task")
        else:
            self._observe(observation)
        if self._wander and self._rng.random() < self._wander:
            moves = [command for command in admissible if command.startswith("go to ")]
            if moves:
                return self._rng.choice(moves)
        return self._decide(admissible)

    def _begin(self, observation: str, admissible: Sequence[str]) -> None:
        self._wish = read_task(observation.rpartition("\n")[2])
        named = _NAME.findall(observation.rpartition("Your task is to:")[0])
        reached = [command[6:] for command in admissible if command.startswith("go to ")]
        self._order: list[str] = list(dict.fromkeys([*named, *reached]))
        self._rng.shuffle(self._order)
        self._seen: dict[str, str] = {}
        self._unvisited = dict.fromkeys(self._order)
        self._closed: set[str] = set()
        self._here = ""
        self._held = ""
        self._home = ""
        self._treated: set[str] = set()

    def _observe(self, text: str) -> None:
        if found := _EVENT.match(text):
            self._note(found, closed=text.endswith(" is closed."))
        if shown := _VIEW.search(text):
            place, things = shown.groups()
            self._unvisited.pop(place, None)
            for thing in [t for t, where in self._seen.items() if where == place]:
                del self._seen[thing]
            self._seen.update(dict.fromkeys(_NAME.findall(things), place))

    def _note(self, found: re.Match[str], *, closed: bool) -> None:
        if found["there"]:
            self._here = found["there"]
            self._closed.discard(self._here)
            if closed or found["go"] == "close the":
                self._closed.add(self._here)
        elif found["taken"] or found["carried"]:
            self._held = found["taken"] or found["carried"]
            self._seen.pop(self._held, None)
        elif found["put"]:
            self._held = ""
            self._seen[found["put"]] = found["goal"]
        elif found["verb"]:
            self._treat(found["treated"], found["verb"])

    def _treat(self, thing: str, verb: str) -> None:
        if self._wish is not None and verb == self._wish.verb:
            self._treated.add(thing)
        elif verb != "clean":  # heating cools no longer, and the other way round
            self._treated.discard(thing)

    def _decide(self, admissible: Collection[str]) -> str:
        wish = self._wish
        assert wish is not None  # set by _begin
        if not self._held:
            return self._fetch(wish, admissible)
        if _kind(self._held) != wish.target:
            return self._drop(admissible)
        if wish.lamp:
            return self._light(wish, admissible)
        if wish.verb and self._held not in self._treated:
            return self._work(wish, admissible)
        return self._put(wish, admissible)

    def _fetch(self, wish: Wish, admissible: Collection[str]) -> str:
        if wish.count == 2:
            self._home = self._home or self._home_of_one(wish)
        wanted = [
            (place != self._here, thing, place)
            for thing, place in self._seen.items()
            if _kind(thing) == wish.target and not self._is_done(wish, thing, place)
        ]
        if not wanted:
            return self._search(wish.target, admissible)
        _, thing, place = min(wanted)  # what is at hand first
        return self._reach(place, admissible) or f"take {thing} from {place}"

    def _home_of_one(self, wish: Wish) -> str:
        """A place of the wanted kind that holds one of the pair already, else empty."""
        homes = [
            place
            for thing, place in self._seen.items()
            if _kind(thing) == wish.target and _kind(place) == wish.home
        ]
        return min(homes, default="")

    def _is_done(self, wish: Wish, thing: str, place: str) -> bool:
        if wish.count == 2:
            return place == self._home
        return _kind(place) == wish.home and (not wish.verb or thing in self._treated)

    def _light(self, wish: Wish, admissible: Collection[str]) -> str:
        for thing, place in self._seen.items():
            if _kind(thing) == wish.lamp:
                return self._reach(place, admissible, inside=False) or f"use {thing}"
        return self._search(wish.lamp, admissible)

    def _work(self, wish: Wish, admissible: Collection[str]) -> str:
        place = self._any(_APPLIANCE[wish.verb])
        going = self._reach(place, admissible, inside=False)
        return going or f"{wish.verb} {self._held} with {place}"

    def _put(self, wish: Wish, admissible: Collection[str]) -> str:
        self._home = self._home or self._any(wish.home)
        return self._reach(self._home, admissible) or f"move {self._held} to {self._home}"

    def _drop(self, admissible: Collection[str]) -> str:
        """Get rid of something that another player picked up."""
        moves = [command for command in admissible if command.startswith("move ")]
        opening = [command for command in admissible if command.startswith("open ")]
        walks = [command for command in admissible if command.startswith("go to ")]
        return self._rng.choice(moves or opening or walks or ["look"])

    def _search(self, target: str, admissible: Collection[str]) -> str:
        if self._here in self._unvisited and self._here in self._closed:
            return f"open {self._here}"
        if not self._unvisited:
            return "look"
        places = likely_places() if self._prior else {}
        place = min(self._unvisited, key=lambda p: _unlikeliness(p, target, places))
        return self._reach(place, admissible) or f"examine {place}"

    def _reach(self, place: str, admissible: Collection[str], *, inside: bool = True) -> str:
        """The command that brings us to `place` and opens it, empty if we are there."""
        going = f"go to {place}"
        if going in admissible:
            return going
        opening = f"open {place}"
        return opening if inside and opening in admissible else ""

    def _any(self, kind: str) -> str:
        found = [place for place in self._order if _kind(place) == kind]
        if not found:
            raise DataError(f"the task needs a {kind}, and the room has none")
        return found[0]


_OPENABLE = frozenset({"cabinet", "drawer", "fridge", "microwave", "safe", "box"})


def _unlikeliness(place: str, target: str, places: dict[str, frozenset[str]]) -> int:
    """0 for likely places, 1 for likely ones that must be opened, 2 for the rest."""
    if not places:
        return 0
    kind = _kind(place)
    return (1 if kind in _OPENABLE else 0) if target in places.get(kind, ()) else 2


def _kind(name: str) -> str:
    return name.split(" ", 1)[0]
