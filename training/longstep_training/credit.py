"""Credit assignment: what each step of each trajectory earned, relative to its group.

A method is one pure function `(groups, config) -> advantages_PGS` and one line in `CREDIT`.
Trajectories that do not count (`Trajectory.counts`) take no part and get zeros, as does every
group in which fewer than two count.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Annotated

from longstep_agents.types import Group, Trajectory
from longstep_training.config import Config, key_of

Advantages = list[list[list[float]]]
"""advantages_PGS: for each group, each sibling, each step."""


class CreditConfig(Config):
    """Which method, and its options."""

    name: Annotated[str, key_of(lambda: CREDIT)] = "gigpo"
    """A key of `CREDIT`."""
    normalise: bool = True
    """Divide by the standard deviation (one degree of freedom less), or only centre."""
    discount: float = 0.95
    """gigpo: how much a reward is worth one step earlier."""
    step_weight: float = 1.0
    """gigpo: weight of the step term against the episode term."""


CreditFunction = Callable[[Sequence[Group], CreditConfig], Advantages]


def grpo(groups: Sequence[Group], config: CreditConfig) -> Advantages:
    """Group-relative policy optimisation: every step earns its trajectory's relative return.

    Shao et al. 2024, DeepSeekMath (arXiv 2402.03300). Statistics are over trajectories; the
    released agent code counts every step as a sample, so that long failures weigh more.
    """
    return [_episode_term(group, config) for group in groups]


def gigpo(groups: Sequence[Group], config: CreditConfig) -> Advantages:
    """Group-in-group policy optimisation: GRPO plus a term among steps in the same state.

    Feng et al. 2025, GiGPO (arXiv 2505.10978): steps of a group that stand in the same state
    (`Step.state_key`) are compared by the discounted return from there on. Differences from the
    released code: the episode term's statistics are over trajectories, not over steps; a group
    of one earns 0 there, where the code keeps the raw reward.
    """
    return [
        _add(_episode_term(group, config), _step_term(group, config), config.step_weight)
        for group in groups
    ]


CREDIT: dict[str, CreditFunction] = {"grpo": grpo, "gigpo": gigpo}


def discounted_returns(rewards: Sequence[float], discount: float) -> list[float]:
    """The return from each step on, `r_t + discount * r_{t+1} + …`, in step order."""
    returns: list[float] = []
    following = 0.0
    for reward in reversed(rewards):
        following = reward + discount * following
        returns.append(following)
    return returns[::-1]


def relative(values: Sequence[float], *, normalise: bool) -> list[float]:
    """Each value against the mean of all; zeros for fewer than two, or for equal values.

    A deviation below 1e-8 of the mean's size counts as zero: it is rounding, and dividing by it
    would make noise look like credit.
    """
    if len(values) < 2:
        return [0.0] * len(values)
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    if deviation < 1e-8 * max(1.0, abs(mean)):
        return [0.0] * len(values)
    scale = deviation + 1e-6 if normalise else 1.0
    return [(value - mean) / scale for value in values]


def _episode_term(group: Group, config: CreditConfig) -> list[list[float]]:
    counted = [t for t in group.trajectories if t.counts]
    scores = relative([t.total_reward for t in counted], normalise=config.normalise)
    earned = iter(scores)
    return [[next(earned) if t.counts else 0.0] * len(t.steps) for t in group.trajectories]


def _step_term(group: Group, config: CreditConfig) -> list[list[float]]:
    returns = [
        discounted_returns([step.reward for step in t.steps], config.discount) if t.counts else []
        for t in group.trajectories
    ]
    members = step_groups(group.trajectories)
    credit = [[0.0] * len(t.steps) for t in group.trajectories]
    if len(group.counted) < 2:
        return credit
    for places in members.values():
        values = [returns[i][s] for i, s in places]
        scored = relative(values, normalise=config.normalise)
        for (i, s), value in zip(places, scored, strict=True):
            credit[i][s] = value
    return credit


def step_groups(trajectories: Sequence[Trajectory]) -> dict[str, list[tuple[int, int]]]:
    """For each state, the (trajectory, step) pairs that stood in it; counted ones only."""
    members: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for i, trajectory in enumerate(trajectories):
        if trajectory.counts:
            for s, step in enumerate(trajectory.steps):
                members[step.state_key].append((i, s))
    return dict(members)


def _add(first: list[list[float]], second: list[list[float]], weight: float) -> list[list[float]]:
    return [
        [a + weight * b for a, b in zip(x, y, strict=True)]
        for x, y in zip(first, second, strict=True)
    ]
