"""What the page takes from JSON that anything may have written: the right type, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_DEEPEST = 20
Reader = Callable[[Any], Any]
_LARGEST = 1e100
"""Of numbers that can be squared and summed."""


def number(value: object) -> float | None:
    """A finite number, of a size that can be reckoned with."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -_LARGEST < value < _LARGEST else None


def real(value: object) -> float:
    """A finite number, or 0."""
    return number(value) or 0.0


def whole(value: object) -> int:
    """A whole number, or 0."""
    return int(number(value) or 0)


def text(value: object) -> str:
    """A text, or an empty one."""
    return value if isinstance(value, str) else ""


def yes(value: object) -> bool:
    """Whether it is true, or a number other than 0."""
    return value is True or bool(number(value))


def table(value: object) -> dict[str, Any]:
    """A table, or an empty one."""
    return value if isinstance(value, dict) else {}


def numbers(value: object) -> dict[str, float | None]:
    """The numbers of a table."""
    return {key: number(entry) for key, entry in table(value).items()}


def items(value: object) -> list[Any]:
    """A list, or an empty one."""
    return value if isinstance(value, list) else []


def flat(
    value: object, name: str = "", *, joint: str = ".", depth: int = _DEEPEST
) -> Iterator[tuple[str, float]]:
    """The numbers of nested tables and lists, finite or not; entries of lists count from 1."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, value
    elif depth and isinstance(value, (dict, list)):
        entries = value.items() if isinstance(value, dict) else enumerate(value, 1)
        for key, entry in entries:
            below = f"{name}{joint}{key}" if name else str(key)
            yield from flat(entry, below, joint=joint, depth=depth - 1)


def picked(row: Mapping[str, Any], fields: Mapping[str, Reader]) -> dict[str, Any]:
    """Those fields that a row has, each read as it should be."""
    return {name: read(row[name]) for name, read in fields.items() if name in row}


def each(read: Reader) -> Reader:
    """Reads a list."""
    return lambda value: [read(entry) for entry in items(value)]


def plain(value: object, depth: int = _DEEPEST) -> Any:
    """What JSON can say of a value; too deep down, nothing."""
    if isinstance(value, dict):
        return {str(key): plain(entry, depth - 1) for key, entry in value.items()} if depth else {}
    if isinstance(value, list):
        return [plain(entry, depth - 1) for entry in value] if depth else []
    if isinstance(value, float):
        return number(value)
    return value if value is None or isinstance(value, (str, int)) else str(value)
