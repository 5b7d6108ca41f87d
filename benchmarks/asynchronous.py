"""Training with a slow environment, synchronous and asynchronous, in one run.

    python benchmarks/asynchronous.py OUT [--seeds 1] [--updates 24] [--json]

The environment answers in 200 ms in the mean, with a long tail. For each seed all sides start from
one warm start and take the same number of updates of the same size; `ratio` is the synchronous wall
time over the side's own. Success is on tasks that are not trained on, without latency, with its
95 % interval over all seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from longstep_envs import register
from longstep_training.config import build_config
from longstep_training.evaluate import success_rate
from longstep_training.log import RunLog
from longstep_training.loop import train
from longstep_training.recipe import TrainConfig

register("bench/SlowTreasure-v0", "slow:SlowTreasureEnv")

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
    measured = [_measure(name, side, runs[0]) for name, side in zip(SIDES, runs, strict=True)]
    if as_json:
        typer.echo(json.dumps(measured))
        return
    typer.echo("| " + " | ".join(measured[0]) + " |")
    typer.echo("|---" * len(measured[0]) + "|")
    for row in measured:
        typer.echo("| " + " | ".join(map(str, row.values())) + " |")


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


def _measure(
    name: str, runs: Sequence[Sequence[dict[str, Any]]], others: Sequence[Sequence[dict[str, Any]]]
) -> dict[str, Any]:
    """A line of the table, of all seeds."""
    rows = [row for run in runs for row in run if row["phase"] == "rl"]
    told = [row["asynchronous"] for row in rows if "asynchronous" in row]
    final = [row for run in runs for row in run if row.get("stage") == "rl"]
    episodes = sum(row["episodes"] for row in final)
    won = round(sum(row["success"] * row["episodes"] for row in final))
    rate = success_rate(won, episodes)
    seconds = sum(map(_seconds, runs))
    return {
        "side": name,
        "seconds": round(seconds, 1),
        "ratio": round(sum(map(_seconds, others)) / seconds, 2),
        "success": f"{100 * rate.success:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]",
        "staleness": round(sum(part["staleness"] for part in told) / max(1, len(told)), 2),
        "most": max((part["staleness_max"] for part in told), default=0),
        "dropped": int(sum(part["dropped"] for part in told)),
        "trained": TASKS * len(rows),
        "turns": round(sum(row["turns"] for row in rows) / len(rows), 2),
        "waited": round(sum(part["trainer_waited"] for part in told), 1),
        "mismatch KL": round(sum(row.get("mismatch_kl", 0.0) for row in rows) / len(rows), 5),
    }


def _seconds(rows: Sequence[dict[str, Any]]) -> float:
    """Wall time of the reinforcement learning of one run, evaluations left out."""
    before = max(row["seconds"] for row in rows if row.get("stage") == "warm start")
    return float(max(row["seconds"] for row in rows if row["phase"] == "rl") - before)


if __name__ == "__main__":
    typer.run(main)
