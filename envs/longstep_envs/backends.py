"""Where a pool's environments live: in this process, or in workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import ClassVar

from longstep_envs.budget import Budget
from longstep_envs.callers import Caller
from longstep_envs.limits import Limited
from longstep_envs.line import CLOSE_SECONDS, Line
from longstep_envs.link import WorkerLink
from longstep_envs.nursery import Nursery
from longstep_envs.slots import InlineSlot, Lease, ProcessSlot, Seat
from longstep_envs.types import ErrorInfo, Limits, LongstepError
from longstep_envs.worker import Recipe

_KILL_SECONDS = 5.0
"""For workers that were killed to be gone."""
_MOST_HUNG = 64
"""Threads left behind with calls that hang, before no environment is made any more."""


class PoolError(LongstepError, RuntimeError):
    """The pool was misused, or did not keep its promise to report every episode once."""


class LocalBackend:
    """Environments in this process, used again and again."""

    capacity = 2**31

    def __init__(self, recipe: Recipe, make_caller: Callable[[], Caller]) -> None:
        self._recipe = recipe
        self._make_caller = make_caller
        self._idle: list[Seat] = []
        self._busy: list[Caller] = []  # left behind with a call that nobody waits for

    def begin(self) -> None:
        """Nothing to prepare."""

    def lease(self, budget: Budget, after: Lease | None = None) -> Lease:
        """An idle environment, or one that is made at its reset."""
        seat = self._idle.pop() if self._idle else Seat(self._make_caller())
        return InlineSlot(seat, self, self._recipe.limits, budget)

    def make(self) -> Limited:
        """A new environment, unless so many hang that more would only hang as well.

        Raises:
            PoolError: `_MOST_HUNG` calls have not come back.
        """
        hung = sum(not caller.idle() for caller in self._busy)
        if hung >= _MOST_HUNG:
            raise PoolError(
                f"{hung} calls hang in threads, which nobody can stop, so no more environments "
                "are made; use mode='process', where what hangs is killed"
            )
        return self._recipe.make()

    def take_back(self, seat: Seat, fault: ErrorInfo | None) -> None:
        """Keep the environment for the next episode, unless it failed or is still busy."""
        self._busy = [caller for caller in self._busy if not caller.idle()]
        if not seat.caller.idle():
            self._busy.append(seat.caller)
        elif seat.env is not None and fault is None:
            self._idle.append(seat)
            return
        seat.close()

    def tidy(self) -> None:
        """Nothing to put away between episodes."""

    def end(self) -> None:
        """Nothing to put away between runs."""

    def close(self) -> None:
        """Close the idle environments."""
        seats, self._idle = self._idle, []
        for seat in seats:
            seat.close()
        for seat in seats:
            seat.caller.join()


class WorkerBackend:
    """Workers of `places` environments each, started when episodes need them."""

    def __init__(
        self,
        limits: Limits,
        start: Callable[[], Line],
        *,
        workers: int,
        places: int,
        nursery: Nursery | None = None,
    ) -> None:
        self.capacity = workers * places
        self._limits = limits
        self._start = start
        self._nursery = nursery
        self._workers = workers
        self._places = places
        self._links: list[WorkerLink] = []
        self._leaving: list[WorkerLink] = []

    def begin(self) -> None:
        """Listen to the workers in this event loop."""
        for link in self._links:
            link.attach()

    def lease(self, budget: Budget, after: Lease | None = None) -> Lease:
        """A place on a new worker while there may be one, else on the least busy worker.

        A try `after` another one has another worker, where that is possible.
        """
        ready = [link for link in self._links if not link.retiring and link.lost is None]
        failed = after if isinstance(after, ProcessSlot) else None
        link = min(
            (link for link in ready if link.free),
            key=lambda link: (
                failed is not None and failed.on(link),
                link.closing > 0,
                link.leased,
            ),
            default=None,
        )
        if link is None or (link.leased and len(ready) < self._workers):
            link = WorkerLink(self._start(), self._places, self._limits.worker_episodes)
            self._links.append(link)
            link.attach()
        return ProcessSlot(link, self._limits, budget)

    def tidy(self) -> None:
        """Send away workers that are dead, or retiring and without an episode."""
        for link in list(self._links):
            if link.lost is not None or (link.retiring and not link.leased):
                self._links.remove(link)
                self._leaving.append(link)
                link.dismiss()
        self._leaving = [link for link in self._leaving if not link.bury()]

    def end(self) -> None:
        """Stop listening; the workers stay for the next run."""
        for link in self._links:
            link.detach()
        self.tidy()

    def dismiss(self) -> None:
        """Send all workers away, and wait for none."""
        for link in self._links:
            link.dismiss()
        self._leaving += self._links
        self._links.clear()

    def close(self) -> None:
        """End all workers and whatever they started.

        What was killed and does not end, since the system holds it, is not waited for.
        """
        self.dismiss()
        until = time.monotonic() + CLOSE_SECONDS + _KILL_SECONDS
        while self._leaving and time.monotonic() < until:
            self._leaving = [link for link in self._leaving if not link.bury()]
            time.sleep(0.005)
        if self._nursery is not None:
            self._nursery.close()


class ClusterBackend(WorkerBackend):
    """Workers on a cluster, which a pool that rests gives up as soon as another one plays."""

    _all: ClassVar[list[ClusterBackend]] = []
    _lock = threading.Lock()

    def __init__(
        self, limits: Limits, start: Callable[[], Line], *, workers: int, places: int
    ) -> None:
        super().__init__(limits, start, workers=workers, places=places)
        self._playing = False
        with self._lock:
            self._all.append(self)

    def begin(self) -> None:
        """Make room, and listen to the workers in this event loop."""
        with self._lock:
            self._playing = True
            for other in self._all:
                if not other._playing:
                    other.dismiss()
        super().begin()

    def end(self) -> None:
        """Stop listening; the workers stay until another pool plays."""
        super().end()
        self._playing = False

    def close(self) -> None:
        """End all workers and whatever they started."""
        with self._lock:
            if self in self._all:
                self._all.remove(self)
        super().close()
