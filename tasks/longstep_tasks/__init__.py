"""Task sets: where tasks come from, their splits, and what generates them."""

from longstep_tasks.registry import TASKS, load_tasks
from longstep_tasks.taskset import TaskSet
from longstep_tasks.types import Task, TaskDataError, TasksError, UnknownTaskSetError

__all__ = [
    "TASKS",
    "Task",
    "TaskDataError",
    "TaskSet",
    "TasksError",
    "UnknownTaskSetError",
    "load_tasks",
]
