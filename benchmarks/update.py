"""Updates, and whole steps, beside TRL's GRPO trainer on the same work, in one run.

    python benchmarks/update.py [--repeats 3] [--trl-python VENV/bin/python]

The workload is that of `rollout.py`: 32 episodes of 8 turns. An update is one step of AdamW on all
of them, 14,336 tokens of which 4,096 were sampled. What is compared is CPU seconds, one thread
each; a step is a rollout and an update.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from rollout import (  # type: ignore[import-not-found]  # beside this file
    Player,
    make_model,
    measure_trl,
)

from longstep_agents.types import Group
from longstep_training.batch import build_rows, pack
from longstep_training.distributed import World
from longstep_training.policy import compute_in
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.updater import OptimizerConfig, Updater

SIDES: dict[str, tuple[dict[str, object], bool, bool]] = {
    "longstep": ({}, True, False),
    "beginnings not shared": ({}, False, False),
    "in bfloat16": ({"dtype": "bfloat16"}, True, True),
}
"""Options of the engine; whether the update shares beginnings, and computes in bfloat16."""


class Side:
    """Plays and learns with one set of options."""

    def __init__(self, engine: dict[str, object], *, share: bool, half: bool) -> None:
        self._model = make_model()
        self._player = Player(self._model, engine)
        compute_in("bfloat16" if half else "float32", self._model)
        config = OptimizerConfig(share=share, token_budget=8_192, learning_rate=1e-6)
        self._updater = Updater(self._model, config, World())
        self._share = share
        self.seconds: list[tuple[float, float]] = []
        """Of each repetition's rollout and update."""
        self.computed = 0

    def step(self) -> None:
        """One rollout and one update."""
        groups, rollout = self._player.play_groups()
        rows = build_rows(groups, _credit(groups))
        objective = partial(policy_loss, self._model, config=ReinforcementConfig())
        begin = time.process_time()
        self._updater.step(rows, objective)
        self.seconds.append((rollout, time.process_time() - begin))
        self.computed = sum(len(b.ids_N) for b in pack(rows, 8_192, share=self._share))


def _credit(groups: Sequence[Group]) -> list[list[list[float]]]:
    drawn = random.Random(0)
    return [
        [[credit] * len(t.steps) for t, credit in ((t, drawn.gauss(0, 1)) for t in g.trajectories)]
        for g in groups
    ]


def main(
    repeats: Annotated[int, typer.Option(help="Repetitions, after one that warms up.")] = 3,
    trl_python: Annotated[
        Path | None, typer.Option(help="A Python that has trl; left out without.")
    ] = None,
) -> None:
    """Measure, and print the table."""
    torch.set_num_threads(1)
    typer.echo(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}\n")
    sides = {name: Side(e, share=s, half=h) for name, (e, s, h) in SIDES.items()}
    for _ in range(repeats + 1):
        for side in sides.values():
            side.step()
    seconds = {name: side.seconds[1:] for name, side in sides.items()}
    if trl_python is not None:
        trl = measure_trl(trl_python, repeats)
        rollouts = [cpu for cpu, _ in trl["seconds"]]
        seconds["TRL"] = list(zip(rollouts, trl["updates"], strict=True))
    columns = ("", "rollout s", "update s", "step s", "update to TRL", "step to TRL", "computed")
    typer.echo(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for name, found in seconds.items():
        rollout, update, step = _medians(found)
        ratios = " | "
        if "TRL" in seconds:
            _, update_trl, step_trl = _medians(seconds["TRL"])
            ratios = f"{update_trl / update:.2f} | {step_trl / step:.2f}"
        computed = f"{sides[name].computed:,}" if name in sides else ""
        typer.echo(
            f"| {name} | {rollout:.2f} | {update:.2f} | {step:.2f} | {ratios} | {computed} |"
        )
    typer.echo(f"\nload average now {os.getloadavg()[0]:.1f}")


def _medians(found: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    rollouts, updates = zip(*found, strict=True)
    return median(rollouts), median(updates), median(r + u for r, u in found)


if __name__ == "__main__":
    typer.run(main)
