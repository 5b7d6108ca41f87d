"""A worker that runs where Ray puts it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from concurrent.futures import Future
from typing import Any

from longstep_envs.cluster import Cluster, connect
from longstep_envs.line import CLOSE_SECONDS, Listener
from longstep_envs.relay import Relay
from longstep_envs.types import ErrorInfo

_GROUP = "control"
"""Calls that are answered while an exchange waits for the worker."""
_SHOWN = 400
"""Characters of what Ray says that an error repeats."""


class RayLine:
    """A worker process behind an actor, which is made, and kept, as the cluster has room.

    What is asked in one turn of the event loop goes in one call, and calls are not waited for
    before the next: the actor does them in order. What ends the actor is nobody's fault, since the
    environments are in another process.
    """

    def __init__(self, cluster: Cluster, hello: bytes, share: float = 1.0) -> None:
        """Ask for an actor; `share` is the part of a worker's resources that it takes."""
        self._ray = connect(cluster)
        self.patience: float | None = cluster.start_seconds
        self.pid = 0
        self._wanted = cluster.worker_options(share)
        actor = self._ray.remote(**self._wanted, concurrency_groups={_GROUP: 1})(Relay)
        self._actor = actor.remote(hello)
        self._place: Future[int] = self._control("pid")
        self._outbox, self._asked = bytearray(), 0
        self.exchanges = 0
        """Calls of the actor so far, each with what was asked in one turn of the event loop."""
        self._flush_due = False
        self._calls: deque[Future[tuple[bytes, ErrorInfo | None]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: Listener | None = None
        self._ending: threading.Thread | None = None

    def __str__(self) -> str:
        """What it waits for, and what there is."""
        wanted = {name: value for name, value in self._wanted.items() if value}
        return f"it wants {wanted}, the cluster has {self._ray.cluster_resources()}"

    def attach(self, listener: Listener) -> None:
        """Tell what happens, in the running event loop."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        if self.patience is not None:
            self._when_done(self._place)
        self._flush()

    def detach(self) -> None:
        """Stop that."""
        self._loop = None

    def send(self, data: bytes) -> None:
        """Send a request, together with what else is sent in this turn of the loop."""
        self._outbox += data
        self._asked += 1
        if not self._flush_due and self._loop is not None:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def leave(self, farewell: bytes) -> None:
        """Send a last request, and let the worker end."""
        self._end(farewell)

    def kill(self) -> None:
        """End the worker and the actor."""
        self._end(b"")

    def gone(self) -> bool:
        """Whether the actor was ended, or the whole cluster was left."""
        ended = self._ending is not None and not self._ending.is_alive()
        return ended or not self._ray.is_initialized()

    def _flush(self) -> None:
        self._flush_due = False
        if self._loop is not None and self._outbox:
            self._exchange(self._asked)

    def _exchange(self, awaited: int) -> None:
        call = self._actor.exchange.remote(bytes(self._outbox), awaited)
        self._outbox.clear()
        self._asked = 0
        self.exchanges += 1
        self._calls.append(call.future())
        self._when_done(self._calls[-1])

    def _when_done(self, future: Future[Any]) -> None:
        """Look at what has come, in the event loop, once `future` is done."""
        loop = self._loop

        def tell(_: object) -> None:
            if loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                    loop.call_soon_threadsafe(self._look)

        future.add_done_callback(tell)

    def _look(self) -> None:
        """Take what has come, in the order in which it was asked for."""
        if self._loop is None or self._listener is None:
            return
        if self.patience is not None and self._place.done() and not self._start(self._listener):
            return
        awaited = 0
        while self._calls and self._calls[0].done():
            call = self._calls.popleft()
            if (error := call.exception()) is not None:
                self._listener.ended(_told(error), False)
                return
            answers, words = call.result()
            awaited = self._listener.received(answers)
            if words is not None:
                self._listener.ended(words, True)
                return
        if awaited and not self._calls:
            self._exchange(awaited)

    def _start(self, listener: Listener) -> bool:
        error = self._place.exception()
        if error is not None:  # such as longstep missing there, which 20 more tries do not mend
            listener.ended(_told(error), True)
            return False
        self.pid, self.patience = self._place.result(), None
        listener.started()
        return True

    def _control(self, method: str, *arguments: Any) -> Future[Any]:
        call = getattr(self._actor, method).options(concurrency_group=_GROUP)
        future: Future[Any] = call.remote(*arguments).future()
        return future

    def _end(self, farewell: bytes) -> None:
        """End the worker, then its actor, which may hang as well: in a thread of its own."""
        if self._ending is not None or not self._ray.is_initialized():
            return
        asked = self._control("end", farewell, CLOSE_SECONDS) if self.patience is None else None

        def end() -> None:
            with contextlib.suppress(Exception):  # Ray's own; what is gone already is no loss
                if asked is not None:
                    asked.result(CLOSE_SECONDS)
            with contextlib.suppress(Exception):
                self._ray.kill(self._actor)

        self._ending = threading.Thread(target=end, name="longstep-ray-end", daemon=True)
        self._ending.start()


def _told(error: BaseException) -> ErrorInfo:
    """What Ray says of an actor that is lost."""
    message = f"the actor was lost: {' '.join(str(error).split())[:_SHOWN]}"
    return ErrorInfo(type="WorkerDied", message=message, retryable=True)
