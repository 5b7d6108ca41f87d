"""What bounds an episode and its worker: time over all tries, memory, how long a worker lives."""

import asyncio
import os
import resource
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from longstep_envs import EnvPool, EpisodeReport, Fault, Limits, Slot
from longstep_envs.budget import Budget
from longstep_envs.types import BadValueError

FAULTY = "faults/Faulty-v0"
LOOK = ["look"] * 3


async def play(slot: Slot, actions: Sequence[str]) -> list[str]:
    """Play fixed actions; the first observation names the worker."""
    observation, _ = await slot.reset("a", 0)
    seen = [observation]
    for action in actions:
        observation, *_ = await slot.step(action)
        seen.append(observation)
    return seen


def run(pool: EnvPool, requests: Sequence[Any], concurrency: int = 8) -> list[EpisodeReport[Any]]:
    return asyncio.run(pool.run(requests, play, concurrency=concurrency))


async def why(slot: Slot, actions: Sequence[str]) -> str:
    """Play until the end, and say why it came."""
    await slot.reset("a", 0)
    for action in actions:
        *_, info = await slot.step(action)
        if "stop_reason" in info:
            return str(info["stop_reason"])
    return "no end"


def pid(report: EpisodeReport[list[str]]) -> int:
    assert report.result is not None, report.error
    return int(report.result[0].split()[1])


def kind(report: EpisodeReport[Any]) -> str:
    assert report.error is not None
    return report.error["type"]


def strays(*workers: int) -> list[str]:
    """What these workers' environments have left behind, in their process groups."""
    command = ["ps", "axww", "-o", "pgid=,args="]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line for line in told.splitlines() if "longstep-stray" in line]
    return [line for line in lines if int(line.split()[0]) in workers]


# Time


@pytest.mark.case(5)
def test_a_reset_that_hangs_is_bounded() -> None:
    began = time.monotonic()
    limits = Limits(step_seconds=0.5)
    with EnvPool(FAULTY, {"slow_reset": 600.0}, workers=1, retries=1, limits=limits) as pool:
        (report,) = run(pool, [LOOK])
    assert (kind(report), report.attempts) == ("StepTimeout", 2)
    assert time.monotonic() - began < 30


@pytest.mark.case(4)
def test_a_worker_that_hangs_is_killed_with_everything_it_started() -> None:
    limits = Limits(step_seconds=1.0)
    with EnvPool(FAULTY, workers=1, retries=0, limits=limits) as pool:
        before, spawned = run(pool, [LOOK, ["spawn"]], concurrency=1)
        assert strays(pid(before))
        (bad,) = run(pool, [["spawn", "hang"]])
        until = time.monotonic() + 5
        while strays(pid(before)) and time.monotonic() < until:  # they were killed, and are going
            time.sleep(0.05)
        assert not strays(pid(before))
    assert pid(spawned) == pid(before)
    assert kind(bad) == "StepTimeout"


@pytest.mark.case(5)
def test_a_slow_close_after_a_failure_costs_the_neighbours_no_try() -> None:
    async def patient(slot: Slot, actions: Sequence[str]) -> None:
        await slot.reset("a", 0)
        for action in actions:
            await asyncio.sleep(0.2)
            await slot.step(action)

    requests = [["raise"], *[LOOK * 3] * 3]
    with EnvPool(FAULTY, {"slow_close": 4.0}, workers=1, retries=0) as pool:
        bad, *others = asyncio.run(pool.run(requests, patient, concurrency=4))
    assert kind(bad) == "ZeroDivisionError"
    assert [(report.error, report.attempts) for report in others] == [(None, 1)] * 3


@pytest.mark.case(5)
def test_a_close_that_hangs_is_bounded_and_costs_nobody_an_episode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("longstep_envs.link.CLOSING_SECONDS", 2.0)
    began = time.monotonic()
    with EnvPool(FAULTY, {"slow_close": 600.0}, workers=1, retries=0) as pool:
        bad, *others = run(pool, [["raise"], *[LOOK] * 3])
        (after,) = run(pool, [LOOK])
    assert kind(bad) == "ZeroDivisionError"
    assert [report.error for report in [*others, after]] == [None] * 4
    assert time.monotonic() - began < 30


@pytest.mark.case(5)
def test_tries_end_when_the_episodes_time_is_spent() -> None:
    limits = Limits(step_seconds=0.4, episode_seconds=1.0)
    with EnvPool(FAULTY, workers=2, retries=9, limits=limits) as pool:
        bad, good = run(pool, [["hang"], LOOK])
    assert (bad.fault, kind(bad), good.error) == (Fault.ENV, "EpisodeTimeout", None)
    assert bad.attempts == 3  # of 0.4 each; what is left after two is enough for a reset
    assert bad.error is not None
    assert "1 s of Limits.episode_seconds are spent, after" in bad.error["message"]
    assert "StepTimeout: no answer" in bad.error["message"]


@pytest.mark.case(5)
@pytest.mark.parametrize("mode", ["threads", "process"])
def test_a_call_ends_with_the_episodes_time_where_it_has_no_limit_of_its_own(
    mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longstep_envs.budget.GRACE_SECONDS", 1.0)
    limits = Limits(episode_seconds=1.0)
    env_id = "faults/FaultyInThread-v0"
    with EnvPool(env_id, workers=1, mode=mode, retries=9, limits=limits) as pool:
        (bad,) = run(pool, [["hang 30"]])
    assert (kind(bad), bad.attempts) == ("EpisodeTimeout", 1)


@pytest.mark.case(5)
@pytest.mark.parametrize("mode", ["inline", "threads", "process"])
@pytest.mark.parametrize("step_seconds", [None, 10.0])
def test_an_environment_that_is_slow_but_answers_ends_by_its_time_and_counts(
    mode: Any, step_seconds: float | None
) -> None:
    limits = Limits(step_seconds=step_seconds, episode_seconds=1.0)
    options = {"slow_make": 1.2, "slow_reset": 0.4}
    env_id = "faults/FaultyInThread-v0"
    with EnvPool(env_id, options, workers=1, mode=mode, retries=0, limits=limits) as pool:
        (report,) = asyncio.run(pool.run([["late"] * 3], why, concurrency=1))
    assert (report.error, report.attempts, report.result) == (None, 1, "time_limit")


@pytest.mark.case(5)
@pytest.mark.parametrize("mode", ["threads", "process"])
def test_a_busy_event_loop_is_not_the_environments_time(mode: Any, tmp_path: Path) -> None:
    async def busy_agent(slot: Slot, path: Path) -> None:
        await slot.reset("a", 0)
        asking = asyncio.create_task(slot.step("look"))
        for _ in range(2):  # it asks, and is sent
            await asyncio.sleep(0)
        if not path.exists():
            time.sleep(1.2)  # as a model's pass in this process
        await asking
        await slot.step(f"raise {path}")

    limits = Limits(episode_seconds=1.0)
    env_id = "faults/FaultyInThread-v0"
    with EnvPool(env_id, workers=1, mode=mode, retries=1, limits=limits) as pool:
        playing = pool.run([tmp_path / "once"], busy_agent, concurrency=1)
        (report,) = asyncio.run(playing)
    assert (report.error, report.attempts) == (None, 2)


@pytest.mark.case(3)
def test_a_neighbours_fault_is_not_paid_from_an_episodes_time() -> None:
    async def play_once(slot: Slot, fault: str) -> str:
        await slot.reset("a", 0)
        if fault:
            await asyncio.sleep(1.0)
            await slot.step(fault)
        for _ in range(2):
            await slot.step("late")
        return "done"

    limits = Limits(episode_seconds=3.2)
    with EnvPool(FAULTY, workers=1, retries=0, limits=limits) as pool:
        good, bad = asyncio.run(pool.run(["", "kill"], play_once, concurrency=2))
    assert (good.error, good.result, good.attempts) == (None, "done", 2)
    assert kind(bad) == "WorkerDied"


def test_too_little_time_for_one_more_try_is_none() -> None:
    budget = Budget(10.0)
    budget.begin()
    budget.spend(2.0)
    budget.spend(5.0)
    assert not budget.spent
    budget.spend(1.5)
    assert budget.spent  # a reset takes longer than what is left
    budget.forgive()
    assert not budget.spent
    budget.begin()
    budget.spend(0.1)
    budget.spend(9.0)
    assert budget.spent


@pytest.mark.case(5)
def test_neither_the_agents_time_nor_its_neighbours_is_the_environments() -> None:
    async def slow_agent(slot: Slot, actions: Sequence[str]) -> str:
        await slot.reset("a", 0)
        info: Any = {}
        for action in actions:
            await asyncio.sleep(0.6)
            *_, info = await slot.step(action)
            if "stop_reason" in info:
                break
        return str(info.get("stop_reason"))

    limits = Limits(episode_seconds=2.0)
    requests = [["late"], ["late"], LOOK, LOOK]  # the last wait 3 s for their neighbours
    with EnvPool(FAULTY, workers=1, envs_per_worker=4, limits=limits) as pool:
        reports = asyncio.run(pool.run(requests, slow_agent, concurrency=4))
    assert [report.error for report in reports] == [None] * 4
    assert [report.attempts for report in reports] == [1] * 4
    assert [report.result for report in reports][2:] == ["time_limit"] * 2


# Memory


@pytest.mark.case(7)
@pytest.mark.parametrize("fault", ["grow", "grow_child"])
def test_a_worker_that_outgrows_its_limit_is_ended_alone(fault: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    limits = Limits(worker_mb=250, step_seconds=30.0)
    with EnvPool(FAULTY, workers=2, envs_per_worker=1, retries=0, limits=limits) as pool:
        run(pool, [LOOK, LOOK])  # both workers are there
        bad, good = run(pool, [[fault], LOOK])
        (after,) = run(pool, [LOOK])
    assert (bad.fault, kind(bad)) == (Fault.ENV, "OutOfMemory")
    assert bad.error is not None
    assert "Limits.worker_mb is 250" in bad.error["message"]
    assert (good.error, good.attempts, after.error) == (None, 1, None)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 100 * 1024


@pytest.mark.case(7)
def test_what_outgrew_a_worker_once_is_tried_again(tmp_path: Path) -> None:
    limits = Limits(worker_mb=250, step_seconds=30.0)
    with EnvPool(FAULTY, workers=1, limits=limits) as pool:
        once, *others = run(pool, [[f"grow {tmp_path / 'grown'}"], *[LOOK] * 3])
    assert (once.error, once.attempts) == (None, 2)
    assert [report.error for report in others] == [None] * 3


@pytest.mark.parametrize("name", ["worker_mb", "worker_episodes"])
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(BadValueError, match=name):
        Limits(**{name: 0})


# The life of a worker


def measured(process: int) -> tuple[float, int, int]:
    """Resident MB, threads and open files."""
    folder = Path(f"/proc/{process}")
    pages = int((folder / "statm").read_text().split()[1])
    threads = len(list((folder / "task").iterdir()))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, threads, len(list((folder / "fd").iterdir()))


@pytest.mark.case(10)
def test_a_worker_is_the_same_after_a_thousand_episodes() -> None:
    with EnvPool(FAULTY, workers=1, envs_per_worker=8) as pool:
        (first, *_) = run(pool, [LOOK] * 200)
        before = measured(pid(first))
        reports = run(pool, [LOOK] * 1_000)
        after = measured(pid(first))
    assert {pid(report) for report in reports} == {pid(first)}
    assert after[1:] == before[1:]
    assert after[0] - before[0] < 1.0


@pytest.mark.slow
@pytest.mark.case(10)
def test_a_worker_is_the_same_after_twenty_thousand_episodes() -> None:
    requests = [LOOK] * 10_000
    with EnvPool(FAULTY, workers=1, envs_per_worker=8, retries=0) as pool:
        (first, *_) = run(pool, requests)
        before = measured(pid(first))
        run(pool, requests)
        after = measured(pid(first))
    assert after[1:] == before[1:]
    assert after[0] - before[0] < 2.0


@pytest.mark.case(10)
def test_a_worker_whose_environments_fail_is_the_same_afterwards() -> None:
    with EnvPool(FAULTY, workers=1, envs_per_worker=8, retries=0) as pool:
        (first, *_) = run(pool, [LOOK] * 50)
        before = measured(pid(first))
        reports = run(pool, [LOOK, ["raise"], LOOK] * 7, concurrency=1)
        after = measured(pid(first))
    assert {pid(report) for report in reports[::3]} == {pid(first)}
    assert after[1:] == before[1:]
    assert after[0] - before[0] < 2.0


@pytest.mark.case(10)
def test_a_worker_is_replaced_after_so_many_failures() -> None:
    with EnvPool(FAULTY, workers=1, envs_per_worker=8, retries=0) as pool:
        reports = run(pool, [LOOK, ["raise"]] * 24, concurrency=1)
    assert [report.attempts for report in reports] == [1] * 48
    workers = [pid(report) for report in reports[::2]]
    assert [workers.count(worker) for worker in dict.fromkeys(workers)] == [8, 8, 8]


@pytest.mark.case(10)
def test_a_worker_is_replaced_after_so_many_episodes() -> None:
    limits = Limits(worker_episodes=10)
    with EnvPool(FAULTY, workers=1, envs_per_worker=2, limits=limits) as pool:
        reports = run(pool, [LOOK] * 30, concurrency=1)
    assert [report.attempts for report in reports] == [1] * 30
    workers = [pid(report) for report in reports]
    assert len(set(workers)) == 3
    assert workers == sorted(workers, key=workers.index)


@pytest.mark.case(1, 2)
def test_an_environment_that_raises_does_not_cost_its_worker(tmp_path: Path) -> None:
    requests = [[*LOOK, f"raise {tmp_path / 'once'}", *LOOK], *[LOOK * 9] * 7]
    with EnvPool(FAULTY, workers=1) as pool:
        reports = run(pool, requests)
    assert [report.attempts for report in reports] == [2] + [1] * 7
    assert len({pid(report) for report in reports}) == 1


@pytest.mark.case(1, 2)
def test_a_worker_on_which_everything_fails_is_replaced() -> None:
    async def look(slot: Slot, action: str) -> str:
        workers.append((await slot.reset("a", 0))[0].split()[1])
        return (await slot.step(action))[0]

    workers: list[str] = []
    with EnvPool(FAULTY, workers=1, retries=2) as pool:
        (report,) = asyncio.run(pool.run(["raise"], look, concurrency=1))
    assert (report.fault, report.attempts) == (Fault.ENV, 3)
    assert workers[0] == workers[1] != workers[2]
