"""What went wrong in a run, and what was done about it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

from longstep_agents.evaluation.log import is_fault
from longstep_agents.page.episodes import Episode
from longstep_agents.page.types import ErrorKind, Flag, Reliability

_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\d+")
_ERROR_CHARACTERS = 400
_SHOWN_EPISODES = 20
_MOST_FLAGS = _MOST_TASKS = 1_000


def reliability(
    episodes: Sequence[Episode],
    *,
    dispatched: int | None,
    reported: int,
    lost: int = 0,
    duplicated: int = 0,
    retried: int = 0,
) -> Reliability:
    """From what the table tells of episodes, and what only the kind of run knows."""
    return Reliability(
        dispatched=dispatched,
        reported=reported,
        lost=lost,
        duplicated=duplicated,
        retried=retried,
        outcomes=dict(Counter(episode["outcome"] for episode in episodes).most_common()),
        errors=_errors(episodes),
        given_up=list(islice(_given_up(episodes), _MOST_TASKS)),
        flagged=list(islice(_flags(episodes), _MOST_FLAGS)),
    )


def _given_up(episodes: Sequence[Episode]) -> Iterator[str]:
    """Tasks of which no try went without a fault."""
    faults: dict[tuple[str, str], bool] = {}
    for episode in episodes:
        task = episode["part"], episode["task_id"]
        faults[task] = faults.get(task, True) and is_fault(episode)
    for (part, task_id), always in faults.items():
        if always:
            yield f"{part}: {task_id}" if part else task_id


def _flags(episodes: Sequence[Episode]) -> Iterator[Flag]:
    for number, episode in enumerate(episodes):
        for step, rule, text in episode["flags"]:
            yield Flag(episode=number, step=step, rule=rule, text=text)


def _errors(episodes: Sequence[Episode]) -> list[ErrorKind]:
    """Errors that say the same, numbers aside; the most frequent first."""
    kinds: dict[str, list[int]] = defaultdict(list)
    for number, episode in enumerate(episodes):
        if episode["error"]:
            kinds[_NUMBERS.sub("#", episode["error"][:_ERROR_CHARACTERS])].append(number)
    return [
        ErrorKind(text=text, count=len(found), episodes=found[:_SHOWN_EPISODES])
        for text, found in sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    ]
