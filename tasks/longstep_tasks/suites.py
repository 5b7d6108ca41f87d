"""Suites: what an evaluation plays, as each benchmark's authors report it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from longstep_tasks.registry import load_tasks
from longstep_tasks.taskset import TaskSet
from longstep_tasks.types import TaskDataError, UnknownTaskSetError

Metric = Literal["success", "score"]
_MINI_SEED = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One row of a suite's results."""

    name: str
    tasks: str
    """A task set's name, or the id of an environment that lists its own."""
    turns: int
    """The turn limit that is usual with it."""
    split: str | None = None
    metric: Metric = "success"
    """What the benchmark is told by; the other is told beside it."""
    count: int | None = None
    """So many tasks, the same ones each time, drawn equally from every type; None for all."""
    usual: int | None = None
    """How many tasks published results are over; results over another number say so."""
    options: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> TaskSet:
        """The tasks.

        Raises:
            TasksError: there are none, or their data is not there.
        """
        found = load_tasks(self.tasks, split=self.split, **self.options)
        if not found:
            raise TaskDataError(f"{self.name}: no tasks in {self.tasks!r}, split {self.split!r}")
        if self.count is None or self.count >= len(found):
            return found
        return found.sample(self.count, _MINI_SEED, balanced=True)


SUITES: dict[str, tuple[Part, ...]] = {
    "household": (
        Part("household, seen rooms", "alfworld", 50, "valid_seen", usual=140),
        Part("household, unseen rooms", "alfworld", 50, "valid_unseen", usual=134),
    ),
    "scienceworld": (Part("science", "scienceworld", 100, "test", "score", usual=1_819),),
    "webshop": (Part("shopping", "webshop", 15, "test", "score", usual=500),),
    "textworld": (Part("text adventures", "textworld", 50, "test"),),
    "search": (Part("search", "search", 10, "test"),),
    "swe": (Part("software engineering", "swe", 50, "test"),),
    "swe-text": (
        Part("software engineering, plain", "swe", 50, "test", options={"protocol": "text"}),
    ),
    "all-mini": (
        Part("household", "longstep/ALFWorld-v0", 50),
        Part("science", "scienceworld", 100, "test", "score", count=10),
        Part("shopping", "webshop", 15, "test", "score", count=30),
        Part("text adventures", "textworld", 50),
        Part("search", "search", 10, "test", count=30),
        Part("treasure", "treasure", 50, "test", count=30),
    ),
}
"""Name to its parts."""


def load_suite(name: str) -> tuple[Part, ...]:
    """The parts of a suite; the id of an environment is a suite of all its tasks.

    Raises:
        UnknownTaskSetError: there is no such suite.
    """
    if name in SUITES:
        return SUITES[name]
    if "/" in name:
        return (Part(name, name, turns=50),)
    close = difflib.get_close_matches(name, SUITES, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UnknownTaskSetError(
        f"unknown suite {name!r}; there are {', '.join(SUITES)}, and every environment's id{hint}"
    )
