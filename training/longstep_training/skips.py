"""What is told of an optimiser step that was left out, so that somebody can look for the cause."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from longstep_training.batch import Row

_NUMBERS = ("advantages", "logprobs", "weights", "sampled", "reference")


def describe(rows: Sequence[Row], norm: float, sums: Mapping[str, float]) -> dict[str, Any]:
    """The episodes of the step, and what of them, of the statistics and the norm is not finite."""
    return {
        "grad_norm": str(norm),
        "not_finite": [name for name, value in sums.items() if not math.isfinite(value)],
        "episodes": [
            {"task_id": row.task_id, "seed": row.seed, "not_finite": list(_broken(row))}
            for row in rows
        ],
    }


def _broken(row: Row) -> Iterator[str]:
    if not math.isfinite(row.share):
        yield "share"
    for name in _NUMBERS:
        if not all(map(math.isfinite, getattr(row, name))):
            yield name
