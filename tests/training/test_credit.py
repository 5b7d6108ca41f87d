import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from longstep_agents.types import Completion, Group, Outcome, Step, Trajectory
from longstep_training.credit import CREDIT, AnyCreditConfig, CreditConfig, step_groups
from longstep_training.credit.salt import BASES
from longstep_training.credit.statistics import discounted_returns, relative, token_count
from longstep_training.credit.step import GiGPOConfig
from longstep_training.credit.trajectory import GRPOConfig
from longstep_training.rewards import RewardConfig, score

METHODS = sorted(CREDIT)
CHOICE: TypeAdapter[CreditConfig] = TypeAdapter(AnyCreditConfig)
ALONE = {"gae", "ppr", "reinforce_pp"}
"""Methods that compare with something else than siblings."""
RELATIVE = sorted(set(METHODS) - ALONE)
OF_REWARDS = sorted(set(RELATIVE) - {"ngrpo", "prime"} | {"reinforce_pp"})
"""Methods by which equal rewards earn nothing, whatever else was recorded."""
NORMALISING = [
    *("copo", "gdpo", "gigpo", "grpo", "hgpo", "reinforce_pp", "reinforce_pp_baseline"),
    *("salt", "turn_returns"),
]


def take_step(
    reward: float,
    state_key: str,
    action: str,
    completion: Completion = Completion(),  # noqa: B008 - frozen
    process: float = 0.5,
) -> Step:
    return Step(
        reward=reward,
        state_key=state_key,
        action=action,
        completion=completion,
        reward_parts={"environment": reward, "process": process},
    )


def complete(tokens: list[tuple[bool, float, float]]) -> Completion:
    """Of each token: whether it was forced, its log-probability, and another number."""
    return Completion(
        ids=(7,) * len(tokens),
        allowed=tuple((7,) if forced else None for forced, _, _ in tokens),
        logprobs=tuple(logprob for _, logprob, _ in tokens),
        collisions=tuple(math.exp(2 * logprob) for _, logprob, _ in tokens),
        reference_logprobs=tuple(logprob - other for _, logprob, other in tokens),
        entropies=tuple(abs(other) for _, _, other in tokens),
        values=tuple(other for _, _, other in tokens),
    )


completions = st.lists(
    st.tuples(
        st.sampled_from([False, False, True]),
        st.sampled_from([-0.1, -0.7, -2.0]),
        st.sampled_from([-0.5, 0.25, 1.0]),
    ),
    min_size=1,
    max_size=3,
).map(complete)
steps = st.builds(
    take_step,
    reward=st.sampled_from([0.0, 0.0, 0.5, 1.0, -0.25]),
    state_key=st.sampled_from(["s0", "s1", "s2"]),
    action=st.sampled_from(["left", "right"]),
    completion=completions,
    process=st.sampled_from([0.0, 0.5, 1.0]),
)
trajectories = st.builds(
    Trajectory,
    steps=st.lists(steps, min_size=1, max_size=5).map(tuple),
    outcome=st.sampled_from([Outcome.OK, Outcome.OK, Outcome.TRUNCATED, Outcome.ENV_ERROR]),
    success=st.booleans(),
)
groups = st.builds(Group, st.lists(trajectories, min_size=1, max_size=6).map(tuple))


def credit(name: str, group: Group, **options: object) -> list[list[float]]:
    """What each step earned: its tokens' credits one after the other, or its one number."""
    config = CHOICE.validate_python({"name": name, **options})
    (credit_GS,) = CREDIT[name]([group], config)
    return [[v for step in row for v in in_list(step)] for row in credit_GS]


def in_list(step: float | Sequence[float]) -> Sequence[float]:
    return [step] if isinstance(step, int | float) else step


def close(one: list[list[float]], other: list[list[float]], tolerance: float = 1e-9) -> bool:
    return [len(row) for row in one] == [len(row) for row in other] and all(
        a == pytest.approx(b, abs=tolerance)
        for x, y in zip(one, other, strict=True)
        for a, b in zip(x, y, strict=True)
    )


TOKENS = complete([(False, -0.5, 0.5), (True, -0.1, 0.0), (False, -1.0, 0.25)])


def walk(*pairs: tuple[str, float], outcome: Outcome = Outcome.OK) -> Trajectory:
    return Trajectory(tuple(take_step(r, k, "go", TOKENS) for k, r in pairs), outcome=outcome)


@given(group=groups)
def test_credit_has_a_number_for_every_step_or_for_every_token(group: Group) -> None:
    for name in METHODS:
        config = CHOICE.validate_python({"name": name})
        (credit_GS,) = CREDIT[name]([group], config)
        assert len(credit_GS) == len(group.trajectories)
        for row, trajectory in zip(credit_GS, group.trajectories, strict=True):
            for earned, step in zip(row, trajectory.steps, strict=True):
                completion = step.completion
                values = in_list(earned)
                assert all(map(math.isfinite, values))
                assert isinstance(earned, float) or len(values) == len(completion.ids)
                if not isinstance(earned, float) and completion.allowed:
                    forced = [ids is not None for ids in completion.allowed]
                    assert not any(v for v, fixed in zip(values, forced, strict=True) if fixed)


@given(group=groups, seed=st.integers(0, 99))
def test_the_order_of_siblings_does_not_matter(group: Group, seed: int) -> None:
    for name in METHODS:
        order = list(range(len(group.trajectories)))
        random.Random(seed).shuffle(order)
        shuffled = Group(tuple(group.trajectories[i] for i in order))
        before = credit(name, group)
        assert close(credit(name, shuffled), [before[i] for i in order])


@given(batch=st.lists(groups, min_size=2, max_size=3))
def test_the_order_of_groups_does_not_matter(batch: list[Group]) -> None:
    for name in METHODS:
        config = CHOICE.validate_python({"name": name})
        there, back = CREDIT[name](batch, config), CREDIT[name](batch[::-1], config)
        for one, other in zip(there, reversed(back), strict=True):
            rows = zip(one, other, strict=True)
            assert all(
                in_list(a) == pytest.approx(in_list(b), abs=1e-9)
                for pair in rows
                for a, b in zip(*pair, strict=True)
            )


@pytest.mark.case(13)
@given(group=groups)
def test_what_does_not_count_gets_nothing_and_changes_nothing(group: Group) -> None:
    counted = Group(group.counted)
    for name in METHODS:
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


@given(group=groups, factor=st.sampled_from([2.0, 10.0, 300.0]))
def test_normalised_credit_does_not_depend_on_the_scale_of_rewards(
    group: Group, factor: float
) -> None:
    scaled = Group(
        tuple(
            replace(
                t,
                steps=tuple(
                    take_step(s.reward * factor, s.state_key, s.action, s.completion)
                    for s in t.steps
                ),
            )
            for t in group.trajectories
        )
    )
    for name in NORMALISING:
        # Undiscounted, so that returns are equal or apart: deviations near epsilon are no matter.
        options = {"discount": 1.0} if name in ("gigpo", "hgpo", "turn_returns") else {}
        earned, before = credit(name, scaled, **options), credit(name, group, **options)
        assert close(earned, before, tolerance=2e-4)


@given(group=groups)
def test_gigpo_without_step_weight_is_grpo(group: Group) -> None:
    assert close(credit("gigpo", group, step_weight=0.0), credit("grpo", group))


@pytest.mark.parametrize("name", OF_REWARDS)
@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, 1e6])
def test_equal_rewards_earn_exactly_nothing(name: str, reward: float) -> None:
    group = Group((walk(("s0", 0.0), ("s1", reward)),) * 7)
    assert not any(value for row in credit(name, group) for value in row)


@pytest.mark.parametrize("name", RELATIVE)
def test_a_group_of_one_earns_nothing(name: str) -> None:
    one = walk(("s0", 0.0), ("s0", 1.0))
    failed = walk(("s0", 0.0), outcome=Outcome.ENV_ERROR)
    for group in (Group((one,)), Group((one, failed))):
        assert not any(value for row in credit(name, group) for value in row)


@pytest.mark.parametrize("name", METHODS)
def test_nothing_and_nothing_that_counts_earn_nothing(name: str) -> None:
    config = CHOICE.validate_python({"name": name})
    assert CREDIT[name]([], config) == []
    assert CREDIT[name]([Group()], config) == [[]]
    failed = walk(("s0", 1.0), ("s1", 0.0), outcome=Outcome.ENV_ERROR)
    earned = credit(name, Group((failed, failed, Trajectory(outcome=Outcome.CANCELLED))))
    assert not any(value for row in earned for value in row)
    assert credit(name, Group((Trajectory(), Trajectory()))) == [[], []]


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
    gigpo = CREDIT["gigpo"](groups, GiGPOConfig(normalise=False))
    assert gigpo == CREDIT["grpo"](groups, GRPOConfig(normalise=False))


def test_relative_by_hand() -> None:
    assert relative([1.0, 0.0, 0.0], normalise=False) == pytest.approx([2 / 3, -1 / 3, -1 / 3])
    scored = relative([3.0, 1.0], normalise=True)
    assert scored == pytest.approx([0.5**0.5, -(0.5**0.5)], abs=1e-5)
    assert relative([0.1 + 0.2, 0.3], normalise=True) == [0.0, 0.0]  # equal but for rounding


def test_returns_are_discounted_towards_the_past() -> None:
    assert discounted_returns([1.0, 0.0, 2.0], 0.5) == [1.5, 1.0, 2.0]
    assert discounted_returns([], 0.5) == []


@given(group=groups)
def test_hgpo_without_history_is_the_step_term_of_gigpo(group: Group) -> None:
    both = credit("gigpo", group, normalise=False)
    episode = credit("grpo", group, normalise=False)
    step = [[a - b for a, b in zip(x, y, strict=True)] for x, y in zip(both, episode, strict=True)]
    earned = credit("hgpo", group, normalise=False, history=0)
    assert close(earned, step, tolerance=1e-5)


def test_hgpo_by_hand() -> None:
    """Both stand in s1, A by way of s0 and B by way of s2; only the short context is shared."""
    a, b = walk(("s0", 0.0), ("s1", 1.0)), walk(("s2", 0.0), ("s1", 0.0))
    options = {"normalise": False, "discount": 1.0, "history": 1}
    assert close(credit("hgpo", Group((a, b)), **options), [[0, 0.5], [0, -0.5]], 1e-5)
    # C shares both contexts with A: weights 1 and 2 on -1/3 + 1 and on 0.5.
    c = walk(("s0", 0.0), ("s1", 0.0))
    earned = credit("hgpo", Group((a, b, c)), **options)
    assert earned[0][1] == pytest.approx((1 * (2 / 3) + 2 * 0.5) / 3, abs=1e-5)


def test_hgpo_items_of_exactly_zero_keep_their_weight_unless_as_released() -> None:
    """B is the mean of the three that stand in its state, and above C, who came as it did.

    Returns are A 1, B 0.5, C 0; the short context weighs 1 (released: 2), the long one 2 (3).
    """
    a, b, c = (
        walk((past, 0.0), ("s1", reward)) for past, reward in (("s2", 1), ("s0", 0.5), ("s0", 0))
    )
    options = {"normalise": False, "discount": 1.0, "history": 1}
    ours = credit("hgpo", Group((a, b, c)), **options)
    assert ours[1][1] == pytest.approx((1 * 0.0 + 2 * 0.25) / 3, abs=1e-5)
    released = credit("hgpo", Group((a, b, c)), as_released=True, **options)
    assert released[1][1] == pytest.approx(0.25, abs=1e-5)
    zero = credit("hgpo", Group((a, a)), as_released=True, **options)
    assert zero == [[0.0, 0.0]] * 2


def test_a_group_of_one_has_its_own_steps_compared_as_released() -> None:
    """Returns are 0.9025, 0.95, 1 with discount 0.95; the first and the last step stood in a."""
    one = Group((walk(("a", 0.0), ("b", 0.0), ("a", 1.0)),))
    options: dict[str, object] = {"normalise": False, "discount": 0.95}
    half = (1 - 0.95**2) / 2
    released = credit("gigpo", one, as_released=True, **options)
    assert close(released, [[-half, 0.0, half]])
    in_context = credit("hgpo", one, as_released=True, history=0, **options)
    assert close(in_context, [[-half, 0.0, half]], tolerance=1e-6)
    for name in ("gigpo", "hgpo"):
        assert credit(name, one, **options) == [[0.0, 0.0, 0.0]]


def test_tokens_that_were_all_forced_are_none() -> None:
    forced, free = complete([(True, -0.1, 0.0)] * 3), complete([(False, -0.1, 0.0)] * 3)

    def counted(completion: Completion) -> int:
        return token_count(Trajectory((Step(completion=completion),) * 2))

    assert [counted(forced), counted(free), counted(Completion())] == [0, 6, 2]


def test_gigpo_singletons_earn_nothing_by_step_and_nothing_by_group() -> None:
    """Released code, too, gives 0 to a state of one visit, but the raw reward to a group of one."""
    one = walk(("s0", 0.0), ("s1", 1.0))
    assert credit("gigpo", Group((one,))) == [[0.0, 0.0]]
    assert credit("gigpo", Group((walk(("s0", 1.0)),)), as_released=True) == [[1.0]]
    apart = Group((one, walk(("s2", 0.0), ("s3", 0.0))))
    assert close(credit("gigpo", apart), credit("grpo", apart))


@pytest.mark.parametrize("base", sorted(BASES))
@given(group=groups)
def test_salt_shares_out_and_loses_nothing(base: str, group: Group) -> None:
    before, after = credit(base, group), credit("salt", group, base={"name": base}, history=0)
    assert sum(map(sum, after)) == pytest.approx(sum(map(sum, before)), abs=1e-9)


def test_salt_by_hand() -> None:
    """The first step is the same for both and turns neutral; then their ways part."""
    won = Trajectory((take_step(0.0, "s0", "go"), take_step(1.0, "s1", "take")))
    lost = Trajectory((take_step(0.0, "s0", "go"), take_step(0.0, "s1", "leave")))
    options = {"base": {"name": "grpo", "normalise": False}}
    assert credit("salt", Group((won, lost)), **options) == [[0.0, 0.5], [0.0, -0.5]]


@given(group=groups)
def test_leave_one_out_is_grpo_stretched(group: Group) -> None:
    n = len(group.counted)
    centred = credit("grpo", group, normalise=False)
    stretched = [[v * n / max(1, n - 1) for v in row] for row in centred]
    assert close(credit("rloo", group), stretched)


def test_only_a_single_best_sibling_leads() -> None:
    def group(*rewards: float) -> Group:
        return Group(tuple(walk(("s0", r)) for r in rewards))

    assert credit("pass_at_k", group(1.0, 0.25, 0.0)) == [[0.75], [0.0], [0.0]]
    assert credit("pass_at_k", group(1.0, 1.0, 0.0)) == [[0.0]] * 3


@given(group=groups)
def test_every_method_takes_what_the_default_rewards_give(group: Group) -> None:
    bare = Group(
        tuple(
            replace(t, steps=tuple(replace(s, reward_parts={}) for s in t.steps))
            for t in group.trajectories
        )
    )
    (scored,) = score([bare], RewardConfig())
    for name in sorted(set(METHODS) - {"ppr"}):
        assert len(credit(name, scored)) == len(group.trajectories)


def test_methods_tell_what_they_need_recorded() -> None:
    needs = {name: set(CHOICE.validate_python({"name": name}).needs) for name in METHODS}
    assert {name: need for name, need in needs.items() if need} == {
        "gigpo": {"state_keys"},
        "hgpo": {"state_keys"},
        "salt": {"state_keys"},
        "gae": {"values"},
        "optimal_token": {"collisions"},
        "prime": {"reference"},
        "ppr": {"process"},
    }
    assert not GiGPOConfig(similarity=0.9).needs
