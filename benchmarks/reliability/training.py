"""The same training through an environment without faults, and with them in 5 and 20 % of episodes.

    python -m benchmarks.reliability.training [--seeds 3] [--runs runs/reliability] [--jobs 1]

Each try at an episode draws anew whether it fails, how and when, over all kinds of faults. What was
learnt is then tested without faults, on tasks that training has not seen. A run that is interrupted
is gone on with when the command is given again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer
from benchmarks.reliability.evidence import save

from longstep_agents.evaluation.statistics import wilson
from longstep_envs import register
from longstep_envs.faulty import Ledger
from longstep_training.config import build_config
from longstep_training.loop import train
from longstep_training.recipe import TrainConfig

RATES = (0.0, 0.05, 0.2)
WORLD = {"rooms": 4, "locks": 1}
FAILING = "reliability/Failing-v0"


def main(
    seeds: Annotated[int, typer.Option(help="Runs at each rate.")] = 3,
    runs: Annotated[Path, typer.Option(help="Where they are kept.")] = Path("runs/reliability"),
    jobs: Annotated[int, typer.Option(help="Runs at a time.")] = 1,
) -> None:
    """Train, count, and write the result."""
    places = [(rate, seed) for seed in range(seeds) for rate in RATES]
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        told = list(pool.map(_train, repeat(runs), *zip(*places, strict=True)))
    found = {
        rate: [run for run, (its, _) in zip(told, places, strict=True) if its == rate]
        for rate in RATES
    }
    calm = _rate(found[0.0])
    numbers: dict[str, Any] = {
        "runs": seeds * len(RATES),
        "environment": f"longstep/Treasure-v0, {WORLD['rooms']} rooms, {WORLD['locks']} lock",
        "held-out tasks": found[0.0][0]["tasks"],
    }
    for rate, told in found.items():
        numbers[f"{rate:.0%} faults"] = _told(told, calm)
    save("training", "The same training through faults", numbers)


def _train(runs: Path, rate: float, seed: int) -> dict[str, Any]:
    """Train, unless that is done; what was learnt, and what stood in the way."""
    register(FAILING, "benchmarks.reliability.failing:FailingEnv")
    folder = runs / f"{round(100 * rate)}-{seed}"
    out, ledger = folder / "run", folder / "faults"
    ledger.mkdir(parents=True, exist_ok=True)
    if not (out / "report.done").exists():
        config = build_config(TrainConfig, _config(rate, seed, ledger), "the benchmark")
        train(config, out, resume=(out / "config.toml").exists())
        (out / "report.done").touch()
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    played = [row for row in rows if row["phase"] != "eval"]
    tested = [row for row in rows if row.get("stage") == "rl"]
    begun = [row for row in rows if row.get("stage") == "warm start"]
    return {
        "tasks": sum(row["episodes"] for row in tested),
        "successes": sum(row["successes"] for row in tested),
        "warm": sum(row["successes"] for row in begun),
        "faults": len(list(Ledger(ledger).faults())),
        **{
            name: sum(row[name] for row in played)
            for name in ("episodes", "failed_episodes", "retries", "skipped_steps")
        },
    }


def _told(runs: Sequence[Mapping[str, Any]], calm: float) -> dict[str, Any]:
    """The runs of one rate together."""

    def total(name: str) -> int:
        return sum(run[name] for run in runs)

    low, high = wilson(total("successes"), total("tasks"))
    return {
        "success": _rate(runs),
        "of": total("tasks"),
        "interval": [low, high],
        "each seed": [_rate([run]) for run in runs],
        "to that at 0%": _rate(runs) / calm,
        "after imitation": total("warm") / total("tasks"),
        "training episodes": total("episodes"),
        "faults": total("faults"),
        "retries": total("retries"),
        "masked episodes": total("failed_episodes"),
        "skipped steps": total("skipped_steps"),
    }


def _rate(runs: Sequence[Mapping[str, Any]]) -> float:
    return float(sum(run["successes"] for run in runs) / sum(run["tasks"] for run in runs))


def _config(rate: float, seed: int, ledger: Path) -> dict[str, Any]:
    inner = {"inner_kwargs": {**WORLD, "split": "train"}, "seconds": 600.0}
    faults = {**inner, "rate": rate, "ledger": str(ledger)}
    return {
        "seed": seed,
        "train": {
            "env_id": FAILING,
            "turns": 16,
            "step_seconds": 2.0,
            "env_kwargs": faults,
        },
        "evaluation": [
            {
                "name": split,
                "episodes": 200,
                "tasks": {
                    "env_id": "longstep/Treasure-v0",
                    "turns": 16,
                    "split": split,
                    "env_kwargs": WORLD,
                },
            }
            for split in ("valid", "test")
        ],
        "policy": {
            "vocabulary_episodes": 64,
            "small": {"hidden": 32, "layers": 2, "heads": 2, "feed_forward": 64},
        },
        "agent": {"max_tokens": 8, "action": {"constraint": "admissible"}},
        "imitation": {"iterations": 12, "demonstrations": 32, "schedule": {"updates": 2}},
        "rl": {"iterations": 30, "tasks": 8, "siblings": 8},
        "run": {"checkpoint_every": 5},
    }


if __name__ == "__main__":
    typer.run(main)
