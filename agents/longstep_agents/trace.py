"""Episodes as lines of JSON, and the files that they are appended to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from longstep_agents.suspicions import Flag, suspicions
from longstep_agents.types import Completion, Step, Trajectory
from longstep_envs.types import DataError
from longstep_envs.untrusted import parse_json

if TYPE_CHECKING:  # it brings transformers
    from longstep_agents.encoding import TextDecoder

StepCredit = float | Sequence[float]
"""What a step earned: one number for all of its tokens, or one for each."""


class TokenColumns(TypedDict):
    """The tokens of one reply, by columns; log-probabilities and entropies in nats.

    Numbers are rounded to five digits, here and in `StepRow.credit`, `logprob` and `parts`.
    """

    text: list[str]
    logprob: list[float]
    entropy: NotRequired[list[float]]
    """Of the distribution that was sampled from, as the policy has it when it begins to learn from
    the reply; it is a newer one where episodes are played ahead."""
    chosen: list[int]
    """1 where the policy had a choice, and so is trained; 0 where the constraint left none."""
    credit: NotRequired[list[float]]
    """Where the tokens of the step did not all earn the same."""


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
    flags: NotRequired[list[Flag]]
    """What a person should look at, where there is such."""


def trace_row(
    trajectory: Trajectory,
    credit_S: Sequence[StepCredit] | None = None,
    decoder: TextDecoder | None = None,
    *,
    tokens: bool = False,
) -> dict[str, Any]:
    """What is kept of an episode for people to read.

    Args:
        trajectory: The episode.
        credit_S: What each step earned, if credit was assigned.
        decoder: Reads the tokens of the policy, if there is one whose tokens are known.
        tokens: Keep the replies token by token.
    """
    nothing = [None] * len(trajectory.steps)
    credit: Sequence[StepCredit | None] = nothing if credit_S is None else credit_S
    flags = suspicions(trajectory.steps)
    return {
        **({"env_id": trajectory.env_id} if trajectory.env_id else {}),
        "task_id": trajectory.task_id,
        "task_type": trajectory.task_type,
        "seed": trajectory.seed,
        "success": trajectory.success,
        "score": trajectory.score,
        "outcome": trajectory.outcome,
        "stop_reason": trajectory.stop_reason,
        "error": trajectory.error,
        "seconds": round(trajectory.seconds, 3),
        "steps": [
            _step(step, earned, decoder, tokens=tokens)
            for step, earned in zip(trajectory.steps, credit, strict=True)
        ],
        "final_observation": trajectory.final_observation,
        **({"flags": flags} if flags else {}),
    }


def _step(
    step: Step, earned: StepCredit | None, decoder: TextDecoder | None, *, tokens: bool
) -> dict[str, Any]:
    completion = step.completion
    shown = decoder.decode(step.bridge_ids) if decoder and step.bridge_ids else step.shown
    told = {
        "parts": {name: rounded(value) for name, value in step.reward_parts.items()},
        "shown": shown,
        "begins": bool(shown) and step.begins_row,
        "text": completion.text if completion.text != step.action else "",
        "tokens": _columns(completion, earned, decoder) if decoder and tokens else {},
        "target": step.target if step.target != "environment" else "",
        "fault": step.fault,
        "reasoning": step.reasoning,
        "unsayable": step.unsayable,
    }
    return {
        "observation": step.observation,
        "action": step.action,
        "reward": step.reward,
        "credit": None if earned is None else rounded(_mean(earned)),
        "state_key": step.state_key,
        "action_valid": step.action_valid,
        "logprob": rounded(sum(completion.logprobs)),
        **{name: value for name, value in told.items() if value},
    }


def _columns(
    completion: Completion, earned: StepCredit | None, decoder: TextDecoder
) -> dict[str, Any]:
    chosen = set(completion.choices)
    told = {
        "text": decoder.pieces(completion.ids),
        "logprob": [rounded(value) for value in completion.logprobs],
        "entropy": [rounded(value) for value in completion.entropies],
        "chosen": [int(j in chosen) for j in range(len(completion.ids))],
        "credit": [rounded(v) for v in earned] if isinstance(earned, Sequence) else [],
    }
    return {name: column for name, column in told.items() if column}


def _mean(earned: StepCredit) -> float:
    return sum(earned) / max(1, len(earned)) if isinstance(earned, Sequence) else earned


def rounded(value: float) -> float:
    """To the five digits that rows hold of most numbers."""
    return float(f"{value:.5g}") + 0.0  # which makes -0.0 a plain zero


def append_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append lines, and have them on disk before this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All whole lines; a last line that was cut off by a crash is ignored.

    Raises:
        DataError: a line holds no object; it names the file and the line.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_row(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error}); was the file changed since?") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: a {type(row).__name__}; wanted a JSON object")
    return row
