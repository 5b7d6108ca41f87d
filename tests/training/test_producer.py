"""Groups come as they are whole; each is trained, dropped or outstanding, and none is too old."""

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from longstep_agents.agent import Act
from longstep_agents.rollout import EpisodeRequest
from longstep_agents.types import Completion, Group
from longstep_envs import EnvPool, Limits
from longstep_envs.types import Info
from longstep_training.distributed import World
from longstep_training.producer import Producer, ProducerError
from longstep_training.reinforcement import ReinforcementConfig
from longstep_training.staleness import versions

TURNS, TASKS = 3, 4
Pause = Callable[[EpisodeRequest], Any]


class FakeSampler:
    """Knows which weights it has."""

    copied_bytes = 8

    def __init__(self) -> None:
        self.version = 0
        self.in_threads: list[str] = []

    def refresh(self, policy_version: int) -> None:
        self.version = policy_version

    async def change(self, policy_version: int) -> None:
        self.in_threads.append(threading.current_thread().name)
        self.version = policy_version


class Looker:
    """Looks around; `pause` says how long that takes, or raises."""

    def __init__(self, sampler: FakeSampler, pause: Callable[[], Any]) -> None:
        self._sampler, self._pause = sampler, pause

    async def act(self, observation: str, info: Info) -> Act:
        version = self._sampler.version
        await asyncio.sleep(self._pause())
        later = self._sampler.version
        both = (version, later) if later != version else ()
        sampled = Completion((1, 2), (-1.0, -1.0), policy_version=version, versions=both)
        return Act("look", completion=sampled)

    def close(self) -> None:
        """Nothing is held."""


class Theatre:
    """A producer over Treasure, with lookers that pause as told."""

    def __init__(self, pause: Pause, stage: Any = None, **rl: Any) -> None:
        self.sampler = FakeSampler()
        pool = EnvPool("longstep/Treasure-v0", limits=Limits(turns=TURNS))
        self.played = Counter[int]()

        def make(request: EpisodeRequest) -> Looker:
            self.played[request.agent_seed] += 1
            return Looker(self.sampler, lambda: pause(request))

        config = ReinforcementConfig(tasks=TASKS, siblings=2, **rl)
        sampler: Any = self.sampler
        stage = stage or (lambda turns: (pool, make))
        self.producer = Producer(World(), config, sampler, stage, concurrency=16)

    def draw(self, first: int, count: int) -> None:
        self.producer.begin(
            [EpisodeRequest(f"train/{i}", i, 10 * i) for i in range(first, first + count)],
            siblings=2,
        )

    def outstanding(self) -> list[int]:
        (mine,) = self.producer.state()
        return [drawn["request"]["seed"] for drawn in mine]


@pytest.fixture
def theatre() -> Iterator[Callable[..., Theatre]]:
    made: list[Theatre] = []

    def make(pause: Pause = lambda request: 0.0, **rl: Any) -> Theatre:
        made.append(Theatre(pause, **({"staleness": 1, "overdue": "drop"} | rl)))
        return made[-1]

    yield make
    for one in made:
        one.producer.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "rollouts"]


def seeds(groups: list[Group]) -> list[int]:
    return [group.trajectories[0].seed for group in groups]


@pytest.mark.parametrize("overdue", ["drop", "wait"])
@pytest.mark.parametrize("staleness", [1, 2, 3])
def test_every_group_is_trained_dropped_or_outstanding_and_none_is_too_old(
    theatre: Callable[..., Theatre], staleness: int, overdue: str
) -> None:
    rng = random.Random(f"{staleness}/{overdue}")
    slow = {i for i in range(400) if rng.random() < 0.15}
    one = theatre(
        lambda request: rng.expovariate(1 / (0.03 if request.seed in slow else 0.002)),
        staleness=staleness,
        overdue=overdue,
    )
    drawn, trained, dropped, iterations = 0, list[int](), 0, 20
    for iteration in range(1, iterations + 1):
        short = one.producer.short_of(TASKS, iterations - iteration)
        one.draw(drawn, short)
        drawn += short
        groups = one.producer.take(TASKS)
        assert len(groups) == TASKS
        assert all(len(t.steps) == TURNS for group in groups for t in group.trajectories)
        assert min(versions(groups)) >= one.sampler.version - staleness
        trained += seeds(groups)
        time.sleep(rng.random() * 0.01)
        one.producer.refresh(iteration)
        measured = one.producer.measured()
        assert measured["staleness_max"] <= staleness
        dropped += int(measured["dropped"])
        outstanding = one.outstanding()
        assert len(set(trained) | set(outstanding)) == len(trained) + len(outstanding)
        assert len(trained) + len(outstanding) + dropped == drawn
        assert len(outstanding) <= staleness * TASKS
    assert not outstanding
    assert max(one.played.values()) == 1
    if overdue == "wait":
        assert not dropped
        assert sorted(trained) == list(range(drawn))


def test_a_slow_group_holds_no_batch_and_goes_on_with_new_weights(
    theatre: Callable[..., Theatre],
) -> None:
    one = theatre(lambda request: 0.1 if request.seed == 0 else 0.0, staleness=2)
    one.draw(0, 2 * TASKS)
    assert 0 not in seeds(one.producer.take(TASKS))
    one.producer.refresh(1)
    assert set(one.sampler.in_threads) == {"rollouts"}
    last = one.producer.take(TASKS)
    assert seeds(last)[0] == 0  # the oldest comes first
    assert {0, 1} == set(versions(last[:1]))


def test_what_cannot_be_learnt_from_in_time_is_given_up_and_counted(
    theatre: Callable[..., Theatre],
) -> None:
    one = theatre(lambda request: 0.05 if request.seed < 2 else 0.0)
    one.draw(0, 2 * TASKS)
    for version in (1, 2):
        one.producer.take(TASKS - version)
        one.producer.refresh(version)
    assert one.outstanding() == []
    assert one.producer.measured()["dropped"] == 2 * TASKS - 3 - 2
    assert one.producer.short_of(TASKS, iterations_left=5) == 2 * TASKS  # others take their place


def test_an_update_waits_for_what_it_would_leave_too_far_behind(
    theatre: Callable[..., Theatre],
) -> None:
    one = theatre(lambda request: 0.05 if request.seed == 0 else 0.0, overdue="wait")
    one.draw(0, 2 * TASKS)
    one.producer.take(TASKS)
    one.producer.refresh(1)
    one.draw(2 * TASKS, TASKS)
    assert 0 in seeds(one.producer.take(TASKS))
    measured = one.producer.measured()
    assert measured["trainer_waited"] > 0.05
    assert measured["dropped"] == 0


def test_a_resumed_producer_goes_on_with_what_was_outstanding_and_with_nothing_else(
    theatre: Callable[..., Theatre],
) -> None:
    before = theatre(lambda request: 9.0 if request.seed < 3 else 0.0)
    before.draw(0, 2 * TASKS)
    taken = seeds(before.producer.take(TASKS))
    before.producer.refresh(1)
    time.sleep(0.5)
    state = json.loads(json.dumps(before.producer.state()))
    after = theatre()
    after.producer.load(state)
    after.producer.refresh(1)  # what a resumed run begins with
    assert after.producer.short_of(TASKS, iterations_left=0) == 0
    given_back = after.producer.take(TASKS)
    assert sorted([*taken, *seeds(given_back)]) == list(range(2 * TASKS))
    assert set(after.played) == {0, 1, 10, 11, 20, 21}  # what was whole is not played again
    assert set(versions(given_back)) == {0, 1}  # and its tokens are of the version that they were


def test_what_was_taken_is_outstanding_until_it_was_learnt_from(
    theatre: Callable[..., Theatre],
) -> None:
    one = theatre()
    one.draw(0, TASKS)
    one.producer.take(TASKS)
    assert sorted(one.outstanding()) == list(range(TASKS))
    one.producer.refresh(1)
    assert not one.outstanding()


def test_another_number_of_processes_deals_what_was_outstanding_anew(
    theatre: Callable[..., Theatre],
) -> None:
    before = theatre()
    before.draw(0, TASKS)
    (mine,) = before.producer.state()
    for written in ([mine], [mine[:1], mine[1:], []]):
        after = theatre()
        after.producer.load(written)
        assert sorted(after.outstanding()) == list(range(TASKS))


def test_an_error_of_the_machinery_reaches_the_trainer(theatre: Callable[..., Theatre]) -> None:
    def broken(turns: int | None) -> Any:
        raise OSError("no room for environments")

    one = theatre(stage=broken)
    one.draw(0, 1)
    with pytest.raises(OSError, match="no room"):
        one.producer.take(1)


def test_an_error_of_the_agent_costs_its_episode(theatre: Callable[..., Theatre]) -> None:
    def pause(request: EpisodeRequest) -> float:
        if request.agent_seed == 11:
            raise ValueError("what an agent does")
        return 0.0

    one = theatre(pause)
    one.draw(0, 2)
    groups = sorted(one.producer.take(2), key=lambda group: group.trajectories[0].seed)
    assert [len(group.counted) for group in groups] == [2, 1]


def test_more_cannot_be_taken_than_was_drawn(theatre: Callable[..., Theatre]) -> None:
    one = theatre()
    one.draw(0, 1)
    with pytest.raises(ProducerError, match="2 groups to take, 1 were drawn"):
        one.producer.take(2)


def test_closing_gives_up_what_is_played(theatre: Callable[..., Theatre]) -> None:
    one = theatre(lambda request: 60.0 if request.seed else 0.0)
    one.draw(0, TASKS)
    one.producer.take(1)
    began = time.monotonic()
    one.producer.close()
    assert time.monotonic() - began < 10
    one.producer.close()
