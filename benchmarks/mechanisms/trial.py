"""One run: a table policy trained on a world by the trainer's own methods, loss and optimiser."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from benchmarks.mechanisms.table import TablePolicy, skilled
from benchmarks.mechanisms.world import World

from longstep_agents.types import Group
from longstep_training.batch import build_rows
from longstep_training.config import build_config
from longstep_training.credit import CREDIT
from longstep_training.distributed import World as Processes
from longstep_training.entropy import ENTROPY
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.rewards import score
from longstep_training.sampling import Plan, Sampling
from longstep_training.updater import Updater
from longstep_training.weights import TOKEN_WEIGHTS

Recipe = Mapping[str, Any]
"""Tables of `rl`, as a config file has them."""

Curves = dict[str, list[float]]
"""A number for each iteration, by name."""

BASE: Recipe = {
    "iterations": 100,
    "tasks": 2,
    "siblings": 4,
    "schedule": {"updates": 1, "passes": 2},
    "credit": {"name": "grpo"},
}


def read(*recipes: Recipe) -> ReinforcementConfig:
    """The config that the recipes describe; later ones replace tables of earlier ones."""
    tree: dict[str, Any] = {}
    for recipe in (BASE, *recipes):
        tree |= recipe
    return build_config(ReinforcementConfig, tree, source="rl")


def train(world: World, config: ReinforcementConfig, seed: int, skill: float = 0.0) -> Curves:
    """Train a policy of some `skill` as the trainer's loop does, and tell how it went."""
    trial = _Trial(skilled(world, skill), config, random.Random(seed))
    told = [trial.iterate(number) for number in range(1, config.iterations + 1)]
    return {name: [numbers[name] for numbers in told] for name in told[0]}


class _Trial:
    def __init__(
        self, policy: TablePolicy, config: ReinforcementConfig, rng: random.Random
    ) -> None:
        self._config = config
        self._rng = rng
        self._policy = cast(Any, policy)  # called as a model is, though it is none
        self._updater = Updater(self._policy, config.optimizer, Processes())
        self._sampling = Sampling(config.sampling)
        self._control = ENTROPY[config.entropy.name](config.entropy)

    def iterate(self, number: int) -> dict[str, float]:
        config = self._config
        self._sampling.begin(number)
        groups = self._play()
        chosen = self._sampling.select(groups)
        credit_PGS = CREDIT[config.credit.name](chosen, config.credit)
        for weights in config.weights:
            credit_PGS = TOKEN_WEIGHTS[weights.name](chosen, credit_PGS, weights)
        learnt, earned_PGS, replays = self._sampling.extend(chosen, credit_PGS)
        self._sampling.observe(groups)
        rows = build_rows(learnt, earned_PGS, replays=replays)
        rows = self._control.begin(rows, self._rng)
        objective = partial(policy_loss, self._policy, config=config, control=self._control)
        for _ in range(config.schedule.passes):
            self._updater.step(rows, objective)
        self._control.observe(_turn_sums(groups))
        return describe(groups)

    def _play(self) -> list[Group]:
        config, groups, missing = self._config, list[Group](), self._config.tasks
        while missing:
            plan = Plan(("",) * missing, config.siblings)
            plan = self._sampling.plan(plan, self._rng)
            played = self._policy.play(len(plan.tasks), plan.siblings, self._rng)
            groups += score(played, config.rewards)
            missing = self._sampling.missing(groups)
        return groups


def _turn_sums(groups: Sequence[Group]) -> list[tuple[float, int]]:
    """Summed entropies and their count, turn by turn."""
    turns: list[list[float]] = []
    for trajectory in (t for group in groups for t in group.trajectories):
        turns += [[] for _ in range(len(trajectory.steps) - len(turns))]
        for entropies, step in zip(turns, trajectory.steps, strict=False):
            entropies += step.completion.entropies
    return [(sum(entropies), len(entropies)) for entropies in turns]


def describe(groups: Sequence[Group]) -> dict[str, float]:
    """Means over episodes: success, length, entropy, and the sum of each part of the reward."""
    episodes = [t for group in groups for t in group.trajectories]
    steps = [step for t in episodes for step in t.steps]
    parts: dict[str, float] = {}
    for step in steps:
        for name, value in step.reward_parts.items():
            parts[name] = parts.get(name, 0.0) + value / len(episodes)
    return {
        **parts,
        "success": sum(t.success for t in episodes) / len(episodes),
        "turns": len(steps) / len(episodes),
        "entropy": sum(step.completion.entropies[0] for step in steps) / len(steps),
    }
