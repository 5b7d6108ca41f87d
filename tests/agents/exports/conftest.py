import json
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.evaluation.contestants import BUILT_IN
from longstep_agents.evaluation.run import Evaluation
from longstep_tasks.suites import Part

HOSTILE = 'x</script>\x00\x1b[31m\ud800 "\u202e'
TREASURE = Part("treasure", "treasure", turns=30, split="test", count=4)
WON: dict[str, Any] = {
    "phase": "rl",
    "iteration": 2,
    "group": 0,
    "env_id": "longstep/Treasure-v0",
    "task_id": "train/7",
    "task_type": "open",
    "seed": 7,
    "success": True,
    "score": 1.0,
    "outcome": "ok",
    "stop_reason": "success",
    "error": None,
    "seconds": 0.5,
    "steps": [
        {
            "observation": "You see a chest.",
            "action": "open chest",
            "text": "chest open",
            "reward": 0.75,
            "credit": 0.5,
            "state_key": "k1",
            "action_valid": True,
            "logprob": -0.3,
            "reasoning": "chests open",
            "parts": {"environment": 0.75},
            "shown": "<user>You see a chest.",
            "begins": True,
            "tokens": {
                "text": ["chest", " open"],
                "logprob": [-0.1, -0.2],
                "entropy": [0.6, 0.7],
                "chosen": [1, 0],
            },
        },
        {
            "observation": "It is open.",
            "action": '{"name": "take", "arguments": {"what": "gold"}}',
            "text": '<call>{"name": "take", "arguments": {"what": "gold"}}</call>',
            "reward": 0.25,
            "credit": -0.5,
            "state_key": "k2",
            "action_valid": True,
            "logprob": -0.4,
        },
    ],
    "final_observation": "You have gold.",
}
FAILED: dict[str, Any] = {
    "phase": "rl",
    "iteration": 2,
    "group": 1,
    "task_id": "train/8",
    "task_type": "open",
    "success": False,
    "score": 0.0,
    "outcome": "env_error",
    "stop_reason": "error",
    "error": "RuntimeError: the world ended",
    "steps": [],
    "final_observation": "",
}
EVIL: dict[str, Any] = {
    "phase": "rl",
    "iteration": 3,
    "group": 0,
    "task_id": f"../../../../etc/passwd{HOSTILE}",
    "task_type": ["not a text"],
    "success": "yes",
    "score": float("nan"),
    "outcome": HOSTILE,
    "stop_reason": HOSTILE,
    "steps": [
        {"observation": HOSTILE, "action": HOSTILE, "reward": 1e400, "parts": {HOSTILE: "?"}},
        {"observation": 5, "action": None, "reward": None, "tokens": [1], "credit": "?"},
        "not a step",
    ],
    "final_observation": HOSTILE,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A training run, which somebody has tampered with."""
    folder = tmp_path / "run"
    (folder / "episodes").mkdir(parents=True)
    (folder / "config.toml").write_text("seed = 0\n")
    lines = [json.dumps(row) for row in (WON, FAILED, EVIL)]
    lines += ["[1, 2]", "not JSON", '{"phase": "rl", "cut']
    (folder / "episodes" / "rl.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the expert has played."""
    folder = tmp_path_factory.mktemp("evaluations") / "expert"
    Evaluation([TREASURE], BUILT_IN["expert"]).play(folder)
    return folder
