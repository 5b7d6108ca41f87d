"""An hour and more over all environments: what grows, and what is left behind.

    python -m benchmarks.reliability.soak [--minutes 70] [--only ENV]

Each environment has a part of the time, the slow ones a larger one, in a pool with one worker
process of four places. Episodes are the expert's and a random agent's in turn. Growth is the slope
of a straight line through what was measured after the first fifth of the episodes, per thousand of
them; beside it stands what was held at the line's two ends.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from benchmarks.reliability.evidence import save
from benchmarks.reliability.trick_episodes import TURNS
from benchmarks.reliability.tricks import OWN

from longstep_envs import EnvPool, Limits, Slot, make

_SHARES = {"longstep/SWE-v0": 4, "longstep/ScienceWorld-v0": 3, "longstep/TextWorld-v0": 2}
"""Parts of the time; the others have one."""
_LEAST_BATCH, _LARGEST_BATCH = 4, 64
"""Episodes between two measurements: as many as take half a second."""
_MARK = "LONGSTEP_SOAK"
_LEAST = 10
"""Measurements that a slope is told of."""


@dataclass(frozen=True, slots=True)
class Held:
    """What this process and all its descendants hold."""

    pool_mb: float
    worker_mb: float
    threads: int
    files: int
    processes: int


def main(
    minutes: Annotated[float, typer.Option(help="Of all together.")] = 70.0,
    only: Annotated[str | None, typer.Option(help="One environment.")] = None,
) -> None:
    """Soak everything, and write what grew."""
    os.environ[_MARK] = str(os.getpid())  # what is started has it too, and keeps it
    numbers: dict[str, Any] = {"minutes": minutes}
    total = 0
    shares = {name: _SHARES.get(name, 1) for name in OWN if only in (None, name)}
    for env_id, share in shares.items():
        episodes, failed, found = _soak(env_id, 60 * minutes * share / sum(shares.values()))
        total += episodes
        grown = "; ".join(_growth(found))
        faults = ", ".join(f"{count} {kind}" for kind, count in failed.most_common()) or "none"
        numbers[env_id] = f"{episodes:,} episodes, faults: {faults}; per thousand: {grown}"
        typer.echo(f"{env_id}: {numbers[env_id]}")
    time.sleep(2)
    left = [pid for pid, _, _ in _table() if pid != os.getpid() and _is_ours(pid)]
    numbers |= {"episodes": total, "processes left": len(left)}
    save("soak", "A soak over all environments", numbers)


def _soak(env_id: str, seconds: float) -> tuple[int, Counter[str], list[tuple[int, Held]]]:
    """Episodes played, the kinds of their faults, and what was held after how many."""
    env = make(env_id)
    tasks = env.task_ids
    env.close()
    found: list[tuple[int, Held]] = []
    played, failed = 0, Counter[str]()
    batch = _LEAST_BATCH
    end = time.monotonic() + seconds
    limits = Limits(turns=TURNS, step_seconds=120)
    with EnvPool(env_id, mode="process", workers=1, envs_per_worker=4, limits=limits) as pool:
        while time.monotonic() < end:
            begun = time.monotonic()
            numbers = range(played, played + batch)
            reports = asyncio.run(
                pool.run(numbers, lambda slot, n: _play(slot, tasks, n), concurrency=4)
            )
            if time.monotonic() - begun < 0.5:
                batch = min(2 * batch, _LARGEST_BATCH)
            played += len(reports)
            failed.update(report.error["type"] for report in reports if report.error is not None)
            found.append((played, _held()))
    return played, failed, found


async def _play(slot: Slot, tasks: Sequence[str], number: int) -> None:
    drawn = random.Random(number)
    expert = number % 2 == 0
    task = tasks[drawn.randrange(len(tasks))]
    _, info = await slot.reset(task, number, expert=expert)
    plan = iter(info.get("expert_plan", [])) if expert else iter(())
    while True:
        action = next(plan, None) or drawn.choice(info.get("admissible_commands") or ["look"])
        _, _, terminated, truncated, info = await slot.step(action)
        if terminated or truncated:
            return


def _growth(found: Sequence[tuple[int, Held]]) -> Iterator[str]:
    """Of all that is held, how much more it is after a thousand episodes."""
    late = [one for one in found if one[0] > found[-1][0] / 5]
    if len(late) < _LEAST:
        return
    episodes = np.array([played for played, _ in late], float)
    ends = np.array([episodes[0], episodes[-1]])
    for column, kind in enumerate(fields(Held)):
        held = np.array([astuple(one)[column] for _, one in late], float)
        slope, begin = np.polyfit(episodes, held, 1)
        first, last = begin + slope * ends
        grown = round(1_000 * slope, 3) + 0.0  # which makes -0.0 a plain zero
        yield f"{kind.name.replace('_', ' ')} {grown:+.3f} ({first:.1f} to {last:.1f})"


def _held() -> Held:
    own = os.getpid()
    others = [pid for pid, _ in _descendants(own)]
    return Held(
        pool_mb=_resident(own),
        worker_mb=sum(_resident(pid) for pid in others),
        threads=sum(_count(pid, "task") for pid in (own, *others)),
        files=sum(_count(pid, "fd") for pid in (own, *others)),
        processes=len(others),
    )


def _descendants(root: int) -> list[tuple[int, str]]:
    parents = {pid: (parent, name) for pid, parent, name in _table()}
    found = []
    for pid, (_, name) in parents.items():
        above = pid
        while above in parents and above != root:
            above = parents[above][0]
        if above == root and pid != root:
            found.append((pid, name))
    return found


def _is_ours(pid: int) -> bool:
    """Whether it was started by this program, by what this has started, and so on."""
    try:
        told = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{_MARK}={os.getpid()}".encode() in told


def _table() -> Iterator[tuple[int, int, str]]:
    """Process, parent and name of all that run."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, _, rest = (entry / "stat").read_text().rpartition(")")
            except OSError:  # it has just ended
                continue
            state, parent, *_ = rest.split()
            if state != "Z":
                yield int(entry.name), int(parent), name.partition("(")[2]


def _resident(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _count(pid: int, folder: str) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/{folder}").iterdir())
    except OSError:
        return 0


if __name__ == "__main__":
    typer.run(main)
