"""How environment workers on a Ray cluster scale, beside worker processes, in one run.

    python benchmarks/workers.py [--seconds 3] [--json]

Two environments: one that waits 20 ms for each answer, one in a worker; and household tasks, which
compute, eight in a worker. What is compared is wall milliseconds a step of all together: workers on
a cluster of this machine beside worker processes. The least possible is that of one worker on Ray,
divided by the workers, or by the processors where there are fewer and the steps compute: so
`reached` is the efficiency of the scaling.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any

import typer
from comparison import Comparison, show  # type: ignore[import-not-found]  # beside this file

from longstep_envs import EnvPool, Limits, register
from longstep_envs.cluster import Cluster, connect, disconnect
from longstep_envs.slots import Slot

WORKERS = (1, 2, 4)
register("bench/Echo-v0", "echo:EchoEnv")


@dataclass(frozen=True)
class Work:
    """An environment, and how many of them a worker has."""

    name: str
    env_id: str
    options: dict[str, Any]
    places: int
    computes: bool
    """Whether more workers than processors are of no use."""


WORKS = (
    Work("waits 20 ms", "bench/Echo-v0", {"wait_seconds": 0.02}, places=1, computes=False),
    Work("household", "longstep/ALFWorld-v0", {}, places=8, computes=True),
)


def main(
    seconds: Annotated[float, typer.Option(help="How long each measurement takes.")] = 3.0,
    repeats: Annotated[int, typer.Option(help="Measurements of each; the median counts.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure and print the table."""
    connect(Cluster("local"), processors=2 * max(WORKERS))
    rows = []
    for work in WORKS:
        alone = 0.0
        for workers in WORKERS:
            ray, process = _measure(work, workers, seconds, repeats)
            alone = alone or ray
            useful = min(workers, os.cpu_count() or 1) if work.computes else workers
            least, limit = alone / useful, f"one worker's / {useful}"
            name = f"{work.name}, workers: {workers}"
            rows.append(Comparison(name, ray, process, "ms", least=least, limit=limit))
    disconnect()
    show(rows, as_json=as_json)


def _measure(work: Work, workers: int, seconds: float, repeats: int) -> list[float]:
    """Milliseconds a step on Ray, and in worker processes; they take turns."""
    spent: list[list[float]] = []
    pools = [
        EnvPool(
            work.env_id,
            work.options,
            limits=Limits(turns=None),
            workers=workers,
            envs_per_worker=work.places,
            **settings,
        )
        for settings in ({"cluster": Cluster("local")}, {"mode": "process"})
    ]
    for pool in pools:
        _play(pool, workers * work.places, 0.2)  # until all workers are there
        spent.append([])
    for _ in range(repeats):
        for pool, mine in zip(pools, spent, strict=True):
            mine.append(_play(pool, workers * work.places, seconds))
    for pool in pools:
        pool.close()
    return [median(mine) for mine in spent]


def _play(pool: EnvPool, envs: int, seconds: float) -> float:
    """Milliseconds a step, of so many environments at a time that act at random."""
    steps = 0

    async def walk(slot: Slot, seed: int) -> float:
        """Returns when its first episode began."""
        nonlocal steps
        chance, began = random.Random(seed), 0.0
        while not began or time.perf_counter() < began + seconds:
            _, info = await slot.reset(None, chance.randrange(2**31))
            began = began or time.perf_counter()
            for _ in range(20):
                _, _, terminated, truncated, info = await slot.step(
                    chance.choice(info["admissible_commands"])
                )
                steps += 1
                if terminated or truncated or time.perf_counter() > began + seconds:
                    break
        return began

    reports = asyncio.run(pool.run(range(envs), walk, concurrency=envs))
    ended = time.perf_counter()
    return 1000 * (ended - min(report.result or ended for report in reports)) / steps


if __name__ == "__main__":
    typer.run(main)
