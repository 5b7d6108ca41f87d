"""Files of rows: JSON, JSONL, and parquet."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longstep_envs.packages import package
from longstep_envs.types import DataError
from longstep_envs.untrusted import parse_json

_LARGEST = 2**30
"""Bytes of rows, unpacked."""


def read_row_file(path: Path) -> Iterator[Any]:
    """The rows of a file by its ending; `.json.xz` and `.jsonl.xz` are unpacked.

    A line that is no JSON comes as an error, which is no row: the others are read.

    Raises:
        DataError: the file cannot be read at all.
    """
    name = Path(path.name.removesuffix(".xz"))
    reader = _READERS.get(name.suffix)
    if reader is None:
        raise DataError(f"{path}: wanted a file that ends in {', '.join(_READERS)}")
    try:
        yield from reader(path)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _text(path: Path) -> str:
    try:
        return _unpacked(path).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text: {error}") from error


def _unpacked(path: Path) -> bytes:
    with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as file:
        data: bytes = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise DataError(f"{path} holds more than {_LARGEST:,} bytes; part it into several files")
    return data


def _json(path: Path) -> Iterator[Any]:
    try:
        rows = parse_json(_text(path))
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from error
    if not isinstance(rows, list | dict):
        raise DataError(f"{path}: wanted a list of rows, or an object of them by their ids")
    yield from rows.values() if isinstance(rows, dict) else rows


def _lines(path: Path) -> Iterator[Any]:
    for line in _text(path).split("\n"):
        if line.strip():
            try:
                yield parse_json(line)
            except ValueError as error:
                yield DataError(f"it is no JSON: {error}")


def _parquet(path: Path) -> Iterator[Any]:
    arrow, parquet = package("pyarrow", "swebench"), package("pyarrow.parquet", "swebench")
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=256):
            yield from batch.to_pylist()
    except (arrow.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as parquet: {error}") from error


_READERS = {".json": _json, ".jsonl": _lines, ".parquet": _parquet}
