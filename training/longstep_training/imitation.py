"""The warm start: learn the language of a task from demonstrations of an expert."""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedModel

from longstep_training.batch import Batch
from longstep_training.config import Config
from longstep_training.policy import OptimizerConfig, score


class ImitationConfig(Config):
    """How much is imitated, of whom."""

    iterations: int = 0
    demonstrations: int = 256
    """Episodes of one iteration, played afresh."""
    updates: int = 16
    """Optimiser steps of one iteration, each on its part of the demonstrations."""
    experts: dict[str, float] = {"plan": 1.0}
    """Share of each kind of expert plan."""
    context_weight: float = 0.03
    """Weight of predicting one token of the environment, against one token of the expert."""
    optimizer: OptimizerConfig = OptimizerConfig()


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
