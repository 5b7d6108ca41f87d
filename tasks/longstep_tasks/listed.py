"""The task set of any environment: what the environment itself lists, ours or another package's."""

from __future__ import annotations

from typing import Any

from longstep_envs.registry import make
from longstep_tasks.taskset import TaskSet
from longstep_tasks.types import Task, TaskDataError


def load_listed(env_id: str, split: str | None = None, **env_kwargs: Any) -> TaskSet:
    """The tasks of `env_id`, made with `env_kwargs`: of one split, or of all.

    Raises:
        TaskDataError: the environment has no such split.
        UnknownNameError: there is no such environment; a name never imports what nobody registered.
    """
    env = make(env_id, **env_kwargs)
    places = env.data.options if env.data is not None else ()
    try:
        tasks = [
            Task(
                id=task_id,
                env_id=env_id,
                split=env.split_of(task_id),
                task_type=env.task_type_of(task_id),
                provenance=env.provenance,
                env_kwargs=env_kwargs,
                places=places,
            )
            for task_id in env.task_ids
        ]
    finally:
        env.close()
    chosen = TaskSet(tasks, env_id).filter(split=split)
    if split is not None and not chosen:
        splits = ", ".join(dict.fromkeys(task.split for task in tasks if task.split))
        raise TaskDataError(f"{env_id} has no split {split!r}; there are: {splits or 'none'}")
    return chosen
