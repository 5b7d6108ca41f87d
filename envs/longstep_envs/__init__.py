"""Text environments for agents that act over many turns.

`import longstep_envs` registers every environment with gymnasium and imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longstep_envs.env import TextEnv
from longstep_envs.limits import Limited
from longstep_envs.registry import ENVS, EnvEntry, list_envs, make, register
from longstep_envs.types import (
    EnvFaultError,
    EpisodeOverError,
    ErrorInfo,
    Info,
    Limits,
    LongstepError,
    Snapshot,
    SnapshotError,
    StopReason,
    ToolSpec,
    UnknownNameError,
)

if TYPE_CHECKING:
    from longstep_envs.check import CheckReport, check_env
    from longstep_envs.pool import EnvPool, EpisodeReport, Fault
    from longstep_envs.slots import Slot

__all__ = [
    "ENVS",
    "CheckReport",
    "EnvEntry",
    "EnvFaultError",
    "EnvPool",
    "EpisodeOverError",
    "EpisodeReport",
    "ErrorInfo",
    "Fault",
    "Info",
    "Limited",
    "Limits",
    "LongstepError",
    "Slot",
    "Snapshot",
    "SnapshotError",
    "StopReason",
    "TextEnv",
    "ToolSpec",
    "UnknownNameError",
    "check_env",
    "list_envs",
    "make",
    "register",
]

_LAZY = {
    "CheckReport": "longstep_envs.check",
    "check_env": "longstep_envs.check",
    "EnvPool": "longstep_envs.pool",
    "EpisodeReport": "longstep_envs.pool",
    "Fault": "longstep_envs.pool",
    "Slot": "longstep_envs.slots",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
