"""The folder of an evaluation: what was asked for, and a line for every episode that ended."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longstep_agents.evaluation.plan import Key
from longstep_agents.trace import append_rows, read_rows
from longstep_agents.types import Outcome
from longstep_envs.types import BadValueError, DataError
from longstep_envs.untrusted import parse_json

HEADER = "evaluation.json"
EPISODES = "episodes"
_FILE = "eval.jsonl"
_FAULTS = (Outcome.ENV_ERROR, Outcome.INFRA_ERROR, Outcome.CANCELLED)
"""Outcomes that another try may change: not the agent's own doing."""
_SHOWN_LINES = 40

Row = dict[str, Any]
_Number = Annotated[float, Field(ge=0, le=1e12)]


class _Kept(BaseModel):
    """Of what a file holds, that which is reckoned with: whoever wrote it, it is of these types."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Tokens(_Kept):
    prompt: _Number
    sampled: _Number


class _Line(_Kept):
    """An episode."""

    part: str
    task_id: str
    task_type: str
    attempt: int
    outcome: str
    stop_reason: str
    success: bool
    score: Annotated[float, Field(ge=0, le=1)]
    turns: Annotated[int, Field(ge=0, lt=2**31)]
    seconds: _Number
    tokens: _Tokens
    cost: _Number | None = None


class _Part(_Kept):
    name: str
    metric: Literal["success", "score"]


class _Asked(_Kept):
    parts: list[_Part]


class _Header(_Kept):
    asked: _Asked


class EvaluationLog:
    """Appends to one folder, which nobody else appends to meanwhile.

    A line is on disk before the next episode's is written. A line that was cut off by the end of
    the process is dropped when the folder is opened again; its episode is played again.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any], *, resume: bool) -> None:
        """Begin a folder, or go on with one.

        Args:
            folder: New, unless `resume`.
            header: `asked` decides what is played: it must not change; the rest is told as it is.
            resume: Go on.

        Raises:
            BadValueError: the folder holds an evaluation already, or none, or of something else,
                or another process is writing to it.
        """
        self.folder = folder
        self._path = folder / EPISODES / _FILE
        known = folder / HEADER
        if resume and not known.exists():
            raise BadValueError(f"{folder} holds no evaluation; leave --resume away to begin one")
        if known.exists() and not resume:
            raise BadValueError(
                f"{folder} holds an evaluation already; go on with --resume, or name another --out"
            )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise BadValueError(
                f"another process writes to {folder}; wait for it, or name another --out"
            ) from None
        try:
            if resume:
                _demand_same(read_header(known), header, folder)
                _drop_cut_line(self._path)
            else:
                _write(known, header)
        except BaseException:
            self._lock.release()
            raise
        self.rows = _read_episodes(self._path)

    def add(self, row: Row) -> None:
        """Keep an episode."""
        append_rows(self._path, [row])
        self.rows.append(row)

    def ended(self) -> set[Key]:
        """What need not be played again."""
        return {key_of(row) for row in self.rows if not is_fault(row)}

    def close(self) -> None:
        """Let others write."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()


def read_evaluation(folder: Path) -> tuple[dict[str, Any], list[Row]]:
    """The header and all episodes of a folder, one that is being written too.

    Raises:
        BadValueError: it holds no evaluation.
        DataError: its header or a line cannot be read.
    """
    known = folder / HEADER
    if not known.exists():
        raise BadValueError(f"{folder} holds no evaluation: there is no {HEADER}")
    return read_header(known), _read_episodes(folder / EPISODES / _FILE)


def key_of(row: Row) -> Key:
    """What a row is of."""
    return (row["part"], row["task_id"], row["attempt"])


def is_fault(row: Row) -> bool:
    """Whether a try ended in what the agent has not done."""
    return row["outcome"] in _FAULTS


def last_tries(rows: list[Row]) -> list[Row]:
    """Of everything that was played, the last try."""
    return list({key_of(row): row for row in rows}.values())


def _demand_same(known: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    before, now = (_pretty(header["asked"]).splitlines() for header in (known, wanted))
    changes = list(difflib.unified_diff(before, now, "recorded", "asked for", lineterm="", n=1))
    if changes:
        shown = "\n".join(changes[:_SHOWN_LINES])
        raise BadValueError(
            f"{folder} was begun with other settings; go on with those, or name another --out:\n"
            f"{shown}"
        )


def _pretty(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True)


def read_header(path: Path) -> dict[str, Any]:
    """What an evaluation was asked for.

    Raises:
        DataError: nothing of that stands there.
    """
    try:
        found: dict[str, Any] = parse_json(path.read_bytes())
        if not isinstance(found, dict) or not isinstance(found.get("asked"), dict):
            raise DataError(
                f"{path}: wanted a table with the key 'asked', as evaluations begin with"
            )
        _Header.model_validate(found)
    except ValidationError as error:
        raise DataError(f"{path}: {_first_problem(error)}") from None
    except ValueError as error:
        raise DataError(f"{path} holds no JSON: {error}") from None
    return found


def _read_episodes(path: Path) -> list[Row]:
    rows = read_rows(path)
    for number, row in enumerate(rows, start=1):
        try:
            _Line.model_validate(row)
        except ValidationError as error:
            raise DataError(f"{path}, line {number}: {_first_problem(error)}") from None
    return rows


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"key {'.'.join(map(str, first['loc']))!r:.200}: {first['msg']}"


def _write(path: Path, header: Mapping[str, Any]) -> None:
    draft = path.with_suffix(".partial")
    with draft.open("w", encoding="utf-8") as file:
        file.write(_pretty(header) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _drop_cut_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
