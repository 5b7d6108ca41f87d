"""A training run as the page shows it, read from its folder while it goes on or after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longstep_agents.config import parse_toml
from longstep_agents.page.episodes import Episode, columns, read_episode
from longstep_agents.page.lines import Lines, Place
from longstep_agents.page.reliability import reliability
from longstep_agents.page.types import Curve, Estimate, Mark, Part, Run
from longstep_agents.page.values import flat, items, number, plain, real, table, text, whole

CONFIG = "config.toml"
METRICS = "metrics.jsonl"
EPISODES = "episodes"
_EVALUATION = "eval"
_PHASES = ("imitation", "rl")
_WARM_START = "warm start"
_NOT_CURVES = ("phase", "iteration")
_DEEPEST = 3


class TrainingRun:
    """Reads what was appended since it was last asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._begin()

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a folder holds one."""
        return any((folder / name).exists() for name in (METRICS, EPISODES))

    def refresh(self) -> bool:
        """Read on; whether there was anything."""
        if any(lines.replaced() for lines in (self._metrics, *self._files.values())):
            self._begin()  # a run that was resumed has written its files anew
        before = self._rows + len(self.episodes)
        for path in sorted((self.folder / EPISODES).glob("*.jsonl")):
            lines = self._files.setdefault(path, Lines(path))
            self.episodes += [_episode(place, row) for place, row in lines.new()]
        self.episodes.sort(key=_order)
        for _, row in self._metrics.new():
            self._add(row)
            self._rows += 1
        return before != self._rows + len(self.episodes)

    def describe(self, run_id: str) -> Run:
        """Everything but the steps."""
        config, broken = self._config()
        files = (self._metrics, *self._files.values())
        return Run(
            id=run_id,
            name=run_id,
            kind="training",
            about={"config": config},
            ended=self._ended(config),
            seconds=self._seconds,
            parts=self._parts,
            curves=list(self._curves.values()),
            marks=self._marks,
            episodes=columns(self.episodes),
            reliability=reliability(self.episodes, dispatched=None, reported=self._played),
            unreadable=broken + sum(lines.unreadable + lines.cut for lines in files),
        )

    def _begin(self) -> None:
        self.episodes: list[Episode] = []
        self._metrics = Lines(self.folder / METRICS)
        self._files: dict[Path, Lines] = {}
        self._curves: dict[tuple[str, str], Curve] = {}
        self._parts: list[Part] = []
        self._marks: list[Mark] = []
        self._place: tuple[str, int] = ("", 0)
        self._seconds, self._played, self._rows = 0.0, 0, 0

    def _add(self, row: Mapping[str, Any]) -> None:
        phase, iteration = text(row.get("phase")), whole(row.get("iteration"))
        self._seconds = max(self._seconds, real(row.get("seconds")))
        if phase == _EVALUATION:
            part = _part(row)
            self._parts.append(part)
            after = text(row.get("after")) or part["stage"]
            self._marks.append(
                Mark(phase=after, iteration=iteration, name=part["name"], estimate=part["success"])
            )
            return
        self._place = (phase, iteration)
        self._played += whole(row.get("episodes"))
        told = {name: value for name, value in row.items() if name not in _NOT_CURVES}
        for name, value in flat(told, depth=_DEEPEST):
            new = Curve(phase=phase, name=name, x=[], y=[])
            curve = self._curves.setdefault((phase, name), new)
            curve["x"].append(iteration)
            curve["y"].append(number(value))

    def _config(self) -> tuple[dict[str, Any], int]:
        """The config, and 1 if it cannot be read."""
        path = self.folder / CONFIG
        if not path.exists():
            return {}, 0
        try:
            return plain(parse_toml(path.read_text("utf-8", errors="replace"))), 0
        except ValueError:
            return {}, 1

    def _ended(self, config: Mapping[str, Any]) -> bool:
        sets = {text(table(one).get("name")) for one in items(config.get("evaluation"))}
        if sets:
            return sets <= {part["name"] for part in self._parts if part["stage"] == "rl"}
        last = next(
            (p for p in reversed(_PHASES) if whole(table(config.get(p)).get("iterations"))), ""
        )
        return self._place == (last, whole(table(config.get(last)).get("iterations")))


def _episode(place: Place, row: Mapping[str, Any]) -> Episode:
    episode = read_episode(place, row)
    group = row.get("group")
    if episode["phase"] == _EVALUATION:
        group = f"{episode['part']}/{episode['task_id']}"
    episode["group"] = f"{episode['phase']}/{episode['iteration']}/{group}"
    episode["after"] = text(row.get("after")) or episode["phase"]
    return episode


def _order(episode: Episode) -> tuple[int, int, bool]:
    """Where an episode stands among all: an evaluation is after the iteration that it followed."""
    after = episode["after"]
    rank = _PHASES.index(after) if after in _PHASES else len(_PHASES)
    return rank, episode["iteration"], episode["phase"] == _EVALUATION


def _part(row: Mapping[str, Any]) -> Part:
    return Part(
        name=text(row.get("name")),
        stage="imitation" if row.get("stage") == _WARM_START else "rl",
        iteration=whole(row.get("iteration")),
        metric="success",
        success=_rate(row),
        score=None,
        without_faults=None,
        faults=whole(row.get("failed_to_run")),
        retried=0,
        turns=number(row.get("mean_turns")),
        seconds=None,
        tokens={},
        cost=None,
        by_task_type={
            name: _rate(table(one)) for name, one in table(row.get("by_task_type")).items()
        },
        by_turns={},
        stop_reasons={},
        pass_at={},
        pass_hat={},
        data=[text(one) for one in items(row.get("data"))],
    )


def _rate(row: Mapping[str, Any]) -> Estimate:
    return Estimate(
        mean=real(row.get("success")),
        low=real(row.get("low")),
        high=real(row.get("high")),
        episodes=whole(row.get("episodes")),
    )
