"""Evaluation: success over a task set, with intervals, by task type."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longstep_agents.rollout import AgentFactory, EpisodeRequest, Pool, collect
from longstep_agents.types import Trajectory
from longstep_training.distributed import World


@dataclass(frozen=True, slots=True)
class Rate:
    """A success rate with its 95 % Wilson interval; all in 0..1."""

    episodes: int
    successes: int
    success: float
    low: float
    high: float


def success_rate(successes: int, episodes: int, z: float = 1.96) -> Rate:
    """The rate of `successes` among `episodes`, with Wilson's interval (1927)."""
    if episodes == 0:
        return Rate(0, 0, 0.0, 0.0, 1.0)
    rate = successes / episodes
    scale = 1.0 + z * z / episodes
    centre = (rate + z * z / (2 * episodes)) / scale
    half = z * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes**2)) / scale
    return Rate(episodes, successes, rate, max(0.0, centre - half), min(1.0, centre + half))


def summarise(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Success overall and by task type, over the episodes that count; the others are counted."""
    counted = [t for t in trajectories if t.counts]
    kinds: dict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in counted:
        kinds[trajectory.task_type].append(trajectory)
    return {
        **_as_dict(counted),
        "failed_to_run": len(trajectories) - len(counted),
        "mean_turns": sum(len(t.steps) for t in counted) / max(1, len(counted)),
        "by_task_type": {kind: _as_dict(kinds[kind]) for kind in sorted(kinds)},
    }


def evaluate(
    pool: Pool,
    requests: Sequence[EpisodeRequest],
    make_agent: AgentFactory,
    world: World,
    concurrency: int = 256,
) -> list[Trajectory]:
    """Play every request once, each rank its share; all trajectories, on every rank."""
    mine = asyncio.run(
        collect(pool, world.share(requests), make_agent, concurrency=concurrency)
    )
    shares = world.gather(mine)
    return [t for share in shares for t in share]


def _as_dict(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    rate = success_rate(sum(t.success for t in trajectories), len(trajectories))
    return {
        "episodes": rate.episodes,
        "successes": rate.successes,
        "success": rate.success,
        "low": rate.low,
        "high": rate.high,
    }
