import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from longstep_envs import EnvPool, EpisodeReport, Fault, Limits, Slot, make
from longstep_envs.faulty import HARMLESS, KINDS, Ledger, Schedule
from longstep_envs.types import BadValueError, ContractError, UnknownNameError

FAULTY = "longstep/Faulty-v0"
BROKEN_CONTRACT = {
    "no_observation",
    "wrong_observation",
    "nan_reward",
    "infinite_reward",
    "text_reward",
    "short_result",
    "wrong_info",
    "unknown_key",
}
DEADLY = {"exit", "kill", "segfault", "meddle", "print"}
"""Kinds that this process, or its terminal, is not to see."""


async def play(slot: Slot, seed: int) -> list[str]:
    observation, _ = await slot.reset("train/1", seed)
    seen = [observation]
    for _ in range(4):
        observation, *_ = await slot.step("look")
        seen.append(observation)
    return seen


def run(seeds: Sequence[int], kinds: Sequence[str], **options: Any) -> list[EpisodeReport[Any]]:
    mode = options.pop("mode", "process")
    kwargs = {"rate": 1.0, "kinds": list(kinds), "within": 4, "seconds": 5.0} | options
    limits = Limits(step_seconds=1.0)
    with EnvPool(FAULTY, kwargs, mode=mode, workers=2, limits=limits) as pool:
        return asyncio.run(pool.run(seeds, play, concurrency=8))


def test_without_faults_it_is_the_environment_inside() -> None:
    inner, faulty = make("longstep/Treasure-v0"), make(FAULTY)
    options = {"task": inner.task_ids[3], "expert": True}
    observation, info = inner.reset(seed=5, options=options)
    assert faulty.reset(seed=5, options=options) == (observation, info)
    for action in info["expert_plan"]:
        assert faulty.step(action) == inner.step(action)
    assert faulty.fork().render() == inner.render()
    assert faulty.provenance == inner.provenance


def test_the_schedule_is_of_the_seed_and_the_episode() -> None:
    schedule = Schedule(0, 0.05, tuple(KINDS), within=5)
    planned = [schedule.of("a", n) for n in range(10_000)]
    assert planned == [schedule.of("a", n) for n in range(10_000)]
    assert planned != [Schedule(1, 0.05, tuple(KINDS), 5).of("a", n) for n in range(10_000)]
    faults = [fault for fault in planned if fault is not None]
    assert 400 < len(faults) < 600
    assert {fault.kind for fault in faults} == set(KINDS)
    assert {fault.call for fault in faults} == set(range(6))


@pytest.mark.case(1, 2, 3, 4, 6, 15)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fault_that_happens_once_costs_a_try_at_most(kind: str, tmp_path: Path) -> None:
    reports = run(range(4), [kind], ledger=str(tmp_path))
    happened = list(Ledger(tmp_path).faults())
    assert sorted(fault.episode_seed or 0 for fault in happened) == [0, 1, 2, 3]
    if kind in BROKEN_CONTRACT:  # the same code would return the same again
        assert [report.fault for report in reports] == [Fault.ENV] * 4
        assert {report.error["type"] for report in reports if report.error} == {"ContractError"}
    else:
        assert [report.error for report in reports] == [None] * 4
        assert all(len(report.result or ()) == 5 for report in reports)
    if kind in HARMLESS | BROKEN_CONTRACT:
        assert Counter(report.attempts for report in reports) == {1: 4}
    else:  # the neighbours of a worker that died are played again as well
        assert all(report.attempts > 1 for report in reports)


def test_a_fault_that_always_happens_is_the_environments() -> None:
    reports = run(range(4), ["raise"])
    assert [report.fault for report in reports] == [Fault.ENV] * 4
    assert [report.attempts for report in reports] == [3] * 4


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - DEADLY - {"hang"}))
def test_in_this_process_too_what_is_wrong_is_told(kind: str) -> None:
    reports = run(range(3), [kind], mode="inline")
    for report in reports:
        if kind in HARMLESS:
            assert report.error is None
        else:
            assert report.fault is Fault.ENV
            assert report.error is not None
            assert (report.error["type"] == ContractError.__name__) == (kind in BROKEN_CONTRACT)


def test_a_mixture_loses_nothing_and_tells_nothing_twice(tmp_path: Path) -> None:
    reports = run(range(200), list(KINDS), rate=0.2, ledger=str(tmp_path))
    happened = {fault.episode_seed: fault.kind for fault in Ledger(tmp_path).faults()}
    assert [report.index for report in reports] == list(range(200))
    failed = {report.index for report in reports if report.error is not None}
    assert failed == {seed for seed, kind in happened.items() if kind in BROKEN_CONTRACT}
    assert 20 < len(happened) < 60


@pytest.mark.case(17)
def test_meddling_stays_in_the_worker() -> None:
    before = Path.cwd(), signal.getsignal(signal.SIGTERM)
    run(range(4), ["meddle"])
    assert (Path.cwd(), signal.getsignal(signal.SIGTERM)) == before


def test_wrong_options_are_told() -> None:
    with pytest.raises(UnknownNameError, match=r"kinds=.*wanted some of: raise"):
        make(FAULTY, kinds=["explode"])
    with pytest.raises(BadValueError, match="rate=2"):
        make(FAULTY, rate=2.0)
    with pytest.raises(UnknownNameError, match="did you mean"):
        make(FAULTY, inner="longstep/Tresure-v0")
