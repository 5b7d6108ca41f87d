"""The update on several CPU processes beside one, in one run: how well it scales.

    python benchmarks/ranks.py [--size 2] [--times 5] [--json]

The same rows (32 episodes of 8 turns, 12,288 tokens) are learnt from by one process, by several
that sum their gradients, and by several that hold a share of the weights each (FSDP2 over gloo).
The sides take turns in the same processes. "Reached" is the efficiency: 100 % is as many times
faster as there are processes. CPU seconds are those of the busiest process; waiting for the others
costs none, so wall seconds are told, too: these need a core for each process.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from comparison import Comparison, show  # type: ignore[import-not-found]
from rollout import MODEL, make_model  # type: ignore[import-not-found]

from longstep_agents.types import Completion, Step, Trajectory
from longstep_training.batch import Row, build_row
from longstep_training.distributed import World, launch
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.shards import shard
from longstep_training.updater import OptimizerConfig, Updater

EPISODES, TURNS, TOLD, SAID = 32, 8, 32, 16
ALONE, SUMMED, SHARDED = "alone", "gradients summed", "sharded"

Seconds = Mapping[str, Sequence[tuple[float, float]]]
"""Of each side and turn: CPU, and wall."""


def main(
    size: Annotated[int, typer.Option(min=2, help="How many processes.")] = 2,
    times: Annotated[int, typer.Option(help="Updates of each side, after one to warm up.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        launch(size, measure, Path(folder), times)
        told = [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(size)]
    found = [
        _compare(side, unit, told) for side in (SUMMED, SHARDED) for unit in ("CPU s", "wall s")
    ]
    show(found, as_json=as_json)


def measure(world: World, out: Path, times: int) -> None:
    """Every side's updates, in turn; each process writes what it has spent."""
    torch.set_num_threads(1)
    config = OptimizerConfig(learning_rate=1e-6, token_budget=2_048)
    sides = {
        ALONE: Updater(make_model(), config, World()),
        SUMMED: Updater(make_model(), config, world),
        SHARDED: Updater(shard(make_model(), world), config, world),
    }
    rows = _rows()
    seconds: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for _ in range(times + 1):
        for side, updater in sides.items():
            objective = partial(policy_loss, updater.model, config=ReinforcementConfig())
            world.wait()
            cpu, wall = time.process_time(), time.perf_counter()
            if side != ALONE or world.leads:
                updater.step(updater.world.share(rows), objective)
            cpu = time.process_time() - cpu
            world.wait()
            seconds[side].append((cpu, time.perf_counter() - wall))
    (out / f"{world.rank}.json").write_text(json.dumps(seconds))


def _compare(side: str, unit: str, told: Sequence[Seconds]) -> Comparison:
    column = ("CPU s", "wall s").index(unit)

    def spent(side: str) -> float:
        return max(median(turn[column] for turn in rank[side][1:]) for rank in told)

    alone = spent(ALONE)
    return Comparison(
        f"{len(told)} processes, {side}",
        ours=spent(side),
        theirs=alone,
        unit=unit,
        least=alone / len(told),
        limit=f"1/{len(told)} of one",
    )


def _rows() -> list[Row]:
    drawn = random.Random(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(drawn.randrange(3, MODEL["vocab_size"]) for _ in range(count))

    def step() -> Step:
        return Step(bridge_ids=ids(TOLD), completion=Completion(ids(SAID), (-7.6,) * SAID))

    return [
        build_row(Trajectory(tuple(step() for _ in range(TURNS))), [drawn.gauss(0.0, 1.0)] * TURNS)
        for _ in range(EPISODES)
    ]


if __name__ == "__main__":
    typer.run(main)
