"""Task sets over a folder of games, generated or downloaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from longstep_tasks.alfworld.generate import FOLDER, SPLITS
from longstep_tasks.alfworld.problem import TASK_TYPES
from longstep_tasks.taskset import TaskSet
from longstep_tasks.types import Task, TaskDataError

ENV_ID = "longstep/ALFWorld-v0"


def load(data: str | os.PathLike[str] | None = None, split: str | None = None) -> TaskSet:
    """The tasks under `data` (the folder that holds json_2.1.1; `$ALFWORLD_DATA` by default).

    Raises:
        TaskDataError: no folder is given, or it holds no games of that split.
    """
    root = data if data is not None else os.environ.get("ALFWORLD_DATA")
    if not root:
        raise TaskDataError("no ALFWorld data: pass data=DIR, or set ALFWORLD_DATA")
    if split is not None and split not in SPLITS:
        raise TaskDataError(f"unknown ALFWorld split {split!r}; there are {', '.join(SPLITS)}")
    folder = Path(root).expanduser() / FOLDER
    tasks = [
        Task(game, ENV_ID, name, _task_type(game), env_kwargs={"games": str(folder / name)})
        for name in ([split] if split else SPLITS)
        for game in sorted(_games(folder / name))
    ]
    if not tasks:
        raise TaskDataError(f"no games of split {split or 'any'} under {folder}")
    return TaskSet(tasks, "alfworld")


def _games(folder: Path) -> Iterator[str]:
    """As the environment lists them: sliced and movable-receptacle tasks are left out."""
    for here, _, names in os.walk(folder):
        game = Path(here).relative_to(folder).as_posix()
        skipped = "movable" in game or "Sliced" in game
        if {"game.tw-pddl", "traj_data.json"} <= set(names) and not skipped:
            yield game


def _task_type(game: str) -> str:
    """ALFWorld names its folders after the task type."""
    return next((kind for kind in TASK_TYPES if game.startswith(f"{kind}-")), "")
