"""Patches of text files: read strictly, turned round, and applied to files in memory.

Only what stands exactly where a patch says is changed: there is no fuzz, so that the same patch
never means two things.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from longstep_envs.types import DataError

_COUNT = r"(\d{1,9})"
_HUNK = re.compile(rf"@@ -{_COUNT}(?:,{_COUNT})? \+{_COUNT}(?:,{_COUNT})? @@(.*)", re.DOTALL)
_NO_NEWLINE = "\\"
_NOWHERE = "/dev/null"
_TURNED = {" ": " ", "-": "+", "+": "-"}


class PatchError(DataError):
    """A patch cannot be read, or does not fit the files."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that are replaced, with what stands around them."""

    old_start: int
    new_start: int
    lines: tuple[tuple[str, str], ...]
    """Each line's mark, one of " -+", and its text; of a file's last, without a newline where the
    file ends so."""
    heading: str = ""

    def side(self, mark: str) -> list[str]:
        """The lines of the old side (`-`) or of the new one (`+`)."""
        return [text for of, text in self.lines if of in (" ", mark)]


@dataclass(frozen=True, slots=True)
class FileDiff:
    """What a patch does to one file."""

    old: str
    """Path before; empty for a file that is created."""
    new: str
    """Path after; empty for a file that is deleted."""
    hunks: tuple[Hunk, ...] = ()
    old_mode: str = ""
    new_mode: str = ""

    @property
    def path(self) -> str:
        """Where the file is: after the patch, or before where it is deleted."""
        return self.new or self.old

    def reversed(self) -> FileDiff:
        """What undoes it."""
        return FileDiff(
            self.new, self.old, tuple(map(_turn, self.hunks)), self.new_mode, self.old_mode
        )

    def __str__(self) -> str:
        return "".join(_render(self))


def parse_patch(text: str) -> tuple[FileDiff, ...]:
    """The files of a patch, as git or diff write it.

    Raises:
        PatchError: it cannot be read, or changes something that is no text.
    """
    return tuple(_Reader(text).files())


def reverse_patch(text: str) -> str:
    """The patch that undoes `text`.

    Raises:
        PatchError: it cannot be read.
    """
    return "".join(str(file.reversed()) for file in parse_patch(text))


def apply_patch(files: Mapping[str, bytes], patch: str | Sequence[FileDiff]) -> dict[str, bytes]:
    """The files that a patch makes of `files`.

    Raises:
        PatchError: it cannot be read, or does not fit.
    """
    after = dict(files)
    for file in parse_patch(patch) if isinstance(patch, str) else patch:
        before = b""
        if file.old and (file.old != file.new or file.hunks):
            if file.old not in files:
                raise PatchError(f"the patch changes {file.old}, which is not there")
            before = files[file.old]
            after.pop(file.old, None)
        elif file.new in files and not file.old:
            raise PatchError(f"the patch creates {file.new}, which is there already")
        if file.new and (file.hunks or file.old != file.new):
            after[file.new] = _patched(file, before)
    return after


def _patched(file: FileDiff, data: bytes) -> bytes:
    lines = data.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    lines = _rejoined(lines)
    result: list[str] = []
    at = 0
    for hunk in file.hunks:
        old = hunk.side("-")
        start = hunk.old_start - 1 if old else hunk.old_start
        if start < at or lines[start : start + len(old)] != old:
            raise PatchError(
                f"the patch does not fit {file.old or file.new}: line {hunk.old_start} and those "
                "after it are others"
            )
        result += lines[at:start] + hunk.side("+")
        at = start + len(old)
    return "".join(result + lines[at:]).encode("utf-8", "surrogateescape")


def _rejoined(lines: list[str]) -> list[str]:
    """Lines as patches count them, which end at a newline and at nothing else."""
    return re.findall(r"[^\n]*\n|[^\n]+", "".join(lines))


def _turn(hunk: Hunk) -> Hunk:
    turned = [(_TURNED[mark], text) for mark, text in hunk.lines]
    # Within a block of changes, what goes stands before what comes.
    lines: list[tuple[str, str]] = []
    block: list[tuple[str, str]] = []
    for line in [*turned, (" ", "")]:
        if line[0] == " ":
            lines += sorted(block, key=lambda one: one[0] == "+")
            lines.append(line)
            block = []
        else:
            block.append(line)
    return replace(
        hunk, old_start=hunk.new_start, new_start=hunk.old_start, lines=tuple(lines[:-1])
    )


def _render(file: FileDiff) -> Iterator[str]:
    old, new = file.old or file.new, file.new or file.old
    from_name, to_name = _quoted(f"a/{old}"), _quoted(f"b/{new}")
    yield f"diff --git {from_name} {to_name}\n"
    if not file.old:
        yield f"new file mode {file.new_mode or '100644'}\n"
    elif not file.new:
        yield f"deleted file mode {file.old_mode or '100644'}\n"
    elif file.old_mode and file.new_mode and file.old_mode != file.new_mode:
        yield f"old mode {file.old_mode}\nnew mode {file.new_mode}\n"
    if file.old and file.new and file.old != file.new:
        yield f"rename from {_quoted(file.old)}\nrename to {_quoted(file.new)}\n"
    if file.hunks:
        yield f"--- {from_name if file.old else _NOWHERE}\n"
        yield f"+++ {to_name if file.new else _NOWHERE}\n"
    for hunk in file.hunks:
        old_count, new_count = len(hunk.side("-")), len(hunk.side("+"))
        yield (f"@@ -{hunk.old_start},{old_count} +{hunk.new_start},{new_count} @@{hunk.heading}\n")
        for mark, text in hunk.lines:
            yield mark + text + ("" if text.endswith("\n") else "\n\\ No newline at end of file\n")


class _Reader:
    """Reads the lines of a patch one after another."""

    def __init__(self, text: str) -> None:
        self._lines = _rejoined([text])
        self._at = 0

    def files(self) -> Iterator[FileDiff]:
        """Every file of the patch."""
        found = False
        while (line := self._peek()) is not None:
            if line.startswith(("diff --git ", "--- ")):
                found = True
                yield self._file()
            else:
                self._at += 1  # what stands before the first file is prose
        if not found and any(line.strip() for line in self._lines):
            raise PatchError("the patch names no file: it has no line that begins with '--- '")

    def _peek(self) -> str | None:
        return self._lines[self._at] if self._at < len(self._lines) else None

    def _file(self) -> FileDiff:
        said: dict[str, str] = {}
        if (line := self._peek()) and line.startswith("diff --git "):
            said |= _names(line)
            self._at += 1
            said |= self._header()
        if (line := self._peek()) and line.startswith("--- "):
            said["old"] = _path(line[4:], "a/")
            self._at += 1
            line = self._peek() or ""
            if not line.startswith("+++ "):
                raise PatchError(
                    f"line {self._at + 1} of the patch: wanted '+++ ', not {line!r:.60}"
                )
            said["new"] = _path(line[4:], "b/")
            self._at += 1
        hunks = tuple(self._hunks())
        return FileDiff(
            said.get("old", ""),
            said.get("new", ""),
            hunks,
            said.get("old mode", said.get("deleted file mode", "")),
            said.get("new mode", said.get("new file mode", "")),
        )

    def _header(self) -> dict[str, str]:
        said: dict[str, str] = {}
        while (line := self._peek()) is not None and not line.startswith(
            ("diff --git ", "--- ", "@@ ")
        ):
            if line.startswith(("GIT binary patch", "Binary files ")):
                raise PatchError("the patch changes a binary file; only text can be changed")
            for word in ("old mode", "new mode", "new file mode", "deleted file mode"):
                if line.startswith(f"{word} "):
                    said[word] = line.removeprefix(word).strip()
            for word, side in (("rename from ", "old"), ("rename to ", "new")):
                if line.startswith(word):
                    said[side] = _checked(_unquoted(line.removeprefix(word).strip("\n")))
            self._at += 1
        said |= {"old": ""} if "new file mode" in said else {}
        return said | ({"new": ""} if "deleted file mode" in said else {})

    def _hunks(self) -> Iterator[Hunk]:
        while (line := self._peek()) and line.startswith("@@ -"):
            match = _HUNK.match(line)
            if match is None:  # passed over, its lines would be, too
                told = f"line {self._at + 1} of the patch cannot be read: {line[:80]!r}"
                raise PatchError(told)
            self._at += 1
            old_start, old, new_start, new, heading = match.groups()
            wanted = [int(old if old is not None else 1), int(new if new is not None else 1)]
            lines = self._body(wanted)
            yield Hunk(int(old_start), int(new_start), tuple(lines), heading.rstrip("\n"))

    def _body(self, wanted: list[int]) -> list[tuple[str, str]]:
        lines: list[tuple[str, str]] = []
        while wanted != [0, 0]:
            line = self._peek()
            mark = " " if line == "\n" else (line or "?")[0]  # editors strip a lone space
            if line is None or mark not in _TURNED:
                raise PatchError(f"line {self._at + 1} of the patch: the hunk ends too early")
            wanted[0] -= mark in " -"
            wanted[1] -= mark in " +"
            if min(wanted) < 0:
                raise PatchError(f"line {self._at + 1} of the patch: the hunk is too long")
            lines.append((mark, line[1:] or "\n"))
            self._at += 1
            self._skip_newline_mark(lines)
        return lines

    def _skip_newline_mark(self, lines: list[tuple[str, str]]) -> None:
        if (line := self._peek()) and line.startswith(_NO_NEWLINE):
            mark, text = lines[-1]
            lines[-1] = (mark, text.removesuffix("\n"))
            self._at += 1


def _names(line: str) -> dict[str, str]:
    """The names in `diff --git a/x b/x`, where both are the same or hold no space."""
    rest = line.removeprefix("diff --git ").strip("\n")
    half = len(rest) // 2
    if rest[:half].removeprefix("a/") == rest[half + 1 :].removeprefix("b/"):
        name = _checked(_unquoted(rest[:half]).removeprefix("a/"))
        return {"old": name, "new": name}
    parts = rest.split(" ")
    if len(parts) != 2:
        return {}
    return {"old": _path(parts[0], "a/"), "new": _path(parts[1], "b/")}


def _path(text: str, prefix: str) -> str:
    name = _unquoted(text.rstrip("\n").partition("\t")[0].rstrip())
    return "" if name == _NOWHERE else _checked(name.removeprefix(prefix))


def _unquoted(name: str) -> str:
    """A name as git quotes it."""
    if not (name.startswith('"') and name.endswith('"') and len(name) > 1):
        return name
    escaped = name[1:-1].encode("latin-1", "backslashreplace")
    try:
        raw = escaped.decode("unicode_escape").encode("latin-1")
    except ValueError as error:
        raise PatchError(f"{name:.80} is no name: {error}") from error
    return raw.decode("utf-8", "surrogateescape")


def _quoted(name: str) -> str:
    """A name as git writes it: in quotes where it holds what would be misread."""
    if name.isprintable() and not {'"', "\\"} & set(name):
        return name
    raw = name.encode("utf-8", "surrogateescape").decode("latin-1")
    escaped = raw.replace("\\", "\\\\").replace('"', '\\"')
    plain = "".join(c if c.isascii() and c.isprintable() else f"\\{ord(c):03o}" for c in escaped)
    return f'"{plain}"'


def _checked(name: str) -> str:
    if name.startswith("/") or ".." in name.split("/") or "\0" in name or not name:
        raise PatchError(f"the patch names {name!r:.80}, which is not a path inside the tree")
    return name
