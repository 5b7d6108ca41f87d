"""A pool's environment as one episode sees it: here, or in a worker process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol, cast

from longstep_envs.contract import checked_reset, checked_step
from longstep_envs.limits import Limited
from longstep_envs.link import START_SECONDS, WorkerLink, WorkerLostError
from longstep_envs.types import (
    ContractError,
    EnvFaultError,
    EpisodeOverError,
    ErrorInfo,
    Info,
    Limits,
)
from longstep_envs.worker import AGENT_ERROR, Recipe, describe_error

StepResult = tuple[str, float, bool, bool, Info]


class Slot(Protocol):
    """One environment of the pool, leased for one attempt at an episode."""

    async def reset(
        self, task_id: str | None, seed: int | None, *, expert: bool | str = False
    ) -> tuple[str, Info]:
        """Start the episode. Raises EnvFaultError, which `play` lets pass."""

    async def step(self, action: str) -> StepResult:
        """Apply one action. Raises EnvFaultError, which `play` lets pass."""


class Lease(Slot, Protocol):
    """What the pool knows of a slot beyond what `play` sees."""

    fault: ErrorInfo | None
    own: bool
    """Whether this episode itself is at fault; not so when a neighbour killed the worker."""

    def release(self) -> None:
        """Give the environment back."""


class InlineSlot:
    """An environment in this process. A step is one plain call: no future, no queue."""

    __slots__ = ("_env", "_idle", "_recipe", "fault", "own")

    def __init__(self, recipe: Recipe, idle: list[Limited]) -> None:
        self.fault: ErrorInfo | None = None
        self.own = True
        self._recipe = recipe
        self._idle = idle
        self._env = idle.pop() if idle else None

    async def reset(
        self, task_id: str | None, seed: int | None, *, expert: bool | str = False
    ) -> tuple[str, Info]:
        """Start the episode."""
        try:
            if self._env is None:
                self._env = self._recipe.make()
            return self._env.reset(seed=seed, options={"task": task_id, "expert": expert})
        except (Exception, SystemExit) as error:  # environments are foreign code
            self.fault = describe_error(error)
            raise EnvFaultError(self.fault) from error

    async def step(self, action: str) -> StepResult:
        """Apply one action."""
        if self._env is None or not isinstance(action, str):
            raise _misuse(action)
        try:
            result = self._env.step(action)
            self.fault = result[4].get("error")
        except EpisodeOverError:
            raise
        except (Exception, SystemExit) as error:  # environments are foreign code
            self.fault = describe_error(error)
            raise EnvFaultError(self.fault) from error
        if self.fault is not None:
            raise EnvFaultError(self.fault)
        return result

    def release(self) -> None:
        """Keep the environment for the next episode, unless it failed."""
        if self._env is not None and self.fault is None:
            self._idle.append(self._env)
        elif self._env is not None:
            close_quietly(self._env)
        self._env = None


class ProcessSlot:
    """An environment in a worker process."""

    def __init__(self, link: WorkerLink, limits: Limits) -> None:
        self.fault: ErrorInfo | None = None
        self.own = True
        self._link = link
        self._place = link.free.pop()
        self._seconds = limits.step_seconds

    async def reset(
        self, task_id: str | None, seed: int | None, *, expert: bool | str = False
    ) -> tuple[str, Info]:
        """Start the episode."""
        if self._place not in self._link.opened:
            await self._ask(START_SECONDS, lambda nothing: None, "open")
            self._link.opened.add(self._place)
        result = await self._ask(self._seconds, checked_reset, "reset", task_id, seed, expert)
        return cast("tuple[str, Info]", result)

    async def step(self, action: str) -> StepResult:
        """Apply one action."""
        if self._place not in self._link.opened or not isinstance(action, str):
            raise _misuse(action)
        result = await self._ask(self._seconds, checked_step, "step", action)
        self.fault = result[4].get("error")
        if self.fault is not None:
            raise EnvFaultError(self.fault)
        return cast("StepResult", result)

    def release(self) -> None:
        """Give the place back; a worker whose environment failed takes no more episodes."""
        self._link.free.append(self._place)
        if self.fault is not None:
            self._link.retiring = True

    async def _ask(
        self, seconds: float | None, checked: Callable[[Any], Any], op: str, *arguments: Any
    ) -> Any:
        try:
            answer = await self._link.ask(op, self._place, *arguments, seconds=seconds)
            return checked(tuple(answer) if isinstance(answer, list) else answer)
        except EnvFaultError as error:
            if error.error["type"] == AGENT_ERROR:
                raise EpisodeOverError(error.error["message"]) from None
            self.fault = error.error
            self.own = not isinstance(error, WorkerLostError) or error.own
            raise
        except ContractError as error:
            self.fault = describe_error(error)
            raise EnvFaultError(self.fault) from error


def _misuse(action: object) -> Exception:
    if not isinstance(action, str):
        return TypeError(f"an action is a str, got {type(action).__name__}")
    return EpisodeOverError("no episode is running; call reset() on the slot first")


def close_quietly(env: Limited) -> None:
    """Close an environment whose outcome is already known, whatever its code does."""
    with contextlib.suppress(Exception):
        env.close()
