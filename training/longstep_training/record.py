"""What methods need of every token beyond what the sampler told, recorded before credit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor
from transformers import PreTrainedModel

from longstep_agents.types import Group, Step, Trajectory
from longstep_training.batch import Batch, build_row, pack
from longstep_training.critic import values
from longstep_training.scores import score
from longstep_training.shards import keep_step

Recording = Callable[[Batch], Tensor]
"""What is told of each token of a batch, [T]."""


class Recorder:
    """Fills in those fields of `Completion` that the methods of a run need, and no others."""

    def __init__(
        self,
        needs: frozenset[str],
        model: PreTrainedModel,
        reference: PreTrainedModel | None = None,
        critic: PreTrainedModel | None = None,
        *,
        temperature: float = 1.0,
        token_budget: int = 8192,
    ) -> None:
        def given(model: PreTrainedModel | None) -> PreTrainedModel:
            assert model is not None, "a config without what its methods need is refused"
            return model

        def logprobs(of: PreTrainedModel | None) -> Recording:
            return lambda batch: score(given(of), batch, temperature=temperature).logprobs_T

        def entropies(batch: Batch) -> Tensor:
            return score(model, batch, temperature=temperature).entropy_T

        def collisions(batch: Batch) -> Tensor:
            measured: Tensor = score(
                model, batch, temperature=temperature, measure=_collisions
            ).measured_T
            return measured

        known: dict[str, tuple[str, PreTrainedModel | None, Recording]] = {
            "trainer_logprobs": ("trainer_logprobs", model, logprobs(model)),
            "entropies": ("entropies", model, entropies),
            "collisions": ("collisions", model, collisions),
            "reference": ("reference_logprobs", reference, logprobs(reference)),
            "values": ("values", critic, lambda batch: values(given(critic), batch)),
        }
        self._recordings = [
            (field, given(of), recording)
            for field, of, recording in (known[need] for need in sorted(needs) if need in known)
        ]
        self._token_budget = token_budget

    @torch.no_grad()
    def record(self, groups: Sequence[Group]) -> list[Group]:
        """The same groups; every token of a trajectory that counts has what is needed.

        Where models are sharded, every process has to call this, be it without groups.
        """
        if not self._recordings:
            return list(groups)
        counted = [t for group in groups for t in group.counted]
        rows = [build_row(t, [0.0] * len(t.steps), forced=True) for t in counted]
        batches = list(pack([row for row in rows if row.positions], self._token_budget))
        columns: dict[str, Iterator[float]] = {}
        for field, model, recording in self._recordings:
            keep_step(model, len(batches))
            told_of = [recording(batch.to(model.device)).tolist() for batch in batches]
            columns[field] = chain.from_iterable(told_of)
        told = iter([_told(trajectory, columns) for trajectory in counted])
        return [
            Group(tuple(next(told) if t.counts else t for t in group.trajectories))
            for group in groups
        ]


def _told(trajectory: Trajectory, columns: Mapping[str, Iterator[float]]) -> Trajectory:
    return replace(trajectory, steps=tuple(_told_step(step, columns) for step in trajectory.steps))


def _told_step(step: Step, columns: Mapping[str, Iterator[float]]) -> Step:
    fields = {
        field: tuple(next(column) for _ in step.completion.ids) for field, column in columns.items()
    }
    return replace(step, completion=replace(step.completion, **fields))  # type: ignore[arg-type]


def _collisions(distribution_TV: Tensor) -> Tensor:
    """The chance of drawing the same twice."""
    return (2.0 * distribution_TV).exp().sum(-1)
