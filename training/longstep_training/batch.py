"""From trajectories to packed tensors: one row a trajectory, no padding between rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from longstep_agents.types import Group, Trajectory
from longstep_training.credit import Advantages


@dataclass(frozen=True, slots=True)
class Row:
    """The tokens of one trajectory, and those among them that the policy chose."""

    ids: list[int]
    positions: list[int]
    """Where in `ids` the chosen tokens stand; tokens that a constraint forced are not chosen."""
    logprobs: list[float]
    """Of the chosen tokens, when they were sampled."""
    admitted: list[tuple[int, ...] | None]
    """Per chosen token, the ids that a constraint admitted; None where sampling was free."""
    advantages: list[float]


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows. N tokens in all, of which T were chosen."""

    ids_N: Tensor
    positions_N: Tensor
    """Position within the row."""
    lengths: tuple[int, ...]
    chosen_T: Tensor
    """Index into `ids_N` of the chosen tokens."""
    old_logprobs_T: Tensor
    advantages_T: Tensor
    admitted_TA: Tensor | None
    """Admitted ids of each chosen token, -1 past the end; None where all sampling was free."""
    free_T: Tensor
    """Which chosen tokens were sampled from the whole vocabulary."""


def build_rows(groups: Sequence[Group], advantages_PGS: Advantages) -> list[Row]:
    """A row for every counted trajectory in which any step earned anything."""
    return [
        build_row(trajectory, credit_S)
        for group, credit_GS in zip(groups, advantages_PGS, strict=True)
        for trajectory, credit_S in zip(group.trajectories, credit_GS, strict=True)
        if trajectory.counts and any(credit_S)
    ]


def build_row(trajectory: Trajectory, advantages_S: Sequence[float]) -> Row:
    """All tokens of the trajectory in order, up to the last one that the policy chose."""
    row = Row([], [], [], [], [])
    for step, advantage in zip(trajectory.steps, advantages_S, strict=True):
        completion = step.completion
        row.ids.extend(step.bridge_ids)
        admitted = completion.allowed or (None,) * len(completion.ids)
        for token, logprob, ids in zip(completion.ids, completion.logprobs, admitted, strict=True):
            if ids is None or len(ids) > 1:
                row.positions.append(len(row.ids))
                row.logprobs.append(logprob)
                row.admitted.append(ids)
                row.advantages.append(advantage)
            row.ids.append(token)
    if row.positions:
        del row.ids[row.positions[-1] + 1 :]
    return row


def pack(rows: Sequence[Row], token_budget: int) -> Iterator[Batch]:
    """Rows packed in order into batches of at most `token_budget` tokens (at least one row)."""
    held: list[Row] = []
    size = 0
    for row in rows:
        if held and size + len(row.ids) > token_budget:
            yield pack_rows(held)
            held, size = [], 0
        held.append(row)
        size += len(row.ids)
    if held:
        yield pack_rows(held)


def pack_rows(rows: Sequence[Row]) -> Batch:
    """One batch of all rows."""
    lengths = [len(row.ids) for row in rows]
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    admitted = [ids for row in rows for ids in row.admitted]
    return Batch(
        ids_N=torch.tensor([token for row in rows for token in row.ids]),
        positions_N=torch.cat([torch.arange(length) for length in lengths]),
        lengths=tuple(lengths),
        chosen_T=torch.tensor(
            [start + p for row, start in zip(rows, starts, strict=True) for p in row.positions],
            dtype=torch.long,
        ),
        old_logprobs_T=torch.tensor([value for row in rows for value in row.logprobs]),
        advantages_T=torch.tensor([value for row in rows for value in row.advantages]),
        admitted_TA=_padded(admitted),
        free_T=torch.tensor([ids is None for ids in admitted], dtype=torch.bool),
    )


def _padded(admitted: Sequence[tuple[int, ...] | None]) -> Tensor | None:
    width = max((len(ids) for ids in admitted if ids is not None), default=0)
    if width == 0:
        return None
    return torch.tensor(
        [[*ids, *[-1] * (width - len(ids))] if ids else [-1] * width for ids in admitted]
    )
