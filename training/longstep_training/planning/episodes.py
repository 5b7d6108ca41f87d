"""Episodes as a plan imagines them: turns, tokens and waiting, drawn from few numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from longstep_training.planning.settings import Assumptions, Recipe


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn; tokens are means, not whole numbers."""

    read: float
    """Tokens that the engine reads first: what the environment told, and what it forced."""
    drawn: float
    """Tokens that it draws then, a pass each."""
    waited: float
    """Seconds that the environment takes then."""
    shared: float = 0.0
    """Tokens to read that a sibling's cache gives."""


@dataclass(frozen=True, slots=True)
class Episode:
    """The turns of one episode."""

    turns: Sequence[Turn]

    @property
    def tokens(self) -> float:
        """Of its row."""
        return sum(turn.read + turn.drawn for turn in self.turns)

    @property
    def drawn(self) -> float:
        """Tokens that were drawn, and so are learnt from."""
        return sum(turn.drawn for turn in self.turns)


Group = Sequence[Episode]
"""Siblings of a task."""


def mean_turns(hazard: float, limit: int) -> float:
    """Turns in the mean, where each ends the episode with this chance and the limit the rest.

    E[min(limit, Geometric(p))] = (1 - (1 - p)^limit) / p.
    """
    return float(limit) if hazard < 1e-9 else -math.expm1(limit * math.log1p(-hazard)) / hazard


def find_hazard(mean: float, limit: int) -> float:
    """The chance of `mean_turns` with which so many turns are the mean."""
    low, high = 0.0, 1.0 - 1e-9
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_turns(middle, limit) > mean else (low, middle)
    return (low + high) / 2


def draw_groups(recipe: Recipe, assumed: Assumptions, count: int, seed: int = 0) -> list[Group]:
    """So many groups; the same for the same seed."""
    rng = Random(seed)
    limit = recipe.turn_limit
    hazard = find_hazard(min(assumed.turns or 0.6 * limit, limit), limit)
    groups: list[Group] = []
    for _ in range(count):
        group = [_draw(rng, recipe, assumed, hazard) for _ in range(recipe.rl.siblings)]
        if recipe.shares_prefixes:
            group[1:] = [_sharing(episode, assumed.prompt_tokens) for episode in group[1:]]
        groups.append(group)
    return groups


def _sharing(episode: Episode, tokens: float) -> Episode:
    first, *later = episode.turns
    return Episode([replace(first, shared=min(tokens, first.read)), *later])


def _draw(rng: Random, recipe: Recipe, assumed: Assumptions, hazard: float) -> Episode:
    turns = []
    told = assumed.prompt_tokens
    left = recipe.train.tokens or math.inf
    for _ in range(_turn_count(rng, recipe.turn_limit, hazard)):
        reply = 1 + max(0.0, assumed.reply_tokens - 1) * _lognormal(rng, assumed.reply_spread)
        reply = min(reply, recipe.agent.max_tokens)
        drawn = max(1.0, reply * assumed.drawn)
        wait = assumed.latency * _lognormal(rng, assumed.latency_spread)
        turns.append(Turn(told + reply - min(reply, drawn), drawn, wait))
        left -= told + reply
        told = assumed.observation_tokens
        if left < told + assumed.reply_tokens:
            break
    return Episode(turns)


def _turn_count(rng: Random, limit: int, hazard: float) -> int:
    if hazard < 1e-9:
        return limit
    return min(limit, 1 + int(math.log(1.0 - rng.random()) / math.log1p(-hazard)))


def _lognormal(rng: Random, spread: float) -> float:
    """A factor that is 1 in the mean."""
    return rng.lognormvariate(-(spread**2) / 2, spread)
