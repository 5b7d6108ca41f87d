"""Optimiser steps: the gradient of packed rows, summed over ranks, clipped and taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor
from transformers import PreTrainedModel

from longstep_agents.shares import whole
from longstep_envs.types import LongstepError
from longstep_training.batch import Batch, Row, pack
from longstep_training.config import Config
from longstep_training.distributed import World
from longstep_training.shards import is_sharded, keep_step, named_shards
from longstep_training.skips import describe


class DivergedError(LongstepError, ArithmeticError):
    """Training has gone where no number is finite, and stays there."""


Objective = Callable[[Batch], tuple[Tensor, dict[str, float]]]
"""A batch's summed loss, and summed statistics."""


Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
"""What a running mean keeps at each step."""


class OptimizerConfig(Config):
    """AdamW, its schedule and how rows are packed."""

    learning_rate: PositiveFloat = 1e-3
    betas: tuple[Decay, Decay] = (0.9, 0.98)
    weight_decay: NonNegativeFloat = 0.0
    clip_norm: PositiveFloat = 1.0
    warmup_steps: NonNegativeInt = 0
    decay_steps: PositiveInt | None = None
    """Optimiser steps over which the rate falls to `final_fraction` along a cosine."""
    final_fraction: float = Field(default=0.03, ge=0.0, le=1.0)
    skips: NonNegativeInt = 2
    """Steps in a row that may be left out because their gradient is not finite."""
    token_budget: PositiveInt = 8192
    """Tokens of one packed forward and backward pass."""
    share: bool = False
    """Compute once what rows begin with in common: siblings of a task, branches of a tree."""


class Schedule(Config):
    """How often the rows of one iteration are learnt from."""

    updates: PositiveInt = 2
    """Optimiser steps of one pass, each on its own part of the rows."""
    passes: PositiveInt = 1
    """Passes over the rows."""


class Updater:
    """AdamW over a model, with the loss summed over rows and ranks and divided once.

    The model may be sharded before; then the optimiser is, too.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        config: OptimizerConfig,
        world: World,
        on_skip: Callable[[dict[str, Any]], object] = lambda _: None,
    ) -> None:
        """Begin; `on_skip` is told of each step that is left out, on every rank of its own rows."""
        self.model = model
        self._on_skip = on_skip
        self.config = config
        self.world = world
        self.steps = 0
        self.skipped = 0
        """Steps in a row that were left out."""
        self.parameters = {n: p for n, p in named_shards(model).items() if p.requires_grad}
        self._device = next(iter(self.parameters.values())).device
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def step(self, rows: Sequence[Row], objective: Objective) -> dict[str, float]:
        """One optimiser step on this rank's rows and those of the other ranks.

        `objective` gives a batch's summed loss and summed statistics. The loss is divided once, by
        the shares (`Row.share`) of all ranks' rows. Returns this rank's sums, and `grad_norm`.

        A step whose gradient is not finite is left out on every rank: weights and optimiser are as
        before, to the bit. It has `skipped` in place of statistics, which would not be finite.

        Raises:
            DivergedError: more than `skips` steps in a row were left out.
        """
        totals, sums = self.differentiate(rows, objective)
        if sums is None:  # nothing was earned anywhere: momentum alone must not move the weights
            return {**totals, "grad_norm": 0.0}
        parameters = self.parameters.values()
        norm = float(whole(torch.nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)))
        if not math.isfinite(norm):
            self._on_skip(describe(rows, norm, sums))
            self._skip(norm)
            return {**totals, "grad_norm": 0.0, "skipped": 1.0}
        self.skipped = 0
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self._rate()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        return {**sums, **totals, "grad_norm": norm}

    def _skip(self, norm: float) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.skipped += 1
        if self.skipped > self.config.skips:
            raise DivergedError(
                f"the gradient of optimiser step {self.steps + 1} has norm {norm}, and so had "
                f"{self.config.skips} before it; lower learning_rate "
                f"({self.config.learning_rate}) or clip_norm in a new run"
            )

    def differentiate(
        self, rows: Sequence[Row], objective: Objective
    ) -> tuple[dict[str, float], dict[str, float] | None]:
        """Leave the gradient of all ranks' rows in the parameters, not clipped.

        Returns what this rank's rows are, and its statistics: None where no row of any rank has a
        share, and there is no gradient.
        """
        totals = {
            "rows": len(rows),
            "tokens": float(sum(len(row.positions) for row in rows)),
            "shares": sum(row.share for row in rows),
        }
        count = self.world.sum_values(totals)["shares"]
        if count == 0:
            return totals, None
        sums: dict[str, float] = {}
        batches = list(pack(rows, self.config.token_budget, share=self.config.share))
        keep_step(self.model, len(batches), learning=True)
        # Sharded gradients come as means over ranks. A sum can be asked of FSDP, but not over gloo.
        divisor = count / self.world.size if is_sharded(self.model) else count
        for batch in batches:
            loss, statistics = objective(batch.to(self._device))
            (loss / divisor).backward()
            for name, value in statistics.items():
                sums[name] = sums.get(name, 0.0) + value
        if not is_sharded(self.model):
            self.world.sum_gradients(self.parameters.values())
        return totals, sums

    def _rate(self) -> float:
        config = self.config
        warm = min(1.0, (self.steps + 1) / config.warmup_steps) if config.warmup_steps else 1.0
        if config.decay_steps is None:
            return warm
        progress = min(1.0, self.steps / config.decay_steps)
        cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
        return warm * (config.final_fraction + (1.0 - config.final_fraction) * cosine)
