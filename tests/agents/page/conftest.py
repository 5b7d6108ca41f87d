"""Runs to show: one as training leaves it, invented, and evaluations that were played."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.agents.page.browsing import Viewer, start_chromium

from longstep_agents.evaluation.contestants import BUILT_IN
from longstep_agents.evaluation.run import Evaluation, EvaluationSettings, Running
from longstep_tasks.suites import Part

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TASK_TYPES = ("pick_and_place_simple", "look_at_obj_in_light", "pick_two_obj_and_place")
PLACES = ("cabinet 1", "countertop 2", "drawer 3", "fridge 1", "shelf 2", "sinkbasin 1", "bed 1")
THINGS = ("apple 1", "mug 2", "knife 1", "plate 3", "pillow 1")
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "</script><!--<script>\u2028\u2029]]>\x1b[31m\u202egnp.exe\u2066\ud800"
)
LONG = "It is a long, long list of cups. "

Row = dict[str, Any]
MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """Writes a run's folder.

    `hostile` puts markup and control characters into every text, and a megabyte into one.
    """

    def write(hostile: bool = False, iterations: int = 20) -> Path:
        run = tmp_path_factory.mktemp("runs") / "household-seed0"
        (run / "episodes").mkdir(parents=True)
        sets = '[{name = "held-out"}]'
        (run / "config.toml").write_text(
            f'evaluation = {sets}\n[rl]\niterations = 20\n[rl.credit]\nname = "gigpo"\n'
        )
        rng, mark = random.Random(0), HOSTILE if hostile else ""
        rows = [*_imitation(rng), *_reinforcement(rng, iterations, mark)]
        if hostile:
            rows.append({"phase": mark, "seconds": 7e2, mark: 1.0, "timing": {mark: math.nan}})
        write_rows(run / "metrics.jsonl", rows)
        played = [
            _episode(rng, iteration, group, mark)
            for iteration in (1, iterations)
            for group in range(3)
            for _ in range(8)
        ]
        if hostile:
            played[0]["steps"][1]["observation"] = mark + LONG * (1_000_000 // len(LONG))
        write_rows(run / "episodes" / "rl.jsonl", played)
        return run

    return write


@pytest.fixture(scope="session")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two evaluations of the same tasks."""
    folder = tmp_path_factory.mktemp("evaluations")
    part = Part("treasure", "treasure", turns=30, split="test", count=12)
    settings = EvaluationSettings(attempts=2)
    for name in ("expert", "random"):
        Evaluation([part], BUILT_IN[name], settings, Running(concurrency=4)).play(folder / name)
    return folder


@pytest.fixture(scope="module")
def browser(evaluations: Path) -> Iterator[Browser]:
    """Started after the evaluations are played: beside it no event loop can be run."""
    with start_chromium() as found:
        yield found


@pytest.fixture
def viewer(browser: Browser) -> Iterator[Viewer]:
    """Opens pages; what they must not do fails the test."""
    found = Viewer(browser)
    yield found
    for context in browser.contexts:
        context.close()
    assert found.problems == []


def write_rows(path: Path, rows: list[Row]) -> None:
    """Append lines."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _imitation(rng: random.Random) -> list[Row]:
    rows: list[Row] = [
        {
            "phase": "imitation",
            "iteration": i,
            "success": None,
            "loss": 2.5 * math.exp(-i / 20) + 0.4 + rng.gauss(0, 0.03),
            "episodes": 64,
            "seconds": 2.0 * i,
            "timing": {"demonstrations": 0.3, "update": 1.6},
        }
        for i in range(1, 31)
    ]
    return [*rows, _evaluation("imitation", 30, 125.0, 0.48, "")]


def _reinforcement(rng: random.Random, iterations: int, mark: str) -> list[Row]:
    rows: list[Row] = []
    for i in range(1, iterations + 1):
        level = 0.48 + 0.34 * (1 - math.exp(-i / 8))
        rows.append(
            {
                "phase": "rl",
                "iteration": i,
                "success": level + rng.gauss(0, 0.02),
                "reward": level + rng.gauss(0, 0.04),
                "entropy": 0.9 - 0.006 * i,
                "entropy_by_turn": [1.2, 0.9, None, 0.7],
                "clip_fraction": 0.05 + 0.02 * rng.random(),
                "episodes": 128,
                "failed_episodes": 0,
                "gates": {"outcome" + mark: level},
                "seconds": 125 + 8.0 * i,
                "timing": {"rollout": 4.8, "credit": 0.1, "update": 2.9},
            }
        )
    return [*rows, _evaluation("rl", iterations, 125 + 8.0 * iterations, 0.8, mark)]


def _evaluation(after: str, iteration: int, seconds: float, level: float, mark: str) -> Row:
    rate = {"episodes": 300, "success": level, "low": level - 0.05, "high": level + 0.05}
    return {
        "phase": "eval",
        "after": after,
        "iteration": iteration,
        "seconds": seconds,
        "name": "held-out",
        "stage": "warm start" if after == "imitation" else "rl",
        **rate,
        "by_task_type": {name + mark: {**rate, "episodes": 100} for name in TASK_TYPES},
        "mean_turns": 12.5,
        "failed_to_run": 0,
        "data": ["invented" + mark],
    }


def _episode(rng: random.Random, iteration: int, group: int, mark: str) -> Row:
    success = rng.random() < 0.5
    turns = rng.randint(5, 12) if success else 20
    steps = [_step(rng, group, turn, success and turn == turns - 1, mark) for turn in range(turns)]
    steps[0]["begins"] = True
    steps[-1]["parts"] = {"environment" + mark: float(success), "outcome": float(success)}
    return {
        "phase": "rl",
        "iteration": iteration,
        "group": group,
        "env_id": "longstep/ALFWorld-v0" + mark,
        "seed": 7,
        "task_id": f"train/pick_cool_then_place_in_recep-Apple-None-Fridge-{group}{mark}",
        "task_type": TASK_TYPES[group] + mark,
        "success": success,
        "score": float(success),
        "outcome": "ok" if success else "truncated",
        "stop_reason": "success" if success else "turn_limit",
        "error": f"broke at {rng.random()}{mark}" if mark and not success else None,
        "seconds": 1.5,
        "steps": steps,
        "final_observation": "You won!" + mark,
    }


def _step(rng: random.Random, group: int, turn: int, wins: bool, mark: str) -> Row:
    place, thing = rng.choice(PLACES), rng.choice(THINGS)
    valid = rng.random() < 0.85
    words = ["go", " to", f" {place}{mark}"]
    return {
        "observation": f"You arrive at {place}. You see a {thing}.{mark}",
        "shown": f"> You arrive at {place}. You see a {thing}.{mark}\n",
        "action": "".join(words),
        "text": f"think: the {thing} is needed{mark}",
        "reasoning": f"Where is the {thing}?{mark}",
        "reward": float(wins),
        "credit": rng.gauss(0.1, 0.5),
        "state_key": f"{group}-{turn if turn < 2 else rng.random()}",
        "action_valid": valid,
        "fault": "" if valid else f"unknown{mark}",
        "logprob": -rng.random(),
        "tokens": {
            "text": words,
            "logprob": [-0.1, -0.0, -1.2],
            "entropy": [0.3, 0.0, 1.4],
            "chosen": [1, 0, 1],
            "credit": [0.1, 0.0, 0.2],
        },
    }
