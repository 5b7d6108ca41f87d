"""The logic of a game: which commands are admissible, and what an action makes of the world.

The interpreter tells what happened; the rules in the game's .json file tell what is true after
it. Situations are kept, because the siblings of a group meet the same ones.
"""

from __future__ import annotations

import functools
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longstep_envs.packages import needed
from longstep_envs.types import DataError, text_hash

with needed("textworld"):
    from textworld.generator.game import Game
    from textworld.generator.inform7 import Inform7Game
    from textworld.logic import Proposition, State, Variable

Fact = tuple[str, tuple[tuple[str, str], ...]]
"""Name and (variable, type) pairs. The library's own objects do not survive pickling: they keep a
hash that differs between processes."""

_SITUATIONS_KEPT = 128
"""Of a game; some ten kB each."""
_LOADING = threading.Lock()
"""The library's parser is shared by all games of a process, and is not thread-safe."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What an action adds to the facts and takes from them."""

    verb: str
    added: frozenset[Fact]
    removed: frozenset[Fact]


@dataclass(frozen=True, slots=True)
class Situation:
    """What is true, and what can be done then."""

    facts: frozenset[Fact]
    commands: tuple[str, ...]
    effects: dict[str, Effect]
    """Event, in the game's words -> effect."""
    key: str
    """A hash of the facts."""


class World:
    """The rules of one game, from its .json file, and the situations met in it.

    Raises:
        DataError: the file is not JSON, or is not a game of TextWorld.
    """

    def __init__(self, path: Path) -> None:
        self._game = _load(path)
        try:
            self._prepare()
        except Exception as error:  # foreign code: what was read need not hold together
            kind = type(error).__name__
            raise DataError(f"{path}: the game does not hold together: {kind}: {error}") from error

    def _prepare(self) -> None:
        self._names = Inform7Game(self._game)
        self._situations: OrderedDict[frozenset[Fact], Situation] = OrderedDict()
        self.start = frozenset(_plain(fact) for fact in self._game.world.facts)
        self.objective: str = self._game.objective
        self.max_score: float = self._game.max_score
        room = self._game.infos[self._game.world.player_room.id]
        self.first_room = f"-= {str.title(room.name)} =-"
        self.situation(self.start)

    @functools.cached_property
    def walkthrough(self) -> list[str]:
        """Commands that win the game; empty where none are known."""
        return list(self._game.walkthrough or ())

    def situation(self, facts: frozenset[Fact]) -> Situation:
        """The situation in which these are the facts."""
        kept = self._situations.get(facts)
        if kept is None:
            kept = self._situations[facts] = self._derive(facts)
            if len(self._situations) > _SITUATIONS_KEPT:
                self._situations.popitem(last=False)
        return kept

    def after(self, situation: Situation, events: Iterable[str]) -> tuple[Situation, str]:
        """The situation after what happened, and the verb of the last action; "" where none."""
        verb = ""
        for event in events:
            effect = situation.effects.get(event.lower())
            if effect is not None:
                verb = effect.verb
                if effect.added or effect.removed:
                    facts = situation.facts - effect.removed | effect.added
                    situation = self.situation(facts)
        return situation, verb

    def _derive(self, facts: frozenset[Fact]) -> Situation:
        kb = self._game.kb
        state = State(kb.logic, [_proposition(fact) for fact in sorted(facts)])
        rules, constants = kb.rules.values(), kb.types.constants_mapping
        actions = list(state.all_applicable_actions(rules, constants))
        # Of two actions told in the same words, the one with more conditions took place.
        actions.sort(key=lambda action: (-len(action.preconditions), str(action)))
        effects: dict[str, Effect] = {}
        for action in actions:
            effects.setdefault(self._event(action), _effect(action))
        commands = self._names.gen_commands_from_actions(actions)
        return Situation(
            facts, tuple(sorted(set(commands))), effects, text_hash(*map(repr, sorted(facts)))
        )

    def _event(self, action: Any) -> str:
        kb, infos = self._game.kb, self._game.infos
        values = kb.rules[action.name].match(action).items()
        names = {placeholder.name: infos[value.name].name for placeholder, value in values}
        event: str = kb.inform7_events[action.name].format(**names)
        return event.lower()


def _load(path: Path) -> Game:
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is corrupt ({error}); generate the game again") from error
    wanted = ("world", "quests", "infos", "KB")
    missing = [key for key in wanted if not isinstance(data, dict) or key not in data]
    if missing:
        raise DataError(f"{path}: not a game of TextWorld; it lacks {', '.join(missing)}")
    try:
        with _LOADING:
            return Game.deserialize(data)
    except Exception as error:  # foreign code: a bad game fails anywhere in its parsers
        kind = type(error).__name__
        raise DataError(f"{path}: textworld cannot read it: {kind}: {error}") from error


def _plain(fact: Proposition) -> Fact:
    return fact.name, tuple((variable.name, variable.type) for variable in fact.arguments)


def _proposition(fact: Fact) -> Proposition:
    name, arguments = fact
    return Proposition(name, [Variable(*argument) for argument in arguments])


def _effect(action: Any) -> Effect:
    verb = (action.command_template or action.name).split()[0]
    return Effect(
        verb, frozenset(map(_plain, action.added)), frozenset(map(_plain, action.removed))
    )
