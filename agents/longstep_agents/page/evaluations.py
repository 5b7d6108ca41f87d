"""An evaluation as the page shows it, read from its folder while it goes on or after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, cast, get_args

from longstep_agents.evaluation.log import EPISODES, HEADER, is_fault, key_of
from longstep_agents.evaluation.summary import PartSummary, compare_parts, summarise
from longstep_agents.page.episodes import Episode, columns, read_episode
from longstep_agents.page.lines import Lines, Place, parse
from longstep_agents.page.reliability import reliability
from longstep_agents.page.types import Metric, Pair, Part, Reliability, Run
from longstep_agents.page.values import items, plain, real, table, text, whole

_FILE = "eval.jsonl"
_RESULTS = "results.json"
_TOKENS = ("prompt", "sampled")


class EvaluationRun:
    """Reads what was appended since it was last asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: tuple[int, bool] = (0, False)
        self._header, self._readable = _read_header(folder / HEADER)
        self._begin()

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a folder holds one."""
        return (folder / HEADER).exists()

    def refresh(self) -> bool:
        """Read on; whether there was anything, if only that it has ended."""
        if self._lines.replaced():
            self._begin()
        before = self._known
        self.episodes += [_episode(place, row) for place, row in self._lines.new()]
        self._known = len(self.episodes), self._told()
        return before != self._known

    def of(self, metric: Metric) -> list[Episode]:
        """The episodes of those parts that are told by this."""
        parts = {one["name"] for one in self._asked_parts() if one["metric"] == metric}
        return [episode for episode in self.episodes if episode["part"] in parts]

    def describe(self, run_id: str) -> Run:
        """Everything but the steps."""
        last = {key_of(episode): number for number, episode in enumerate(self.episodes)}
        for number, episode in enumerate(self.episodes):
            episode["superseded"] = int(last[key_of(episode)] != number)
        return Run(
            id=run_id,
            name=text(table(self._header["asked"].get("contestant")).get("name")) or run_id,
            kind="evaluation",
            about=self._header,
            ended=self._ended(),
            seconds=sum(episode["seconds"] for episode in self.episodes),
            parts=self._parts(),
            curves=[],
            marks=[],
            episodes=columns(self.episodes),
            reliability=self._reliability(len(last)),
            unreadable=self._lines.unreadable + self._lines.cut + (not self._readable),
        )

    def _begin(self) -> None:
        self._lines = Lines(self.folder / EPISODES / _FILE)
        self.episodes: list[Episode] = []
        self._known = (0, False)

    def _asked_parts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._header["asked"]["parts"]
        return found

    def _parts(self) -> list[Part]:
        data = {one["name"]: items(one.get("data")) for one in self._asked_parts()}
        return [
            _part(one, [text(told) for told in data[one.name] if told])
            for one in summarise(self._header, self.episodes, k=self._k())
        ]

    def _k(self) -> list[int]:
        """Of pass@k and pass^k: the attempts, if several and each task has had them."""
        had = Counter((part, task_id) for part, task_id, _ in set(map(key_of, self.episodes)))
        attempts = self._attempts()
        return [attempts] if 1 < attempts <= min(had.values(), default=0) else []

    def _attempts(self) -> int:
        return whole(table(self._header["asked"].get("settings")).get("attempts")) or 1

    def _planned(self) -> int:
        return self._attempts() * sum(whole(part.get("played")) for part in self._asked_parts())

    def _ended(self) -> bool:
        """Whether nothing is missing, or the results were told after the last episode."""
        if len({key_of(one) for one in self.episodes if not is_fault(one)}) >= self._planned():
            return True
        return self._told()

    def _told(self) -> bool:
        """Whether there are results, and no episode since."""
        results, episodes = self.folder / _RESULTS, self._lines.path
        if not (results.exists() and episodes.exists()):
            return False
        return results.stat().st_mtime_ns >= episodes.stat().st_mtime_ns

    def _reliability(self, reported: int) -> Reliability:
        tries = Counter(map(key_of, self.episodes))
        counted = Counter(key_of(episode) for episode in self.episodes if not is_fault(episode))
        return reliability(
            self.episodes,
            dispatched=self._planned(),
            reported=reported,
            lost=max(0, self._planned() - reported) if self._ended() else 0,
            duplicated=sum(count > 1 for count in counted.values()),
            retried=sum(count > 1 for count in tries.values()),
        )


def compare_all(runs: Mapping[str, EvaluationRun]) -> list[Pair]:
    """Every two evaluations part by part, where they have played the same tasks."""
    return [
        pair
        for (first, one), (second, other) in combinations(runs.items(), 2)
        for metric in get_args(Metric)
        for pair in _compare(first, second, metric, (one.of(metric), other.of(metric)))
    ]


def _compare(
    first: str, second: str, metric: Metric, sides: tuple[list[Episode], list[Episode]]
) -> list[Pair]:
    """The parts of which both have played a task."""
    tasks = {(episode["part"], episode["task_id"]) for episode in sides[0]}
    shared = {one["part"] for one in sides[1] if (one["part"], one["task_id"]) in tasks}
    if not shared:
        return []
    left, right = ([one for one in side if one["part"] in shared] for side in sides)
    return [
        Pair(
            first=first,
            second=second,
            part=part,
            metric=metric,
            difference=found.difference,
            low=found.low,
            high=found.high,
            p=found.p,
            test=found.test,
            won=found.won,
            lost=found.lost,
            tied=found.tied,
        )
        for part, found in compare_parts(left, right, value=metric).items()
    ]


def _episode(place: Place, row: Mapping[str, Any]) -> Episode:
    episode = read_episode(place, row)
    tokens = {kind: episode["tokens"].get(kind, 0.0) for kind in _TOKENS}
    seconds = real(episode["seconds"])
    group = f"{episode['part']}/{episode['task_id']}"
    return {**episode, "group": group, "seconds": seconds, "tokens": tokens}


def _part(summary: PartSummary, data: list[str]) -> Part:
    row = summary.as_row()
    for name in ("pass_at", "pass_hat"):
        row[name] = {str(k): found for k, found in row[name].items()}
    return cast(Part, {**row, "stage": "", "data": data})


def _read_header(path: Path) -> tuple[dict[str, Any], bool]:
    """The header with what is certain to be there, and whether it could be read."""
    header = plain(parse(path.read_bytes()) or {})
    asked = table(header.get("asked"))
    parts = [part for part in items(asked.get("parts")) if text(table(part).get("name"))]
    told = [
        {**part, "metric": "score" if part.get("metric") == "score" else "success"}
        for part in parts
    ]
    return {**header, "asked": {**asked, "parts": told}}, bool(parts)
