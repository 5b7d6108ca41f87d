"""What a killed JVM and a killed worker cost in a pool."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from longstep_envs import EnvPool, Limits
from longstep_envs.slots import Slot

TASKS = ["train/find-plant/0", "train/boil/0", "dev/melt/15", "test/freeze/21"]


def children(pid: int) -> set[int]:
    """The JVMs below a process."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return set()
    return {int(child) for child in text.split()}


def gone(pids: set[int], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while (left := {p for p in pids if Path(f"/proc/{p}/stat").exists()}) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.05)
    return not left


@pytest.mark.case(8)
def test_a_killed_jvm_and_a_killed_worker_cost_one_attempt_each(java: str) -> None:
    killed: set[str] = set()
    seen: set[int] = set()

    options = {"surroundings": True}
    with EnvPool("longstep/ScienceWorld-v0", options, workers=2, limits=Limits(turns=4)) as pool:

        async def play(slot: Slot, task: str) -> list[str]:
            observation, _ = await slot.reset(task, seed=0)
            worker = slot._link.pid  # type: ignore[attr-defined]
            (jvm,) = children(worker)
            seen.update({worker, jvm})
            victims = {"train/boil/0": jvm, "dev/melt/15": worker}
            if task in victims and task not in killed:
                killed.add(task)
                os.kill(victims[task], signal.SIGKILL)
            texts = [observation]
            for _ in range(4):
                observation, *_ = await slot.step("inventory")
                texts.append(observation)
            return texts

        reports = asyncio.run(pool.run(TASKS, play, concurrency=2))
    assert [report.attempts for report in reports] == [1, 2, 2, 1]
    assert [len(report.result or []) for report in reports] == [5, 5, 5, 5]
    for report in reports:
        for text in report.result or []:
            assert "This room is called" in text
            assert "In your inventory, you see:" in text
    assert gone(seen), "a JVM or a worker was left behind"
