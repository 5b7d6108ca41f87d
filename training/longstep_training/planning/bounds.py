"""What no schedule can be faster than, at the same costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from longstep_training.planning.costs import Costs
from longstep_training.planning.episodes import Episode, Group

Update = Callable[[Sequence[Group]], float]


@dataclass(frozen=True, slots=True)
class Bound:
    """Seconds of an iteration, at the least."""

    update: float
    """Updates, credit and weight sync, one after the other."""
    engine: float
    """Its work, spread evenly over replicas that never rest, with the fullest passes."""
    episode: float
    """The longest episode by itself, each turn after the one before; with staleness, spread over
    all iterations."""
    lanes: float
    """All episodes one after another, as many at a time as may be under way."""
    workers: float
    """Waiting, with as many environments as there are."""
    step: float
    """All together. Synchronous: updates, and before each the longest of the others."""


def find_bound(
    costs: Costs, groups: Sequence[Group], update: Update, tasks: int, staleness: int
) -> Bound:
    """The bound of playing these groups and learning from them, `tasks` an iteration.

    Engine: the sum of work before turns, plus o D / B of passes that draw D tokens, at most B at a
    time, plus the greater of what they read, w D / B + c sum(past), and of their arithmetic.
    """
    parts = [groups[i : i + tasks] for i in range(0, len(groups), tasks)]
    count = len(parts)
    trainer = [
        update(p) + costs.credit_seconds * sum(map(len, p)) + costs.sync_seconds for p in parts
    ]
    at_once = max(sum(map(len, part)) for part in parts) * (1 + staleness)
    limits = [_Limits(costs, part, at_once) for part in parts]
    if staleness == 0:
        played = sum(one.longest_of_all() for one in limits)
        total = sum(trainer) + played
    else:
        rests = sum(trainer[:-1]) if costs.stalls else costs.sync_seconds * (count - 1)
        total = max(
            sum(trainer),
            sum(one.engine for one in limits) + rests,
            max(one.episode for one in limits),
            sum(one.lanes for one in limits),
            sum(one.workers for one in limits),
        )
    episodes = [one.episode for one in limits]
    return Bound(
        update=sum(trainer) / count,
        engine=sum(one.engine for one in limits) / count,
        episode=(max(episodes) if staleness else sum(episodes)) / count,
        lanes=sum(one.lanes for one in limits) / count,
        workers=sum(one.workers for one in limits) / count,
        step=total / count,
    )


class _Limits:
    """Of one iteration's rollout."""

    def __init__(self, costs: Costs, groups: Sequence[Group], at_once: int) -> None:
        episodes = [episode for group in groups for episode in group]
        batch = min(costs.lanes, -(-at_once // costs.replicas))
        self.engine = _work(costs, episodes, batch) / costs.replicas
        alone = [_alone(costs, episode) for episode in episodes]
        self.episode = max(alone)
        self.lanes = sum(alone) / min(at_once, costs.lanes * costs.replicas)
        waited = sum(turn.waited for e in episodes for turn in e.turns) * costs.wait
        self.workers = waited / costs.workers if costs.workers else 0.0

    def longest_of_all(self) -> float:
        """None of them can be undercut."""
        return max(self.engine, self.episode, self.lanes, self.workers)


def _work(costs: Costs, episodes: Sequence[Episode], batch: int) -> float:
    before = drawn = seen = 0.0
    for episode in episodes:
        past = 0.0
        for turn in episode.turns:
            before += costs.turn_work(turn, past)
            past += turn.read
            drawn += turn.drawn
            seen += turn.drawn * past
            past += turn.drawn
    passes = drawn / batch
    memory = costs.weight_seconds * passes + costs.cache_seconds * seen
    return before + costs.pass_seconds * passes + max(memory, costs.drawn_seconds * drawn)


def _alone(costs: Costs, episode: Episode) -> float:
    spent = past = 0.0
    for turn in episode.turns:
        spent += costs.turn_work(turn, past) + turn.waited * costs.wait
        past += turn.read
        spent += turn.drawn * costs.pass_time(1, past)
        past += turn.drawn
    return spent
