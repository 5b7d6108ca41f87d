"""How far rollouts were behind the policy that learnt from them, and what waiting there was."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from longstep_agents.types import Completion, Group
from longstep_training.distributed import World


@dataclass(slots=True)
class Account:
    """What is measured between two updates, on one process."""

    tokens: int = 0
    behind: int = 0
    """The versions that all these tokens were behind, added up."""
    most_behind: int = 0
    dropped: int = 0
    in_flight: float = 0.0
    """Groups under way, each times the seconds that it was."""
    idle_seconds: float = 0.0
    """With no group under way."""
    seconds: float = 0.0
    trainer_waited: float = 0.0
    sync_seconds: float = 0.0
    sync_bytes: int = 0

    def __iadd__(self, more: Account) -> Self:
        """Add what was measured elsewhere."""
        self.in_flight += more.in_flight
        self.idle_seconds += more.idle_seconds
        self.seconds += more.seconds
        return self

    def learn_from(self, groups: Sequence[Group], version: int) -> None:
        """Count the chosen tokens of groups that the policy of `version` learns from."""
        for of_token in versions(groups):
            self.tokens += 1
            self.behind += version - of_token
            self.most_behind = max(self.most_behind, version - of_token)

    def row(self, world: World) -> dict[str, float]:
        """What a row of metrics tells: seconds are means over processes, groups and bytes sums."""
        total = world.sum_values(asdict(self))
        return {
            "staleness": total["behind"] / max(1.0, total["tokens"]),
            "staleness_max": max(world.gather(self.most_behind)),
            "dropped": total["dropped"],
            "in_flight": world.size * total["in_flight"] / max(1e-9, total["seconds"]),
            "trainer_waited": total["trainer_waited"] / world.size,
            "producer_waited": total["idle_seconds"] / world.size,
            "sync_seconds": total["sync_seconds"] / world.size,
            "sync_bytes": total["sync_bytes"],
        }


class Usage:
    """Groups under way over time."""

    def __init__(self) -> None:
        self._count = 0
        self._last = time.perf_counter()
        self._told = Account()

    def change(self, by: int) -> None:
        """So many more are under way."""
        self._advance()
        self._count += by

    def take(self) -> Account:
        """What was measured since this was asked last."""
        self._advance()
        told, self._told = self._told, Account()
        return told

    def _advance(self) -> None:
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        self._told.seconds += passed
        self._told.in_flight += passed * self._count
        self._told.idle_seconds += passed if not self._count else 0.0


def versions(groups: Sequence[Group]) -> Iterator[int]:
    """The version of the policy that sampled each chosen token of trajectories that count."""
    for completion in _completions(groups):
        for j in completion.choices:
            yield completion.versions[j] if completion.versions else completion.policy_version


def mismatch_row(world: World, groups: Sequence[Group]) -> dict[str, Any]:
    """The KL divergence of the trainer's present policy from what sampled each chosen token.

    Estimated by r - 1 - log r, with r the ratio of trainer to sampler, which is never negative.
    Empty where no method had the trainer's log-probabilities recorded.
    """
    total, tokens = 0.0, 0
    for completion in _completions(groups):
        if completion.trainer_logprobs:
            for j in completion.choices:
                log_ratio = completion.trainer_logprobs[j] - completion.logprobs[j]
                total += math.expm1(min(log_ratio, 50.0)) - log_ratio
                tokens += 1
    summed = world.sum_values({"total": total, "tokens": float(tokens)})
    return {"mismatch_kl": summed["total"] / summed["tokens"]} if summed["tokens"] else {}


def _completions(groups: Sequence[Group]) -> Iterator[Completion]:
    for group in groups:
        for trajectory in group.counted:
            for step in trajectory.steps:
                yield step.completion
