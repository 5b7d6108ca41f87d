"""Rewards of several kinds, and groups of equals, by hand."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from longstep_agents.types import Completion, Group, Outcome, Step, Trajectory
from longstep_envs.types import DataError
from longstep_training.config import ConfigError, build_config
from longstep_training.credit import CREDIT, AnyCreditConfig, CreditConfig
from longstep_training.credit.process import PPRConfig, PRIMEConfig
from longstep_training.credit.statistics import whitening
from longstep_training.credit.turns import TurnReturnsConfig
from longstep_training.reinforcement import ReinforcementConfig
from longstep_training.rewards import NonFiniteError

CHOICE: TypeAdapter[CreditConfig] = TypeAdapter(AnyCreditConfig)


def earn(name: str, *groups: Group, **options: object) -> list[list[list[float]]]:
    config = CHOICE.validate_python({"name": name, **options})
    return CREDIT[name](groups, config)  # type: ignore[return-value]


def only(credit: object) -> list[list[list[float]]]:
    return credit[0]  # type: ignore[no-any-return, index]


def outcome(*rewards: float, ended: Outcome = Outcome.OK) -> Trajectory:
    return Trajectory(tuple(Step(reward=reward) for reward in rewards), outcome=ended)


def siblings(*returns: float) -> Group:
    return Group(tuple(outcome(value) for value in returns))


def judged(reward: float, *ratios: float, process: float | None = None) -> Step:
    """A step of tokens whose log-probability is so much above the reference's."""
    completion = Completion(
        ids=(7,) * len(ratios),
        logprobs=ratios,
        reference_logprobs=(0.0,) * len(ratios),
    )
    parts = {} if process is None else {"process": process}
    return Step(reward=reward, completion=completion, reward_parts=parts)


def test_implicit_process_rewards_by_hand() -> None:
    """Means 0.5 * (1 + 3) / 2 = 1 and 0; against the other: 1 - 0 = 2 * (1 - 0.5)."""
    a, b = Trajectory((judged(1.0, 1.0, 3.0),)), Trajectory((judged(0.0, 0.0),))
    config = PRIMEConfig(beta=0.5, whiten="none", process_weight=2.0)
    earned = only(CREDIT["prime"]([Group((a, b))], config))
    second = 2 * 2 * (1.5 - 0.5) + 1.0
    assert earned[0] == [pytest.approx([second + 2 * 2 * (0.5 - 0.5), second])]
    assert earned[1] == [pytest.approx([2 * 2 * (0.0 - 0.5) - 1.0])]


def test_process_rewards_that_were_recorded_stand_at_the_ends_of_steps() -> None:
    a = Trajectory((judged(0.0, 0.0, 0.0, process=1.0), judged(0.0, 0.0, process=0.0)))
    b = Trajectory((judged(0.0, 0.0, process=0.0),))
    config = PRIMEConfig(source="part", whiten="none")
    earned = only(CREDIT["prime"]([Group((a, b))], config))
    first, last = 2 * (1.0 - 0.25), 2 * (0.0 - 0.25)
    assert earned[0] == [pytest.approx([first + last] * 2), pytest.approx([last])]
    assert earned[1] == [pytest.approx([2 * (0.0 - 0.25)])]


def test_one_sibling_has_none_to_be_compared_with() -> None:
    one = Group((Trajectory((judged(1.0, 1.0, 3.0),)),))
    failed = Trajectory((judged(1.0, 1.0),), outcome=Outcome.ENV_ERROR)
    for group in (one, Group((*one.trajectories, failed))):
        earned = only(CREDIT["prime"]([group], PRIMEConfig()))
        assert earned[0] == [[0.0, 0.0]]


def test_what_prime_needs_depends_on_its_source() -> None:
    assert PRIMEConfig().needs == {"reference"}
    assert PRIMEConfig(source="part").needs == {"process"}
    with pytest.raises(ValidationError, match="source = 'part' makes no use of it"):
        CHOICE.validate_python({"name": "prime", "source": "part", "beta": 0.1})
    bare = Group((outcome(1.0), outcome(0.0)))
    with pytest.raises(DataError, match="no step has the reward part 'process'"):
        earn("prime", bare, source="part")
    tokens = Trajectory((Step(completion=Completion(ids=(1,), logprobs=(-1.0,))),))
    with pytest.raises(DataError, match="record what the method"):
        earn("prime", Group((tokens, tokens)))


def test_a_good_turn_of_a_failure_nets_nothing() -> None:
    def episode(success: bool) -> Trajectory:
        steps = (judged(0.0, process=1.0), judged(0.0, process=0.0))
        return Trajectory(steps, success=success, score=0.25)

    group = Group((episode(False), episode(True)))
    assert earn("ppr", group) == [[[0.0, -1.0], [1.0, 0.0]]]
    assert earn("ppr", group, discount=0.5) == [[[-0.5, -1.0], [1.0, 0.0]]]
    assert earn("ppr", group, outcome="score")[0][0] == [0.25, -0.75]


@pytest.mark.parametrize("process", [-0.1, 1.5, math.nan])
def test_ppr_wants_shares(process: float) -> None:
    group = Group((Trajectory((judged(0.0, process=process),)),))
    with pytest.raises(DataError, match="wanted between 0 and 1"):
        CREDIT["ppr"]([group], PPRConfig())
    with pytest.raises(DataError, match="no step has the reward part 'process'"):
        CREDIT["ppr"]([siblings(1.0, 0.0)], PPRConfig())


def test_where_all_failed_all_lose() -> None:
    """Of 0, 0 and the virtual 1 the mean is 1/3 and the deviation the root of 1/3."""
    (earned,) = earn("ngrpo", siblings(0.0, 0.0))
    assert [row[0] for row in earned] == pytest.approx([-(3**-0.5)] * 2, abs=1e-5)
    assert earn("ngrpo", siblings(1.0, 1.0)) == [[[0.0], [0.0]]]
    (centred,) = earn("ngrpo", siblings(1.0, 0.0), normalise=False, copies=2)
    assert centred == [[pytest.approx(0.25)], [pytest.approx(-0.75)]]


def test_a_sibling_that_did_better_than_best_is_the_best() -> None:
    (earned,) = earn("ngrpo", siblings(10.0, 10.0))
    assert earned == [[0.0], [0.0]]


returns = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=6)


@given(returns=returns)
def test_a_virtual_best_takes_from_all_alike(returns: list[float]) -> None:
    (plain,) = earn("grpo", siblings(*returns), normalise=False)
    (calibrated,) = earn("ngrpo", siblings(*returns), normalise=False)
    lost = {round(a[0] - b[0], 9) for a, b in zip(plain, calibrated, strict=True)}
    assert len(lost) == 1
    assert lost.pop() >= 0.0


def test_groups_of_equals_are_compared_with_other_groups() -> None:
    """Group returns 1 and 0: the deviation of the two is the root of 1/2."""
    won, lost = earn("copo", siblings(1.0, 1.0), siblings(0.0, 0.0))
    assert won == [[pytest.approx(0.5**0.5, abs=1e-5)]] * 2
    assert lost == [[pytest.approx(-(0.5**0.5), abs=1e-5)]] * 2


def test_groups_that_differ_blend_both_comparisons() -> None:
    """Entropy 1 bit: the mixed group scores 0.5 * (1 - 1 * 0.5), and w = sigmoid(1 - 0.5)."""
    options = {"normalise": False}
    mixed, won = earn("copo", siblings(1.0, 0.0), siblings(1.0, 1.0), **options)
    across = 0.25 - 0.625
    w = 1 / (1 + math.exp(-0.5))
    assert mixed == [[pytest.approx(w * v + (1 - w) * across)] for v in (0.5, -0.5)]
    assert won == [[pytest.approx(-across)]] * 2
    soft = earn("copo", siblings(1.0, 0.0), siblings(1.0, 1.0), blend="soft", **options)
    w = 1 / (1 + math.exp(0.5))
    assert soft[1] == [[pytest.approx((1 - w) * -across)]] * 2
    forced = earn("copo", siblings(1.0, 0.0), siblings(1.0, 1.0), blend="forced", **options)
    assert forced[0] == [[0.5], [-0.5]]
    plain = {"consistency": False, "blend": "forced", **options}
    assert earn("copo", siblings(1.0, 0.0), siblings(1.0, 1.0), **plain)[1] == [[0.25]] * 2


def test_soft_options_are_refused_where_nothing_is_soft() -> None:
    for key in ("threshold", "sharpness"):
        with pytest.raises(ValidationError, match="blend = 'forced' makes no use of it"):
            CHOICE.validate_python({"name": "copo", "blend": "forced", key: 2.0})


@pytest.mark.case(13)
def test_faulted_siblings_do_not_enter_the_comparison_of_groups() -> None:
    faulted = outcome(9.0, ended=Outcome.ENV_ERROR)
    clean = earn("copo", siblings(1.0, 1.0), siblings(0.0, 0.0))
    dirty = earn(
        "copo",
        Group((*siblings(1.0, 1.0).trajectories, faulted)),
        siblings(0.0, 0.0),
        Group((faulted, outcome(1.0))),
    )
    assert dirty == [[*clean[0], [0.0]], clean[1], [[0.0], [0.0]]]


def test_turn_returns_by_hand() -> None:
    """Returns 0.5, 1 and 0: in the first turn 0.5 against 0; in the second, A is alone."""
    group = Group((outcome(0.0, 1.0), outcome(0.0)))
    options = {"normalise": False, "discount": 0.5}
    assert earn("turn_returns", group, **options) == [[[0.25, 0.0], [-0.25]]]
    assert earn("turn_returns", group, against="group", **options) == [[[0.0, 0.5], [-0.5]]]


@given(
    rewards=st.lists(
        st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=4), min_size=2, max_size=5
    )
)
def test_turn_returns_sum_to_zero_in_every_turn(rewards: list[list[float]]) -> None:
    group = Group(tuple(outcome(*row) for row in rewards))
    (credit,) = CREDIT["turn_returns"]([group], TurnReturnsConfig(normalise=False))
    for number in range(4):
        total = sum(row[number] for row in credit if number < len(row))  # type: ignore[misc]
        assert total == pytest.approx(0.0, abs=1e-9)


def test_a_group_of_one_may_keep_its_raw_reward_among_batches() -> None:
    batch = [siblings(1.0, 0.0), siblings(1.0)]
    earned = earn("reinforce_pp_baseline", *batch)
    assert earned[1] == [[0.0]]
    assert earned[0] == [
        [pytest.approx(0.5**0.5, abs=1e-5)],
        [pytest.approx(-(0.5**0.5), abs=1e-5)],
    ]
    released = earn("reinforce_pp_baseline", *batch, as_released=True)
    assert released[1][0][0] > released[0][0][0] > 0 > released[0][1][0]


def parted(tokens: int = 0, **parts: float) -> Trajectory:
    completion = Completion(ids=(7,) * tokens)
    step = Step(reward=sum(parts.values()), reward_parts=parts, completion=completion)
    return Trajectory((step,))


def test_gdpo_keeps_apart_what_a_sum_mixes_up() -> None:
    """Two siblings have the same sum; by GDPO, the reward that is rarer counts for more."""
    formed = parted(right=0.0, form=1.0)
    group = Group((parted(right=1.0, form=0.0), formed, formed, formed))
    assert earn("grpo", group) == [[[0.0]] * 4]
    (earned,) = earn("gdpo", group, weights={"right": 1.0, "form": 0.5})
    assert earned[0][0] > 0 > earned[1][0] == earned[2][0] == earned[3][0]


def test_gdpo_weighs_trajectories_by_their_tokens_or_alike() -> None:
    group = Group((parted(9, right=1.0), parted(1, right=0.0)))
    ((good,), (bad,)) = earn("gdpo", group, weights={"right": 1.0})[0]
    assert 9 * good + bad == pytest.approx(0.0, abs=1e-9)
    assert good != -bad
    ((good,), (bad,)) = earn("gdpo", group, weights={"right": 1.0}, whiten="trajectory")[0]
    assert good == pytest.approx(-bad)


def test_gdpo_asks_for_the_parts_that_it_weighs() -> None:
    group = Group((parted(environment=1.0), parted(environment=0.0)))
    told = "no step has the reward part 'form', there are: environment"
    with pytest.raises(DataError, match=told):
        earn("gdpo", group, weights={"form": 1.0})


def test_gdpo_refuses_parts_that_are_no_numbers() -> None:
    """Rewards are checked when they are scored, but a part of the environment need not be one."""
    for bad in (math.nan, math.inf):
        group = Group((parted(right=bad), parted(right=1.0), parted(right=0.0)))
        with pytest.raises(
            NonFiniteError, match=r"the part 'right' is (nan|inf) in step 0 of task"
        ):
            earn("gdpo", group, weights={"right": 1.0})
        failed = replace(parted(right=bad), outcome=Outcome.ENV_ERROR)
        counted = parted(right=1.0), parted(right=0.0)
        alone = earn("gdpo", Group(counted), weights={"right": 1.0})[0]
        assert earn("gdpo", Group((*counted, failed)), weights={"right": 1.0})[0][:2] == alone


def test_gdpo_keeps_what_a_group_of_one_earned_as_released() -> None:
    """Beside the others' normalised rewards, here -0.707 and 0.707; then all are whitened."""
    pair = Group((parted(right=0.0), parted(right=1.0)))
    one = Group((parted(right=3.0, form=1.0),))
    weights = {"right": 1.0, "form": 0.5}
    config: dict[str, object] = {"weights": weights, "whiten": "trajectory"}
    raw = [-(0.5**0.5), 0.5**0.5, 3.5]
    shift, scale = whitening(raw)
    released = earn("gdpo", pair, one, as_released=True, **config)
    assert [row[0] for group in released for row in group] == pytest.approx(
        [(value - shift) * scale for value in raw], abs=1e-5
    )
    assert earn("gdpo", pair, one, **config)[1] == [[0.0]]


@pytest.mark.parametrize("name", ["gdpo", "salt"])
@pytest.mark.parametrize(
    ("weight", "refused"), [(0.0, False), (-0.02, False), (-5.0, True), (1.0, True)]
)
def test_the_weight_of_a_reward_that_gdpo_weighs_otherwise_is_refused(
    name: str, weight: float, refused: bool
) -> None:
    """Each part is normalised by itself, so that the size of a term's weight would not matter."""
    weighed = {"name": "gdpo", "weights": {"environment": 1.0, "turn": -0.02}}
    tree = {
        "rewards": {"terms": {"environment": 1.0, "turn": weight}},
        "credit": weighed if name == "gdpo" else {"name": "salt", "base": weighed},
    }
    if not refused:
        build_config(ReinforcementConfig, tree, "run.toml")
        return
    with pytest.raises(ConfigError, match=r"weighs the term 'turn' with -0\.02"):
        build_config(ReinforcementConfig, tree, "run.toml")


def test_a_reward_that_gdpo_does_not_know_is_refused() -> None:
    terms = {"environment": 1.0, "turn": -0.02}
    tree = {"rewards": {"terms": terms}, "credit": {"name": "gdpo"}}
    with pytest.raises(ConfigError, match="weighs the term 'turn' with 0"):
        build_config(ReinforcementConfig, tree, "run.toml")


@pytest.mark.parametrize(
    ("terms", "part", "told"),
    [
        ({"environment": 1.0, "format": 0.0}, "fromat", "did you mean 'format'"),
        ({"environment": 1.0, "parts": {"weights": {"bought": 1.0}}}, "bougth", "'bought'"),
        ({"environment": 1.0}, "format", r"'format', which is no term of rl.rewards.terms\. Name"),
        ({"environment": 1.0, "parts": {"weights": {"format": 0.0}}}, "format", None),
        ({"environment": 1.0, "unit_tests": {"weight": 0.0, "prefix": "test"}}, "test_3", None),
        ({"environment": 1.0}, "right", None),
    ],
)
@pytest.mark.parametrize("name", ["gdpo", "salt"])
def test_a_part_that_gdpo_weighs_and_nothing_gives_is_refused_before_a_run(
    name: str, terms: dict[str, object], part: str, told: str | None
) -> None:
    """What the environment names by itself is known once it was played, and not before."""
    weighed = {"name": "gdpo", "weights": {"environment": 1.0, part: 1.0}}
    credit = weighed if name == "gdpo" else {"name": "salt", "base": weighed}
    tree = {"rewards": {"terms": terms}, "credit": credit}
    if told is None:
        build_config(ReinforcementConfig, tree, "run.toml")
        return
    with pytest.raises(ConfigError, match=told):
        build_config(ReinforcementConfig, tree, "run.toml")


@pytest.mark.parametrize("terms", [{"environment": 1.0}, {"parts": {"weights": {"right": 1.0}}}])
def test_gdpo_may_name_what_the_environments_reward_is_made_of(terms: dict[str, object]) -> None:
    credit: dict[str, object] = {"name": "gdpo", "weights": {"right": 1.0, "form": 0.5}}
    tree = {"rewards": {"terms": terms}, "credit": credit}
    build_config(ReinforcementConfig, tree, "run.toml")


def test_a_trajectory_that_was_cut_off_has_nothing_of_a_part_that_comes_at_the_end() -> None:
    won = Trajectory((Step(), Step(reward_parts={"bought": 1.0})))
    cut = Trajectory((Step(),), outcome=Outcome.TRUNCATED)
    (earned,) = earn("gdpo", Group((won, cut)), weights={"bought": 1.0})
    assert earned[0][0] == earned[0][1] > 0 > earned[1][0]
