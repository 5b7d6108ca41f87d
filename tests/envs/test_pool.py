import asyncio
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

import pytest

from longstep_envs import EnvPool, EpisodeReport, Fault, Limits, Slot, make, register
from longstep_envs.backends import PoolError
from longstep_envs.treasure import TreasureEnv
from longstep_envs.types import BadValueError, UnknownNameError

TREASURE = "longstep/Treasure-v0"
MODES = pytest.mark.parametrize("mode", ["inline", "threads", "process"])


async def follow_plan(slot: Slot, task: str) -> tuple[str, float, str]:
    """Play the expert's plan: task, return, how it ended."""
    _, info = await slot.reset(task, 0, expert=True)
    total = 0.0
    for action in info["expert_plan"]:
        _, reward, _, _, info = await slot.step(action)
        total += reward
    return info["task_id"], total, info.get("stop_reason", "")


def run(
    pool: EnvPool, tasks: Sequence[str], concurrency: int = 4
) -> list[EpisodeReport[tuple[str, float, str]]]:
    return asyncio.run(pool.run(tasks, follow_plan, concurrency=concurrency))


@MODES
def test_reports_come_in_request_order_whatever_finishes_first(mode: Any) -> None:
    tasks = [f"train/{number}" for number in range(40)]
    with EnvPool(TREASURE, mode=mode, workers=2) as pool:
        reports = run(pool, tasks, concurrency=9)
    results = [report.result or ("", 0.0, "") for report in reports]
    assert [task for task, _, _ in results] == tasks
    assert all(total == pytest.approx(1.0) for _, total, _ in results)
    assert {ended for _, _, ended in results} == {"success"}
    assert [report.index for report in reports] == list(range(40))


@MODES
def test_a_step_through_the_pool_equals_a_step_without_it(mode: Any) -> None:
    env = make(TREASURE)
    env.reset(seed=3, options={"task": "valid/1"})
    expected = env.step("look")

    async def look(slot: Slot, _: int) -> Any:
        await slot.reset("valid/1", 3)
        return await slot.step("look")

    with EnvPool(TREASURE, mode=mode, workers=1) as pool:
        (report,) = asyncio.run(pool.run([0], look, concurrency=1))
    assert report.result == expected


@pytest.mark.case(16)
@MODES
def test_limits_hold_in_the_pool(mode: Any) -> None:
    with EnvPool(TREASURE, mode=mode, workers=1, limits=Limits(turns=4)) as pool:
        (report,) = run(pool, ["train/0"])
    assert report.fault == Fault.AGENT  # the plan goes on after the limit
    assert report.error is not None
    assert "turn_limit" in report.error["message"]


@MODES
def test_an_error_of_the_agent_is_reported_as_its_own_and_not_retried(mode: Any) -> None:
    calls = []

    async def clumsy(slot: Slot, number: int) -> int:
        calls.append(number)
        await slot.reset(None, 0)
        if number == 1:
            raise ValueError("the model answered nonsense")
        return number

    with EnvPool(TREASURE, workers=1, mode=mode) as pool:
        reports = asyncio.run(pool.run([0, 1, 2], clumsy, concurrency=2))
    message = "the model answered nonsense"
    assert [report.fault for report in reports] == [None, Fault.AGENT, None]
    assert reports[1].error == {"type": "ValueError", "message": message, "retryable": False}
    assert sorted(calls) == [0, 1, 2]


@MODES
def test_misuse_of_a_slot_is_the_agents_error(mode: Any) -> None:
    async def step_without_reset(slot: Slot, _: int) -> None:
        await slot.step("look")

    async def step_with_a_number(slot: Slot, _: int) -> None:
        await slot.reset(None, 0)
        await slot.step(5)  # type: ignore[arg-type]

    with EnvPool(TREASURE, workers=1, mode=mode) as pool:
        for play, kind in ((step_without_reset, "EpisodeOverError"), (step_with_a_number, "TypeE")):
            (report,) = asyncio.run(pool.run([0], play, concurrency=1))
            assert report.fault == Fault.AGENT
            assert report.error is not None
            assert report.error["type"].startswith(kind)


@MODES
def test_an_unknown_task_is_not_tried_again(mode: Any) -> None:
    with EnvPool(TREASURE, workers=1, mode=mode) as pool:
        (report,) = run(pool, ["train/x"])
    assert (report.attempts, report.fault) == (1, Fault.ENV)
    assert report.error is not None
    assert "unknown task 'train/x'" in report.error["message"]


def test_auto_follows_the_metadata_of_the_environment() -> None:
    assert EnvPool(TREASURE).mode == "inline"
    assert EnvPool(TREASURE, mode="process").mode == "process"


class TakesAnything(TreasureEnv):
    def __init__(self, what: object = None) -> None:
        super().__init__()


def test_bad_settings_are_refused() -> None:
    register("takes/Anything-v0", f"{__name__}:TakesAnything")
    with pytest.raises(BadValueError, match="workers=0"):
        EnvPool(TREASURE, workers=0)
    with pytest.raises(BadValueError, match="'fibres'"):
        EnvPool(TREASURE, mode="fibres")  # type: ignore[arg-type]
    with pytest.raises(BadValueError, match="cannot be sent to a worker"):
        EnvPool("takes/Anything-v0", {"what": lambda: 1}, mode="process")
    with pytest.raises(UnknownNameError, match="did you mean 'longstep/Treasure-v0'"):
        EnvPool("longstep/Treasur-v0")


def test_workers_outlive_a_run_and_a_dead_one_is_replaced_without_blame() -> None:
    with EnvPool(TREASURE, mode="process", workers=1, retries=0) as pool:
        (before,) = run(pool, ["train/0"])
        (link,) = pool._backend._links  # type: ignore[union-attr]
        pid = link.pid
        (again,) = run(pool, ["train/0"])
        assert pool._backend._links[0].pid == pid  # type: ignore[union-attr]
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        (after,) = run(pool, ["train/0"])
        assert pool._backend._links[0].pid != pid  # type: ignore[union-attr]
    assert before.result == again.result == after.result


def test_a_closed_pool_says_so() -> None:
    pool = EnvPool(TREASURE)
    pool.close()
    with pytest.raises(PoolError, match="closed"):
        run(pool, ["train/0"])


@MODES
def test_an_open_pool_takes_episodes_at_any_time(mode: Any) -> None:
    async def scenario(pool: EnvPool) -> list[EpisodeReport[tuple[str, float, str]]]:
        with pool.open():
            first = asyncio.create_task(pool.play("train/1", follow_plan))
            await asyncio.sleep(0)
            more = [pool.play(f"train/{i}", follow_plan, index=i) for i in range(2, 12)]
            return [await first, *await asyncio.gather(*more)]

    with EnvPool(TREASURE, mode=mode, workers=1, envs_per_worker=2) as pool:
        for _ in range(2):
            reports = asyncio.run(scenario(pool))
            assert [r.result[0] for r in reports if r.result] == [
                f"train/{i}" for i in range(1, 12)
            ]
            assert [report.index for report in reports] == [0, *range(2, 12)]


def test_a_pool_that_is_not_open_plays_nothing_and_opens_once() -> None:
    with EnvPool(TREASURE) as pool:
        with pytest.raises(PoolError, match="not open"):
            asyncio.run(pool.play("train/1", follow_plan))
        with pool.open(), pytest.raises(PoolError, match="one run at a time"), pool.open():
            pass


def test_an_episode_that_is_given_up_frees_its_place() -> None:
    async def forever(slot: Slot, task: str) -> None:
        await slot.reset(task, 0)
        await asyncio.sleep(60)

    async def scenario(pool: EnvPool) -> EpisodeReport[tuple[str, float, str]]:
        with pool.open():
            given_up = asyncio.create_task(pool.play("train/1", forever))
            await asyncio.sleep(0.01)
            given_up.cancel()
            return await pool.play("train/2", follow_plan)

    with EnvPool(TREASURE, mode="process", workers=1, envs_per_worker=1) as pool:
        report = asyncio.run(asyncio.wait_for(scenario(pool), 60))
    assert report.result is not None
    assert report.result[0] == "train/2"
