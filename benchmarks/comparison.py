"""What every benchmark tells: both sides of one run, the aim, and the machine's limit."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any

import torch
import typer

GIGA = 1e9
_GEMM = 1_024
"""Rows and columns of the matrices whose product measures a ceiling."""
_COPIED = 2**26
"""Bytes that are copied to measure another: more than caches hold."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two ways to do the same work, measured in one run; less is better."""

    name: str
    ours: float
    theirs: float
    unit: str = "CPU s"
    goal: float | None = None
    """How many times better ours should be."""
    least: float | None = None
    """What the machine would need at its limit, in the same unit."""
    limit: str = ""
    """Which limit that is."""

    @property
    def ratio(self) -> float:
        """How many times better ours is."""
        return self.theirs / self.ours

    @property
    def reached(self) -> float | None:
        """The fraction of the machine's limit that ours reaches."""
        return None if self.least is None else self.least / self.ours

    def row(self) -> dict[str, Any]:
        """Everything, as JSON can say it."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {**fields, "ratio": self.ratio, "reached": self.reached}


def show(found: Sequence[Comparison], *, as_json: bool) -> None:
    """Print the benchmark's table, or one JSON object with its rows and the machine's load."""
    load = os.getloadavg()[0]
    if as_json:
        typer.echo(json.dumps({"rows": [one.row() for one in found], "load": load}))
        return
    columns = ("", "longstep", "beside it", "ratio", "aim", "least possible", "reached")
    typer.echo(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for one in found:
        goal = "" if one.goal is None else f"{one.goal:g}"
        least = "" if one.least is None else f"{one.least:.3g} ({one.limit})"
        reached = "" if one.reached is None else f"{one.reached:.0%}"
        sides = f"{one.ours:.3g} {one.unit} | {one.theirs:.3g}"
        typer.echo(f"| {one.name} | {sides} | {one.ratio:.2f} | {goal} | {least} | {reached} |")
    typer.echo(f"\n{os.cpu_count()} cores, load average {load:.1f}")


def alternate(sides: Sequence[Callable[[], object]], times: int) -> list[float]:
    """The median CPU seconds of each; they take turns, and a first turn warms them up."""
    seconds: list[list[float]] = [[] for _ in sides]
    for turn in range(times + 1):
        for compute, spent in zip(sides, seconds, strict=True):
            begin = time.process_time()
            compute()
            if turn:
                spent.append(time.process_time() - begin)
    return [median(spent) for spent in seconds]


@cache
def gemm_rate(dtype: torch.dtype = torch.float32) -> float:
    """Floating point operations per CPU second of a large matrix product, the best of ten."""
    left, right = (torch.ones(_GEMM, _GEMM, dtype=dtype) for _ in range(2))
    return 2 * _GEMM**3 / _best(lambda: left @ right)


@cache
def copy_rate() -> float:
    """Bytes per CPU second that a copy reads and writes, the best of ten."""
    source = torch.ones(_COPIED, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * _COPIED / _best(lambda: target.copy_(source))


def _best(compute: Callable[[], object]) -> float:
    compute()
    return min(alternate([compute], 1)[0] for _ in range(10))
