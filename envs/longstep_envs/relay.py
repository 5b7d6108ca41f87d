"""What a Ray actor is for a pool: it runs a worker process, and passes frames to and fro.

The environments live in a process of their own, as they do without Ray: it can be killed while it
hangs, and what it started ends with it, even when the actor itself is killed.
"""

from __future__ import annotations

import contextlib
import select
import sys
import time

from longstep_envs.process import MemoryWatch, WorkerProcess
from longstep_envs.types import ErrorInfo
from longstep_envs.wire import Decoder, FrameCounter, encode

_LINGER_MS = 2
"""How long an answer waits for the next one, so that both go back in one call."""
_CHUNK = 2**18
_KILL_SECONDS = 2.0
"""For a worker that was killed to be gone."""


class Relay:
    """One worker process, wherever Ray has put this."""

    def __init__(self, hello: bytes) -> None:
        """Start the worker; it finds modules where this process does, then where the pool does."""
        (told,) = Decoder().feed(hello)
        found = [*sys.path, *(path for path in told["path"] if path not in sys.path)]
        self._worker = WorkerProcess()
        self._watch: MemoryWatch | None = None
        if told["worker_mb"] is not None:
            self._watch = MemoryWatch(told["worker_mb"])
            self._watch.add(self._worker)
        self._worker.socket.setblocking(False)
        self._outbox = bytearray(encode({**told, "path": found}))
        self._answered = FrameCounter()

    def pid(self) -> int:
        """The worker's process id."""
        return self._worker.pid

    def exchange(self, data: bytes, awaited: int) -> tuple[bytes, ErrorInfo | None]:
        """Pass requests on, and wait for the next answers: `awaited` of them, if they come soon.

        Returns the answers' bytes, and the last words of a worker that has ended.
        """
        self._outbox += data
        answers, poll, before = bytearray(), select.poll(), self._answered.whole
        while self._outbox or self._answered.whole < before + awaited:
            writes = select.POLLOUT if self._outbox else 0
            poll.register(self._worker.socket, select.POLLIN | writes)
            some = self._answered.whole > before and not writes
            events = poll.poll(_LINGER_MS if some else None)
            if not events:
                break
            if events[0][1] & select.POLLOUT:
                self._send()
            if events[0][1] & ~select.POLLOUT:
                chunk = self._receive()
                if not chunk:
                    self._worker.kill()
                    return bytes(answers), self._worker.last_words()
                answers += chunk
                self._answered.feed(chunk)
        return bytes(answers), None

    def end(self, farewell: bytes, seconds: float) -> None:
        """End the worker and all that it started; after a farewell, it has time to do so itself."""
        if farewell:
            self._outbox += farewell
            leave_by = time.monotonic() + seconds
            self._send()
            self._worker.wait(leave_by - time.monotonic())
        self._worker.kill()
        self._worker.wait(_KILL_SECONDS)
        if self._watch is not None:
            self._watch.close()

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):  # its end is heard of as well
            del self._outbox[: self._worker.socket.send(self._outbox)]

    def _receive(self) -> bytes:
        try:
            return self._worker.socket.recv(_CHUNK)
        except ConnectionError:
            return b""
