"""Trees of files on the host: read from a folder or a tar archive, hostile ones too."""

from __future__ import annotations

import functools
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

from longstep_envs.types import DataError

MOST_FILES = 100_000
MOST_BYTES = 1 << 30
_MOST_HEADER = 1 << 20
"""Bytes of a name or of other words about one file, which tarfile takes into memory whole."""
_LATEST = 1 << 32
"""The latest time that a file is given; an archive may claim any."""
Entry = dict[str, Any]
"""As `guest.files.Entry`."""


@dataclass(frozen=True, slots=True)
class PlainFile:
    """What of a plain file counts in a patch."""

    data: bytes
    executable: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """Files, folders and links, and the contents of the files one after another."""

    entries: Sequence[Entry] = ()
    contents: bytes = b""

    @classmethod
    def load(cls, source: Path) -> Self:
        """The tree in a folder, or in a tar archive.

        Raises:
            DataError: it cannot be read, holds what a tree may not hold, or too much of it.
        """
        try:
            found = _of_folder(source) if source.is_dir() else _of_tar(source)
            return cls._gather(source, found)
        except (OSError, tarfile.TarError, EOFError) as error:
            raise DataError(f"{source}: no tree can be read from it: {error}") from error

    @classmethod
    def _gather(cls, source: Path, found: Iterator[tuple[Entry, bytes]]) -> Self:
        entries: list[Entry] = []
        contents: list[bytes] = []
        total = 0
        for entry, data in found:
            entries.append(entry)
            contents.append(data)
            total += len(data)
            if len(entries) > MOST_FILES or total > MOST_BYTES:
                raise DataError(
                    f"{source} holds more than {MOST_FILES} files or {MOST_BYTES} bytes; "
                    "leave out what is not needed"
                )
        return cls(entries, b"".join(contents))

    def plain_files(self) -> dict[str, PlainFile]:
        """Every plain file by its path."""
        files: dict[str, PlainFile] = {}
        at = 0
        for entry in self.entries:
            if entry["kind"] == "file":
                data = self.contents[at : at + entry["size"]]
                files[entry["path"]] = PlainFile(data, bool(entry["mode"] & 0o100))
                at += entry["size"]
        return files

    def below(self, folder: str = "") -> Tree:
        """What lies in one of its folders, but for what git keeps: history may hold an answer."""
        prefix = f"{folder}/" if folder else ""
        entries, contents, at = [], [], 0
        for entry in self.entries:
            end = at + entry.get("size", 0)
            path = entry["path"].removeprefix(prefix)
            if entry["path"].startswith(prefix) and path and ".git" not in path.split("/"):
                entries.append({**entry, "path": path})
                contents.append(self.contents[at:end])
            at = end
        return Tree(entries, b"".join(contents))

    def unusual(self) -> dict[str, str]:
        """What is neither a plain file nor a folder: its path, and what it is."""
        return {
            entry["path"]: entry.get("why") or f"link to {entry['target']!r}"
            for entry in self.entries
            if entry["kind"] in ("link", "other")
        }


class _Member(tarfile.TarInfo):
    """An entry of an archive whose header is no larger than a header can be."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size > _MOST_HEADER and not (self.isreg() or self.issparse()):
            raise tarfile.ReadError(f"a header of {self.size} bytes; at most {_MOST_HEADER}")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found


def load_tree(source: Path) -> Tree:
    """As `Tree.load`; an archive that many sandboxes start from is read once.

    Raises:
        DataError: as there.
    """
    if not source.is_file():
        return Tree.load(source)
    status = source.stat()
    return _load_archive(source, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=4)
def _load_archive(source: Path, _time: int, _size: int) -> Tree:
    return Tree.load(source)


def _of_folder(root: Path) -> Iterator[tuple[Entry, bytes]]:
    for folder, names, files in os.walk(root):
        names.sort()
        for name in sorted([*names, *files]):
            path = Path(folder, name)
            status = path.lstat()
            common = _common(str(path.relative_to(root)), status.st_mode, status.st_mtime)
            if stat.S_ISREG(status.st_mode):
                data = path.read_bytes()
                yield {**common, "kind": "file", "size": len(data)}, data
            elif stat.S_ISLNK(status.st_mode):
                yield {**common, "kind": "link", "target": str(path.readlink())}, b""
            elif stat.S_ISDIR(status.st_mode):
                yield {**common, "kind": "folder"}, b""


def _of_tar(archive: Path) -> Iterator[tuple[Entry, bytes]]:
    folders = {"."}
    with tarfile.open(archive, tarinfo=_Member) as tar:
        for member in tar:
            path = _checked(member.name, archive)
            parents = [str(parent) for parent in PurePosixPath(path).parents]
            for folder in [*reversed(parents), *([path] if member.isdir() else [])]:
                if folder not in folders:  # an archive need not name every folder
                    folders.add(folder)
                    mode = member.mode if folder == path else 0o755
                    yield {**_common(folder, mode, member.mtime), "kind": "folder"}, b""
            if member.isdir():
                continue
            common = _common(path, member.mode, member.mtime)
            if member.issym():
                yield {**common, "kind": "link", "target": member.linkname}, b""
            else:
                data = _contents(tar, member, archive)
                yield {**common, "kind": "file", "size": len(data)}, data


def _common(path: str, mode: int, time: float) -> Entry:
    return {"path": path, "mode": mode & 0o777, "time": min(max(int(time), 0), _LATEST)}


def _checked(name: str, archive: Path) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise DataError(f"{archive}: the name {name!r:.80} leads out of the tree")
    return str(path)


def _contents(tar: tarfile.TarFile, member: tarfile.TarInfo, archive: Path) -> bytes:
    if not (member.isreg() or member.islnk()):
        raise DataError(f"{archive}: {member.name!r:.80} is neither a file, a folder nor a link")
    if member.size > MOST_BYTES:
        raise DataError(f"{archive}: {member.name!r:.80} is larger than {MOST_BYTES} bytes")
    try:
        stream = tar.extractfile(member)
    except KeyError:  # a hard link to something that the archive does not hold
        stream = None
    if stream is None:
        raise DataError(f"{archive}: {member.name!r:.80} leads to no file")
    return stream.read()
