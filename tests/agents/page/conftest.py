"""A run directory as training leaves it, invented: curves rise, siblings differ, credits vary."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
PLACES = ("cabinet 1", "countertop 2", "drawer 3", "fridge 1", "shelf 2", "sinkbasin 1", "bed 1")
THINGS = ("apple 1", "mug 2", "knife 1", "plate 3", "pillow 1")
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"

Row = dict[str, Any]


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run directory; `hostile` puts markup and control characters into every text."""

    def write(hostile: bool = False, iterations: int = 60) -> Path:
        run = tmp_path / "household-seed0"
        (run / "episodes").mkdir(parents=True)
        (run / "config.toml").write_text('seed = 0\n\n[credit]\nname = "gigpo"\n', "utf-8")
        rng = random.Random(0)
        rows = [*_imitation(rng), *_reinforcement(rng, iterations)]
        mark = HOSTILE if hostile else ""
        if hostile:
            rows = [
                {**row, "name": mark, "constraint": mark, "phase": row["phase"]} for row in rows
            ]
            rows.append({"phase": mark, "seconds": 700.0, mark: 1.0, "timing": {mark: 1.0}})
        _write_rows(run / "metrics.jsonl", rows)
        for iteration in (0, iterations - 1):
            episodes = [
                _episode(rng, iteration, group, mark) for group in range(3) for _ in range(8)
            ]
            _write_rows(run / "episodes" / f"rl-{iteration:06d}.jsonl", episodes)
        return run

    return write


def _write_rows(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _imitation(rng: random.Random) -> list[Row]:
    rows: list[Row] = [
        {
            "phase": "imitation",
            "iteration": i,
            "seconds": 2.0 * i,
            "success": None,
            "loss": 2.5 * math.exp(-i / 20) + 0.4 + rng.gauss(0, 0.03),
            "grad_norm": 1.0 + rng.random(),
            "tokens_per_second": 21000 + rng.gauss(0, 900),
            "episodes": 64,
            "timing": {"demonstrations": 0.3, "update": 1.6},
        }
        for i in range(60)
    ]
    return [*rows, _evaluation(0, 125.0, "warm start", 0.48, 512)]


def _reinforcement(rng: random.Random, iterations: int) -> list[Row]:
    rows: list[Row] = []
    for i in range(iterations):
        level = 0.48 + 0.34 * (1 - math.exp(-i / 22))
        seconds = 125 + 8.0 * (i + 1)
        rows.append(
            {
                "phase": "rl",
                "iteration": i,
                "seconds": seconds,
                "success": min(1.0, max(0.0, level + rng.gauss(0, 0.05))),
                "reward": level + rng.gauss(0, 0.04),
                "entropy": 0.9 - 0.006 * i + rng.gauss(0, 0.02),
                "loss": rng.gauss(0, 0.02),
                "grad_norm": 0.4 + 0.3 * rng.random(),
                "tokens_per_second": 9000 + rng.gauss(0, 500),
                "clip_fraction": 0.05 + 0.02 * rng.random(),
                "episodes": 128,
                "timing": {"rollout": 4.8, "credit": 0.1, "update": 2.9, "log": 0.1},
            }
        )
        if i % 15 == 14:
            rows.append(_evaluation(i, seconds, "rl", level, 512))
    return rows


def _evaluation(iteration: int, seconds: float, stage: str, level: float, count: int) -> Row:
    each = count // len(TASK_TYPES)
    by_type = {
        name: _rate(round(each * min(1.0, level * (0.7 + 0.1 * i))), each)
        for i, name in enumerate(TASK_TYPES)
    }
    return {
        "phase": "eval",
        "iteration": iteration,
        "seconds": seconds,
        "name": "held-out",
        "stage": stage,
        "temperature": 1.0,
        "constraint": "admissible",
        **_rate(round(level * count), count),
        "by_task_type": by_type,
        "mean_turns": 12.5,
    }


def _rate(successes: int, episodes: int) -> Row:
    share, z = successes / episodes, 1.96
    middle = (share + z * z / (2 * episodes)) / (1 + z * z / episodes)
    spread = math.sqrt(share * (1 - share) / episodes + z * z / (4 * episodes**2))
    half = z * spread / (1 + z * z / episodes)
    return {
        "episodes": episodes,
        "successes": successes,
        "low": middle - half,
        "high": middle + half,
    }


def _episode(rng: random.Random, iteration: int, group: int, mark: str) -> Row:
    success = rng.random() < 0.5
    turns = rng.randint(5, 12) if success else 20
    room = ", ".join(f"a {place}" for place in PLACES)
    seen = f"You are in the middle of a room. Looking around you, you see {room}.{mark}\x1b[31m"
    steps: list[Row] = []
    for turn in range(turns):
        place, thing = rng.choice(PLACES), rng.choice(THINGS)
        valid = rng.random() < 0.85
        action = rng.choice([f"go to {place}", f"take {thing} from {place}", f"open {place}"])
        steps.append(
            {
                "observation": seen,
                "action": action + mark,
                "reward": 1.0 if success and turn == turns - 1 else 0.0,
                "credit": rng.gauss(0.5 if success else -0.4, 0.5),
                "state_key": f"{group}-{turn if turn < 2 else rng.random()}",
                "action_valid": valid,
                "logprob": -rng.random(),
            }
        )
        seen = f"You arrive at {place}. On the {place}, you see a {thing}." if valid else "Nothing."
        seen += mark + (" It is a long list." * 40 if turn == 3 else "")
    return {
        "phase": "rl",
        "iteration": iteration,
        "group": group,
        "task_id": f"train/pick_cool_then_place_in_recep-Apple-None-Fridge-{group}{mark}",
        "task_type": "pick_cool_then_place_in_recep",
        "success": success,
        "score": float(success),
        "outcome": "ok" if success else "truncated",
        "stop_reason": "success" if success else "turn_limit",
        "steps": steps,
        "final_observation": "You won!" if success else seen,
    }
