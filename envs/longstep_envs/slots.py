"""A pool's environment as one episode sees it: here, or in a worker process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar, cast

from longstep_envs.budget import Budget
from longstep_envs.callers import Caller
from longstep_envs.contract import checked_reset, checked_step
from longstep_envs.limits import Limited
from longstep_envs.link import START_SECONDS, Request, WorkerLink, WorkerLostError
from longstep_envs.snapshots import pack, unpack
from longstep_envs.types import (
    ContractError,
    EnvFaultError,
    EpisodeOverError,
    ErrorInfo,
    Info,
    Limits,
    Snapshot,
)
from longstep_envs.worker import AGENT_ERROR, describe_error

StepResult = tuple[str, float, bool, bool, Info]
T = TypeVar("T")


class Slot(Protocol):
    """One environment of the pool, leased for one attempt at an episode."""

    async def reset(
        self, task_id: str | None, seed: int | None, *, expert: bool | str = False
    ) -> tuple[str, Info]:
        """Start the episode. Raises EnvFaultError, which `play` lets pass."""

    async def step(self, action: str) -> StepResult:
        """Apply one action. Raises EnvFaultError, which `play` lets pass."""

    async def snapshot(self) -> Snapshot:
        """The present point of the episode. Raises EnvFaultError, which `play` lets pass."""

    async def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Go on from a snapshot that any slot of the pool gave, in place of a reset.

        A snapshot of a worker process holds no native state: its actions are replayed. Raises
        EnvFaultError, which `play` lets pass.
        """


class Lease(Slot, Protocol):
    """What the pool knows of a slot beyond what `play` sees."""

    fault: ErrorInfo | None
    own: bool
    """Whether this episode itself is at fault; not so when a neighbour killed the worker."""

    def release(self) -> None:
        """Give the environment back."""


class Seat:
    """An environment in this process, once it is made, and who makes its calls."""

    def __init__(self, caller: Caller, env: Limited | None = None) -> None:
        self.caller = caller
        self.env = env

    def fill(self, make: Callable[[], Limited]) -> None:
        """Make the environment. Called by the caller: what comes too late is closed as well."""
        self.env = make()

    def close(self) -> None:
        """Close the environment, after whatever it is still busy with, its making included."""
        self.caller.leave(self._close)

    def _close(self) -> None:
        if self.env is not None:
            close_quietly(self.env)


class Home(Protocol):
    """Where the environments of this process come from and go back to."""

    def make(self) -> Limited:
        """A new environment. Raises PoolError where too many hang already."""

    def take_back(self, seat: Seat, fault: ErrorInfo | None) -> None:
        """Keep a seat for the next episode, or close it."""


class InlineSlot:
    """An environment in this process, whose calls are made at once or in its own thread."""

    __slots__ = ("_budget", "_home", "_seat", "_seconds", "fault", "own")

    def __init__(self, seat: Seat, home: Home, limits: Limits, budget: Budget) -> None:
        self.fault: ErrorInfo | None = None
        self.own = True
        self._budget = budget
        self._seat = seat
        self._home = home
        self._seconds = limits.step_seconds

    async def reset(
        self, task_id: str | None, seed: int | None, *, expert: bool | str = False
    ) -> tuple[str, Info]:
        """Start the episode."""
        await self._open()
        env = self._seat.env
        result, self.fault = await self._call(self._seconds, _reset, env, task_id, seed, expert)
        if self.fault is not None:
            raise EnvFaultError(self.fault)
        return result

    async def step(self, action: str) -> StepResult:
        """Apply one action."""
        if self._seat.env is None or not isinstance(action, str):
            raise _misuse(action)
        result, self.fault = await self._call(self._seconds, _step, self._seat.env, action)
        if self.fault is not None:
            raise EnvFaultError(self.fault)
        return result

    async def snapshot(self) -> Snapshot:
        """The present point of the episode."""
        if self._seat.env is None:
            raise _misuse("")
        return await self._call(self._seconds, self._seat.env.snapshot)

    async def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Go on from a snapshot."""
        await self._open()
        return await self._call(_replay_seconds(self._seconds, snapshot), self._go_to, snapshot)

    async def _open(self) -> None:
        if self._seat.env is None:
            with self._faults():
                await self._seat.caller.call(START_SECONDS, self._seat.fill, self._home.make)

    def _go_to(self, snapshot: Snapshot) -> tuple[str, Info]:
        assert self._seat.env is not None
        return self._seat.env.restore(snapshot)

    def release(self) -> None:
        """Give the environment back."""
        self._home.take_back(self._seat, self.fault)

    async def _call(self, seconds: float | None, function: Callable[..., T], *arguments: Any) -> T:
        with self._faults():
            if self._budget.seconds is None:
                return await self._seat.caller.call(seconds, function, *arguments)
            seconds = self._budget.within(seconds)
            timed = _Timed(function)
            try:
                return await self._seat.caller.call(seconds, timed, *arguments)
            finally:
                self._budget.spend(timed.taken(seconds))

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except EpisodeOverError:
            raise
        except Exception as error:  # environments are foreign code
            self.fault = describe_error(error)
            raise EnvFaultError(self.fault) from error


class _Timed(Generic[T]):
    """A call, and how long it took, however busy the event loop was meanwhile."""

    def __init__(self, function: Callable[..., T]) -> None:
        self._function = function
        self._seconds: float | None = None

    def __call__(self, *arguments: Any) -> T:
        began = time.monotonic()
        try:
            return self._function(*arguments)
        finally:
            self._seconds = time.monotonic() - began

    def taken(self, most: float | None) -> float:
        """Its seconds; all of them, where it has not come back."""
        return (most or 0.0) if self._seconds is None else self._seconds


def _reset(
    env: Limited, task_id: str | None, seed: int | None, expert: bool | str
) -> tuple[tuple[str, Info], ErrorInfo | None]:
    result = env.reset(seed=seed, options={"task": task_id, "expert": expert})
    return result, result[1].get("error")


def _step(env: Limited, action: str) -> tuple[StepResult, ErrorInfo | None]:
    result = env.step(action)
    return result, result[4].get("error")


class ProcessSlot:
    """An environment in a worker process."""

    def __init__(self, link: WorkerLink, limits: Limits, budget: Budget) -> None:
        self.fault: ErrorInfo | None = None
        self.own = True
        self._budget = budget
        self._link = link
        self._place = link.free.pop()
        self._seconds = limits.step_seconds

    async def reset(
        self, task_id: str | None, seed: int | None, *, expert: bool | str = False
    ) -> tuple[str, Info]:
        """Start the episode."""
        await self._open()
        result = await self._ask(self._seconds, checked_reset, "reset", task_id, seed, expert)
        self._fail_if(result[1])
        return cast("tuple[str, Info]", result)

    async def step(self, action: str) -> StepResult:
        """Apply one action."""
        if self._place not in self._link.opened or not isinstance(action, str):
            raise _misuse(action)
        result = await self._ask(self._seconds, checked_step, "step", action)
        self._fail_if(result[4])
        return cast("StepResult", result)

    async def snapshot(self) -> Snapshot:
        """The present point of the episode."""
        if self._place not in self._link.opened:
            raise _misuse("")
        return cast("Snapshot", await self._ask(self._seconds, unpack, "snapshot"))

    async def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Go on from a snapshot, by a replay of its actions."""
        await self._open()
        seconds = _replay_seconds(self._seconds, snapshot)
        result = await self._ask(seconds, checked_reset, "restore", pack(snapshot))
        return cast("tuple[str, Info]", result)

    def _fail_if(self, info: Info) -> None:
        """Raise what the environment itself calls a fault."""
        self.fault = info.get("error")
        if self.fault is not None:
            raise EnvFaultError(self.fault)

    async def _open(self) -> None:
        if self._place not in self._link.opened:
            await self._ask(START_SECONDS, lambda nothing: None, "open", free=True)
            self._link.opened.add(self._place)

    def release(self) -> None:
        """Give the place back; an environment that failed is closed."""
        self._link.take_back(self._place, failed=self.fault is not None)

    def on(self, link: WorkerLink) -> bool:
        """Whether the environment is on this worker."""
        return self._link is link

    async def _ask(
        self,
        seconds: float | None,
        checked: Callable[[Any], Any],
        op: str,
        *arguments: Any,
        free: bool = False,
    ) -> Any:
        within = self._budget.within(seconds)
        request: Request | None = None
        try:
            request = self._link.post(op, self._place, *arguments, seconds=within)
            answer = await request.future
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
        finally:
            if request is not None and not free:
                self._budget.spend(request.used)


def _replay_seconds(seconds: float | None, snapshot: Snapshot) -> float | None:
    """The time of a reset and of each step, for both may have to be done again."""
    return None if seconds is None else seconds * (1 + len(snapshot.actions))


def _misuse(action: object) -> Exception:
    if not isinstance(action, str):
        return TypeError(f"an action is a str, got {type(action).__name__}")
    return EpisodeOverError("no episode is running; call reset() on the slot first")


def close_quietly(env: Limited) -> None:
    """Close an environment whose outcome is already known, whatever its code raises."""
    with contextlib.suppress(Exception, SystemExit, asyncio.CancelledError):
        env.close()
