from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longstep_training.planning.bounds import find_bound
from longstep_training.planning.costs import Costs
from longstep_training.planning.episodes import Episode, Group, Turn
from longstep_training.planning.simulation import Outcome, Simulation

FREE = Costs(
    replicas=1,
    lanes=1_000,
    stalls=True,
    pass_seconds=0.0,
    weight_seconds=0.0,
    cache_seconds=0.0,
    drawn_seconds=0.0,
    read_seconds=0.0,
    pair_seconds=0.0,
    host_seconds=0.0,
    wait=1.0,
    workers=None,
    sync_seconds=0.0,
    credit_seconds=0.0,
    flop_seconds=0.0,
    traffic_seconds=0.0,
    optimizer_seconds=0.0,
)
seconds = st.one_of(st.just(0.0), st.floats(1e-4, 2.0))
turns = st.builds(Turn, read=st.floats(0, 50), drawn=st.floats(1, 30), waited=seconds)
episodes = st.builds(Episode, st.lists(turns, min_size=1, max_size=4))
some_costs = st.builds(
    Costs,
    replicas=st.integers(1, 3),
    lanes=st.integers(1, 4),
    stalls=st.booleans(),
    pass_seconds=seconds,
    weight_seconds=seconds,
    cache_seconds=st.floats(0, 1e-2),
    drawn_seconds=seconds,
    read_seconds=st.floats(0, 1e-2),
    pair_seconds=st.floats(0, 1e-4),
    host_seconds=seconds,
    wait=st.floats(0, 2),
    workers=st.one_of(st.none(), st.integers(1, 4)),
    sync_seconds=seconds,
    credit_seconds=seconds,
    flop_seconds=st.just(0.0),
    traffic_seconds=st.just(0.0),
    optimizer_seconds=st.just(0.0),
)


def play(
    costs: Costs, groups: Sequence[Group], tasks: int = 1, staleness: int = 0, update: float = 0.0
) -> Outcome:
    return Simulation(costs, groups, lambda _: update, tasks, staleness).run()


@settings(max_examples=60, deadline=None)
@given(
    costs=some_costs,
    groups=st.lists(st.lists(episodes, min_size=1, max_size=3), min_size=2, max_size=6),
    tasks=st.integers(1, 2),
    staleness=st.integers(0, 2),
    update=seconds,
)
def test_nothing_is_faster_than_the_bound_and_all_is_learnt_once(
    costs: Costs, groups: list[Group], tasks: int, staleness: int, update: float
) -> None:
    whole = groups[: len(groups) // tasks * tasks]
    found = play(costs, whole, tasks, staleness, update)
    bound = find_bound(costs, whole, lambda _: update, tasks, staleness)
    assert found.step >= bound.step * (1 - 1e-9)
    assert sorted(found.learnt) == list(range(len(whole)))
    assert found.engine_busy <= 1 + 1e-9
    parts = (bound.update, bound.engine, bound.episode, bound.lanes, bound.workers)
    assert max(parts) <= bound.step * (1 + 1e-9)


def test_one_episode_takes_just_the_sum_of_its_parts() -> None:
    costs = replace(FREE, pass_seconds=0.5, read_seconds=0.1, host_seconds=1.0, sync_seconds=7.0)
    found = play(costs, [[Episode([Turn(10, 4, 3.0), Turn(5, 2, 0.0)])]], update=100.0)
    assert found.seconds == pytest.approx(2 * 1.0 + 1.5 + 6 * 0.5 + 3.0 + 100.0 + 7.0)


def test_passes_draw_for_all_that_run() -> None:
    costs = replace(FREE, pass_seconds=1.0)
    alike = [Episode([Turn(0, 10, 0.0)]) for _ in range(8)]
    assert play(costs, [alike]).seconds == pytest.approx(10)
    assert play(replace(costs, lanes=4), [alike]).seconds == pytest.approx(20)
    assert play(replace(costs, lanes=4, replicas=2), [alike]).seconds == pytest.approx(10)


def test_fewer_environments_than_episodes_are_queued_for() -> None:
    waiting = [Episode([Turn(0, 1, 1.0)]) for _ in range(6)]
    assert play(FREE, [waiting]).seconds == pytest.approx(1)
    assert play(replace(FREE, workers=2), [waiting]).seconds == pytest.approx(3)


@pytest.mark.parametrize(("staleness", "step"), [(0, 3.0), (1, 2.0)])
def test_staleness_lets_episodes_and_updates_overlap(staleness: int, step: float) -> None:
    groups = [[Episode([Turn(0, 1, 1.0)])] for _ in range(200)]
    found = play(replace(FREE, stalls=False), groups, staleness=staleness, update=2.0)
    assert found.step == pytest.approx(step, rel=0.01)
    assert found.trainer_waited == pytest.approx(200 if staleness == 0 else 1)


def test_an_engine_that_shares_accelerators_rests_during_updates() -> None:
    costs = replace(FREE, pass_seconds=1.0, lanes=1)
    groups = [[Episode([Turn(0, 2, 0.0)])] for _ in range(200)]
    together = play(costs, groups, staleness=1, update=2.0)
    apart = play(replace(costs, stalls=False), groups, staleness=1, update=2.0)
    assert together.step == pytest.approx(4.0, rel=0.02)
    assert apart.step == pytest.approx(2.0, rel=0.02)


def test_a_slow_episode_is_waited_for_before_it_falls_behind() -> None:
    groups: list[Group] = [[Episode([Turn(0, 1, 0.1)])] for _ in range(8)]
    groups[0] = [Episode([Turn(0, 1, 5.0)])]
    found = play(replace(FREE, stalls=False), groups, staleness=2, update=1.0)
    assert found.learnt.index(0) == 2  # begun with version 0, so due at the third update
    assert found.seconds > 5.0 + 1.0
