import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longstep_envs import EnvPool, Slot, register
from longstep_envs.nursery import CAN_FORK, Nursery
from longstep_envs.process import WorkerProcess
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
        os.kill(nursery._process.pid, signal.SIGKILL)
        after = said(pool)
    assert all(after)
    assert before[0][0] in {process for process, *_ in after}
    assert not any(Path(f"/proc/{process}").exists() for process, *_ in after)


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
    left: Any = nursery._process
    for worker in workers:
        worker.kill()
        worker.close()
    nursery.close()
    assert left.returncode is not None
