"""Episodes of a run: what the page's table tells of each, and its row when it is opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast, get_type_hints

from longstep_agents.page.lines import Place
from longstep_agents.page.types import SHARD_EPISODES, Episodes
from longstep_agents.page.values import (
    each,
    items,
    number,
    numbers,
    picked,
    real,
    table,
    text,
    whole,
    yes,
)

Episode = dict[str, Any]
"""An entry of the table, by its columns, with `place`, `flags`, `error`, `tokens`, `cost`."""

_NOT_COLUMNS = ("size", "count")
_MOST_FLAGS = 100
_FLAG_CHARACTERS = 200
_TOKENS = {
    "text": each(text),
    "logprob": each(number),
    "entropy": each(number),
    "chosen": each(whole),
    "credit": each(number),
}
_STEP = {
    "observation": text,
    "action": text,
    "reward": real,
    "credit": number,
    "state_key": text,
    "action_valid": yes,
    "logprob": number,
    "parts": numbers,
    "shown": text,
    "begins": yes,
    "text": text,
    "tokens": lambda value: picked(table(value), _TOKENS),
    "target": text,
    "fault": text,
    "reasoning": text,
    "unsayable": whole,
}
_ROW = {
    "env_id": text,
    "task_id": text,
    "task_type": text,
    "seed": whole,
    "success": yes,
    "score": real,
    "outcome": text,
    "stop_reason": text,
    "error": text,
    "seconds": number,
    "steps": each(lambda value: picked(table(value), _STEP)),
    "final_observation": text,
}


def read_episode(place: Place, row: Mapping[str, Any]) -> Episode:
    """What the table tells of an episode, from its line."""
    steps = [table(step) for step in items(row.get("steps"))]
    flags = list(_flags(row, len(steps)))
    return {
        "place": place,
        "phase": text(row.get("phase")),
        "iteration": whole(row.get("iteration")),
        "part": text(row.get("part")),
        "task_id": text(row.get("task_id")),
        "task_type": text(row.get("task_type")),
        "attempt": whole(row.get("attempt")),
        "outcome": text(row.get("outcome")),
        "stop_reason": text(row.get("stop_reason")),
        "success": int(yes(row.get("success"))),
        "score": real(row.get("score")),
        "reward": round(sum(real(step.get("reward")) for step in steps), 6),
        "turns": len(steps),
        "seconds": number(row.get("seconds")),
        "flagged": len(flags),
        "flags": flags,
        "superseded": 0,
        "error": text(row.get("error")),
        "tokens": {key: real(value) for key, value in table(row.get("tokens")).items()},
        "cost": number(row.get("cost")),
    }


def _flags(row: Mapping[str, Any], steps: int) -> Iterator[tuple[int, str, str]]:
    """The flags of an episode: step, monitor, reason."""
    for flag in map(table, items(row.get("flags"))[:_MOST_FLAGS]):
        name, why = (text(flag.get(key))[:_FLAG_CHARACTERS] for key in ("name", "why"))
        if name and 0 <= (step := whole(flag.get("step"))) < steps:
            yield step, name, why


def columns(episodes: Iterable[Episode]) -> Episodes:
    """The table of the page."""
    rows = list(episodes)
    names = [name for name in get_type_hints(Episodes) if name not in _NOT_COLUMNS]
    told = {name: [row[name] for row in rows] for name in names}
    return cast(Episodes, {"size": SHARD_EPISODES, "count": len(rows), **told})


def read_shard(episodes: Iterable[Episode]) -> list[dict[str, Any]]:
    """The rows of these episodes, as `EpisodeRow` says."""
    return [picked(episode["place"].read() or {}, _ROW) for episode in episodes]
