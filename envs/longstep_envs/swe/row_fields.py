"""Fields of rows, read strictly: what is missing or of another kind is told by its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longstep_envs.types import DataError
from longstep_envs.untrusted import parse_json

Row = Mapping[str, Any]
_IMAGE_KEYS = ("image", "image_name", "docker_image")
_KEPT = ("python_path", "test_command", "log_parser", "eval_script", "created_at")
"""Text of a row that is passed on as it is."""


def text(row: Row, key: str, default: str | None = None) -> str:
    """A field's text.

    Raises:
        DataError: it is missing and there is no default.
    """
    value = row.get(key)
    if value is None or (value == "" and default is None):
        if default is None:
            raise DataError(f"{key} is missing")
        return default
    return str(value)


def image(row: Row) -> str:
    """The image that a row names; empty where it names none."""
    return next((str(row[key]) for key in _IMAGE_KEYS if row.get(key)), "")


def extra(row: Row) -> dict[str, str]:
    """What of a row has no field of its own and is passed on."""
    return {key: str(row[key]) for key in _KEPT if row.get(key)}


def tests(row: Row, key: str) -> tuple[str, ...]:
    """A list of tests, or JSON of one.

    Raises:
        DataError: it is missing, or something else.
    """
    value = row.get(key)
    if isinstance(value, str):
        value = parsed(value, key)
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise DataError(f"{key}: wanted a list of tests, or JSON of one, not {value!r:.60}")
    return tuple(dict.fromkeys(value))


def mapping(row: Row, key: str) -> dict[str, Any]:
    """An object, written as JSON.

    Raises:
        DataError: it is missing, or something else.
    """
    value = parsed(text(row, key), key)
    if not isinstance(value, dict):
        raise DataError(f"{key}: wanted an object in JSON, not {value!r:.60}")
    return value


def parsed(json_text: str, key: str) -> Any:
    """What JSON says.

    Raises:
        DataError: it is none.
    """
    try:
        return parse_json(json_text)
    except ValueError as error:
        raise DataError(f"{key} is no JSON: {error}") from error
