"""All runs under some folders, as the page shows them together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from longstep_agents.page.episodes import read_shard
from longstep_agents.page.evaluations import EvaluationRun, compare_all
from longstep_agents.page.training import CONFIG, TrainingRun
from longstep_agents.page.types import FORMAT, SHARD_EPISODES, Index
from longstep_envs.types import DataError

_DEPTH = 2
_MOST_COMPARED = 10
_SHARD = re.compile(r"(.+)-([0-9]{1,9})")
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_.-]+")


class Library:
    """Runs by id. Each folder is read once; `refresh` reads on."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Look for runs.

        Args:
            folders: Each a training run, an evaluation, or a folder of such, two levels deep.

        Raises:
            DataError: there is none.
        """
        self._folders = folders
        self.runs: dict[str, TrainingRun | EvaluationRun] = {}
        self.refresh()
        if not self.runs:
            named = ", ".join(map(str, folders))
            raise DataError(
                f"no run or evaluation in {named}: neither metrics.jsonl nor evaluation.json is "
                "there; name the folder that --out named, or one that holds such folders"
            )

    def refresh(self) -> bool:
        """Read on; whether there was anything new."""
        known = {run.folder.resolve() for run in self.runs.values()}
        for name, folder in self._found():
            if folder.resolve() not in known:
                known.add(folder.resolve())
                kind = kind_of(folder) or TrainingRun
                self.runs[self._fresh_id(name)] = kind(folder)
        return sum(run.refresh() for run in self.runs.values()) > 0

    def index(self, title: str = "") -> Index:
        """Everything but the episodes' steps."""
        evaluations = {key: run for key, run in self.runs.items() if isinstance(run, EvaluationRun)}
        runs = [run.describe(key) for key, run in self.runs.items()]
        return Index(
            format=FORMAT,
            title=title,
            live=not all(run["ended"] for run in runs),
            runs=runs,
            pairs=compare_all(evaluations) if len(evaluations) <= _MOST_COMPARED else [],
        )

    def shards(self) -> Iterator[str]:
        """The names of all shards."""
        for key, run in self.runs.items():
            for number in range(math.ceil(len(run.episodes) / SHARD_EPISODES)):
                yield f"{key}-{number}"

    def shard(self, name: str) -> list[dict[str, Any]] | None:
        """Episodes, if there is such a shard."""
        found = _SHARD.fullmatch(name)
        if found is None or found[1] not in self.runs:
            return None
        start = int(found[2]) * SHARD_EPISODES
        return read_shard(self.runs[found[1]].episodes[start : start + SHARD_EPISODES]) or None

    def _found(self) -> Iterator[tuple[str, Path]]:
        """Folders of runs, and what to call them: as short as tells them apart."""
        for folder in self._folders:
            if kind_of(folder) or (folder / CONFIG).exists():  # a run that has only begun
                yield folder.resolve().name, folder
                continue
            for depth in range(1, _DEPTH + 1):
                for path in sorted(folder.glob("/".join("*" * depth))):
                    if path.is_dir() and kind_of(path) and not kind_of(path.parent):
                        yield str(path.relative_to(folder)), path

    def _fresh_id(self, name: str) -> str:
        wanted = _NOT_IN_IDS.sub("-", name).strip("-.") or "run"
        taken = {key.lower() for key in self.runs}  # files of some systems know no case
        names = (wanted if n == 1 else f"{wanted}-{n}" for n in range(1, len(taken) + 2))
        return next(name for name in names if name.lower() not in taken)


def kind_of(folder: Path) -> type[EvaluationRun | TrainingRun] | None:
    """What reads the run that a folder holds; None where it holds none."""
    return next((kind for kind in (EvaluationRun, TrainingRun) if kind.is_in(folder)), None)
