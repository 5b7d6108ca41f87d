"""Training with a slow environment, synchronous and asynchronous, in one run.

    python benchmarks/asynchronous.py OUT [--seeds 1] [--updates 24] [--json]

The environment answers in 200 ms in the mean, with a long tail. For each seed all sides start from
one warm start and take the same number of updates of the same size; what is compared is wall time
with the synchronous side's. Runs that are there are not run again. Success is on tasks that are not
trained on, without latency, with its 95 % interval over all seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer
from comparison import Comparison, show  # type: ignore[import-not-found]
from slow import MEAN  # type: ignore[import-not-found]

from longstep_envs import register
from longstep_training.config import build_config
from longstep_training.evaluate import success_rate
from longstep_training.log import RunLog
from longstep_training.loop import train
from longstep_training.recipe import TrainConfig

register("bench/SlowTreasure-v0", "slow:SlowTreasureEnv")

Row = Mapping[str, Any]
AIM = 1.7
"""How many times faster asynchronous training should be."""
EPISODES = 200
TASKS, SIBLINGS, TURNS = 8, 4, 12
SIDES: dict[str, dict[str, Any]] = {
    "synchronous": {"staleness": 0},
    "1 version, drop": {"staleness": 1, "overdue": "drop"},
    "1 version, wait": {"staleness": 1, "overdue": "wait"},
    "2 versions, drop": {"staleness": 2, "overdue": "drop"},
    "2 versions, wait": {"staleness": 2, "overdue": "wait"},
}


def main(
    out: Annotated[Path, typer.Argument(help="Where the runs are written.")],
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0.")] = 1,
    updates: Annotated[int, typer.Option(help="Iterations of reinforcement learning.")] = 24,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run what is missing, then print the table."""
    for seed in range(seeds):
        warm = out / f"warm-{seed}"
        _train(warm, _config(seed, {"imitation": _imitation(3)}))
        for number, rl in enumerate(SIDES.values()):
            policy = {"path": str(_last_checkpoint(warm))}
            learning = {**_learning(updates), **rl}
            parts = {"imitation": _imitation(0), "policy": policy, "rl": learning}
            _train(out / f"{number}-{seed}", _config(seed, parts))
    runs = [
        [RunLog(out / f"{number}-{seed}").rows() for seed in range(seeds)]
        for number in range(len(SIDES))
    ]
    found = [_compare(name, side, runs[0]) for name, side in zip(SIDES, runs, strict=True)]
    show(found[1:], as_json=as_json)
    if not as_json:
        _show_runs(runs)


def _config(seed: int, parts: Mapping[str, Any]) -> TrainConfig:
    rooms = {"rooms": 4, "locks": 1}
    tree = {
        "seed": seed,
        "train": {
            "env_id": "bench/SlowTreasure-v0" if "rl" in parts else "longstep/Treasure-v0",
            "turns": TURNS,
            "env_kwargs": {"split": "train", **rooms},
        },
        "evaluation": [
            {
                "name": split,
                "episodes": EPISODES,
                "tasks": {
                    "env_id": "longstep/Treasure-v0",
                    "turns": TURNS,
                    "env_kwargs": {"split": split, **rooms},
                },
            }
            for split in ("valid", "test")
        ],
        "policy": {"small": {"hidden": 32, "layers": 1, "heads": 2, "feed_forward": 64}},
        "agent": {"max_tokens": 8, "action": {"constraint": "admissible"}},
        "run": {"concurrency": 4 * TASKS * SIBLINGS, "log_groups": 0},
        **parts,
    }
    return build_config(TrainConfig, tree, "asynchronous")


def _imitation(iterations: int) -> dict[str, Any]:
    return {
        "iterations": iterations,
        "demonstrations": 64,
        "schedule": {"updates": 8},
        "optimizer": {"learning_rate": 3e-3},
    }


def _learning(updates: int) -> dict[str, Any]:
    return {
        "iterations": updates,
        "tasks": TASKS,
        "siblings": SIBLINGS,
        "credit": {"name": "gigpo", "normalise": False},
        "rewards": {"terms": {"environment": 1.0, "turn": -0.02}},
        "optimizer": {"learning_rate": 3e-3},
    }


def _train(run: Path, config: TrainConfig) -> None:
    if not (run / "config.toml").exists():
        train(config, run)


def _last_checkpoint(run: Path) -> Path:
    return sorted((run / "checkpoints").iterdir())[-1]


def _compare(
    name: str, runs: Sequence[Sequence[Row]], others: Sequence[Sequence[Row]]
) -> Comparison:
    """A side beside the synchronous one, over all seeds."""
    return Comparison(
        f"{name}: {_success(runs)} won, synchronous {_success(others)}",
        sum(map(_seconds, runs)),
        sum(map(_seconds, others)),
        "s",
        AIM,
        sum(_least(run, other, SIDES[name]) for run, other in zip(runs, others, strict=True)),
        "latency of the episodes in flight, or the updates",
    )


def _least(run: Sequence[Row], other: Sequence[Row], side: Mapping[str, Any]) -> float:
    """Wall time of an iteration that waits for nothing but what it must, times their number.

    Of an episode's mean latency it waits for one part in as many as there are iterations under way;
    and updates take as long as those of the `other` run, beside which nothing else was computed.
    """
    turns = fmean(row["turns"] for row in run if row["phase"] == "rl")
    updates = [row["timing"]["update"] for row in other if row["phase"] == "rl"]
    latency = (turns + 1) * MEAN  # the first answer is that of the reset
    return float(max(latency / (1 + side["staleness"]), fmean(updates)) * len(updates))


def _success(runs: Sequence[Sequence[Row]]) -> str:
    final = [row for run in runs for row in run if row.get("stage") == "rl"]
    won = sum(row["successes"] for row in final)
    rate = success_rate(won, sum(row["episodes"] for row in final))
    return f"{100 * rate.success:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _show_runs(runs: Sequence[Sequence[Sequence[Row]]]) -> None:
    """What became of the groups on each side, over all seeds."""
    typer.echo("\n| | staleness | most | dropped | trained | turns | waited s | mismatch KL |")
    typer.echo("|---" * 8 + "|")
    for name, side in zip(SIDES, runs, strict=True):
        rows = [row for run in side for row in run if row["phase"] == "rl"]
        told = [row["asynchronous"] for row in rows if "asynchronous" in row]
        stale = fmean(part["staleness"] for part in told) if told else 0.0
        cells = (
            f"{stale:.2f}",
            max((part["staleness_max"] for part in told), default=0),
            int(sum(part["dropped"] for part in told)),
            TASKS * len(rows),
            f"{fmean(row['turns'] for row in rows):.2f}",
            f"{sum(part['trainer_waited'] for part in told):.1f}",
            f"{fmean(row.get('mismatch_kl', 0.0) for row in rows):.5f}",
        )
        typer.echo(f"| {name} | {' | '.join(map(str, cells))} |")


def _seconds(rows: Sequence[Row]) -> float:
    """Wall time of the reinforcement learning of one run, evaluations left out."""
    before = max(row["seconds"] for row in rows if row.get("stage") == "warm start")
    return float(max(row["seconds"] for row in rows if row["phase"] == "rl") - before)


if __name__ == "__main__":
    typer.run(main)
