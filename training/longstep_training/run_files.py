"""Reading a run directory, also one that is still being written or was cut off."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from longstep_envs.types import DataError

_LINE_LIMIT = 16_000_000


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Metrics(_Row):
    """One line of `metrics.jsonl` about training; numbers beyond these fields are kept too."""

    model_config = ConfigDict(frozen=True, extra="allow")

    phase: str
    iteration: int = 0
    seconds: float = 0.0
    """Since the run began."""
    success: float | None = None
    episodes: int | None = None
    tokens_per_second: float | None = None
    timing: dict[str, float] = {}

    @property
    def numbers(self) -> Mapping[str, float]:
        """Every finite number of the row that is worth a curve."""
        values: dict[str, Any] = {
            "tokens_per_second": self.tokens_per_second,
            **(self.model_extra or {}),
        }
        return {
            name: float(value)
            for name, value in values.items()
            if isinstance(value, (int, float))
            and not isinstance(value, bool)
            and math.isfinite(value)
        }


class Rate(_Row):
    """Successes of a number of episodes, with a 95 % interval."""

    episodes: int
    successes: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """The success rate, 0..1."""
        return self.successes / self.episodes if self.episodes else 0.0


class Evaluation(Rate):
    """One line of `metrics.jsonl` about an evaluation."""

    iteration: int = 0
    seconds: float = 0.0
    name: str = "evaluation"
    stage: str = ""
    temperature: float | None = None
    constraint: str = ""
    by_task_type: dict[str, Rate] = {}
    mean_turns: float | None = None
    timing: dict[str, float] = {}

    @property
    def kind(self) -> tuple[str, float | None, str]:
        """What two evaluations must share to be compared."""
        return (self.name, self.temperature, self.constraint)


class EpisodeStep(_Row):
    """One step of a recorded episode."""

    observation: str = ""
    action: str = ""
    reward: float = 0.0
    credit: float | None = None
    state_key: str = ""
    action_valid: bool = True


class Episode(_Row):
    """One line of `episodes/*.jsonl`."""

    phase: str = ""
    iteration: int = 0
    group: int | str | None = None
    task_id: str = ""
    task_type: str = ""
    success: bool = False
    score: float = 0.0
    outcome: str = ""
    stop_reason: str = ""
    steps: list[EpisodeStep] = []
    final_observation: str = ""


@dataclass(frozen=True, slots=True)
class EpisodePlace:
    """Where an episode stands in its file, and what it takes to choose it."""

    path: Path
    offset: int
    phase: str
    iteration: int
    group: int | str | None
    task_id: str
    success: bool
    has_credit: bool

    def load(self) -> Episode:
        """The episode itself."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return Episode.model_validate_json(file.readline(_LINE_LIMIT))


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What a run directory holds. Lines that cannot be read are counted and left out."""

    path: Path
    config: str = ""
    metrics: list[Metrics] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    episodes: list[EpisodePlace] = field(default_factory=list)
    unreadable: int = 0

    @property
    def seconds(self) -> float:
        """How long the run has gone on."""
        ends = [row.seconds for row in self.metrics] + [row.seconds for row in self.evaluations]
        return max(ends, default=0.0)


def read_run(path: Path) -> RunFiles:
    """Everything that `path` holds of a run.

    Raises:
        DataError: `path` is not a run directory.
    """
    config, log, folder = path / "config.toml", path / "metrics.jsonl", path / "episodes"
    if not (config.exists() or log.exists() or folder.exists()):
        raise DataError(f"{path} holds no run: no config.toml, metrics.jsonl or episodes/ is there")
    metrics, evaluations, broken = _read_metrics(log)
    episodes, broken_episodes = _index_episodes(folder)
    text = config.read_text("utf-8", errors="replace") if config.exists() else ""
    return RunFiles(path, text, metrics, evaluations, episodes, broken + broken_episodes)


def _read_metrics(path: Path) -> tuple[list[Metrics], list[Evaluation], int]:
    metrics, evaluations, broken = [], [], 0
    for _, line in _lines(path):
        try:
            row = Metrics.model_validate_json(line)
            if row.phase == "eval":
                evaluations.append(Evaluation.model_validate_json(line))
            else:
                metrics.append(row)
        except ValidationError:
            broken += 1
    return metrics, evaluations, broken


def _index_episodes(folder: Path) -> tuple[list[EpisodePlace], int]:
    places, broken = [], 0
    for path in sorted(folder.glob("*.jsonl")):
        for offset, line in _lines(path):
            try:
                episode = Episode.model_validate_json(line)
            except ValidationError:
                broken += 1
                continue
            places.append(_place(path, offset, episode))
    return places, broken


def _place(path: Path, offset: int, episode: Episode) -> EpisodePlace:
    return EpisodePlace(
        path=path,
        offset=offset,
        phase=episode.phase,
        iteration=episode.iteration,
        group=episode.group,
        task_id=episode.task_id,
        success=episode.success,
        has_credit=any(step.credit for step in episode.steps),
    )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        offset = 0
        while line := file.readline(_LINE_LIMIT):
            if line.strip():
                yield offset, line
            offset += len(line)
