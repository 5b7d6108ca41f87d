"""The pool's end of one worker: asking it, and surviving its death."""

from __future__ import annotations

import asyncio
import base64
import pickle
import sys
import time
from dataclasses import dataclass
from typing import Any

from longstep_envs.contract import checked_error
from longstep_envs.line import CLOSE_SECONDS, Line, Listener
from longstep_envs.types import BadValueError, ContractError, EnvFaultError, ErrorInfo
from longstep_envs.wire import Decoder, encode
from longstep_envs.worker import Recipe

CLOSING_SECONDS = 30.0
"""For a failed environment to be closed; its worker's other environments wait for that."""
_MOST_FAILED_IN_ALL = 8
"""Episodes that may fail on a worker, each of which can leave threads and open files behind."""
_MOST_FAILED = 2
"""Episodes in a row that may fail on a worker by themselves, before it is replaced."""
START_SECONDS = 120.0
"""For a worker to import and make an environment; engines may be slow to load."""


class WorkerLostError(EnvFaultError):
    """The worker died or was killed. `own` tells whether this very request was at fault."""

    def __init__(self, error: ErrorInfo, *, own: bool) -> None:
        super().__init__(error)
        self.own = own


@dataclass(slots=True, eq=False)
class Request:
    """A request to a worker. The oldest one without an answer is what the worker is busy with."""

    future: asyncio.Future[Any]
    seconds: float | None
    awaited: bool = True
    begun: float | None = None
    """When the worker was free for it, by the loop's clock."""
    used: float = 0.0
    """Seconds for which it has kept the worker busy; of no interest where these are unlimited."""


class WorkerLink:
    """One worker. Its requests are answered in order, so only the oldest can hang."""

    def __init__(self, line: Line, places: int, most_episodes: int | None = None) -> None:
        self.free = list(reversed(range(places)))
        self.opened: set[int] = set()
        self.retiring = False
        """Nothing new is sent here; the worker goes when its last episode has."""
        self.lost: ErrorInfo | None = None
        self._left = most_episodes
        self._failed = 0  # episodes in a row
        self._failed_in_all = 0
        self.closing = 0
        """Environments that are being closed since they failed."""
        self._places = places
        self._line = line
        self._decoder = Decoder()
        self._pending: dict[int, Request] = {}
        self._sent = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave_by = 0.0

    @property
    def pid(self) -> int:
        """The worker's process id, which is also its process group."""
        return self._line.pid

    @property
    def leased(self) -> int:
        """How many of its places are in use."""
        return self._places - len(self.free)

    def attach(self) -> None:
        """Listen in the running event loop; a worker outlives the loops that use it."""
        self._loop = asyncio.get_running_loop()
        self._line.attach(Listener(self._watch, self._receive, self._die))

    def detach(self) -> None:
        """Stop listening. What is still unanswered makes the worker useless."""
        if any(request.awaited for request in self._pending.values()):
            self.lose("Cancelled", "the run ended while the worker was busy")
        elif self._pending:
            self.retiring = True
        if self.lost is None:
            self._deafen()

    async def ask(self, op: str, *arguments: Any, seconds: float | None) -> Any:
        """Send one request and wait for its answer.

        Raises:
            EnvFaultError: the environment raised; `WorkerLostError` if the worker is gone,
                killed for exceeding `seconds` or for any other reason.
        """
        return await self.post(op, *arguments, seconds=seconds).future

    def post(
        self, op: str, *arguments: Any, seconds: float | None, awaited: bool = True
    ) -> Request:
        """Send one request, whose answer or error will be its future's.

        Raises:
            WorkerLostError: the worker is gone.
        """
        if self.lost is not None:
            raise WorkerLostError(self.lost, own=False)
        assert self._loop is not None, "attach() comes before post()"
        self._sent += 1
        request = Request(self._loop.create_future(), seconds, awaited)
        self._line.send(encode([self._sent, op, *arguments]))
        self._pending[self._sent] = request
        if len(self._pending) == 1:
            self._watch()
        return request

    def take_back(self, place: int, *, failed: bool) -> None:
        """Make a place free again, its environment anew if that failed.

        A worker takes no more episodes after so many, or where all of the latest ones failed: it
        may be the process that is out of order.
        """
        self.free.append(place)
        self._failed = self._failed + 1 if failed else 0
        self._failed_in_all += failed
        if self._left is not None:
            self._left -= 1
        if self._failed >= _MOST_FAILED or self._left == 0:
            self.retiring = True
        if self._failed_in_all >= _MOST_FAILED_IN_ALL:
            self.retiring = True
        if failed and place in self.opened:
            self.opened.discard(place)
            if self.lost is None and self._loop is not None:
                asked = self.post("close", place, seconds=CLOSING_SECONDS, awaited=False)
                self.closing += 1
                asked.future.add_done_callback(self._closed)

    def lose(self, kind: str, message: str, *, retryable: bool = True, blamed: bool = True) -> None:
        """End the worker and fail its requests; the oldest one is to blame, if any is."""
        if self.lost is not None:
            return
        self.lost = ErrorInfo(type=kind, message=message, retryable=retryable)
        requests, self._pending = list(self._pending.values()), {}
        if requests:
            self._note(requests[0], requests[0].seconds)
        self._deafen()
        for position, request in enumerate(requests):
            if not request.future.done():
                own = blamed and position == 0
                request.future.set_exception(WorkerLostError(self.lost, own=own))
        self._line.kill()

    def dismiss(self) -> None:
        """Ask the worker to close its environments and to exit; `bury` ends what stays."""
        if self.lost is not None:
            return
        self._deafen()
        self._leave_by = time.monotonic() + CLOSE_SECONDS
        self._line.leave(encode([0, "exit"]))

    def bury(self) -> bool:
        """Whether nothing is left of a dismissed worker; past its time it is killed."""
        if self.lost is None and (self._line.gone() or time.monotonic() > self._leave_by):
            self.lose("Closed", "the worker was dismissed")
        return self.lost is not None and self._line.gone()

    def _deafen(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._line.detach()
        self._loop = None
        self._pending = {}  # what nobody waits for

    def _receive(self, data: bytes) -> int:
        """Give answers to who waits for them; how many still wait."""
        if self.lost is not None:
            return 0
        try:
            messages = self._decoder.feed(data)
        except ContractError as error:
            self.lose("ContractError", str(error))
            return 0
        for message in messages:
            self._answer(message)
        if messages and self.lost is None:
            self._watch()
        return len(self._pending)

    def _answer(self, message: Any) -> None:
        """Give an answer to the request that it names, which must be the oldest one."""
        oldest = next(iter(self._pending), None)
        match message:
            case [int(number), bool(succeeded), value, float(seconds)] if number == oldest:
                request = self._pending.pop(number)
                self._note(request, seconds)
                future = request.future
            case _:
                self.lose("ContractError", "the worker answered a question that was not asked")
                return
        if future.done():  # the asker was cancelled; the answer is nobody's
            return
        if succeeded:
            future.set_result(value)
        else:
            future.set_exception(_fault(value))

    def _watch(self) -> None:
        """Give the oldest request its time, from now: before, the worker was busy with others."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        oldest = next(iter(self._pending.values()), None)
        if oldest is None or self._loop is None:
            return
        if self._line.patience is not None:
            self._timer = self._loop.call_later(self._line.patience, self._give_up)
        elif oldest.seconds is not None:
            oldest.begun = self._loop.time()
            message = f"no answer within {oldest.seconds:g} s"
            self._timer = self._loop.call_later(oldest.seconds, self.lose, "StepTimeout", message)

    def _note(self, request: Request, seconds: float | None) -> None:
        """How long it took: what the worker tells, and no more than since it was free for it.

        The event loop may be busy with other things when the answer comes.
        """
        if request.begun is not None and self._loop is not None and seconds is not None:
            request.used = max(0.0, min(seconds, self._loop.time() - request.begun))

    def _closed(self, future: asyncio.Future[Any]) -> None:
        """Take what has come, which nobody waits for."""
        self.closing -= 1
        if not future.cancelled():
            future.exception()

    def _give_up(self) -> None:
        message = f"no place for a worker within {self._line.patience:g} s; {self._line}"
        self.lose("StartTimeout", message, retryable=False)

    def _die(self, error: ErrorInfo, blamed: bool) -> None:
        again = error["retryable"]
        self.lose(error["type"], error["message"], retryable=again, blamed=blamed)


def _fault(told: Any) -> Exception:
    """What a worker's report of an error becomes; code in its process may have sent anything."""
    try:
        return EnvFaultError(checked_error(told))
    except ContractError as error:
        return error


def hello(recipe: Recipe) -> bytes:
    """The first frame to a worker: how to make its environments.

    Raises:
        BadValueError: the environment's options do not pickle.
    """
    try:
        packed = base64.b64encode(pickle.dumps(recipe)).decode("ascii")
    except Exception as error:  # the options are the user's own objects
        raise BadValueError(
            f"{recipe.env_id}: its options cannot be sent to a worker process: {error}"
        ) from error
    return encode({"path": sys.path, "recipe": packed, "worker_mb": recipe.limits.worker_mb})
