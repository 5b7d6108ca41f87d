"""Evaluation: success over a task set, with intervals, by task type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longstep_agents.evaluation.statistics import wilson
from longstep_agents.language_agent import LanguageAgentConfig
from longstep_agents.types import Trajectory
from longstep_training.distributed import World
from longstep_training.recipe import EvaluationConfig, TrainConfig


@dataclass(frozen=True, slots=True)
class Rate:
    """A success rate with its 95 % Wilson interval; all in 0..1."""

    episodes: int
    successes: int
    success: float
    low: float
    high: float


def success_rate(successes: int, episodes: int) -> Rate:
    """The rate of `successes` among `episodes`, with Wilson's interval (1927)."""
    low, high = wilson(successes, episodes)
    return Rate(episodes, successes, successes / episodes if episodes else 0.0, low, high)


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


def evaluation_row(
    evaluation: EvaluationConfig, agent: LanguageAgentConfig, played: Sequence[Trajectory]
) -> dict[str, Any]:
    """What was played, how it was sampled, and how it went."""
    return {
        "name": evaluation.name,
        "temperature": evaluation.temperature,
        "constraint": agent.action.constraint,
        "turn_limit": evaluation.tasks.turns,
        "data": sorted({t.provenance for t in played if t.provenance}),
        **summarise(played),
    }


def evaluate_checkpoint(folder: Path, config: TrainConfig) -> list[dict[str, Any]]:
    """Play every evaluation set of `config` with the model in `folder`: a row for each set.

    Raises:
        DataError: the folder holds no model, or its files are not as its manifest says,
            or the tokenizer does not fit the weights.
    """
    import torch

    from longstep_training.checkpoint import load_policy
    from longstep_training.player import Player

    torch.set_num_threads(config.run.threads)
    with config.cluster.left_at_end():
        config.cluster.join(engines=config.engine.cluster_cpus)
        player = Player(World(), config, *load_policy(folder), folder)
        with closing(player):
            return [evaluation_row(e, config.agent, player.evaluate(e)) for e in config.evaluation]


def _as_dict(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    rate = success_rate(sum(t.success for t in trajectories), len(trajectories))
    return {
        "episodes": rate.episodes,
        "successes": rate.successes,
        "success": rate.success,
        "low": rate.low,
        "high": rate.high,
    }
