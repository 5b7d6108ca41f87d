"""Updates, and whole steps, beside TRL's GRPO trainer on the same work, in one run.

    python benchmarks/update.py [--repeats 3] [--trl-python VENV/bin/python] [--json]

The workload is that of `rollout.py`: 32 episodes of 8 turns. An update is one step of AdamW on all
of them, 14,336 tokens of which 4,096 were sampled. What is compared is CPU seconds, one thread
each; a step is a rollout and an update.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from comparison import Comparison, show  # type: ignore[import-not-found]  # beside this file
from fixed_work import (  # type: ignore[import-not-found]
    LIMIT,
    PRODUCTS,
    Trl,
    least_rollout,
    least_update,
)
from rollout import Player, make_model  # type: ignore[import-not-found]

from longstep_agents.types import Group
from longstep_training.batch import build_rows
from longstep_training.distributed import World
from longstep_training.lean import make_lean
from longstep_training.policy import Precision, compute_in
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.updater import OptimizerConfig, Updater

PLAIN, TRL = "as transformers computes it", "TRL"


@dataclass(frozen=True, slots=True)
class Way:
    """One set of options, and how much faster than TRL updates and steps should be."""

    precision: Precision = "float32"
    lean: bool = False
    share: bool = True
    goals: tuple[float | None, float | None] = (None, None)


WAYS = {
    PLAIN: Way(share=False),
    "beginnings shared": Way(),
    "and lean": Way(lean=True, goals=(1.7, 3.0)),
    "and in bfloat16": Way("bfloat16", lean=True, goals=(3.0, 4.5)),
}


class Side:
    """Plays and learns in one way."""

    def __init__(self, way: Way) -> None:
        model = make_model()
        rounded = way.precision == "bfloat16"
        options = {"share_prefixes": True} | ({"dtype": "bfloat16"} if rounded else {})
        self._player = Player(model, options)
        compute_in(way.precision, model)
        if way.lean:
            make_lean(model)
        config = OptimizerConfig(share=way.share, learning_rate=1e-6)
        self._updater = Updater(model, config, World())
        self._objective = partial(policy_loss, model, config=ReinforcementConfig())

    def step(self) -> tuple[float, float]:
        """CPU seconds of one rollout and of one update."""
        groups, rollout = self._player.play_groups()
        rows = build_rows(groups, _credit(groups))
        begin = time.process_time()
        self._updater.step(rows, self._objective)
        return rollout, time.process_time() - begin


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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure, and print the table."""
    torch.set_num_threads(1)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in [*WAYS, TRL]}
    with ExitStack() as stack:
        sides: dict[str, Side | Trl] = {name: Side(way) for name, way in WAYS.items()}
        if trl_python:
            sides[TRL] = stack.enter_context(Trl(trl_python, repeats + 1))
        for _ in range(repeats + 1):
            for name, side in sides.items():
                seconds[name].append(side.step())
    show(list(_compared(seconds, TRL if trl_python else PLAIN)), as_json=as_json)


def _compared(
    seconds: Mapping[str, Sequence[tuple[float, float]]], beside: str
) -> Iterator[Comparison]:
    """Updates, then whole steps; the first of each, which warmed up, is left out."""
    measured = {name: found[1:] for name, found in seconds.items() if found}
    updates = {name: median(update for _, update in found) for name, found in measured.items()}
    steps = {name: median(map(sum, found)) for name, found in measured.items()}
    for kind, medians in (("update", updates), ("step", steps)):
        for name, way in WAYS.items():
            dtype = getattr(torch, way.precision)
            least = least_update(dtype) + (least_rollout(dtype) if kind == "step" else 0.0)
            goal = way.goals[kind == "step"] if beside == TRL else None
            yield Comparison(
                f"{kind}, {name}",
                ours=medians[name],
                theirs=medians[beside],
                goal=goal,
                least=least,
                limit=PRODUCTS if kind == "update" else LIMIT,
            )


if __name__ == "__main__":
    typer.run(main)
