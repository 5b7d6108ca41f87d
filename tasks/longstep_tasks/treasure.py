"""Task sets of the tiny Treasure world: every task is a numbered random map."""

from __future__ import annotations

from longstep_tasks.taskset import TaskSet
from longstep_tasks.types import Task, TaskDataError

ENV_ID = "longstep/Treasure-v0"
SPLITS = {"train": 1000, "valid": 200, "test": 200}


def load(split: str | None = None, rooms: int = 6, locks: int = 2) -> TaskSet:
    """The tasks of one split or of all; `rooms` and `locks` go to the environment.

    Raises:
        TaskDataError: there is no such split.
    """
    if split is not None and split not in SPLITS:
        raise TaskDataError(f"unknown Treasure split {split!r}; there are {', '.join(SPLITS)}")
    options = {"rooms": rooms, "locks": locks}
    return TaskSet(
        (
            Task(f"{name}/{number}", ENV_ID, name, "treasure", env_kwargs=options)
            for name in ([split] if split else SPLITS)
            for number in range(SPLITS[name])
        ),
        "treasure",
    )
