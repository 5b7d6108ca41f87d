"""What torchrun told this process, or another launcher that sets the same variables.

Nothing heavy is imported here: the command line asks before it loads torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from longstep_envs.types import LongstepError

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class LaunchError(LongstepError, RuntimeError):
    """Processes were started in a way that they cannot train together."""


@dataclass(frozen=True, slots=True)
class Place:
    """This process's place among those that were started together."""

    rank: int
    size: int
    local_rank: int
    """Its number on its machine, which is that of its accelerator."""


def told(environ: Mapping[str, str] = os.environ) -> Place | None:
    """The place that the environment names; None where nobody started this process with others.

    Raises:
        LaunchError: it names half of a place, or none that there is.
    """
    if "RANK" not in environ:
        return None
    missing = [name for name in _NEEDED if name not in environ]
    if missing:
        raise LaunchError(
            f"RANK is set and {', '.join(missing)} not; start with torchrun, which sets all of "
            "them, or unset RANK"
        )
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    given = [environ.get(name, "0") for name in names]
    if not all(value.isdecimal() for value in given):
        told = ", ".join(f"{name}={value!r}" for name, value in zip(names, given, strict=True))
        raise LaunchError(f"ranks are numbers from 0 on, not {told}; start with torchrun")
    rank, size, local_rank = map(int, given)
    if rank >= size:
        raise LaunchError(f"RANK={rank} is none of WORLD_SIZE={size} processes; use torchrun")
    return Place(rank, size, local_rank)


def leads(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process writes the files and the display, as far as it was told a place."""
    place = told(environ)
    return place is None or place.rank == 0
