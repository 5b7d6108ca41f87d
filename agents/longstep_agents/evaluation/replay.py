"""Plays recorded episodes again, and tells where the environment says something else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import groupby
from typing import Any

from longstep_agents.trace import rounded
from longstep_agents.types import Outcome
from longstep_envs.pool import EnvPool, EpisodeReport
from longstep_envs.slots import Slot
from longstep_envs.types import BadValueError, EnvFaultError, ErrorInfo, Info, Limits
from longstep_tasks.suites import Part
from longstep_tasks.types import Task

Row = Mapping[str, Any]
_ENVIRONMENT = "environment"
_STEP_SECONDS = 300.0
_NUMBER = (int, float)
_NEEDED = {
    "task_id": str,
    "steps": list,
    "final_observation": str,
    "success": bool,
    "score": _NUMBER,
}
_NEEDED_OF_STEP = {"observation": str, "action": str, "reward": _NUMBER, "state_key": str}
_CONTEXT = 60
"""Characters that are shown around the first that differs."""


@dataclass(frozen=True, slots=True)
class World:
    """What an episode was played in, and what its record tells of it."""

    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    reward: str | None = ""
    """The part of the recorded rewards that is the environment's own; empty where the reward itself
    is, None where none is."""
    hints: bool = False
    """Whether something may have been added to what the environment said, after an empty line."""


Worlds = Callable[[Row], World]
Found = tuple[int, str, Any, Any]
"""Step, what differs, what was recorded, and what is said now."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where an episode went another way than recorded."""

    episode: int
    task_id: str
    step: int
    """Counted from 0; the number of steps where it is the end that differs."""
    what: str
    """`observation`, `state_key`, `reward`, `end`, `score`, `success`; `fault` where the episode
    could not be played again."""
    recorded: str
    replayed: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of playing episodes again."""

    episodes: int
    steps: int
    """Of the environment's; an agent's own matters never reached it."""
    rewards: int
    """Those of `steps` whose rewards could be compared."""
    left_out: Mapping[str, int]
    """Episodes by why they were not played again."""
    differences: Sequence[Difference]


@dataclass(slots=True)
class Replayed:
    """What an environment says to recorded actions."""

    said: list[tuple[str, str]]
    """Observation and state at the reset and after each action."""
    rewards: list[float] = field(default_factory=list)
    terminated: bool = False
    success: bool = False
    score: float = 0.0

    def hear(self, observation: str, info: Info) -> None:
        """Take down what was said."""
        self.said.append((observation, info.get("state_key", "")))
        self.success = bool(info.get("success", False))
        self.score = float(info.get("score", 0.0))


def evaluation_worlds(header: Mapping[str, Any]) -> Worlds:
    """The worlds of an evaluation's episodes.

    Raises:
        TasksError: the data of the tasks is not here.
        BadValueError: the header does not tell which they are.
    """
    known = {one.name for one in fields(Part)}
    found: dict[tuple[str, str], Task] = {}
    for told in header["asked"]["parts"]:
        try:
            part = Part(**{name: value for name, value in told.items() if name in known})
        except TypeError as error:
            raise BadValueError(f"the header tells of no tasks to play: {error}") from error
        found |= {(part.name, task.id): task for task in replace(part, count=None).load()}

    def world(row: Row) -> World:
        task = found.get((str(row.get("part")), str(row.get("task_id"))))
        if task is None:
            raise BadValueError(
                f"task {row.get('task_id')!r:.200} of {row.get('part')!r:.200} is not among the "
                "tasks that are here; the episodes were played on other data"
            )
        return World(task.env_id, task.env_kwargs)

    return world


def verify(
    episodes: Iterable[tuple[int, Row]],
    worlds: Worlds,
    *,
    concurrency: int = 32,
    on_end: Callable[[], object] = lambda: None,
) -> Verification:
    """Play episodes again, each with its task and seed, in fresh environments.

    Raises:
        LongstepError: an environment cannot be made, or a task is not there.
    """
    left_out: Counter[str] = Counter()
    playable: list[tuple[int, Row, World]] = []
    for number, row in episodes:
        why = _unplayable(row)
        if why:
            left_out[why] += 1
        else:
            playable.append((number, row, worlds(row)))
    differences: list[Difference] = []
    for world, alike in _by_world(playable):
        rows = [row for _, row, _ in alike]
        reports = asyncio.run(_replay_all(world, rows, concurrency, on_end))
        for (number, row, _), report in zip(alike, reports, strict=True):
            differences += _differences(number, row, world, report)
    steps = [(world, step) for _, row, world in playable for step in acted(row)]
    return Verification(
        episodes=len(playable),
        steps=len(steps),
        rewards=sum(_reward(step, world) is not None for world, step in steps),
        left_out=dict(left_out),
        differences=sorted(differences, key=lambda one: one.episode),
    )


def replay(row: Row, worlds: Worlds) -> Replayed:
    """Play one episode again.

    Raises:
        LongstepError: its record lacks what that takes, or the environment cannot be made, or
            fails.
    """
    why = _unplayable(row)
    if why:
        raise BadValueError(f"the episode cannot be played again: {why}")
    (report,) = asyncio.run(_replay_all(worlds(row), [row], 1, lambda: None))
    if report.result is None:
        raise EnvFaultError(_error(report))
    return report.result


async def replay_episode(slot: Slot, row: Row) -> Replayed:
    """Give an environment the recorded actions, as long as it takes any."""
    observation, info = await slot.reset(row["task_id"], row["seed"])
    replayed = Replayed([])
    replayed.hear(observation, info)
    for step in acted(row):
        observation, reward, terminated, truncated, info = await slot.step(step["action"])
        replayed.hear(observation, info)
        replayed.rewards.append(reward)
        replayed.terminated = terminated
        if terminated or truncated:
            break
    return replayed


def first_difference(row: Row, replayed: Replayed, world: World) -> Found | None:
    """The first place where a replay is not as recorded; None where there is none."""
    said, rewards = iter(replayed.said), iter(replayed.rewards)
    heard, steps = next(said), row["steps"]
    comes_from_it = True  # else it is what the agent's own matter was answered
    for number, step in enumerate(steps):
        if not _is_acted(step):
            comes_from_it = False
            continue
        if comes_from_it and not _same_text(step["observation"], heard[0], world):
            return number, "observation", step["observation"], heard[0]
        if step["state_key"] != heard[1]:
            return number, "state_key", step["state_key"], heard[1]
        reward, recorded = next(rewards, None), _reward(step, world)
        if reward is None:
            return number, "end", "goes on", "has ended"
        if recorded is not None and recorded != (rounded(reward) if world.reward else reward):
            return number, "reward", recorded, reward
        heard, comes_from_it = next(said), True
    return _difference_at_end(row, replayed, world, heard[0] if comes_from_it else None)


def _difference_at_end(
    row: Row, replayed: Replayed, world: World, observation: str | None
) -> Found | None:
    end, recorded = len(row["steps"]), row["final_observation"]
    if observation is not None and not _same_text(recorded, observation, world):
        return end, "observation", recorded, observation
    told: list[tuple[str, Any, Any]] = [
        ("end", _end(row["outcome"] == Outcome.OK), _end(replayed.terminated)),
        ("success", row["success"], replayed.success),
        ("score", row["score"], replayed.score),
    ]
    return next(((end, what, one, other) for what, one, other in told if one != other), None)


def _end(terminated: bool) -> str:
    return "has ended" if terminated else "goes on"


def _unplayable(row: Row) -> str:
    """Why an episode cannot be played again; empty where it can."""
    if row.get("outcome") not in (Outcome.OK, Outcome.TRUNCATED):
        return "fault"
    if not isinstance(row.get("seed"), int):
        return "no seed"  # as of runs before rows held one
    steps = row.get("steps")
    whole = _holds(row, _NEEDED) and all(_holds(step, _NEEDED_OF_STEP) for step in steps or ())
    return "" if whole else "incomplete"


def _holds(told: Any, needed: Mapping[str, Any]) -> bool:
    """Whether a record has these keys, each with a value of its kind."""
    return isinstance(told, dict) and all(
        isinstance(told.get(k), kind) for k, kind in needed.items()
    )


def _by_world(
    playable: Iterable[tuple[int, Row, World]],
) -> Iterator[tuple[World, list[tuple[int, Row, World]]]]:
    for _, alike in groupby(sorted(playable, key=lambda one: repr(one[2])), lambda one: one[2]):
        held = list(alike)
        yield held[0][2], held


async def _replay_all(
    world: World, rows: Sequence[Row], concurrency: int, on_end: Callable[[], object]
) -> list[EpisodeReport[Replayed]]:
    limits = Limits(turns=None, step_seconds=_STEP_SECONDS)
    with EnvPool(world.env_id, dict(world.env_kwargs), limits=limits) as pool:
        return await pool.run(
            rows, replay_episode, concurrency=concurrency, on_report=lambda _: on_end()
        )


def _differences(
    number: int, row: Row, world: World, report: EpisodeReport[Replayed]
) -> list[Difference]:
    if report.result is None:
        told = str(EnvFaultError(_error(report)))
        return [Difference(number, row["task_id"], 0, "fault", "", told)]
    found = first_difference(row, report.result, world)
    if found is None:
        return []
    step, what, recorded, replayed = found
    shown = _around(recorded, replayed) if what == "observation" else (recorded, replayed)
    return [Difference(number, row["task_id"], step, what, *map(str, shown))]


def _error(report: EpisodeReport[Replayed]) -> ErrorInfo:
    return report.error or ErrorInfo(type="Fault", message="no result", retryable=False)


def acted(row: Row) -> list[dict[str, Any]]:
    """The steps of an episode that reached the environment."""
    return [step for step in row["steps"] if _is_acted(step)]


def _is_acted(step: Row) -> bool:
    return bool(step.get("target", _ENVIRONMENT) == _ENVIRONMENT)


def _reward(step: Row, world: World) -> float | None:
    """What the record tells of the environment's reward."""
    if not world.reward:
        return None if world.reward is None else step["reward"]
    parts = step.get("parts")
    found = parts.get(world.reward) if isinstance(parts, dict) else None
    return found if isinstance(found, _NUMBER) else None


def _same_text(recorded: str, said: str, world: World) -> bool:
    return recorded == said or (world.hints and recorded.startswith(said + "\n\n"))


def _around(one: str, other: str) -> tuple[str, str]:
    """Both texts around the first character that differs."""
    pairs = enumerate(zip(one, other, strict=False))
    place = next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
    start = max(0, place - _CONTEXT // 3)
    return _cut(one, start), _cut(other, start)


def _cut(text: str, start: int) -> str:
    end = start + _CONTEXT
    return f"{'…' if start else ''}{text[start:end]!r}{'…' if end < len(text) else ''}"
