"""From trajectories to packed tensors: one row a trajectory, no padding anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longstep_agents.attention import Documents
from longstep_agents.types import Group, Trajectory
from longstep_envs.types import DataError
from longstep_training.credit import Credit
from longstep_training.forest import LEAST_SHARED, Forest, Packed, common_beginning, plant


@dataclass(frozen=True, slots=True)
class Row:
    """The tokens of one trajectory, and those among them that the policy chose.

    A trajectory is one text as long as each prompt extends the one before. Where one does not, a
    new text begins, which sees nothing of those before it.
    """

    ids: list[int] = field(default_factory=list)
    """Of all texts, one after the other."""
    lengths: list[int] = field(default_factory=list)
    """The tokens of each text."""
    positions: list[int] = field(default_factory=list)
    """Where in `ids` the chosen tokens stand; tokens that a constraint forced are not chosen."""
    logprobs: list[float] = field(default_factory=list)
    """Of the chosen tokens, under the policy that sampled them, as the trainer computes them where
    that was recorded."""
    admitted: list[tuple[int, ...] | None] = field(default_factory=list)
    """Per chosen token, the ids that a constraint admitted; None where sampling was free."""
    advantages: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    """Per chosen token, the number of its step in the trajectory."""
    weights: list[float] = field(default_factory=list)
    """Per chosen token, what its loss counts in the sum over all rows."""
    share: float = 0.0
    """What the row adds to the number that the sum over all rows is divided by."""
    sampled: list[float] = field(default_factory=list)
    """Of the chosen tokens, as the sampler told them; empty where `logprobs` is just that."""
    reference: list[float] = field(default_factory=list)
    """Of the chosen tokens, under the reference policy; empty where it was not recorded."""
    marked: list[bool] = field(default_factory=list)
    """The chosen tokens that entropy control picked out; empty where it picks none."""
    replayed: bool = False
    """Whether an earlier policy played it."""
    task_id: str = ""
    seed: int = 0
    """With the task, what to look for in the log."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows. T tokens were chosen; N are computed, which are all, or all that differ."""

    ids_N: Tensor
    positions_N: Tensor
    """Position within the text."""
    packing: Documents | Forest
    """What each token sees."""
    before_T: Tensor
    """Index into `ids_N` of the token after which each chosen token was sampled."""
    targets_T: Tensor
    """The chosen tokens' ids."""
    old_logprobs_T: Tensor
    advantages_T: Tensor
    weights_T: Tensor
    """What each chosen token's loss counts."""
    rows_T: Tensor
    """The row that each chosen token is of."""
    steps_T: Tensor
    """The step that each chosen token is of, counted over all rows."""
    turns_T: Tensor
    """The number of that step within its row."""
    sampled_T: Tensor | None
    """Log-probabilities as the sampler told them; None where `old_logprobs_T` is just that."""
    reference_T: Tensor | None
    """Log-probabilities under the reference policy; None where they were not recorded."""
    marked_T: Tensor
    """The tokens that entropy control picked out."""
    replayed_T: Tensor
    """The tokens that an earlier policy chose."""
    admitted_TA: Tensor | None
    """Admitted ids of each chosen token, -1 past the end; None where all sampling was free."""
    free_T: Tensor
    """Which chosen tokens were sampled from the whole vocabulary."""

    def to(self, device: torch.device) -> Batch:
        """The same on this device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


Aggregation = Callable[[Sequence[int]], tuple[list[float], float]]


def _of_tokens(steps: Sequence[int]) -> tuple[list[float], float]:
    """The mean over tokens: long trajectories count more."""
    return [1.0] * len(steps), float(len(steps))


def _of_steps(steps: Sequence[int]) -> tuple[list[float], float]:
    """The mean over steps of the mean over their tokens."""
    lengths = Counter(steps)
    return [1.0 / lengths[step] for step in steps], float(len(lengths))


def _of_trajectories(steps: Sequence[int]) -> tuple[list[float], float]:
    """The mean over trajectories of the mean over their tokens."""
    return [1.0 / max(1, len(steps))] * len(steps), 1.0


def _of_trajectory_sums(steps: Sequence[int]) -> tuple[list[float], float]:
    """The mean over trajectories of the sum over their tokens."""
    return [1.0] * len(steps), 1.0


AGGREGATIONS: dict[str, Aggregation] = {
    "token": _of_tokens,
    "step": _of_steps,
    "trajectory": _of_trajectories,
    "trajectory_sum": _of_trajectory_sums,
}
"""What the loss is a mean of. Each takes a row's `steps`, and gives its `weights` and `share`; no
other row is needed, so that the gradient does not depend on how rows are packed."""


def build_rows(
    groups: Sequence[Group],
    credit_PGS: Credit,
    aggregation: str = "token",
    *,
    replays: Sequence[float] = (),
) -> list[Row]:
    """A row for every counted trajectory in which any step earned anything.

    The last groups, as many as `replays`, are those that an earlier policy played; `replays` tells
    what each weighs against a group that is fresh.
    """
    weights: list[float | None] = [None] * (len(groups) - len(replays))
    rows = [
        _weighed(build_row(trajectory, credit_S, aggregation), weight)
        for group, credit_GS, weight in zip(groups, credit_PGS, [*weights, *replays], strict=True)
        for trajectory, credit_S in zip(group.trajectories, credit_GS, strict=True)
        if trajectory.counts and any(map(_earned, credit_S))
    ]
    return [row for row in rows if row.positions]  # where all was forced, there is no gradient


def build_row(
    trajectory: Trajectory,
    credit_S: Sequence[float | Sequence[float]],
    aggregation: str = "token",
    *,
    forced: bool = False,
) -> Row:
    """All tokens of the trajectory in order; of each text, up to the last that the policy chose.

    `forced` takes the tokens that a constraint forced for chosen ones, too.
    """
    row = Row(task_id=trajectory.task_id, seed=trajectory.seed)
    for number, (step, credit) in enumerate(zip(trajectory.steps, credit_S, strict=True)):
        completion = step.completion
        if step.begins_row:
            _end_text(row)
        row.ids.extend(step.bridge_ids)
        start = len(row.ids)
        row.ids.extend(completion.ids)
        chosen = range(len(completion.ids)) if forced else completion.choices
        row.positions.extend(start + j for j in chosen)
        logprobs = completion.trainer_logprobs or completion.logprobs
        row.logprobs.extend(logprobs[j] for j in chosen)
        row.admitted.extend(completion.allowed[j] if completion.allowed else None for j in chosen)
        row.advantages.extend(
            credit if isinstance(credit, int | float) else credit[j] for j in chosen
        )
        row.steps.extend(number for _ in chosen)
        if completion.trainer_logprobs:
            row.sampled.extend(completion.logprobs[j] for j in chosen)
        if completion.reference_logprobs:
            row.reference.extend(completion.reference_logprobs[j] for j in chosen)
    _end_text(row)
    weights, share = AGGREGATIONS[aggregation](row.steps)
    return replace(row, weights=weights, share=share if row.positions else 0.0)


def _end_text(row: Row) -> None:
    """Close the text under way; what follows its last chosen token teaches nothing."""
    begin = sum(row.lengths)
    end = max(begin, row.positions[-1] + 1) if row.positions else begin
    del row.ids[end:]
    if end > begin:
        row.lengths.append(end - begin)


def _weighed(row: Row, weight: float | None) -> Row:
    """A replayed row of this weight in the sum and in its divisor; a fresh one where it is None."""
    if weight is None:
        return row
    weights = [weight * value for value in row.weights]
    return replace(row, weights=weights, share=weight * row.share, replayed=True)


def _earned(credit: float | Sequence[float]) -> bool:
    return bool(credit) if isinstance(credit, int | float) else any(credit)


def pack(rows: Sequence[Row], token_budget: int, *, share: bool = False) -> Iterator[Batch]:
    """Rows packed into batches of at most `token_budget` computed tokens (at least one row).

    They stay in order, unless they `share` what they begin with: then those that begin alike are
    brought together.
    """
    held: list[Row] = []
    size = 0
    for row in sorted(rows, key=lambda row: row.ids) if share else rows:
        new = len(row.ids)
        if share and held:
            shared = common_beginning(held[-1].ids, row.ids)
            new -= shared if shared >= LEAST_SHARED else 0
        if held and size + new > token_budget:
            yield pack_rows(held, share=share)
            held, size, new = [], 0, len(row.ids)
        held.append(row)
        size += new
    if held:
        yield pack_rows(held, share=share)


def pack_rows(rows: Sequence[Row], *, share: bool = False) -> Batch:
    """One batch of all rows."""
    texts = [text for row in rows for text in _texts(row)]
    packed = plant(texts) if share else _lay_out(texts)
    places = iter(packed.places)
    admitted = [ids for row in rows for ids in row.admitted]
    return Batch(
        ids_N=torch.tensor(packed.ids),
        positions_N=torch.tensor(packed.positions),
        packing=packed.packing,
        before_T=torch.from_numpy(
            np.concatenate([_before(row, [next(places) for _ in row.lengths]) for row in rows])
        ),
        targets_T=torch.tensor([row.ids[p] for row in rows for p in row.positions]),
        old_logprobs_T=torch.tensor([value for row in rows for value in row.logprobs]),
        advantages_T=torch.tensor([value for row in rows for value in row.advantages]),
        weights_T=torch.tensor([value for row in rows for value in row.weights]),
        rows_T=_numbers([(i,) for i, row in enumerate(rows) for _ in row.steps]),
        steps_T=_numbers([(i, step) for i, row in enumerate(rows) for step in row.steps]),
        turns_T=torch.tensor([step for row in rows for step in row.steps], dtype=torch.long),
        sampled_T=_recorded([row.sampled for row in rows], rows),
        reference_T=_recorded([row.reference for row in rows], rows),
        marked_T=torch.tensor(
            [mark for row in rows for mark in row.marked or [False] * len(row.steps)],
            dtype=torch.bool,
        ),
        replayed_T=torch.tensor(
            [row.replayed for row in rows for _ in row.steps], dtype=torch.bool
        ),
        admitted_TA=_padded(admitted),
        free_T=torch.tensor([ids is None for ids in admitted], dtype=torch.bool),
    )


def _texts(row: Row) -> Iterator[list[int]]:
    ends = list(accumulate(row.lengths))
    for end, length in zip(ends, row.lengths, strict=True):
        yield row.ids[end - length : end]


def _lay_out(texts: Sequence[Sequence[int]]) -> Packed:
    """One text after the other."""
    lengths = [len(text) for text in texts]
    starts = list(accumulate(lengths, initial=0))
    return Packed(
        Documents(lengths),
        ids=[token for text in texts for token in text],
        positions=[position for length in lengths for position in range(length)],
        places=[np.arange(*ends) for ends in pairwise(starts)],
    )


def _before(row: Row, places: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Where the tokens before the row's chosen ones lie."""
    before: NDArray[np.int64] = np.concatenate(places)[np.asarray(row.positions, np.int64) - 1]
    return before


def _numbers(keys: Sequence[tuple[int, ...]]) -> Tensor:
    """Each key's number in the order of first appearance."""
    numbers: dict[tuple[int, ...], int] = {}
    return torch.tensor([numbers.setdefault(key, len(numbers)) for key in keys], dtype=torch.long)


def _recorded(values: Sequence[Sequence[float]], rows: Sequence[Row]) -> Tensor | None:
    """What was recorded of all rows' tokens; None where nothing was.

    Raises:
        DataError: it was recorded of some rows only.
    """
    flat = [value for row in values for value in row]
    tokens = sum(len(row.positions) for row in rows)
    if flat and len(flat) != tokens:
        raise DataError(
            f"{len(flat)} numbers were recorded of {tokens} tokens; record of all rows or of none"
        )
    return torch.tensor(flat) if flat else None


def _padded(admitted: Sequence[tuple[int, ...] | None]) -> Tensor | None:
    width = max((len(ids) for ids in admitted if ids is not None), default=0)
    if width == 0:
        return None
    return torch.tensor(
        [[*ids, *[-1] * (width - len(ids))] if ids else [-1] * width for ids in admitted]
    )
