"""The pool over a Ray cluster of this machine: what it promises of workers, it promises there."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from longstep_envs import EnvPool, EpisodeReport, Fault, Limits, Slot, register
from longstep_envs.cluster import Cluster
from longstep_envs.types import BadValueError

pytestmark = pytest.mark.ray
TREASURE = "longstep/Treasure-v0"
FAULTY = "faults/FaultyOnRay-v0"
LOCAL = Cluster("local", start_seconds=60)
LOOK = ["look"] * 3


@pytest.fixture(autouse=True)
def _cluster(ray_cluster: Any) -> Iterator[None]:
    # A worker finds what the driver finds: this folder is on no node's own path.
    folder = str(Path(__file__).parents[1] / "faults")
    sys.path.insert(0, folder)
    register(FAULTY, "faulty_env:FaultyEnv")
    yield
    sys.path.remove(folder)


async def follow_plan(slot: Slot, task: str) -> tuple[Any, ...]:
    """Play the expert's plan: everything that was seen."""
    observation, info = await slot.reset(task, 0, expert=True)
    seen: list[Any] = [observation]
    for action in info["expert_plan"]:
        seen.append(await slot.step(action))
    return tuple(seen)


async def play(slot: Slot, actions: Sequence[str]) -> list[str]:
    """Play fixed actions; the first observation names the worker."""
    observation, _ = await slot.reset("a", 0)
    return [observation, *[(await slot.step(action))[0] for action in actions]]


def run(pool: EnvPool, requests: Sequence[Any]) -> list[EpisodeReport[list[str]]]:
    return asyncio.run(pool.run(requests, play, concurrency=8))


def test_episodes_are_those_of_the_inline_pool() -> None:
    tasks = [f"train/{number}" for number in range(30)]
    reports = {}
    for cluster in (None, LOCAL):
        with EnvPool(TREASURE, workers=2, cluster=cluster) as pool:
            assert pool.mode == ("ray" if cluster else "inline")
            for _ in range(2):  # workers outlive a run, and the event loop of the run
                played = asyncio.run(pool.run(tasks, follow_plan, concurrency=9))
            reports[pool.mode] = [(one.index, one.result, one.attempts) for one in played]
    assert reports["ray"] == reports["inline"]


def test_many_environments_of_a_worker_are_asked_in_one_call() -> None:
    tasks = [f"train/{number}" for number in range(8)]
    with EnvPool(TREASURE, workers=1, cluster=LOCAL) as pool:
        (report, *_) = asyncio.run(pool.run(tasks, follow_plan, concurrency=8))
        (link,) = pool._backend._links  # type: ignore[union-attr]
        line: Any = link._line
        asked, exchanged = link._sent, line.exchanges
    assert report.attempts == 1
    assert exchanged < asked / 2


def test_faults_are_retried_on_another_worker_and_the_neighbours_finish(tmp_path: Path) -> None:
    faults = ["raise", "kill", "hang"]
    once = [[*LOOK, f"{fault} {tmp_path / fault}", *LOOK] for fault in faults]
    with EnvPool(FAULTY, workers=1, limits=Limits(step_seconds=1.0), cluster=LOCAL) as pool:
        reports = run(pool, [*once, *[LOOK] * 5])
    assert [report.error for report in reports] == [None] * 8
    assert all(report.attempts >= 2 for report in reports[:3])
    assert all((tmp_path / fault).exists() for fault in faults)
    assert [len(report.result or ()) for report in reports] == [8] * 3 + [4] * 5


def test_faults_that_stay_are_reported_and_cost_nobody_else() -> None:
    kinds = {"raise": "ZeroDivisionError", "kill": "WorkerDied", "hang": "StepTimeout"}
    kinds["final"] = "Gone"
    limits = Limits(step_seconds=1.0)
    with EnvPool(FAULTY, workers=2, retries=1, limits=limits, cluster=LOCAL) as pool:
        reports = run(pool, [LOOK, *[[fault] for fault in kinds], LOOK])
    assert [report.fault for report in reports] == [None, *[Fault.ENV] * 4, None]
    assert [r.error["type"] for r in reports if r.error] == list(kinds.values())
    assert all(report.attempts >= 2 for report in reports[1:4])


@pytest.mark.parametrize(
    "how",
    [
        "kill -9",
        pytest.param("ray.kill", marks=pytest.mark.slow),
        pytest.param("kill -STOP", marks=pytest.mark.slow),
    ],
)
def test_a_lost_actor_costs_its_own_episodes_one_attempt(how: str, ray_cluster: Any) -> None:
    def lose(slot: Any) -> None:
        actor = slot._link._line._actor
        if how == "ray.kill":
            ray_cluster.kill(actor)
            return
        pid = _parent(slot._link.pid)
        os.kill(pid, signal.SIGKILL if how == "kill -9" else signal.SIGSTOP)

    attempts = _play_and_lose(lose, limits=Limits(step_seconds=1.5))
    assert attempts == {1: 4, 2: 4}


@pytest.mark.slow
def test_a_lost_node_costs_its_own_episodes(ray_cluster: Any) -> None:
    node = _start_node(ray_cluster, {"elsewhere": 2.0})
    nodes = [node]

    def lose(slot: Any) -> None:
        node.kill_raylet(check_alive=False)
        nodes.append(_start_node(ray_cluster, {"elsewhere": 2.0}))

    try:
        cluster = Cluster("local", cpus=0.0, resources={"elsewhere": 1.0})
        assert _play_and_lose(lose, cluster=cluster) == {2: 8}  # both workers were there
    finally:
        for one in nodes:
            one.kill_all_processes(check_alive=False)


def test_a_worker_that_finds_no_place_says_what_it_wants() -> None:
    cluster = Cluster("local", resources={"no_such_thing": 1.0}, start_seconds=1.0)
    with EnvPool(TREASURE, workers=1, cluster=cluster) as pool:
        (report,) = asyncio.run(pool.run(["train/0"], follow_plan, concurrency=1))
    assert (report.fault, report.attempts) == (Fault.ENV, 1)
    assert report.error is not None
    assert "no_such_thing" in report.error["message"]
    assert "the cluster has {" in report.error["message"]


def test_a_pool_that_rests_makes_room_for_another(ray_cluster: Any) -> None:
    cluster = Cluster("local", cpus=12.0, start_seconds=30)  # of the 16 that there are
    with (
        EnvPool(TREASURE, workers=1, cluster=cluster) as first,
        EnvPool(TREASURE, workers=1, cluster=cluster) as second,
    ):
        for pool in (first, second, first):
            (report,) = asyncio.run(pool.run(["train/0"], follow_plan, concurrency=1))
            assert report.result is not None


def test_nothing_is_left_of_a_closed_pool(tmp_path: Path) -> None:
    with EnvPool(FAULTY, workers=1, cluster=LOCAL) as pool:
        (report,) = run(pool, [["spawn", "look"]])
    assert report.result is not None
    worker = int(report.result[0].split()[1])
    assert not Path(f"/proc/{worker}").exists()
    assert not _strays()


def test_bad_settings_are_refused() -> None:
    with pytest.raises(BadValueError, match="'over there'; wanted 'auto', 'local' or HOST:PORT"):
        Cluster("over there")
    with pytest.raises(BadValueError, match="come together"):
        EnvPool(TREASURE, mode="ray")
    with pytest.raises(BadValueError, match="come together"):
        EnvPool(TREASURE, mode="process", cluster=LOCAL)


def _play_and_lose(
    lose: Callable[[Any], None],
    cluster: Cluster = LOCAL,
    limits: Limits | None = None,
) -> Counter[int]:
    """Eight episodes on two workers, one of which is lost; how often each was begun."""
    lost: list[int] = []
    finished: list[int] = []

    async def episode(slot: Any, number: int) -> int:
        await slot.reset("a", 0)
        await asyncio.sleep(0.2)  # until all have begun
        if number == 0 and not lost:
            lost.append(number)
            lose(slot)
        for _ in range(10):
            await slot.step("look")
            await asyncio.sleep(0.005)
        finished.append(number)
        return number

    async def all_begun(slot: Slot, number: int) -> None:
        await slot.reset("a", 0)
        await asyncio.sleep(0.1)

    with EnvPool(FAULTY, workers=2, envs_per_worker=4, limits=limits, cluster=cluster) as pool:
        asyncio.run(pool.run(range(8), all_begun, concurrency=8))  # both workers are there
        reports = asyncio.run(pool.run(range(8), episode, concurrency=8))
    assert [report.result for report in reports] == list(range(8))
    assert sorted(finished) == list(range(8))  # nothing is played to its end twice
    return Counter(report.attempts for report in reports)


def _start_node(ray: Any, resources: dict[str, float]) -> Any:
    """Another node of the cluster, as another machine would be."""
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    context = ray.get_runtime_context()
    parameters = RayParams(
        gcs_address=context.gcs_address,
        num_cpus=1,
        resources=resources,
        object_store_memory=80 * 2**20,
    )
    return Node(parameters, head=False, shutdown_at_exit=False, spawn_reaper=False)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _strays() -> list[str]:
    time.sleep(0.1)
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text())
        except OSError:
            continue
    return [line for line in lines if "longstep-stray" in line]
