import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from longstep_envs import EnvPool, EpisodeReport, Fault, Limits, Slot
from longstep_envs.backends import PoolError

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


def run(pool: EnvPool, requests: Sequence[Any], **kwargs: Any) -> list[EpisodeReport[list[str]]]:
    return asyncio.run(pool.run(requests, play, concurrency=kwargs.get("concurrency", 8)))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def pids(reports: list[EpisodeReport[list[str]]]) -> list[int]:
    return [int(report.result[0].split()[1]) for report in reports if report.result]


@pytest.mark.case(2, 3, 4, 6)
@pytest.mark.parametrize("fault", ["raise", "exit", "kill", "crash", "hang", "late", "error"])
def test_a_fault_is_retried_on_another_worker_and_the_neighbours_finish(
    fault: str, tmp_path: Path
) -> None:
    once = f"{fault} {tmp_path / 'happened'}"
    requests = [[*LOOK, once, *LOOK], *[LOOK] * 7]
    with EnvPool(FAULTY, workers=1, limits=Limits(step_seconds=1.0)) as pool:
        reports = run(pool, requests)
    assert [report.error for report in reports] == [None] * 8
    assert reports[0].attempts == 2
    first_worker = Path(tmp_path / "happened").exists()
    assert first_worker
    assert reports[0].result is not None
    assert len(reports[0].result) == 8


@pytest.mark.parametrize(
    ("fault", "kind", "attempts"),
    [
        ("raise", "ZeroDivisionError", 3),
        ("exit", "SystemExit", 3),
        ("cancel", "CancelledError", 3),
        ("kill", "WorkerDied", 3),
        ("hang", "StepTimeout", 3),
        ("error", "Down", 3),
        ("final", "Gone", 1),
        ("observation", "ContractError", 1),
        ("surprise", "ContractError", 1),
        ("score", "ContractError", 1),
    ],
)
def test_a_fault_that_stays_is_reported_and_costs_nobody_else(
    fault: str, kind: str, attempts: int
) -> None:
    requests = [LOOK, [fault], LOOK, LOOK]
    with EnvPool(FAULTY, workers=2, limits=Limits(step_seconds=0.5)) as pool:
        reports = run(pool, requests)
    bad = reports[1]
    assert bad.fault == Fault.ENV
    assert bad.error is not None
    assert bad.error["type"] == kind
    assert bad.error["message"]
    assert (bad.result, bad.attempts) == (None, attempts)
    assert [report.fault for report in reports] == [None, Fault.ENV, None, None]


@pytest.mark.case(6)
def test_the_message_of_a_crash_names_the_signal() -> None:
    with EnvPool(FAULTY, workers=1, retries=0) as pool:
        killed, crashed = run(pool, [["kill"], ["crash"]], concurrency=1)
    assert killed.error is not None
    assert "SIGKILL" in killed.error["message"]
    assert crashed.error is not None
    assert "SIGSEGV" in crashed.error["message"]


@pytest.mark.case(3)
def test_a_worker_killed_from_outside_costs_its_own_episodes_one_attempt() -> None:
    killed: list[int] = []

    async def kill_worker(slot: Slot, number: int) -> int:
        observation, _ = await slot.reset("a", 0)
        if number == 0 and not killed:
            killed.append(int(observation.split()[1]))
            os.kill(killed[0], signal.SIGKILL)
        for _ in range(20):
            await slot.step("look")
            await asyncio.sleep(0.005)
        return number

    with EnvPool(FAULTY, workers=2, envs_per_worker=4) as pool:
        reports = asyncio.run(pool.run(range(8), kill_worker, concurrency=8))
    assert [report.result for report in reports] == list(range(8))
    assert Counter(report.attempts for report in reports) == {1: 4, 2: 4}


@pytest.mark.case(3)
def test_the_neighbours_of_a_worker_that_is_killed_are_not_blamed() -> None:
    with EnvPool(FAULTY, workers=1, retries=0) as pool:
        bad, *others = run(pool, [[*LOOK, "kill"], *[LOOK * 9] * 7])
    assert (bad.fault, bad.attempts) == (Fault.ENV, 1)
    assert [report.error for report in others] == [None] * 7
    assert 2 in {report.attempts for report in others}


def test_every_episode_is_reported_exactly_once_under_faults() -> None:
    faults = ["raise", "kill", "exit", "observation", "error"]
    requests = [[*LOOK, faults[n // 20 % 5]] if n % 20 == 7 else LOOK for n in range(300)]
    with EnvPool(FAULTY, workers=2, envs_per_worker=6, retries=1) as pool:
        reports = run(pool, requests, concurrency=12)
    assert [report.index for report in reports] == list(range(300))
    for request, report in zip(requests, reports, strict=True):
        failed = request is not LOOK
        assert (report.result is None, report.fault is not None) == (failed, failed)


@pytest.mark.case(14)
def test_many_answers_stay_with_the_episode_that_asked() -> None:
    requests = [[f"{n} says {turn}" for turn in range(20)] for n in range(200)]
    with EnvPool(FAULTY, workers=2, envs_per_worker=8) as pool:
        reports = run(pool, requests, concurrency=16)
    for request, report in zip(requests, reports, strict=True):
        assert report.result is not None
        assert [text.partition(" ")[2] for text in report.result[1:]] == request


@pytest.mark.case(2)
def test_a_fault_that_play_swallows_is_still_a_fault() -> None:
    async def swallow(slot: Slot, _: int) -> str:
        await slot.reset("a", 0)
        try:
            await slot.step("raise")
        except Exception:
            return "all is well"
        return "?"

    for mode in ("inline", "process"):
        with EnvPool(FAULTY, workers=1, mode=mode, retries=1) as pool:
            (report,) = asyncio.run(pool.run([0], swallow, concurrency=1))
        assert (report.result, report.fault, report.attempts) == (None, Fault.ENV, 2)


def test_inline_faults_are_retried_on_a_new_environment(tmp_path: Path) -> None:
    with EnvPool(FAULTY, mode="inline") as pool:
        once, always, good = run(pool, [[f"raise {tmp_path / 'x'}"], ["raise"], LOOK])
    assert (once.error, once.attempts) == (None, 2)
    assert (always.fault, always.attempts) == (Fault.ENV, 3)
    assert good.error is None


@pytest.mark.parametrize("fault", ["exit", "cancel"])
@pytest.mark.parametrize("mode", ["inline", "threads", "process"])
def test_an_environment_that_exits_or_cancels_costs_its_own_episode_only(
    fault: str, mode: Any
) -> None:
    requests = [[fault], LOOK, [fault], LOOK]
    with EnvPool("faults/FaultyInThread-v0", mode=mode, workers=1, retries=1) as pool:
        reports = run(pool, requests, concurrency=1)
    assert [report.fault for report in reports] == [Fault.ENV, None] * 2
    assert [report.attempts for report in reports] == [2, 1] * 2


def test_a_cancellation_that_play_raises_itself_is_the_agents_error() -> None:
    async def cancels(slot: Slot, number: int) -> int:
        await slot.reset("a", 0)
        if number == 0:
            raise asyncio.CancelledError("the client was closed")
        return number

    with EnvPool(FAULTY, mode="inline") as pool:
        reports = asyncio.run(pool.run(range(2), cancels, concurrency=1))
    assert [report.fault for report in reports] == [Fault.AGENT, None]
    assert reports[0].error is not None
    assert reports[0].error["type"] == "CancelledError"


def test_an_environment_that_cannot_be_made_is_an_environment_error() -> None:
    for mode in ("inline", "process"):
        with EnvPool(FAULTY, {"broken": "no engine"}, workers=1, mode=mode, retries=0) as pool:
            (report,) = run(pool, [LOOK])
        assert report.error == {"type": "RuntimeError", "message": "no engine", "retryable": True}
        assert report.fault == Fault.ENV


@pytest.mark.case(17)
def test_what_an_environment_prints_does_not_disturb_its_answers() -> None:
    with EnvPool(FAULTY, workers=1) as pool:
        (report,) = run(pool, [["print", "look", "\ud800 " + "é" * 100_000]])
    assert report.result is not None
    assert report.result[-1].endswith("\ud800 " + "é" * 100_000)


@pytest.mark.case(14)
def test_an_answer_that_nobody_waits_for_goes_to_nobody() -> None:
    async def impatient(slot: Slot, number: int) -> str:
        await slot.reset("a", 0)
        if number == 0:
            try:
                await asyncio.wait_for(slot.step("late"), 0.1)
            except TimeoutError:
                return "gave up"
        return (await slot.step(f"mine {number}"))[0]

    with EnvPool(FAULTY, workers=1, envs_per_worker=1) as pool:
        reports = asyncio.run(pool.run(range(3), impatient, concurrency=1))
    assert reports[0].result == "gave up"
    for report in reports[1:]:
        assert report.result is not None
        assert report.result.endswith(f"mine {report.index}")


def test_a_cancelled_run_leaves_the_pool_usable() -> None:
    async def cancelled(pool: EnvPool) -> None:
        await asyncio.wait_for(pool.run([["hang"]] * 4, play, concurrency=4), 1.0)

    with EnvPool(FAULTY, workers=1) as pool:
        with pytest.raises(TimeoutError):
            asyncio.run(cancelled(pool))
        assert run(pool, [LOOK])[0].error is None


@pytest.mark.case(4)
def test_close_leaves_no_process_even_of_those_that_the_environment_started() -> None:
    pool = EnvPool(FAULTY, workers=2, envs_per_worker=1)
    reports = run(pool, [["spawn"], ["spawn"]], concurrency=2)
    children = [pid for pid in pids(reports) if alive(pid)]
    assert strays(*children)
    started = time.monotonic()
    pool.close()
    pool.close()
    assert time.monotonic() - started < 3
    assert len(set(children)) == 2
    assert not any(alive(pid) for pid in children)
    assert not strays(*children)
    with pytest.raises(PoolError, match="closed"):
        run(pool, [LOOK])


def strays(*workers: int) -> list[str]:
    """What these workers' environments have left behind, in their process groups."""
    command = ["ps", "axww", "-o", "pgid=,args="]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line for line in told.splitlines() if "longstep-stray" in line]
    return [line for line in lines if int(line.split()[0]) in workers]


PARENT = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from longstep_envs import EnvPool, register
register("faults/Faulty-v0", "faulty_env:FaultyEnv")
async def play(slot, action):
    print((await slot.reset("a", 0))[0].split()[1], flush=True)
    await slot.step(action)
asyncio.run(EnvPool("faults/Faulty-v0", workers=2).run(["hang", "look"] * 2, play, concurrency=4))
"""


def test_workers_die_with_a_parent_that_is_killed() -> None:
    command = [sys.executable, "-c", PARENT, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = {int(parent.stdout.readline()) for _ in range(4)}
        parent.kill()
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert workers
    assert not any(alive(pid) for pid in workers)
