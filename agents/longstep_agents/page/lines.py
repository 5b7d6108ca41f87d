"""Lines of JSON in files that may still grow, and that anything may have written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

LINE_LIMIT = 16_000_000
"""Bytes of a line; a longer one is left out."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line stands."""

    path: Path
    offset: int
    length: int

    def read(self) -> dict[str, Any] | None:
        """What stands there, if the file has not been written anew since."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return parse(file.read(self.length))


class Lines:
    """The lines of one file; each is read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unreadable = 0
        """Whole lines that hold no object."""
        self._node, self._offset = 0, 0

    @property
    def cut(self) -> bool:
        """Whether the file ends within a line."""
        return self._offset < self._size()

    def replaced(self) -> bool:
        """Whether another file is there than the one that was read."""
        if not self._offset:
            return False
        return not self.path.exists() or self._node != self.path.stat().st_ino or self._shrunk()

    def new(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        """What came since the last call."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            self._node = os.fstat(file.fileno()).st_ino
            file.seek(self._offset)
            while line := _line(file):
                place = Place(self.path, self._offset, len(line))
                self._offset = file.tell()
                row = parse(line) if len(line) <= LINE_LIMIT else None
                if row is not None:
                    yield place, row
                elif line.strip():
                    self.unreadable += 1

    def _shrunk(self) -> bool:
        return self._size() < self._offset

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0


def parse(line: bytes) -> dict[str, Any] | None:
    """The object that a line holds, if it holds one."""
    try:
        row = json.loads(line.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _line(file: BinaryIO) -> bytes:
    """The next whole line; of one that is too long, its beginning; nothing of one that is cut."""
    line = file.readline(LINE_LIMIT + 1)
    rest = line
    while rest and not rest.endswith(b"\n"):
        rest = file.readline(LINE_LIMIT)
    return line if rest else b""
