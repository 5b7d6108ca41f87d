"""The named task sets: one lazy line each."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Any

from longstep_tasks.listed import load_listed
from longstep_tasks.taskset import TaskSet
from longstep_tasks.types import UnknownTaskSetError

TASKS: dict[str, str] = {
    "alfworld": "longstep_tasks.alfworld.games:load",
    "search": "longstep/Search-v0",
    "scienceworld": "longstep/ScienceWorld-v0",
    "swe": "longstep/SWE-v0",
    "textworld": "longstep/TextWorld-v0",
    "treasure": "longstep/Treasure-v0",
    "webshop": "longstep/WebShop-v0",
}
"""Name to the id of an environment that lists its own tasks, or to "module:function"; the function
takes keyword options and returns a `TaskSet`."""


def load_tasks(name: str, **options: Any) -> TaskSet:
    """The task set registered as `name`, or what the environment of that id lists.

    `options` go to the environment, except `split`, which chooses among its tasks.

    Raises:
        UnknownTaskSetError: no task set has that name.
        TaskDataError: there is no such split.
    """
    if "/" in name:
        return load_listed(name, **options)
    target = TASKS.get(name)
    if target is None:
        close = difflib.get_close_matches(name, TASKS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UnknownTaskSetError(f"unknown task set {name!r}; there are {', '.join(TASKS)}{hint}")
    module, is_function, function = target.partition(":")
    if not is_function:
        return load_listed(target, **options)
    tasks: TaskSet = getattr(import_module(module), function)(**options)
    return tasks
