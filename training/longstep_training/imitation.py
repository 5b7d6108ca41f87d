"""The warm start: learn the language of a task from demonstrations of an expert."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor
from transformers import PreTrainedModel

from longstep_agents.agent import Agent
from longstep_agents.baselines import ExpertAgent, HesitantAgent
from longstep_agents.rollout import EpisodeRequest
from longstep_training.batch import Batch
from longstep_training.config import Config
from longstep_training.scores import score
from longstep_training.updater import OptimizerConfig, Schedule


class ImitationConfig(Config):
    """How much is imitated, of whom."""

    iterations: NonNegativeInt = 0
    demonstrations: PositiveInt = 256
    """Episodes of one iteration, played afresh, or drawn from `recorded`."""
    recorded: Path | None = None
    """A file in the Agent Trajectory Interchange Format, or a folder of such, to imitate in place
    of the expert."""
    schedule: Schedule = Schedule(updates=16)
    experts: dict[str, PositiveFloat] = Field(default={"plan": 1.0}, min_length=1)
    """Share of each kind of expert plan."""
    turns: PositiveInt | None = 50
    """Turn limit of a demonstration; those that do not succeed are dropped."""
    hesitation: float = Field(default=0.0, ge=0.0, le=1.0)
    """Chance that the demonstrator does something idle before an action of its plan."""
    idle_verbs: tuple[str, ...] = ()
    """First words of the commands that it does idly."""
    context_weight: NonNegativeFloat = 0.03
    """Weight of predicting one token of the environment, against one token of the expert."""
    optimizer: OptimizerConfig = OptimizerConfig()


def make_teacher(request: EpisodeRequest, config: ImitationConfig) -> Agent:
    """The demonstrator of one episode."""
    return HesitantAgent(
        ExpertAgent(), config.hesitation, config.idle_verbs, seed=request.agent_seed
    )


def draw_requests(
    tasks: Sequence[str], rng: random.Random, config: ImitationConfig
) -> list[EpisodeRequest]:
    """An episode for each task, with the kinds of expert in their shares."""
    kinds = rng.choices(list(config.experts), list(config.experts.values()), k=len(tasks))
    return [
        EpisodeRequest(task, rng.randrange(2**31), rng.randrange(2**31), expert=kind)
        for task, kind in zip(tasks, kinds, strict=True)
    ]


def imitation_loss(
    model: PreTrainedModel, batch: Batch, config: ImitationConfig
) -> tuple[Tensor, dict[str, float]]:
    """Negative log-likelihood of the expert's choices, summed, and statistics of the batch.

    Environment tokens count a little too: predicting them teaches the model to read.
    """
    scores = score(model, batch, context=config.context_weight > 0)
    loss = -scores.logprobs_T.sum() + config.context_weight * scores.context_loss
    return loss, {
        "loss": float(-scores.logprobs_T.detach().sum()),
        "entropy": float(scores.entropy_T.detach().sum()),
    }
