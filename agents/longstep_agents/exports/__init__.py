"""Episodes in the formats of others: one module for each."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from longstep_agents.config import one_of
from longstep_envs.types import BadValueError

EXPORTS: dict[str, str] = {
    "jsonl": "longstep_agents.exports.jsonl:export",
    "parquet": "longstep_agents.exports.parquet:export",
    "atif": "longstep_agents.exports.atif:export",
    "sessions": "longstep_agents.exports.sessions:export",
    "inspect": "longstep_agents.exports.inspect_logs:export",
}
"""Name to "module:function"; the function takes the folder of a training run or an evaluation and
a path that does not exist yet, and returns how many episodes it has written there."""


def export(name: str, run: Path, out: Path) -> int:
    """Write a run's episodes in a format; how many there were.

    Args:
        name: A key of `EXPORTS`.
        run: The folder of a training run or an evaluation, also of one that goes on.
        out: A new file (`jsonl`) or folder (the others); it appears when it is whole.

    Raises:
        BadValueError: there is no such format, or `out` exists.
        DataError: `run` holds no run.
        MissingPackageError: the format needs a package that is not installed.
    """
    if name not in EXPORTS:
        raise BadValueError(f"there is no format {name!r}; wanted {one_of(name, list(EXPORTS))}")
    module, _, function = EXPORTS[name].partition(":")
    written: int = getattr(import_module(module), function)(run, out)
    return written
