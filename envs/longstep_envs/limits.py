"""Limits of an episode, enforced around an environment and never inside it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import gymnasium

from longstep_envs.contract import checked_reset, checked_step
from longstep_envs.env import TextEnv
from longstep_envs.types import (
    EpisodeOverError,
    Info,
    Limits,
    Snapshot,
    StopReason,
    ToolSpec,
)


class Limited(gymnasium.Wrapper[str, str, str, str]):
    """Truncates an episode of `env` that reaches one of `limits`, and says which.

    `turns`, `episode_seconds` and `invalid_actions` are enforced here; `step_seconds` by the
    pool, which can kill what hangs; `tokens` by the rollout, which counts them. The end of the
    task goes before a limit that falls on the same step. What the environment returns is checked
    here, too: a `ContractError` names what is wrong.
    """

    env: TextEnv

    def __init__(
        self, env: TextEnv, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(env)
        self.limits = limits
        self._clock = clock
        self._started = 0.0
        self._turns = 0
        self._invalid = 0  # invalid actions in a row
        self._stopped: StopReason | None = None

    @property
    def task_ids(self) -> Sequence[str]:
        """The tasks of the environment."""
        return self.env.task_ids

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """The tools of the environment."""
        return self.env.tools

    def reset(  # type: ignore[override]
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, Info]:
        """Start an episode; its clock starts with this call."""
        self._started = self._clock()
        self._turns, self._invalid, self._stopped = 0, 0, None
        return checked_reset(self.env.reset(seed=seed, options=options))

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:  # type: ignore[override]
        """Step the environment, then truncate the episode if it has reached a limit.

        Raises:
            EpisodeOverError: the episode has already been truncated.
        """
        if self._stopped is not None:
            raise EpisodeOverError(f"the episode ended: {self._stopped}; call reset() first")
        observation, reward, terminated, truncated, info = checked_step(self.env.step(action))
        self._turns += 1
        self._invalid = 0 if info.get("action_valid", True) else self._invalid + 1
        if terminated or truncated:
            return observation, reward, terminated, truncated and not terminated, info
        self._stopped = self._reached()
        if self._stopped is not None:
            info["stop_reason"] = self._stopped.value
        return observation, reward, False, self._stopped is not None, info

    def snapshot(self) -> Snapshot:
        """The environment's snapshot, with the counters of the limits."""
        elapsed = self._clock() - self._started
        counters = (elapsed, self._invalid, self._stopped)
        return dataclasses.replace(self.env.snapshot(), outer=counters)

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Return to a snapshot, and the counters with it: used time stays used."""
        observation, info = self.env.restore(snapshot)
        elapsed, self._invalid, self._stopped = snapshot.outer or (0.0, 0, None)
        self._started = self._clock() - elapsed
        self._turns = len(snapshot.actions)
        if self._stopped is not None:
            info["stop_reason"] = self._stopped.value
        return observation, info

    def fork(self) -> Self:
        """A second environment at the same point under the same limits."""
        twin = type(self)(self.env.fork(), self.limits, self._clock)
        twin._started, twin._turns = self._started, self._turns
        twin._invalid, twin._stopped = self._invalid, self._stopped
        return twin

    def _reached(self) -> StopReason | None:
        limits = self.limits
        if limits.invalid_actions is not None and self._invalid >= limits.invalid_actions:
            return StopReason.INVALID_ACTIONS
        if limits.turns is not None and self._turns >= limits.turns:
            return StopReason.TURN_LIMIT
        if limits.episode_seconds is None:
            return None
        if self._clock() - self._started >= limits.episode_seconds:
            return StopReason.TIME_LIMIT
        return None
