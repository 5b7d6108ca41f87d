"""Workers that are there at once: forked from a process that has imported what each of them needs.

Started as `python -m longstep_envs.nursery FD`. It has one thread and makes no environment, so that
a fork is safe; what an environment imports or starts, it does in its own worker. A request with
two descriptors, a worker's socket and its log, is answered by the worker's process id; one with a
process id by how that process ended, or by nothing while it runs.
"""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque

import numpy as np

from longstep_envs.process import Child, MemoryWatch, WorkerProcess, spawn

CAN_FORK = sys.platform == "linux"
"""Where other systems fork, their own libraries may not be safe."""
_UNKNOWN = 255
"""The exit status of a worker whose nursery is gone."""


class Forked:
    """A worker that was asked for, as `subprocess.Popen` would tell of it."""

    def __init__(self, nursery: Nursery) -> None:
        self._nursery = nursery
        self.born: int | None = None
        self.returncode: int | None = None

    @property
    def pid(self) -> int:
        """Its id. Raises ProcessLookupError where the nursery ended before the birth."""
        return self._nursery.pid_of(self)

    def poll(self) -> int | None:
        """How it ended; None while it runs."""
        if self.returncode is None:
            self.returncode = self._nursery.status_of(self)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """How it ended, once it has."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() >= until:
                raise subprocess.TimeoutExpired("a worker", timeout or 0.0)
            time.sleep(0.001)
        return code


class Nursery:
    """Makes the workers of one pool; its process is started with the first of them.

    They have the environment variables and the folder of that time.
    """

    def __init__(self, most_mb: int | None = None) -> None:
        """Make workers that may take so many MB each."""
        self._watch = None if most_mb is None else MemoryWatch(most_mb)
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._unborn: deque[Forked] = deque()
        self._lock = threading.Lock()

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
        with self._lock:
            self._lose()

    def pid_of(self, child: Forked) -> int:
        """A worker's process id.

        Raises:
            ProcessLookupError: the nursery has ended before it was born.
        """
        with self._lock:
            while self._unborn and (answer := self._receive()):
                self._unborn.popleft().born = int(answer)
        if child.born is None:
            raise ProcessLookupError("the process that forks workers has ended")
        return child.born

    def status_of(self, child: Forked) -> int | None:
        """How a worker ended; None while it runs."""
        try:
            pid = self.pid_of(child)
            with self._lock:
                if self._line is not None:
                    self._line.send(str(pid).encode())
                    if answer := self._receive():
                        return None if answer == b"runs" else int(answer)
            os.kill(pid, 0)  # orphaned by the nursery's end, which nobody but a user brings about
        except (ConnectionError, ProcessLookupError):
            return _UNKNOWN
        return None

    def _fork(self, connection: int, log: int) -> Child:
        with self._lock:
            child = Forked(self)
            for line in (self._line, None):
                try:
                    socket.send_fds(line or self._start(), [b"fork"], [connection, log])
                    break
                except ConnectionError:
                    self._lose()
            self._unborn.append(child)
            return child

    def _start(self) -> socket.socket:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "longstep_envs.nursery", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        return self._line

    def _receive(self) -> bytes:
        """The next answer; nothing when there will be none."""
        answer = b""
        if self._line is not None:
            try:
                answer = self._line.recv(32)
            except ConnectionError:
                answer = b""
        if not answer:
            self._lose()
        return answer

    def _lose(self) -> None:
        self._unborn.clear()
        if self._line is not None and self._process is not None:
            self._line.close()
            self._process.kill()
            self._process.wait()
        self._line = self._process = None


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
        if not given:
            line.send(_status(int(request)))
            continue
        connection, log = given
        born, ready = os.pipe()
        pid = os.fork()
        if pid == 0:
            line.close()
            os.setsid()  # systems share processors out by sessions
            os.close(born)
            os.close(ready)
            os.dup2(log, 2)
            os.close(log)
            np.random.seed()  # or all would draw the same
            return connection
        os.close(ready)
        os.read(born, 1)  # nothing, once it leads a group that can be killed, or has ended
        os.close(born)
        os.close(connection)
        os.close(log)
        line.send(str(pid).encode())


def _status(pid: int) -> bytes:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return str(os.waitstatus_to_exitcode(status)).encode() if ended else b"runs"


def main(descriptor: int) -> None:
    """Run the nursery on an inherited socket, and each worker on its own."""
    from longstep_envs import worker

    os.set_inheritable(descriptor, False)
    with socket.socket(fileno=descriptor) as line:
        connection = tend(line)
    if connection is not None:
        worker.main(connection)


if __name__ == "__main__":
    main(int(sys.argv[1]))
