"""Where exports go: new files and folders, which appear when they are whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longstep_envs.types import BadValueError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A draft of a folder, which becomes `out` if all goes well.

    Raises:
        BadValueError: `out` exists.
    """
    draft = _draft(out)
    draft.mkdir()
    try:
        yield draft
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """A draft of a file, which becomes `out` if all goes well.

    Raises:
        BadValueError: `out` exists.
    """
    draft = _draft(out)
    try:
        yield draft
        draft.rename(out)
    finally:
        draft.unlink(missing_ok=True)


def dump(value: object) -> str:
    """JSON on one line that every reader takes; half surrogate pairs become `?`."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _draft(out: Path) -> Path:
    if os.path.lexists(out):
        raise BadValueError(f"{out} exists; name another -o, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.with_name(f".{out.name}.{os.getpid()}.partial")
