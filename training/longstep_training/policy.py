"""The trained model: scores packed rows and takes optimiser steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from weakref import WeakKeyDictionary

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from longstep_agents.attention import ATTENTION, Documents
from longstep_envs.types import DataError, LongstepError
from longstep_training.batch import Batch, Row, pack
from longstep_training.config import Config
from longstep_training.distributed import World
from longstep_training.entropy.control import Measure, shannon


class DivergedError(LongstepError, ArithmeticError):
    """Training has gone where no number is finite."""


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


@dataclass(frozen=True, slots=True)
class Scores:
    """The policy's view of a batch's chosen tokens, under the distribution sampled from."""

    logprobs_T: Tensor
    entropy_T: Tensor
    """Without gradient where something else was measured."""
    measured_T: Tensor
    """What `measure` said of the distribution; the entropy unless one was given."""
    context_loss: Tensor
    """Summed cross-entropy of the tokens that were not chosen; 0 unless asked for."""
    context_tokens: int = 0


def load_model(folder: Path) -> PreTrainedModel:
    """A causal LM from a folder in Hugging Face format, with longstep's packed attention."""
    disable_progress_bar()
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation=ATTENTION, dtype=torch.float32
    )
    return model


Precision = Literal["float32", "bfloat16"]
ModelT = TypeVar("ModelT", bound=PreTrainedModel)


_PRECISIONS: WeakKeyDictionary[PreTrainedModel, Precision] = WeakKeyDictionary()


def compute_in(precision: Precision, model: ModelT) -> ModelT:
    """Let training compute with the model in this precision; returns the model.

    Weights and gradients stay float32, and what samples has a precision of its own.
    """
    _PRECISIONS[model] = precision
    return model


def computing(model: PreTrainedModel) -> AbstractContextManager[object]:
    """The context in which training computes with the model."""
    precision = _PRECISIONS.get(model, "float32")
    if precision == "float32":
        return nullcontext()
    return torch.autocast(model.device.type, getattr(torch, precision))


def load_tokenizer(folder: Path, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer in the folder of `model`.

    Raises:
        DataError: it does not fit the weights, or has no chat template.
    """
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    rows: int = model.config.vocab_size
    if len(tokenizer) > rows:
        raise DataError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens and the model {rows}; one of "
            "them is another policy's"
        )
    if not tokenizer.chat_template:
        raise DataError(f"{folder}: the tokenizer has no chat template; save chat_template.jinja")
    return tokenizer


def score(
    model: PreTrainedModel,
    batch: Batch,
    *,
    context: bool = False,
    temperature: float = 1.0,
    measure: Measure | None = None,
) -> Scores:
    """Log-probability and entropy of every chosen token, [T], at the sampling temperature.

    Logits are computed at chosen tokens only, or at every token when `context` is set. `measure` is
    what entropy control wants to know of the distribution of each token (see `EntropyControl`).
    """
    # Rows that share a beginning choose after the same token.
    kept_K, place_T = batch.before_T.unique(return_inverse=True)
    with computing(model):
        logits = model(
            input_ids=batch.ids_N[None],
            position_ids=batch.positions_N[None],
            packing=batch.packing,
            use_cache=False,
            logits_to_keep=0 if context else kept_K,
        ).logits[0]
    chosen_logits = logits[kept_K] if context else logits
    chosen = _score_chosen(chosen_logits.float() / temperature, place_T, batch, measure)
    if not context:
        return Scores(*chosen, logits.new_zeros(()))
    assert isinstance(batch.packing, Documents), "rows that share nothing have a context each"
    targets = _context_targets(batch, batch.packing)
    loss = cross_entropy(logits.float(), targets, ignore_index=-100, reduction="sum")
    return Scores(*chosen, loss, int((targets >= 0).sum()))


def _score_chosen(
    logits_KV: Tensor, place_T: Tensor, batch: Batch, measure: Measure | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each chosen token: its log-probability, the entropy, and what `measure` says.

    `place_T` is where in `logits_KV` the distribution is that each was sampled from.
    """
    parts = []
    if batch.free_T.any():
        free = batch.free_T.nonzero()[:, 0]
        kept, row = place_T[free].unique(return_inverse=True)
        distribution = logits_KV[kept].log_softmax(-1)
        parts.append((free, *_look_up(distribution, row, batch.targets_T[free], measure)))
    if batch.admitted_TA is not None:
        bound = (~batch.free_T).nonzero()[:, 0]
        admitted = batch.admitted_TA[bound]
        distribution = logits_KV[place_T[bound]].gather(1, admitted.clamp(min=0))
        distribution = distribution.masked_fill(admitted < 0, -torch.inf).log_softmax(-1)
        column = (admitted == batch.targets_T[bound, None]).int().argmax(1)
        row = torch.arange(len(bound), device=bound.device)
        parts.append((bound, *_look_up(distribution, row, column, measure)))
    if not parts:
        return (logits_KV.new_zeros(0),) * 3
    places, *found = (torch.cat(values) for values in zip(*parts, strict=True))
    logprobs_T, entropy_T, measured_T = (values[places.argsort()] for values in found)
    return logprobs_T, entropy_T, measured_T


def _look_up(
    distribution: Tensor, row: Tensor, column: Tensor, measure: Measure | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The log-probability at each `row` and `column`; of each row entropy and `measure`."""
    logprobs = distribution[row, column]
    if measure is None:
        entropy = shannon(distribution)[row]
        return logprobs, entropy, entropy
    return logprobs, shannon(distribution.detach())[row], measure(distribution)[row]


def _context_targets(batch: Batch, documents: Documents) -> Tensor:
    """The next token of each token; -100 at row ends and before chosen tokens."""
    targets = batch.ids_N.roll(-1)
    ends = torch.tensor(documents.lengths).cumsum(0) - 1
    targets[ends] = -100
    targets[batch.before_T] = -100
    return targets


class Updater:
    """AdamW over a model, with the loss summed over rows and ranks and divided once."""

    def __init__(self, model: PreTrainedModel, config: OptimizerConfig, world: World) -> None:
        self.model = model
        self.config = config
        self.world = world
        self.steps = 0
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def step(self, rows: Sequence[Row], objective: Objective) -> dict[str, float]:
        """One optimiser step on this rank's rows and those of the other ranks.

        `objective` gives a batch's summed loss and summed statistics. The loss is divided once, by
        the shares (`Row.share`) of all ranks' rows. Returns this rank's sums, and `grad_norm`.

        Raises:
            DivergedError: the gradient is not finite; the weights are as before.
        """
        totals = {
            "rows": len(rows),
            "tokens": float(sum(len(row.positions) for row in rows)),
            "shares": sum(row.share for row in rows),
        }
        count = self.world.sum_values(totals)["shares"]
        if count == 0:  # nothing was earned anywhere: momentum alone must not move the weights
            return {**totals, "grad_norm": 0.0}
        sums: dict[str, float] = {}
        for batch in pack(rows, self.config.token_budget, share=self.config.share):
            loss, statistics = objective(batch)
            (loss / count).backward()
            for name, value in statistics.items():
                sums[name] = sums.get(name, 0.0) + value
        parameters = list(self.model.parameters())
        self.world.sum_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        if not math.isfinite(norm):
            raise DivergedError(
                f"the gradient of optimiser step {self.steps + 1} has norm {float(norm)}; lower "
                f"learning_rate ({self.config.learning_rate}) or clip_norm in a new run"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self._rate()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        return {**sums, **totals, "grad_norm": float(norm)}

    def _rate(self) -> float:
        config = self.config
        warm = min(1.0, (self.steps + 1) / config.warmup_steps) if config.warmup_steps else 1.0
        if config.decay_steps is None:
            return warm
        progress = min(1.0, self.steps / config.decay_steps)
        cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
        return warm * (config.final_fraction + (1.0 - config.final_fraction) * cosine)
