"""When which fault happens: a function of the seed and the episode; and a record that it did."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from longstep_envs.types import text_hash


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault that an episode is to have."""

    kind: str
    call: int
    """Ahead of which call, or in which: 0 is the reset, 1 the first step."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which episodes have a fault. The same for every process, worker and attempt."""

    seed: int
    rate: float
    """The share of episodes with a fault."""
    kinds: Sequence[str]
    within: int
    """The last call in which a fault may happen. Episodes that end before theirs have none."""
    poisoned: frozenset[str] = frozenset()
    """Tasks of which every episode has one."""

    def of(self, task_id: str, episode_seed: int | None) -> Planned | None:
        """The fault of the episodes of this task and seed."""
        drawn = random.Random(f"{self.seed}/{task_id}/{episode_seed}")
        if drawn.random() >= self.rate and task_id not in self.poisoned:
            return None
        return Planned(drawn.choice(list(self.kinds)), drawn.randint(0, self.within))


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault that did happen."""

    kind: str
    task_id: str
    episode_seed: int | None
    call: int
    process: int
    time: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A folder that remembers, over processes that were killed, which faults have happened."""

    folder: Path

    def enter(self, fault: Injected, times: int) -> bool:
        """Whether this fault may happen once more; it is then on record, ahead of happening."""
        name = text_hash(fault.task_id, str(fault.episode_seed), fault.kind)
        self.folder.mkdir(parents=True, exist_ok=True)
        for time_ in range(times):
            path = self.folder / f"{name}-{time_}.json"
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                continue
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(fault), file)
            return True
        return False

    def faults(self) -> Iterator[Injected]:
        """All that have happened, by time."""
        told = [json.loads(path.read_text("utf-8")) for path in self.folder.glob("*.json")]
        yield from sorted((Injected(**one) for one in told), key=lambda fault: fault.time)


def injected(planned: Planned, task_id: str, episode_seed: int | None) -> Injected:
    """`planned`, happening here and now."""
    return Injected(
        planned.kind, task_id, episode_seed, planned.call, process=os.getpid(), time=time.time()
    )
