import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longstep_envs import EnvPool, Slot, register
from longstep_envs.nursery import CAN_FORK, Nursery
from longstep_envs.process import WorkerProcess, started_at
from longstep_envs.treasure import TreasureEnv

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="workers are forked on Linux only")


class TellsOfItself(TreasureEnv):
    metadata = TreasureEnv.metadata | {"concurrency": "process"}

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Any]:
        drawn = np.random.random()
        return f"{os.getpid()} {drawn} {os.environ.get('TELLS')} {os.getpgrp()}", {}


register("tells/OfItself-v0", f"{__name__}:TellsOfItself")


async def tell(slot: Slot, _: int) -> list[str]:
    said = (await slot.reset("train/1", 0))[0].split()
    await asyncio.sleep(0.05)  # so that each worker has one
    return said


def said(pool: EnvPool, episodes: int = 4) -> list[list[str]]:
    reports = asyncio.run(pool.run(range(episodes), tell, concurrency=episodes))
    return [report.result or [] for report in reports]


def test_workers_have_the_pools_variables_a_group_and_a_random_state_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TELLS", "these")
    with EnvPool("tells/OfItself-v0", workers=4, envs_per_worker=1) as pool:
        told = said(pool)
    assert len({process for process, *_ in told}) == 4
    assert len({drawn for _, drawn, *_ in told}) == 4
    assert {variable for _, _, variable, _ in told} == {"these"}
    assert all(process == group for process, _, _, group in told)


def test_a_nursery_that_is_killed_costs_nothing_but_its_own_start() -> None:
    with EnvPool("tells/OfItself-v0", workers=4, envs_per_worker=1, retries=0) as pool:
        before = said(pool, 1)
        nursery: Any = pool._backend._nursery  # type: ignore[union-attr]
        os.kill(nursery.forker.process.pid, signal.SIGKILL)
        after = said(pool)
    assert all(after)
    assert before[0][0] in {process for process, *_ in after}
    assert [started_at(int(process)) for process, *_ in after] == [None] * 4


def test_a_closed_nursery_leaves_no_process_and_ended_workers_tell_how() -> None:
    nursery = Nursery()
    workers = [nursery.make() for _ in range(3)]
    assert isinstance(workers[0], WorkerProcess)
    assert not any(worker.ended() for worker in workers)
    os.kill(workers[1].pid, signal.SIGSEGV)
    workers[1].wait(5)
    assert [worker.ended() for worker in workers] == [False, True, False]
    assert "SIGSEGV" in workers[1].last_words()["message"]
    workers[0].kill()
    assert "SIGKILL" in workers[0].last_words()["message"]
    began = time.monotonic()
    workers[2].wait(0.1)
    assert time.monotonic() - began < 5
    assert nursery.forker is not None
    left = nursery.forker.process
    for worker in workers:
        worker.kill()
        worker.close()
    nursery.close()
    assert left.returncode is not None


@pytest.fixture
def no_reaper() -> Iterator[None]:
    """As in a container whose first process is no init: who loses its parent is never reaped."""
    prctl = ctypes.CDLL(None).prctl
    prctl(36, 1, 0, 0, 0)
    yield
    prctl(36, 0, 0, 0, 0)


@pytest.fixture
def fork_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the first forks of every nursery fail."""

    def fail(times: int) -> None:
        code = (
            "import os\nreal, left = os.fork, [None] * " + str(times) + "\ndef fork():\n"
            "    if left:\n        left.pop()\n        raise BlockingIOError(11, 'no room')\n"
            "    return real()\nos.fork = fork\n"
        )
        (tmp_path / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    return fail


@pytest.mark.usefixtures("no_reaper")
def test_a_pool_closes_where_nobody_reaps_the_workers_of_a_lost_nursery() -> None:
    with EnvPool("tells/OfItself-v0", workers=2, envs_per_worker=1, retries=0) as pool:
        told = said(pool, 2)
        nursery: Any = pool._backend._nursery  # type: ignore[union-attr]
        os.kill(nursery.forker.process.pid, signal.SIGKILL)
        began = time.monotonic()
    assert time.monotonic() - began < 2.9  # they leave, and need not be killed
    assert [started_at(int(process)) for process, *_ in told] == [None] * 2


def test_a_fork_that_fails_is_tried_again(fork_fails: Callable[[int], None]) -> None:
    fork_fails(5)
    with EnvPool("tells/OfItself-v0", workers=1, retries=0) as pool:
        (report,) = asyncio.run(pool.run([0], tell, concurrency=1))
    assert (report.error, report.attempts) == (None, 2)


def test_a_worker_that_cannot_be_forked_tells_why(fork_fails: Callable[[int], None]) -> None:
    fork_fails(4)
    nursery = Nursery()
    worker = nursery.make()
    assert worker.socket.recv(1) == b""
    assert "could not be forked: [Errno 11] no room" in worker.last_words()["message"]
    assert nursery.make().pid > 0
    nursery.close()


def test_a_worker_outlives_its_nursery_and_the_next_one() -> None:
    nursery = Nursery()
    workers = []
    for _ in range(3):
        workers.append(nursery.make())
        assert workers[-1].pid
        assert nursery.forker is not None
        os.kill(nursery.forker.process.pid, signal.SIGKILL)
        nursery.forker.process.wait()
    workers.append(nursery.make())
    assert [worker.ended() for worker in workers] == [False] * 4
    assert (living := nursery.forker) is not None
    for worker in workers:
        worker.kill()
        worker.wait(5)
    assert [worker.ended() for worker in workers] == [True] * 4
    assert nursery.forker is living
    assert not living.lost
    nursery.close()


def test_a_nursery_hears_of_ends_where_its_parent_ignores_them() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    nursery = Nursery()
    worker = nursery.make()
    assert worker.pid
    signal.signal(signal.SIGCHLD, before)
    os.kill(worker.pid, signal.SIGSEGV)
    assert "SIGSEGV" in worker.last_words()["message"]
    nursery.close()


def test_a_nursery_that_is_stopped_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longstep_envs.nursery._ANSWER_SECONDS", 0.3)
    monkeypatch.setattr("longstep_envs.nursery._BIRTH_SECONDS", 3.0)
    monkeypatch.setattr("longstep_envs.line.BIRTH_SECONDS", 3.1)
    with EnvPool("tells/OfItself-v0", workers=2, envs_per_worker=1, retries=0) as pool:
        said(pool, 1)
        nursery: Any = pool._backend._nursery  # type: ignore[union-attr]
        os.kill(nursery.forker.process.pid, signal.SIGSTOP)
        began = time.monotonic()
        reports = asyncio.run(pool.run(range(2), tell, concurrency=2))
        assert [report.error for report in reports] == [None] * 2
    assert time.monotonic() - began < 15


def test_the_start_of_a_nursery_does_not_stop_the_event_loop() -> None:
    async def longest_stall(pool: EnvPool) -> float:
        longest = 0.0
        playing = asyncio.create_task(pool.run([0], tell, concurrency=1))
        while not playing.done():
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - began)
        assert playing.result()[0].error is None
        return longest

    with EnvPool("tells/OfItself-v0", workers=1) as pool:
        began = time.monotonic()
        stall = asyncio.run(longest_stall(pool))
    assert stall < (time.monotonic() - began) / 3


def test_a_nursery_that_cannot_start_says_why_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no longstep here >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with EnvPool("tells/OfItself-v0", workers=1) as pool:
        (report,) = asyncio.run(pool.run([0], tell, concurrency=1))
    assert report.attempts == 1
    assert report.error is not None
    assert "cannot start (exit status 3): no longstep here" in report.error["message"]
    assert "PYTHONPATH" in report.error["message"]


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    nursery = Nursery()
    worker = nursery.make()
    os.kill(worker.pid, 40)
    assert worker.last_words()["message"] == "the worker ended (signal 40)"
    nursery.close()


def test_the_watch_of_memory_goes_on_after_a_look_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []

    def look() -> dict[int, float]:
        looks.append(1)
        if len(looks) < 3:
            raise OSError(24, "too many open files")
        return {worker.pid: 10_000.0}

    monkeypatch.setattr("longstep_envs.process.resident_mb", look)
    nursery = Nursery(most_mb=100)
    worker = nursery.make()
    worker.wait(10)
    assert worker.last_words()["type"] == "OutOfMemory"
    nursery.close()
