"""Being told to end: what is under way is brought to where it can be left, and then gone on with.

The first SIGTERM, or Ctrl-C, asks for it; another ends the process at once. A scheduler tells every
process, or only the first of those that train together, which tells those that it has started. All
agree at the same places of a run: after episodes were played, before each step of an optimiser, and
when an iteration is over.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from longstep_envs.types import LongstepError
from longstep_training.distributed import World

T = TypeVar("T")
_ECHO_SECONDS = 1.0
"""A signal that comes so soon after another is the same: a terminal and a launcher both send it."""
_ALONE = World()


class InterruptedRunError(LongstepError):
    """The run was asked to end, and has left what is needed to go on."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.status = 128 + number
        """What the process should end with."""


class Interruption:
    """Whether the run was asked to end, and how much time there is."""

    def __init__(self, world: World = _ALONE, grace: float = 30.0) -> None:
        self.world, self.grace = world, grace
        self._number = 0
        self._heard = 0.0
        self._hooks: list[Callable[[], object]] = []
        self._helps = multiprocessing.parent_process() is not None

    @property
    def asked(self) -> bool:
        """Whether this process was asked to end."""
        return self._number > 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear signals, where this is the main thread, which alone can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # Helpers share the terminal with who has started them, and are told by that one.
        wanted = {signal.SIGTERM: self._hear, signal.SIGINT: self._hear}
        if self._helps:
            wanted[signal.SIGINT] = lambda *_: None
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def calling(self, hook: Callable[[], object]) -> Iterator[None]:
        """Call `hook` when the run is asked to end, or now, where it was; it must be quick."""
        self._hooks.append(hook)
        try:
            if self.asked:
                hook()
            yield
        finally:
            self._hooks.remove(hook)

    def run(self, coroutine: Coroutine[Any, Any, T], patience: float = 0.0) -> T | None:
        """What the coroutine gives; None where it was cut off, so long after the run was to end."""

        async def watched() -> T:
            task, loop = asyncio.current_task(), asyncio.get_running_loop()
            assert task is not None

            def cut() -> None:
                loop.call_later(patience, task.cancel)

            with self.calling(lambda: loop.call_soon_threadsafe(cut)):
                return await coroutine

        try:
            return asyncio.run(watched())
        except asyncio.CancelledError:
            if not self.asked:
                raise
            return None

    def leave(self, seconds: float | None = None) -> None:
        """Leave the run here if any process was asked to; every rank has to call this.

        Args:
            seconds: What it takes from here to the next place where the run can be left, if that is
                better: it is left here only where there is not so much time.

        Raises:
            InterruptedRunError: on every rank.
        """
        late = self.asked and (seconds is None or seconds > self.remaining())
        heard = (
            self.world.gather((late, self._number))
            if self.world.size > 1
            else [(late, self._number)]
        )
        if any(is_late for is_late, _ in heard):
            raise InterruptedRunError(max(number for _, number in heard))

    def end_helper(self) -> None:
        """End this process if another has started it, and tells of the interruption."""
        if self._helps:
            sys.exit(128 + self._number)

    def remaining(self) -> float:
        """Seconds of the grace period that are left, once the run was asked to end."""
        return self._heard + self.grace - time.monotonic()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            if not self._helps and time.monotonic() - self._heard > _ECHO_SECONDS:
                self._end(number)
            return
        self._number, self._heard = number, time.monotonic()
        for helper in multiprocessing.active_children():
            helper.terminate()
        for hook in tuple(self._hooks):
            hook()

    def _end(self, number: int) -> None:
        for helper in multiprocessing.active_children():
            helper.kill()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
