"""Folders and files that are whole or not there: written beside their place, then renamed.

A folder is sealed by a manifest of the hashes of its files, which is written last, when all else is
on the disk. A folder without one was not finished, or is not ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longstep_envs.types import DataError
from longstep_envs.untrusted import parse_json
from longstep_training.distributed import World

MANIFEST = "manifest.json"


@contextmanager
def sealing(place: Path, world: World) -> Iterator[Path]:
    """An empty folder that all processes write to; then it is sealed, and put at its place.

    Where anything fails, nothing is left of it, and what was at the place is there still.
    """
    draft = place.with_name(f".{place.name}.partial")
    if world.leads:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
    world.wait()
    try:
        yield draft
        world.wait()
        if world.leads:
            _seal(draft)
            _put(draft, place)
    except BaseException:
        if world.leads:
            shutil.rmtree(draft, ignore_errors=True)
        raise
    world.wait()


def remove(folder: Path) -> None:
    """Half deleted, it must not be found."""
    shutil.rmtree(_aside(folder))


def verify(folder: Path, mend: str) -> None:
    """Look whether every file is as the manifest says.

    Args:
        folder: Sealed once.
        mend: What to do where it is not, as an error tells it.

    Raises:
        DataError: it has no manifest, or a file is missing or was changed since.
    """
    try:
        hashes = dict(parse_json((folder / MANIFEST).read_bytes()))
        outside = [n for n in hashes if Path(n).is_absolute() or ".." in Path(n).parts]
        if not hashes:
            raise ValueError("it names no files")
        if outside:
            raise ValueError(f"it names {outside[0]!r:.80}, which lies outside")
        wrong = {name: _fault(folder / name, digest) for name, digest in hashes.items()}
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{folder}: {MANIFEST} cannot be read ({error}); {mend}") from error
    told = [f"{name} {fault}" for name, fault in wrong.items() if fault]
    if told:
        raise DataError(f"{folder}: {', '.join(told)} since it was written; {mend}")


def write_file(path: Path, text: str) -> None:
    """Write a whole file, or leave what is there."""
    draft = path.with_name(f".{path.name}.partial")
    draft.write_text(text, "utf-8")
    sync(draft)
    draft.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have a file, or what a folder lists, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _seal(draft: Path) -> None:
    """Write the manifest, when everything else is on the disk."""
    (draft / MANIFEST).unlink(missing_ok=True)  # of a folder that this one was copied from
    everything = sorted(draft.rglob("*"))
    paths = [path for path in everything if path.is_file()]
    hashes = {path.relative_to(draft).as_posix(): _hash(path) for path in paths}
    for path in everything:
        sync(path)
    (draft / MANIFEST).write_text(json.dumps(hashes, indent=1) + "\n")
    sync(draft / MANIFEST)
    sync(draft)


def _put(draft: Path, place: Path) -> None:
    """Let it take the place, or leave what is there."""
    doomed = _aside(place) if place.exists() else None
    try:
        draft.rename(place)
    except OSError:
        if doomed is not None:
            doomed.rename(place)
        raise
    sync(place.parent)
    if doomed is not None:
        shutil.rmtree(doomed)


def _aside(folder: Path) -> Path:
    """Rename it to what nobody takes for a sealed folder."""
    doomed = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    return folder.rename(doomed)


def _fault(path: Path, digest: object) -> str:
    if not path.is_file():  # a pipe would be waited for
        return "is gone"
    return "" if _hash(path) == digest else "has changed"


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
