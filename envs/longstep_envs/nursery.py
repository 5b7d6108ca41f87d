"""Workers that are there at once: forked from a process that has imported what each of them needs.

Started as `python -m longstep_envs.nursery FD`. It has one thread and makes no environment, so that
a fork is safe; what an environment imports or starts, it does in its own worker. A request with
two descriptors, a worker's socket and its log, is answered by the worker's process id and start, or
by why it could not be forked; one with a process id by how that process ended. Whether a worker
runs is looked up without it, so that a nursery that is stopped or killed costs no worker.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from typing import Any

import numpy as np

from longstep_envs.process import (
    CAN_WATCH,
    Child,
    MemoryWatch,
    WorkerProcess,
    cause_of,
    spawn,
    started_at,
)
from longstep_envs.types import ErrorInfo

CAN_FORK = sys.platform == "linux" and CAN_WATCH
"""Where other systems fork, their own libraries may not be safe."""
_UNKNOWN = 255
"""The exit status of a worker whose nursery is gone."""
_ANSWER_SECONDS = 2.0
"""For the nursery to answer, which takes it a millisecond, before it is replaced."""
_BIRTH_SECONDS = 30.0
"""For a worker to be born, the nursery's own start included."""
_FORK_AGAIN = (0.05, 0.2, 0.5)
"""Seconds before a fork for which there was no room is tried again."""
_LONGEST = 2_000
"""Bytes of an answer."""


class Forked:
    """A worker that was asked for, as `subprocess.Popen` would tell of it."""

    def __init__(self, forker: Forker | None, stillborn: ErrorInfo | None = None) -> None:
        self._forker = forker
        self.asked = time.monotonic()
        self.birth: tuple[int, int | None] | None = None
        """Its process id, and when it started, by the system's clock."""
        self.stillborn = stillborn
        self.returncode: int | None = None

    @property
    def pid(self) -> int:
        """Its id, for which it waits a little. Raises ProcessLookupError where it has none."""
        until = time.monotonic() + _ANSWER_SECONDS
        while self.birth is None:
            if self._forker is not None:
                self._forker.hear()
            if self.stillborn is not None or time.monotonic() > until:
                raise ProcessLookupError("the worker was not born")
            if self.birth is None:
                time.sleep(0.001)
        return self.birth[0]

    def poll(self) -> int | None:
        """How it ended; None while it runs, or is still to be born."""
        if self.returncode is None and self._forker is not None:
            self._forker.hear()
        if self.stillborn is not None:
            self.returncode = _UNKNOWN
        elif self.returncode is None and self._forker is not None and self.birth is not None:
            pid, started = self.birth
            if started is None or started_at(pid) != started:
                self.returncode = self._forker.status_of(pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """How it ended, once it has."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() >= until:
                raise subprocess.TimeoutExpired("a worker", timeout or 0.0)
            time.sleep(0.001)
        return code


class Forker:
    """One process that forks, as it is seen from here."""

    def __init__(self) -> None:
        self.lost = False
        self._lock = threading.RLock()
        self._unborn: deque[Forked] = deque()
        self._answered = False
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "longstep_envs.nursery", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def fork(self, connection: int, log: int) -> Forked:
        """Ask for a worker; it is there, or known to be stillborn, later."""
        with self._lock:
            child = Forked(self)
            self._unborn.append(child)
            self._line.settimeout(_ANSWER_SECONDS)
            try:
                socket.send_fds(self._line, [b"fork"], [connection, log])
            except OSError:
                self.lose()
            return child

    def hear(self) -> None:
        """Take the births that have been told, and wait for none, unless one is overdue."""
        with self._lock:
            while self._unborn and self._receive(0.0):
                pass
            if self._unborn and time.monotonic() > self._unborn[0].asked + _BIRTH_SECONDS:
                self.lose()

    def status_of(self, pid: int) -> int | None:
        """How a worker ended; None where it runs after all."""
        with self._lock:
            if not self.lost:
                self._line.settimeout(_ANSWER_SECONDS)
                with contextlib.suppress(OSError):  # then there is no answer either
                    self._line.send(str(pid).encode())
                while told := self._receive(_ANSWER_SECONDS):
                    if "ended" in told:
                        code: int | None = told["ended"]
                        return code
                self.lose()
            return _UNKNOWN

    def lose(self) -> None:
        """End the process; its workers are not ended, and those that it owes are stillborn."""
        with self._lock:
            if self.lost:
                return
            self.lost = True
            self._line.close()
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_ANSWER_SECONDS)
            error = self._last_words()
            while self._unborn:
                self._unborn.popleft().stillborn = error
            self._log.close()

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        """The next answer; None where none comes in time, or ever."""
        if self.lost:
            return None
        self._line.settimeout(seconds)
        try:
            answer = self._line.recv(_LONGEST)
        except (BlockingIOError, TimeoutError):
            return None
        except OSError:
            answer = b""
        if not answer:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it may still say why
                self.process.wait(_ANSWER_SECONDS)
            self.lose()
            return None
        self._answered = True
        told: dict[str, Any] = json.loads(answer)
        if "born" in told:
            self._unborn.popleft().birth = told["born"], told["started"]
        elif "failed" in told:
            message = f"the worker could not be forked: {told['failed']}"
            self._unborn.popleft().stillborn = _died(message)
        return told

    def _last_words(self) -> ErrorInfo:
        cause = cause_of(self.process.returncode)
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 1000))
        words = self._log.read().decode(errors="replace").strip()
        told = f" ({cause})" + (f": {words}" if words else "")
        if self._answered or (self.process.returncode or 0) < 0:
            return _died(f"the process that forks workers ended before this one was born{told}")
        message = (
            f"the process that forks workers cannot start{told}. It is `{sys.executable} -m "
            "longstep_envs.nursery`: install longstep where that finds it, or set PYTHONPATH"
        )
        return ErrorInfo(type="WorkerDied", message=message, retryable=False)


class Nursery:
    """Makes the workers of one pool; its process is started with the first of them.

    They have the environment variables and the folder of that time.
    """

    def __init__(self, most_mb: int | None = None) -> None:
        """Make workers that may take so many MB each."""
        self._watch = None if most_mb is None else MemoryWatch(most_mb)
        self.forker: Forker | None = None

    def make(self) -> WorkerProcess:
        """A new worker."""
        worker = WorkerProcess(self._fork if CAN_FORK else spawn)
        if self._watch is not None:
            self._watch.add(worker)
        return worker

    def close(self) -> None:
        """End the process; its workers are not ended."""
        if self._watch is not None:
            self._watch.close()
        if self.forker is not None:
            self.forker.lose()

    def _fork(self, connection: int, log: int) -> Child:
        if self.forker is not None and not self.forker.lost:
            child = self.forker.fork(connection, log)
            if not self.forker.lost:
                return child
        try:
            self.forker = Forker()
        except OSError as error:  # no room for one more process, or no descriptor
            return Forked(None, _died(f"the process that forks workers did not start: {error}"))
        return self.forker.fork(connection, log)


def _died(message: str) -> ErrorInfo:
    return ErrorInfo(type="WorkerDied", message=message, retryable=True)


def tend(line: socket.socket) -> int | None:
    """Fork workers as they are asked for; returns in each of them, with its socket, and at the end.

    What has been imported is shared by all, and is not touched when one of them collects garbage.
    """
    gc.collect()
    gc.freeze()
    while True:
        request, given, *_ = socket.recv_fds(line, 32, 2)
        if not request:
            return None
        if request != b"fork":
            _tell(line, ended=_status(int(request)))
            continue
        try:
            connection = _bear(line, given)
        except OSError as error:
            _tell(line, failed=str(error))
            connection = None
        if connection is not None:
            return connection
        for descriptor in given:  # after the answer: their end makes the pool look for it
            os.close(descriptor)


def _bear(line: socket.socket, given: list[int]) -> int | None:
    """Fork a worker: its socket, in itself. Raises OSError where the system has no room."""
    if len(given) < 2:
        raise OSError("no descriptors are left for it")
    connection, log = given
    born, ready = os.pipe()
    try:
        pid = _fork_patiently()
        if pid == 0:
            line.close()
            os.setsid()  # systems share processors out by sessions
            os.dup2(log, 2)
            os.close(log)
            np.random.seed()  # or all would draw the same
            return connection
        os.close(ready)
        ready = -1
        os.read(born, 1)  # nothing, once it leads a group that can be killed, or has ended
    finally:
        for end in (born, ready):
            if end >= 0:
                os.close(end)
    _tell(line, born=pid, started=started_at(pid))
    return None


def _fork_patiently() -> int:
    for seconds in _FORK_AGAIN:
        try:
            return os.fork()
        except OSError:  # no room for one more process, or for its memory, at the moment
            time.sleep(seconds)
    return os.fork()


def _status(pid: int) -> int | None:
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return _UNKNOWN
    return os.waitstatus_to_exitcode(status) if ended else None


def _tell(line: socket.socket, **answer: int | str | None) -> None:
    line.send(json.dumps(answer).encode()[:_LONGEST])


def main(descriptor: int) -> None:
    """Run the nursery on an inherited socket, and each worker on its own."""
    from longstep_envs import worker

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, no end of a worker would be told
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.set_inheritable(descriptor, False)
    with socket.socket(fileno=descriptor) as line:
        connection = tend(line)
    if connection is not None:
        worker.main(connection)


if __name__ == "__main__":
    main(int(sys.argv[1]))
