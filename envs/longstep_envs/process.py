"""A worker process of this machine, and how much memory it takes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from longstep_envs.types import ErrorInfo

_LAST_SECONDS = 1.0
"""For a worker that was killed, or has let go of its socket, to be gone."""
_LOOK_SECONDS = 0.25
"""Between two looks at how large the workers are."""
_PROCESSES = Path("/proc")
CAN_WATCH = (_PROCESSES / "self" / "stat").exists()
"""Whether the system tells how large the processes of a group are."""


class Child(Protocol):
    """A process that was started; `Spawned` is one."""

    stillborn: ErrorInfo | None
    """Why there never was one."""

    @property
    def pid(self) -> int:
        """Its id, which is also that of its process group."""
        ...

    def poll(self) -> int | None:
        """How it ended, below zero by a signal; None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """How it ended, once it has. Raises subprocess.TimeoutExpired."""
        ...


class Spawned(subprocess.Popen[bytes]):
    """A process that was started by this one."""

    stillborn: ErrorInfo | None = None


def spawn(connection: int, log: int) -> Child:
    """A new interpreter that serves a socket."""
    return Spawned(
        [sys.executable, "-m", "longstep_envs.worker", str(connection)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        pass_fds=[connection],
        start_new_session=True,
    )


class WorkerProcess:
    """A worker process, and the other end of its socket."""

    def __init__(self, start: Callable[[int, int], Child] = spawn) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        self.socket, theirs = socket.socketpair()
        with theirs:
            self._process = start(theirs.fileno(), self._log.fileno())
        self._killed = False
        self._outgrown = ""

    @property
    def pid(self) -> int:
        """Its id, which is also that of its process group."""
        return self._process.pid

    @property
    def killed(self) -> bool:
        """Whether it was killed from here."""
        return self._killed

    def ended(self) -> bool:
        """Whether it has come to its end."""
        return self._process.poll() is not None

    def wait(self, seconds: float) -> None:
        """Until it ends, but no longer than this."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    @property
    def stillborn(self) -> bool:
        """Whether it never was."""
        return self._process.stillborn is not None

    def kill(self) -> None:
        """Kill it and all that it started, at once after a reaping or before it.

        Its end is not waited for. One that is still to be born ends when its socket is closed.
        """
        if not self._killed:
            self._killed = True
            self._signal()

    def outgrow(self, message: str) -> None:
        """End it for its size; whoever listens to it hears that it has ended."""
        self._outgrown = message
        self._signal()

    def last_words(self) -> ErrorInfo:
        """Why it ended, and the end of what it wrote about that."""
        self.wait(_LAST_SECONDS)
        if self._process.stillborn is not None:
            return self._process.stillborn
        if self._outgrown:
            return ErrorInfo(type="OutOfMemory", message=self._outgrown, retryable=True)
        cause = cause_of(self._process.poll())
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 1000))
        words = self._log.read().decode(errors="replace").strip()
        message = f"the worker ended ({cause})" + (f": {words}" if words else "")
        return ErrorInfo(type="WorkerDied", message=message, retryable=True)

    def close(self) -> None:
        """Let go of what it was listened to with."""
        self.socket.close()
        self._log.close()

    def _signal(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def cause_of(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "killed, and still there"
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # real-time signals have no names
        return f"signal {-code}"


def started_at(pid: int) -> int | None:
    """When a process started, by the system's clock, which tells it from a later one of its id.

    None where it has ended, whether or not somebody has taken note of that.
    """
    try:
        told = (_PROCESSES / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if told[0] in b"ZXx" else int(told[19])


class MemoryWatch:
    """Ends workers that outgrow a limit: each alone, with all that it started.

    It looks four times a second, in a thread of its own; what a worker takes in between is not
    limited. Memory that processes share is counted for each of them.
    """

    def __init__(self, most_mb: int) -> None:
        self._most_mb = most_mb
        self._watched: list[WorkerProcess] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, worker: WorkerProcess) -> None:
        """Look at this one, too, until it has ended."""
        self._watched.append(worker)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._watch, name="longstep-memory", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            for worker in [worker for worker in self._watched if worker.killed]:
                self._watched.remove(worker)
            with contextlib.suppress(OSError):  # no descriptor is free: the next look may have one
                self._look()

    def _look(self) -> None:
        sizes = resident_mb() if self._watched else {}
        for worker in list(self._watched):
            with contextlib.suppress(ProcessLookupError):  # it was never started
                size = sizes.get(worker.pid, 0.0)
                if size > self._most_mb:
                    worker.outgrow(
                        f"the worker and what it started took {size:,.0f} MB; "
                        f"Limits.worker_mb is {self._most_mb:,}"
                    )


def resident_mb() -> dict[int, float]:
    """The resident memory of every process group, in MB."""
    page = os.sysconf("SC_PAGE_SIZE") / 2**20
    sizes: dict[int, float] = {}
    for entry in os.scandir(_PROCESSES):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                told = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                group = int(told[2])
                sizes[group] = sizes.get(group, 0.0) + int(told[21]) * page
    return sizes
