"""What carries frames to one worker and back: the socket of a process, or an actor elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from longstep_envs.process import WorkerProcess
from longstep_envs.types import ErrorInfo

BIRTH_SECONDS = 31.0
"""After which a worker is there, or has been given up."""
CLOSE_SECONDS = 3.0
"""For a worker to close its environments before it is killed."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of a worker."""

    started: Callable[[], None]
    """It has a place to run, and its calls take time from now on."""
    received: Callable[[bytes], int]
    """Bytes have come; returns how many answers are still waited for."""
    ended: Callable[[ErrorInfo, bool], None]
    """It is gone: why, and whether it brought that on itself."""


class Line(Protocol):
    """One worker, wherever it runs. It outlives the event loops that use it, one at a time."""

    @property
    def pid(self) -> int:
        """The worker's process id, where it runs."""
        ...

    @property
    def patience(self) -> float | None:
        """Seconds in which the worker must have a place to run; None once it has one."""
        ...

    def attach(self, listener: Listener) -> None:
        """Tell what happens, in the running event loop."""

    def detach(self) -> None:
        """Stop that."""

    def send(self, data: bytes) -> None:
        """Send a request, together with what else is sent in this turn of the loop."""

    def leave(self, farewell: bytes) -> None:
        """Send a last request, and let the worker end; no answer is waited for."""

    def kill(self) -> None:
        """End the worker, and all that it started."""

    def gone(self) -> bool:
        """Whether nothing is left of it."""
        ...


class ProcessLine:
    """A worker process on this machine."""

    patience = None

    def __init__(self, hello: bytes, make: Callable[[], WorkerProcess] = WorkerProcess) -> None:
        self._worker = make()
        self._worker.socket.setblocking(False)
        self._outbox = bytearray(hello)
        self._flush_due = False
        self._clogged = False
        """Whether the socket was full, and a writer waits for it."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: Listener | None = None

    @property
    def pid(self) -> int:
        """The worker's process id, which is also its process group."""
        return self._worker.pid

    def attach(self, listener: Listener) -> None:
        """Tell what happens, in the running event loop."""
        self._listener = listener
        if self._worker.ended():
            self._die()
            return
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._worker.socket, self._read)
        self._loop.call_later(BIRTH_SECONDS, self._worker.ended)  # which sees what is overdue
        self._flush()

    def detach(self) -> None:
        """Stop listening."""
        if self._loop is not None:
            self._loop.remove_reader(self._worker.socket)
            self._loop.remove_writer(self._worker.socket)
        self._loop = None

    def send(self, data: bytes) -> None:
        """Send this soon; whoever else asks in this turn of the loop is sent along."""
        self._outbox += data
        if not self._flush_due and self._loop is not None:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def leave(self, farewell: bytes) -> None:
        """Send a last request."""
        with contextlib.suppress(OSError):
            self._worker.socket.settimeout(CLOSE_SECONDS)
            self._worker.socket.sendall(bytes(self._outbox) + farewell)

    def kill(self) -> None:
        """End the worker and all that it started."""
        self._worker.kill()
        self._worker.close()

    def gone(self) -> bool:
        """Whether the process has ended."""
        return self._worker.ended()

    def _read(self) -> None:
        assert self._listener is not None
        try:
            data = self._worker.socket.recv(2**18)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if data:
            self._listener.received(data)
        else:
            self._die()

    def _flush(self) -> None:
        self._flush_due = False
        if self._loop is None:
            return
        try:
            while self._outbox:
                del self._outbox[: self._worker.socket.send(self._outbox)]
        except BlockingIOError:
            self._clogged = True
            self._loop.add_writer(self._worker.socket, self._flush)
            return
        except ConnectionError:
            pass  # the reader learns of it too, and has the better message
        if self._clogged:
            self._clogged = False
            self._loop.remove_writer(self._worker.socket)

    def _die(self) -> None:
        assert self._listener is not None
        self._worker.kill()
        words = self._worker.last_words()
        self._listener.ended(words, not self._worker.stillborn)
