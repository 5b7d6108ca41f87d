"""Episodes as lines of JSON, and the files that they are appended to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from longstep_agents.types import Step, Trajectory


class TokenColumns(TypedDict):
    """The tokens of one reply, by columns; log-probabilities and entropies in nats."""

    text: list[str]
    logprob: list[float]
    entropy: NotRequired[list[float]]
    """Of the distribution that was sampled from."""
    chosen: list[int]
    """1 where the policy had a choice, and so is trained; 0 where the constraint left none."""
    credit: NotRequired[list[float]]


class StepRow(TypedDict):
    """One step of an episode as it is kept."""

    observation: str
    action: str
    reward: float
    credit: float | None
    state_key: str
    action_valid: bool
    logprob: float
    parts: NotRequired[dict[str, float]]
    """Parts of the reward; a gate is told on the last step, 1 where it was open."""
    shown: NotRequired[str]
    """What the model was given before its reply, beyond what it was given and said before."""
    begins: NotRequired[bool]
    """Whether `shown` is a whole prompt, and nothing of before was seen."""
    text: NotRequired[str]
    """The reply, where it is not the action."""
    tokens: NotRequired[TokenColumns]
    target: NotRequired[str]
    fault: NotRequired[str]
    reasoning: NotRequired[str]
    unsayable: NotRequired[int]


class EpisodeRow(TypedDict):
    """An episode as it is kept, beside what tells its place in a run or an evaluation."""

    env_id: NotRequired[str]
    task_id: str
    task_type: str
    seed: int
    success: bool
    score: float
    outcome: str
    stop_reason: str
    error: NotRequired[str | None]
    seconds: float
    steps: list[StepRow]
    final_observation: str


def trace_row(trajectory: Trajectory, credit_S: Sequence[float] | None = None) -> dict[str, Any]:
    """What is kept of an episode for people to read, with the credit of each step, if any."""
    return {
        "task_id": trajectory.task_id,
        "task_type": trajectory.task_type,
        "success": trajectory.success,
        "score": trajectory.score,
        "outcome": trajectory.outcome,
        "stop_reason": trajectory.stop_reason,
        "steps": [
            _step(step, None if credit_S is None else credit_S[s])
            for s, step in enumerate(trajectory.steps)
        ],
        "final_observation": trajectory.final_observation,
    }


def _step(step: Step, credit: float | None) -> dict[str, Any]:
    return {
        "observation": step.observation,
        "action": step.action,
        "reward": step.reward,
        "credit": credit,
        "state_key": step.state_key,
        "action_valid": step.action_valid,
        "logprob": sum(step.completion.logprobs),
        **({"text": step.completion.text} if step.completion.text not in ("", step.action) else {}),
        **({"target": step.target} if step.target != "environment" else {}),
        **({"fault": step.fault} if step.fault else {}),
        **({"reasoning": step.reasoning} if step.reasoning else {}),
        **({"unsayable": step.unsayable} if step.unsayable else {}),
    }


def append_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append lines, and have them on disk before this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All whole lines; a last line that was cut off by a crash is ignored."""
    if not path.exists():
        return []
    text = path.read_text("utf-8")
    lines = text.splitlines()
    if text and not text.endswith("\n"):
        lines = lines[:-1]
    return [json.loads(line) for line in lines]
