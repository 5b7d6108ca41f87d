"""Ten thousand episodes, of which one in twenty has a fault: what is lost, and what it costs.

    python -m benchmarks.reliability.episodes [--episodes 10000] [--rate 0.05] [--workers 16]

Each step waits for a policy, 20 ms as a model would take, and 64 episodes are under way at a time,
as many places in each worker. The same episodes are played without faults and with them, in blocks
that take turns, so that whatever else the machine does slows both. Detection is from the moment
ahead of the fault to the moment at which the episode hears of it; recovery is from there to its
next reset's answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from benchmarks.reliability.evidence import save

from longstep_envs import EnvPool, EpisodeReport, Limits, Slot, make
from longstep_envs.faulty import HARMLESS, KINDS, Ledger
from longstep_envs.types import EnvFaultError

INNER = "longstep/Treasure-v0"
POLICY_SECONDS, STEP_SECONDS, TOGETHER = 0.02, 1.0, 64
BLOCK = 2_500


@dataclass
class Watch:
    """Plays episodes, and takes the times at which they hear of faults and go on again."""

    tasks: Sequence[str]
    heard: dict[int, list[float]] = field(default_factory=dict)
    recovered: dict[int, list[float]] = field(default_factory=dict)
    steps: int = 0

    async def play(self, slot: Slot, number: int) -> float:
        """One try at an episode: the expert's plan, a step at a time."""
        try:
            _, info = await slot.reset(self.tasks[number % len(self.tasks)], number, expert=True)
            if number in self.heard:
                self.recovered.setdefault(number, []).append(time.time())
            score = 0.0
            for action in info["expert_plan"]:
                await asyncio.sleep(POLICY_SECONDS)
                _, reward, *_ = await slot.step(action)
                self.steps += 1
                score += reward
        except EnvFaultError:
            self.heard.setdefault(number, []).append(time.time())
            raise
        return score


@dataclass
class Side:
    """A pool, what came of its episodes, and the seconds that each block took."""

    pool: EnvPool
    watch: Watch
    reports: list[EpisodeReport[float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def warm_up(self, episodes: int) -> None:
        """Have every environment made, by episodes that do not count."""
        warm = range(episodes, episodes + TOGETHER)
        asyncio.run(self.pool.run(warm, Watch(self.watch.tasks).play, concurrency=TOGETHER))

    def play(self, numbers: Sequence[int]) -> None:
        """One block."""
        begin = time.perf_counter()
        told = asyncio.run(self.pool.run(numbers, self.watch.play, concurrency=TOGETHER))
        self.seconds.append(time.perf_counter() - begin)
        self.reports += [replace(report, index=numbers[report.index]) for report in told]


def main(
    episodes: Annotated[int, typer.Option(help="How many.")] = 10_000,
    rate: Annotated[float, typer.Option(help="The share that has a fault.")] = 0.05,
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 16,
) -> None:
    """Play, check and write the result."""
    with TemporaryDirectory() as folder:
        options = {"rate": rate, "ledger": folder, "seconds": 60.0}
        with _pool(workers, {}) as calm_pool, _pool(workers, options) as pool:
            tasks = make(INNER).task_ids
            quiet, faulty = Side(calm_pool, Watch(tasks)), Side(pool, Watch(tasks))
            _take_turns((quiet, faulty), episodes)
        faults = list(Ledger(Path(folder)).faults())
    calm, reports, watch = quiet.reports, faulty.reports, faulty.watch
    calm_seconds, seconds = sum(quiet.seconds), sum(faulty.seconds)
    pairs = zip(quiet.seconds, faulty.seconds, strict=True)
    blocks = [round(without / with_faults, 3) for without, with_faults in pairs]
    kinds = {fault.episode_seed: fault.kind for fault in faults}
    indices = Counter(report.index for report in reports)
    broken = {report.index for report in reports if report.error is not None}
    detection = [
        watch.heard[fault.episode_seed][0] - fault.time
        for fault in faults
        if fault.episode_seed in watch.heard and fault.kind not in HARMLESS
    ]
    recovery = [
        back[0] - watch.heard[number][0]
        for number, back in watch.recovered.items()
        if number in kinds
    ]
    calm_solved = sum(report.result == 1.0 for report in calm)
    numbers: dict[str, Any] = {
        "episodes": episodes,
        "accounts": str(pool.accounts),
        "workers": workers,
        "faults": len(faults),
        "faults by kind": dict(sorted(Counter(kinds.values()).items())),
        "lost": sum(indices[index] == 0 for index in range(episodes)),
        "reported twice": sum(count > 1 for count in indices.values()),
        "solved": sum(report.result == 1.0 for report in reports),
        "solved without faults": calm_solved,
        "ended as env_error": len(broken),
        "of them with a broken contract": sum(_breaks(kinds.get(index)) for index in broken),
        "seconds": seconds,
        "seconds without faults": calm_seconds,
        "throughput": calm_seconds / seconds,
        "throughput of each block": blocks,
        "median of blocks": round(median(blocks), 3),
        "detection s p50, p95, max": _spread(detection),
        "recovery s p50, p95, max": _spread(recovery),
        "played again for a neighbour's fault": sum(
            report.attempts > 1 and report.index not in kinds for report in reports
        ),
    }
    save("episodes", "Episodes under injected faults of every kind", numbers)


def _pool(workers: int, options: dict[str, Any]) -> EnvPool:
    return EnvPool(
        "longstep/Faulty-v0",
        {"inner": INNER, **options},
        limits=Limits(step_seconds=STEP_SECONDS),
        workers=workers,
        envs_per_worker=-(-TOGETHER // workers),
    )


def _take_turns(sides: Sequence[Side], episodes: int) -> None:
    """Play the same blocks on each side, the other one first each time."""
    for side in sides:
        side.warm_up(episodes)
    for turn, start in enumerate(range(0, episodes, BLOCK)):
        for side in sides if turn % 2 == 0 else sides[::-1]:
            side.play(range(start, min(start + BLOCK, episodes)))


def _breaks(kind: str | None) -> bool:
    """Whether the fault is an answer that no second try would mend."""
    return kind is not None and KINDS[kind].after is not None and kind != "broken_engine"


def _spread(values: Sequence[float]) -> list[float]:
    cuts = quantiles(values, n=20)
    return [round(value, 4) for value in (cuts[9], cuts[18], max(values))]


if __name__ == "__main__":
    typer.run(main)
