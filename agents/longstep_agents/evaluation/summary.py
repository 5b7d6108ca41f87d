"""What an evaluation found, from its lines: rates with intervals, by type, turn and end."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from longstep_agents.evaluation.log import Row, is_fault, key_of, last_tries
from longstep_agents.evaluation.statistics import (
    Comparison,
    Estimate,
    compare,
    estimate,
    pass_at_k,
    pass_hat_k,
)
from longstep_envs.types import BadValueError

_TURN_BOUNDS = (5, 10, 20, 50)


@dataclass(frozen=True, slots=True)
class PartSummary:
    """One part's results. Rates are over all episodes: a fault counts as a failure there."""

    name: str
    metric: str
    success: Estimate
    score: Estimate
    without_faults: Estimate
    """Success over the episodes that no fault has ended."""
    faults: int
    """Episodes whose last try ended in a fault."""
    retried: int
    """Episodes that were played more than once."""
    flagged: int
    """Episodes that a monitor has flagged, for a person to read; they count as they are."""
    turns: float
    seconds: float
    tokens: Mapping[str, float]
    cost: float | None
    by_task_type: Mapping[str, Estimate] = field(default_factory=dict)
    by_turns: Mapping[str, Estimate] = field(default_factory=dict)
    stop_reasons: Mapping[str, int] = field(default_factory=dict)
    pass_at: Mapping[int, Estimate] = field(default_factory=dict)
    pass_hat: Mapping[int, Estimate] = field(default_factory=dict)

    @property
    def headline(self) -> Estimate:
        """What the benchmark is told by."""
        return self.score if self.metric == "score" else self.success

    def as_row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Results(list[PartSummary]):
    """The results of all parts; a table in notebooks."""

    def _repr_html_(self) -> str:
        from longstep_agents.notebook import results_html

        return results_html(self)


def summarise(
    header: Mapping[str, Any],
    rows: Sequence[Row],
    *,
    k: Sequence[int] = (),
) -> Results:
    """A summary for each part, in the suite's order; `k` asks for pass@k and pass^k.

    Raises:
        BadValueError: there are fewer than k attempts of a task.
    """
    tries = Counter(map(key_of, rows))
    by_part: dict[str, list[Row]] = defaultdict(list)
    for row in last_tries(list(rows)):
        by_part[row["part"]].append(row)
    retried = Counter(part for (part, _, _), count in tries.items() if count > 1)
    return Results(
        _part(part["name"], part["metric"], by_part[part["name"]], retried[part["name"]], k)
        for part in header["asked"]["parts"]
    )


def compare_parts(
    first: Sequence[Row], second: Sequence[Row], *, value: str = "success"
) -> dict[str, Comparison]:
    """Two evaluations part by part, paired by task; parts that only one has are left out.

    Raises:
        BadValueError: they have no part in common.
    """
    sides = [_by_part_and_task(rows, value) for rows in (first, second)]
    shared = [part for part in sides[0] if part in sides[1]]
    if not shared:
        raise BadValueError(
            f"the first has {', '.join(sides[0]) or 'nothing'}, the second "
            f"{', '.join(sides[1]) or 'nothing'}; compare evaluations of the same suite"
        )
    return {part: compare(sides[0][part], sides[1][part]) for part in shared}


def _by_part_and_task(rows: Sequence[Row], value: str) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for row in sorted(last_tries(list(rows)), key=lambda row: row["attempt"]):
        found.setdefault(row["part"], {}).setdefault(row["task_id"], []).append(float(row[value]))
    return found


def _part(
    name: str, metric: str, rows: Sequence[Row], retried: int, k: Sequence[int]
) -> PartSummary:
    played = [row for row in rows if not is_fault(row)]
    costs = [row["cost"] for row in rows if row.get("cost") is not None]
    solved = _values(rows, "success")
    return PartSummary(
        name=name,
        metric=metric,
        success=estimate(solved),
        score=estimate(_values(rows, "score")),
        without_faults=estimate(_values(played, "success")),
        faults=len(rows) - len(played),
        retried=retried,
        flagged=sum(bool(row.get("flags")) for row in rows),
        turns=_mean(row["turns"] for row in played),
        seconds=_mean(row["seconds"] for row in played),
        tokens={
            kind: _mean(row["tokens"][kind] for row in played) for kind in ("prompt", "sampled")
        },
        cost=sum(costs) if costs else None,
        by_task_type=_grouped(rows, lambda row: str(row["task_type"])),
        by_turns=_grouped(played, _turn_bin),
        stop_reasons=dict(Counter(row["stop_reason"] for row in rows).most_common()),
        pass_at={n: pass_at_k(solved, n) for n in k},
        pass_hat={n: pass_hat_k(solved, n) for n in k},
    )


def _values(rows: Iterable[Row], name: str) -> list[list[float]]:
    by_task: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_task[row["task_id"]].append(float(row[name]))
    return list(by_task.values())


def _grouped(rows: Iterable[Row], kind: Any) -> dict[str, Estimate]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[kind(row)].append(row)
    return {name: estimate(_values(groups[name], "success")) for name in sorted(groups)}


def _turn_bin(row: Row) -> str:
    bounds = ((low + 1, high) for low, high in zip((0, *_TURN_BOUNDS), _TURN_BOUNDS, strict=False))
    return next(
        (f"{low:02}-{high:02}" for low, high in bounds if row["turns"] <= high),
        f"over {_TURN_BOUNDS[-1]}",
    )


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.fmean(found) if found else 0.0
