"""Policy losses, per token. Sums and divisions are the trainer's.

A loss is one pure function and one line in `LOSSES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from longstep_training.config import Config, key_of


class LossConfig(Config):
    """Which loss, and its options."""

    name: Annotated[str, key_of(lambda: LOSSES)] = "clip"
    """A key of `LOSSES`."""
    clip_low: float = 0.2
    clip_high: float = 0.28
    """The ratio is kept within 1 - clip_low and 1 + clip_high (DAPO's clip-higher)."""


LossFunction = Callable[[Tensor, Tensor, Tensor, LossConfig], Tensor]


def clip(logprobs_T: Tensor, old_T: Tensor, advantages_T: Tensor, config: LossConfig) -> Tensor:
    """The clipped surrogate, [T]: Schulman et al. 2017, PPO (arXiv 1707.06347)."""
    ratio_T = (logprobs_T - old_T).clamp(-20.0, 20.0).exp()
    kept_T = ratio_T.clamp(1.0 - config.clip_low, 1.0 + config.clip_high)
    return -torch.minimum(ratio_T * advantages_T, kept_T * advantages_T)


def reinforce(
    logprobs_T: Tensor, old_T: Tensor, advantages_T: Tensor, config: LossConfig
) -> Tensor:
    """Advantage times log-probability, [T], without any ratio; imitation is its advantage 1."""
    return -advantages_T * logprobs_T


LOSSES: dict[str, LossFunction] = {"clip": clip, "reinforce": reinforce}
