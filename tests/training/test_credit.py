import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longstep_agents.types import Group, Outcome, Step, Trajectory
from longstep_training.credit import CREDIT, CreditConfig, discounted_returns, relative, step_groups

METHODS = sorted(CREDIT)
steps = st.builds(
    Step,
    reward=st.sampled_from([0.0, 0.0, 0.5, 1.0, -0.25]),
    state_key=st.sampled_from(["s0", "s1", "s2"]),
)
trajectories = st.builds(
    Trajectory,
    steps=st.lists(steps, min_size=1, max_size=5).map(tuple),
    outcome=st.sampled_from([Outcome.OK, Outcome.OK, Outcome.TRUNCATED, Outcome.ENV_ERROR]),
)
groups = st.builds(Group, st.lists(trajectories, min_size=1, max_size=6).map(tuple))


def credit(name: str, group: Group, **options: object) -> list[list[float]]:
    (advantages_GS,) = CREDIT[name]([group], CreditConfig.model_validate(options))
    return advantages_GS


def close(one: list[list[float]], other: list[list[float]], tolerance: float = 1e-9) -> bool:
    return [len(row) for row in one] == [len(row) for row in other] and all(
        a == pytest.approx(b, abs=tolerance)
        for x, y in zip(one, other, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def walk(*pairs: tuple[str, float], outcome: Outcome = Outcome.OK) -> Trajectory:
    return Trajectory(tuple(Step(state_key=k, reward=r) for k, r in pairs), outcome=outcome)


@pytest.mark.parametrize("name", METHODS)
@given(group=groups, seed=st.integers(0, 99))
def test_the_order_of_siblings_does_not_matter(name: str, group: Group, seed: int) -> None:
    order = list(range(len(group.trajectories)))
    random.Random(seed).shuffle(order)
    shuffled = Group(tuple(group.trajectories[i] for i in order))
    before = credit(name, group)
    assert close(credit(name, shuffled), [before[i] for i in order])


@pytest.mark.parametrize("name", METHODS)
@given(group=groups)
def test_what_does_not_count_gets_nothing_and_changes_nothing(name: str, group: Group) -> None:
    counted = Group(group.counted)
    everything = credit(name, group)
    assert close(
        [row for t, row in zip(group.trajectories, everything, strict=True) if t.counts],
        credit(name, counted),
    )
    for trajectory, row in zip(group.trajectories, everything, strict=True):
        assert trajectory.counts or not any(row)


@given(group=groups)
def test_centred_episode_terms_sum_to_zero(group: Group) -> None:
    earned = [row[0] for row in credit("grpo", group, normalise=False)]
    assert sum(earned) == pytest.approx(0.0, abs=1e-9)


@given(group=groups)
def test_centred_step_terms_sum_to_zero_in_every_state(group: Group) -> None:
    both = credit("gigpo", group, normalise=False)
    episode = credit("grpo", group, normalise=False)
    for places in step_groups(group.trajectories).values():
        total = sum(both[i][s] - episode[i][s] for i, s in places)
        assert total == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", METHODS)
@given(group=groups, factor=st.sampled_from([2.0, 10.0, 300.0]))
def test_normalised_credit_does_not_depend_on_the_scale_of_rewards(
    name: str, group: Group, factor: float
) -> None:
    scaled = Group(
        tuple(
            replace(t, steps=tuple(replace(s, reward=s.reward * factor) for s in t.steps))
            for t in group.trajectories
        )
    )
    assert close(credit(name, scaled), credit(name, group), tolerance=2e-4)


@given(group=groups)
def test_gigpo_without_step_weight_is_grpo(group: Group) -> None:
    assert close(credit("gigpo", group, step_weight=0.0), credit("grpo", group))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, 1e6])
def test_equal_rewards_earn_exactly_nothing(name: str, reward: float) -> None:
    group = Group((walk(("s0", 0.0), ("s1", reward)),) * 7)
    assert credit(name, group) == [[0.0, 0.0]] * 7


@pytest.mark.parametrize("name", METHODS)
def test_a_group_of_one_earns_nothing(name: str) -> None:
    one = walk(("s0", 0.0), ("s0", 1.0))
    failed = walk(("s0", 0.0), outcome=Outcome.ENV_ERROR)
    assert credit(name, Group((one,))) == [[0.0, 0.0]]
    assert credit(name, Group((one, failed))) == [[0.0, 0.0], [0.0]]
    assert credit(name, Group()) == []


def test_gigpo_by_hand_with_a_state_that_is_visited_twice() -> None:
    """A: s0, s1, s0 again, then the reward. B: s0 and out, with none. Discount one half.

    Returns: A 0.25, 0.5, 1; B 0. Episodes 1 and 0 are 0.5 from their mean. In s0 stand 0.25, 1
    and 0 with mean 5/12; s1 is visited once, so that nothing is compared there.
    """
    group = Group((walk(("s0", 0.0), ("s1", 0.0), ("s0", 1.0)), walk(("s0", 0.0))))
    earned = credit("gigpo", group, normalise=False, discount=0.5, step_weight=2.0)
    assert close(
        earned,
        [[0.5 + 2 * (0.25 - 5 / 12), 0.5, 0.5 + 2 * (1 - 5 / 12)], [-0.5 + 2 * (0 - 5 / 12)]],
    )


def test_states_of_other_groups_are_not_compared() -> None:
    groups = [Group((walk(("s0", 1.0)), walk(("s1", 0.0)))) for _ in range(2)]
    config = CreditConfig(normalise=False)
    assert CREDIT["gigpo"](groups, config) == CREDIT["grpo"](groups, config)


def test_relative_by_hand() -> None:
    assert relative([1.0, 0.0, 0.0], normalise=False) == pytest.approx([2 / 3, -1 / 3, -1 / 3])
    scored = relative([3.0, 1.0], normalise=True)
    assert scored == pytest.approx([0.5**0.5, -(0.5**0.5)], abs=1e-5)
    assert relative([0.1 + 0.2, 0.3], normalise=True) == [0.0, 0.0]  # equal but for rounding


def test_returns_are_discounted_towards_the_past() -> None:
    assert discounted_returns([1.0, 0.0, 2.0], 0.5) == [1.5, 1.0, 2.0]
    assert discounted_returns([], 0.5) == []
