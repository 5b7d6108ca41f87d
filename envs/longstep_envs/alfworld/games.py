"""Where games are: a folder tree or a zip file of `traj_data.json` + `game.tw-pddl` pairs."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from longstep_envs.alfworld.problem import Problem, parse_problem
from longstep_envs.data import DataFile, DataSpec, find_folder, hash_files
from longstep_envs.types import DataError, TaskIds, UnknownNameError, text_hash
from longstep_envs.untrusted import parse_json

FOLDER = "json_2.1.1"
SPLITS = ("train", "valid_seen", "valid_unseen")
BUNDLED = Path(__file__).parent / "mini_games.zip"
GAME_FILE = "game.tw-pddl"
TRAJECTORY_FILE = "traj_data.json"
DATA = DataSpec(
    folder="alfworld",
    files=tuple(
        DataFile(
            f"{FOLDER}/{split}/*/*/{GAME_FILE}",
            f"games, {split}, each beside its {TRAJECTORY_FILE}",
            "https://github.com/alfworld/alfworld (`alfworld-download`)",
        )
        for split in SPLITS
    ),
    bundled="12 mini games",
    options=("games",),
    read="longstep_envs.alfworld.games:describe_folder",
    variable="ALFWORLD_DATA",
    package_default="~/.cache/alfworld",
)

_PROBLEMS_KEPT = 512
_LARGEST = 2**24
"""Bytes of a game; those of the benchmark have a hundredth of it."""
_BAD_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError)
"""What the zipfile module raises of files that are corrupt, encrypted or packed in other ways."""
_TAIL_BYTES = 4096
_SOLVABLE = re.compile(rb'"solvable":\s*(true|false)')
_TASK_LINE = re.compile(r'"Your task is to: (?:[^"\\]|\\.)*"')
_SPACE_OR_COMMENT = re.compile(r";[^\n]*|\s+")


class Source(Protocol):
    """A place that holds games."""

    name: str
    kind: str
    """Who made the games, and of which split they are."""

    def ids(self) -> tuple[str, ...]:
        """The games, by path, sorted."""

    def content_hash(self, ids: Sequence[str]) -> str:
        """A hash of these games' files."""

    def read(self, game_id: str) -> bytes:
        """The bytes of a game's `game.tw-pddl`."""


class FolderSource:
    """Games in a folder tree."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.kind = _kind(folder)
        self._folder = folder

    def ids(self) -> tuple[str, ...]:
        """Every folder below with both files, unless the game says that it cannot be solved.

        As in ALFWorld, paths that name sliced or movable-receptacle tasks are left out.
        """
        found = []
        for folder, subfolders, files in os.walk(self._folder):
            subfolders.sort()
            if GAME_FILE not in files or TRAJECTORY_FILE not in files:
                continue
            game_id = Path(folder).relative_to(self._folder).as_posix()
            skipped = "movable" in game_id or "Sliced" in game_id
            if not skipped and _maybe_solvable(Path(folder) / GAME_FILE):
                found.append(game_id)
        return tuple(sorted(found))

    def content_hash(self, ids: Sequence[str]) -> str:
        """A hash of these games' files."""
        names = (GAME_FILE, TRAJECTORY_FILE)
        return hash_files("alfworld", [self._folder / one / name for one in ids for name in names])

    def read(self, game_id: str) -> bytes:
        """The bytes of a game's `game.tw-pddl`."""
        path = self._folder / game_id / GAME_FILE
        _refuse_large(path.stat().st_size)
        return path.read_bytes()


class ZipSource:
    """Games in a zip file, laid out as in a folder tree."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.kind = "bundled mini games" if path == BUNDLED else f"games of {path.name}"
        try:
            self._zip = zipfile.ZipFile(path)
        except (*_BAD_ZIP, ValueError, OSError) as error:
            raise DataError(f"{path} is no zip file of games: {error}") from error
        self._lock = threading.Lock()  # a ZipFile has one file position

    def ids(self) -> tuple[str, ...]:
        """Every folder with a game file."""
        ending = f"/{GAME_FILE}"
        names = self._zip.namelist()
        return tuple(sorted(name.removesuffix(ending) for name in names if name.endswith(ending)))

    def content_hash(self, ids: Sequence[str]) -> str:
        """A hash of the zip file."""
        return hash_files("alfworld", [Path(self.name)])

    def read(self, game_id: str) -> bytes:
        """The bytes of a game's `game.tw-pddl`."""
        name = f"{game_id}/{GAME_FILE}"
        _refuse_large(self._zip.getinfo(name).file_size)  # more than it tells is not unpacked
        with self._lock:
            return self._zip.read(name)


class Games:
    """The games of one source: listed once, parsed on demand, recently used ones kept."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: OrderedDict[str, Problem] = OrderedDict()
        self._lock = threading.Lock()
        self.ids = TaskIds(source.ids())
        if not self.ids:
            raise DataError(
                f"{source.name}: no games found; each is a folder with {TRAJECTORY_FILE} and "
                f"{GAME_FILE}; `longstep data alfworld` generates some"
            )

    @functools.cached_property
    def provenance(self) -> str:
        """Which games these are: who made them, how many, and a hash of their names and files."""
        content = text_hash(*self.ids, self._source.content_hash(self.ids))
        return f"{self._source.kind}, {len(self.ids):,} games, {content}"

    def problem(self, game_id: str) -> Problem:
        """The parsed game.

        Raises:
            DataError: the file is gone or corrupt.
        """
        with self._lock:
            kept = self._kept.get(game_id)
            if kept is not None:
                self._kept.move_to_end(game_id)
                return kept
        problem = self._parse(game_id)
        with self._lock:
            self._kept[game_id] = problem
            if len(self._kept) > _PROBLEMS_KEPT:
                self._kept.popitem(last=False)
        return problem

    def data(self, game_id: str) -> dict[str, Any]:
        """The game file as it is: texts of domain, problem and grammar.

        Raises:
            DataError: the file is gone, not JSON, or lacks a part.
        """
        where = f"{self._source.name}: {game_id}/{GAME_FILE}"
        try:
            data = parse_json(self._source.read(game_id))
        except (OSError, KeyError, *_BAD_ZIP) as error:
            raise DataError(f"{where} cannot be read: {error}") from error
        except ValueError as error:
            raise DataError(f"{where} is corrupt ({error}); generate or fetch it again") from error
        parts = ("pddl_domain", "pddl_problem", "grammar")
        if not isinstance(data, dict) or not all(isinstance(data.get(p), str) for p in parts):
            raise DataError(f"{where}: not an ALFWorld game; wanted the texts {', '.join(parts)}")
        return data

    def _parse(self, game_id: str) -> Problem:
        data = self.data(game_id)
        rules = rules_fingerprint(data["pddl_domain"], _mask_task(data["grammar"]))
        try:
            return parse_problem(data["pddl_problem"], data["grammar"], rules)
        except DataError as error:
            raise DataError(f"{self._source.name}: {game_id}/{GAME_FILE}: {error}") from error


def open_games(games: str | os.PathLike[str] | None, split: str | None) -> Games:
    """The games of a folder or zip file, of an ALFWorld split, or else the bundled mini games.

    Listings are shared between environments of one process while the folder stays unchanged.

    Raises:
        DataError: the folder does not exist or holds no games, or `split` is given and no folder
            of data is named (`ALFWORLD_DATA`, or `LONGSTEP_DATA`).
        UnknownNameError: `split` is not one of ALFWorld's.
    """
    if games is not None and split is not None:
        raise DataError(f"games={os.fspath(games)!r} and split={split!r} exclude each other")
    path = Path(games) if games is not None else BUNDLED if split is None else _split_folder(split)
    try:
        modified = path.stat().st_mtime_ns
    except OSError as error:
        raise DataError(f"no games at {path}: {error.strerror}") from error
    return _opened(path.resolve(), modified)


@functools.lru_cache(maxsize=16)
def _opened(path: Path, modified: int) -> Games:
    if path.is_dir():
        return Games(FolderSource(path))
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is neither a folder nor a zip file of games")
    return Games(ZipSource(path))


def _split_folder(split: str) -> Path:
    if split not in SPLITS:
        raise UnknownNameError(f"unknown ALFWorld split {split!r}; there are {', '.join(SPLITS)}")
    root = find_folder(DATA)
    if root is None:
        raise DataError(
            f"split={split!r} needs the environment variable {DATA.variable}, the folder that "
            f"holds {FOLDER}; or pass games=DIR"
        )
    return root / FOLDER / split


def describe_folder(root: Path) -> str:
    """The games under `root`, split by split.

    Raises:
        DataError: a split's folder holds no games.
    """
    return "; ".join(open_games(root / FOLDER / split, None).provenance for split in SPLITS)


def _kind(folder: Path) -> str:
    """Games that longstep generated have a manifest beside their splits."""
    made = "generated" if (folder.parent / "manifest.json").is_file() else "ALFWorld"
    return f"{made} {folder.name}"


def _maybe_solvable(path: Path) -> bool:
    """False if the game file's end says so; a corrupt file stays listed and fails at reset."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        marks = _SOLVABLE.findall(file.read())
    return not marks or marks[-1] == b"true"


def _refuse_large(size: int) -> None:
    if size > _LARGEST:
        raise OSError(f"it has {size:,} bytes; at most {_LARGEST:,}")


def _mask_task(grammar: str) -> str:
    return _TASK_LINE.sub('""', grammar, count=1)


@functools.lru_cache(maxsize=64)
def rules_fingerprint(domain: str, grammar: str) -> str:
    """A hash of what matters in a domain and a grammar: not comments, not white space."""
    digest = hashlib.sha256()
    for text in (_SPACE_OR_COMMENT.sub(" ", domain).strip().lower(), " ".join(grammar.split())):
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]
