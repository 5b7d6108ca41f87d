"""Compare the fast engine with the official one, state by state, and time both in the same run.

A visited state counts as equal when text, admissible commands (order included), win flag, score
and the command's validity agree. Walks mix an exploring expert's advice, random errands that use
every verb, random admissible commands and inadmissible ones; they go on after a win.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from longstep_envs.alfworld.engine import Engine, FastEngine, Turn
from longstep_envs.alfworld.errands import errand
from longstep_envs.alfworld.explorer import Explorer
from longstep_envs.alfworld.games import Games, open_games
from longstep_envs.alfworld.official import OfficialEngine
from longstep_envs.types import DataError

_NONSENSE = ("", "fly", "go to", "take apple 99 from fridge 9", "LOOK", "move  to desk 1", "a" * 99)
_NONSENSE_SHARE = 0.05
_ADVICE_SHARE = 0.5
_ERRAND_SHARE = 0.75
"""Per step: chances of an inadmissible command, the expert's advice, and starting an errand."""
_SHOWN = 20


@dataclass(slots=True)
class Report:
    """What a comparison found. `mismatches` is what counts; `examples` shows the first few."""

    states: int = 0
    games: int = 0
    mismatches: int = 0
    won_states: int = 0
    task_types: Counter[str] = field(default_factory=Counter)
    """Games per task type."""
    verbs: Counter[str] = field(default_factory=Counter)
    """Steps per verb; `inadmissible` counts what had to fail."""
    examples: list[str] = field(default_factory=list)
    official_seconds: float = 0.0
    fast_seconds: float = 0.0

    @property
    def speed_ratio(self) -> float:
        """How many times more steps per second the fast engine makes."""
        return self.official_seconds / self.fast_seconds if self.fast_seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        steps = max(1, sum(self.verbs.values()))
        return asdict(self) | {
            "task_types": dict(sorted(self.task_types.items())),
            "verbs": dict(sorted(self.verbs.items())),
            "official_ms_per_step": round(1e3 * self.official_seconds / steps, 2),
            "fast_us_per_step": round(1e6 * self.fast_seconds / steps, 2),
            "speed_ratio": round(self.speed_ratio),
        }


def bench(
    games: Path,
    states: int,
    seed: int = 0,
    *,
    max_games: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Compare the engines over `states` states spread evenly over (at most `max_games`) games.

    `progress` gets (states done, states wanted).

    Raises:
        DataError: there are no games, or no states were asked for.
        MissingPackageError: the official packages are not installed.
    """
    if states < 1:
        raise DataError(f"asked to compare {states} states; wanted at least 1")
    found, rng = open_games(games, None), random.Random(seed)
    chosen = _spread(found, rng)[: max_games or len(found.ids)]
    walker, report = _Walker((OfficialEngine(found), FastEngine(found)), rng), Report()
    for number, game_id in enumerate(chosen):
        share = (states - report.states) // (len(chosen) - number)
        if share > 0:
            walker.walk(game_id, share, report)
        if progress is not None:
            progress(report.states, states)
    return report


def _spread(games: Games, rng: random.Random) -> list[str]:
    """The games in random order, task types taking turns."""
    ids = sorted(games.ids, key=lambda _: rng.random())
    seen: Counter[str] = Counter()
    ranks = {}
    for game_id in ids:
        kind = game_id.partition("-")[0]
        ranks[game_id] = seen[kind]
        seen[kind] += 1
    return sorted(ids, key=ranks.__getitem__)


class _Walker:
    """Plays both engines along one walk through a game."""

    def __init__(self, engines: tuple[Engine, FastEngine], rng: random.Random) -> None:
        self._official, self._fast = engines
        self._rng = rng

    def walk(self, game_id: str, states: int, report: Report) -> None:
        """Compare `states` states of one game, the first included."""
        official, fast = self._official.start(game_id), self._fast.start(game_id)
        explorer, history = Explorer(self._rng), ["(start)"]
        errands: list[str] = []
        report.games += 1
        report.task_types[self._fast.problem.goal.task_type] += 1
        _compare(official, fast, f"{game_id}: {history}", report)
        for _ in range(states - 1):
            advice = explorer.act(fast.text, fast.commands)
            command = self._choose(fast.commands, advice, errands)
            history.append(command)
            clock = time.perf_counter()
            official = self._official.act(command)
            middle = time.perf_counter()
            fast = self._fast.act(command)
            report.fast_seconds += time.perf_counter() - middle
            report.official_seconds += middle - clock
            report.verbs[command.split()[0] if official.valid else "inadmissible"] += 1
            _compare(official, fast, f"{game_id}: {history[-4:]}", report)

    def _choose(self, commands: Sequence[str], advice: str, errands: list[str]) -> str:
        rng = self._rng
        draw = rng.random()
        if draw < _NONSENSE_SHARE:
            swapped = rng.choice(commands).replace("1", "2").replace("go to", "open")
            return rng.choice([*_NONSENSE, swapped, f"  {rng.choice(commands)}\n"])
        if errands:
            return errands.pop(0)
        if draw < _ADVICE_SHARE:
            return advice
        if draw < _ERRAND_SHARE:
            errands += errand(self._fast.problem, self._fast.state, rng)
        return errands.pop(0) if errands else rng.choice(commands)


def _compare(official: Turn, fast: Turn, where: str, report: Report) -> None:
    report.states += 1
    report.won_states += official.won
    if official == fast:
        return
    report.mismatches += 1
    if len(report.examples) < _SHOWN:
        parts = [
            f"{name}: official {theirs!r:.400}, fast {ours!r:.400}"
            for name, theirs, ours in zip(Turn._fields, official, fast, strict=True)
            if theirs != ours
        ]
        report.examples.append(f"{where} {'; '.join(parts)}")
