"""Case 27: a disk that takes no more."""

import errno
import os
from pathlib import Path

import pytest

from longstep_envs.types import DataError
from longstep_training.storage import StorageError, writing_to


def fail(folder: Path, error: Exception) -> None:
    with writing_to(folder, lambda: "and go on"):
        raise error


@pytest.mark.case(27)
@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "make room, and go on"),
        (errno.EDQUOT, "have the quota raised, and go on"),
        (errno.EROFS, "let it be written to, and go on"),
        (errno.EFBIG, "raise the limit of files"),
    ],
)
def test_every_way_of_a_disk_to_refuse_is_told_with_what_to_do(
    tmp_path: Path, number: int, told: str
) -> None:
    said = os.strerror(number)
    errors: list[Exception] = [
        OSError(number, said),
        Exception(f"I/O error: {said} (os error {number})"),
        DataError(f"the optimiser's state cannot be written: process 0: [Errno {number}] {said}"),
    ]
    for error in errors:
        with pytest.raises(StorageError, match=rf"{tmp_path} cannot be written: {said}; .*{told}"):
            fail(tmp_path, error)


@pytest.mark.case(27)
def test_the_file_is_named_where_it_is_known(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"/x/y cannot be written: No space left"):
        fail(tmp_path, OSError(errno.ENOSPC, "No space left on device", "/x/y"))


def test_what_may_not_be_read_elsewhere_is_another_matter(tmp_path: Path) -> None:
    denied = PermissionError(errno.EACCES, "Permission denied", "/elsewhere/data.json")
    with pytest.raises(PermissionError) as caught:
        fail(tmp_path, denied)
    assert caught.value is denied
    run = tmp_path / "run"
    for path in (run / "metrics.jsonl", run, tmp_path):
        with pytest.raises(StorageError, match="let it be written to"):
            fail(run, PermissionError(errno.EACCES, "Permission denied", str(path)))


def test_other_errors_are_left_alone(tmp_path: Path) -> None:
    for error in (FileNotFoundError(errno.ENOENT, "No such file", "x"), ValueError("28")):
        with pytest.raises(type(error)) as caught:
            fail(tmp_path, error)
        assert caught.value is error
