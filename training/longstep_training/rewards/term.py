"""What a term of the reward is made of, and the ways in which it can fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from pydantic import FiniteFloat

from longstep_agents.types import Group, Trajectory
from longstep_envs.types import LongstepError
from longstep_training.config import Config
from longstep_training.rewards.shapes import AnyShapeConfig, at_last


class RewardFault(LongstepError):
    """What a term puts in place of a trajectory's rewards where it could not tell them.

    The trajectory then does not count, as one that another failure of infrastructure has cut off.
    """


class NonFiniteError(RewardFault):
    """A reward is NaN or infinite; nothing could be learnt from it, and everything lost."""


Rewards = Sequence[Sequence[float] | RewardFault]
"""rewards_GS: for each sibling the reward of each step, or why there is none."""

RewardFunction = Callable[[Group, Any], Rewards]


class TermConfig(Config):
    """Options that every term has; `name = 0.5` is short for `name = {weight = 0.5}`."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """What has to be recorded of every token."""
    order: ClassVar[int] = 2
    """When the term is asked: 0 may fault one trajectory, 1 a whole group, 2 none. What faulted
    takes no part in the statistics of later terms."""

    weight: FiniteFloat = 1.0
    """With 0, the term is only recorded: a part of the reward that `credit` may name."""
    shape: tuple[AnyShapeConfig, ...] = ()
    """Transforms of the term's rewards, applied in order before the weight: see `SHAPES`."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The reward parts that the environment has to name; one that ends in `*` is a prefix."""
        return ()

    @property
    def compares(self) -> tuple[str, ...]:
        """The texts that the environment has to record."""
        return ()

    @property
    def concurrency(self) -> int:
        """How many groups may be scored at a time; more than one for what waits for a server."""
        return 1

    def prepare(self) -> None:
        """Fail now, before a run starts, with what would fail later."""


def at_end(group: Group, value: Callable[[Trajectory], float]) -> list[list[float]]:
    """`value` of each counted trajectory as the reward of its last step; zeros elsewhere."""
    return [
        at_last(len(t.steps), value(t) if t.counts and t.steps else 0.0) for t in group.trajectories
    ]


def each_at_end(group: Group, values: Sequence[float]) -> list[list[float]]:
    """`values`, one for each counted trajectory, as the rewards of their last steps."""
    given = iter(values)
    return [at_last(len(t.steps), next(given) if t.counts else 0.0) for t in group.trajectories]


def part_of(trajectory: Trajectory, name: str) -> float:
    """The sum of what the environment gave the trajectory under one name."""
    return sum(step.reward_parts.get(name, 0.0) for step in trajectory.steps)
