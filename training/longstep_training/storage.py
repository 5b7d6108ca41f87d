"""A disk that takes no more: whoever writes tells so in a line, with the folder and what to do."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from longstep_envs.types import LongstepError

_LET = "let it be written to"
_MENDS = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or have the quota raised",
    errno.EFBIG: "raise the limit of files (ulimit -f)",
    errno.EROFS: _LET,
    errno.EACCES: _LET,
    errno.EPERM: _LET,
}
_ONLY_HERE = (errno.EACCES, errno.EPERM)
"""What can also be said of a file elsewhere that is only read."""
_NUMBER = re.compile(r"\[Errno (\d+)\]|\(os error (\d+)\)")
"""How Python, and libraries in Rust, tell of it in the texts of other errors."""


class StorageError(LongstepError, OSError):
    """The disk takes no more, or nothing at all."""


@contextmanager
def writing_to(folder: Path, then: Callable[[], str]) -> Iterator[None]:
    """Tell plainly where `folder` cannot be written to, and what to do `then`.

    Raises:
        StorageError: the disk is full, a quota or limit is used up, or it is read-only.
    """
    try:
        yield
    except Exception as error:  # torch, safetensors and tokenizers each have errors of their own
        for one in _chain(error):
            number, file = _number(one), getattr(one, "filename", None)
            if number in _MENDS and (number not in _ONLY_HERE or _overlap(folder, file)):
                raise StorageError(
                    f"{file or folder} cannot be written: {os.strerror(number)}; "
                    f"{_MENDS[number]}, {then()}"
                ) from error
        raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, those that it comes of, and those of a group."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                yield from _chain(one)
        error = error.__cause__ or error.__context__


def _number(error: BaseException) -> int:
    """The system's number of what went wrong; 0 where it tells none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _NUMBER.search(str(error))
    return int(found[1] or found[2]) if found else 0


def _overlap(folder: Path, file: object) -> bool:
    if not isinstance(file, str | os.PathLike):
        return False
    one, other = folder.absolute(), Path(file).absolute()
    return one.is_relative_to(other) or other.is_relative_to(one)
