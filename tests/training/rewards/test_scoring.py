import math
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longstep_agents.types import Completion, Group, Outcome, Step, Trajectory
from longstep_envs.types import DataError
from longstep_training.config import Config, ConfigError, build_config, dump_toml
from longstep_training.rewards import REWARDS, RewardConfig, score
from longstep_training.rewards.term import RewardFault

GROUP = Group(
    (
        Trajectory((Step(reward=0.5), Step(reward=0.25, action_valid=False)), score=0.75),
        Trajectory((Step(reward=1.0),), score=1.0),
    )
)

ASKING = {"rubric": "be brief", "judge": {"model": "m", "base_url": "http://127.0.0.1:9"}}
TEXTS = {"reference": "<think>t</think>", "patch": "", "gold_patch": "diff --git a/1 b/1\n+1"}
OPTIONS: dict[str, dict[str, Any]] = {
    "overlong": {"limit": 10, "buffer": 2},
    "dler": {"limit": 10},
    "laser": {"target": 10},
    "parts": {"weights": {"door": 1.0}},
    "judge": ASKING,
    "process": ASKING,
    "arena": ASKING,
}
"""What a term cannot do without."""


class Run(Config):
    rewards: RewardConfig = RewardConfig()


def rewards(terms: dict[str, Any], group: Group = GROUP) -> list[list[float]]:
    (scored,) = score([group], RewardConfig(terms=terms))
    return [[step.reward for step in t.steps] for t in scored.trajectories]


def refusal(**tables: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        build_config(Run, {"rewards": tables}, "run.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"environment": 1.0}, [[0.5, 0.25], [1.0]]),
        ({"environment": 2}, [[1.0, 0.5], [2.0]]),
        ({"environment": {"weight": 2.0}}, [[1.0, 0.5], [2.0]]),
        ({"environment": 1.0, "invalid_action": -0.5}, [[0.5, -0.25], [1.0]]),
        ({"environment": 1.0, "turn": -0.1}, [[0.4, 0.15], [0.9]]),
        ({"environment": 1.0, "turn": 0.0}, [[0.5, 0.25], [1.0]]),
        ({"turn": {"shape": [{"name": "bound", "high": 1.5}]}}, [[0.0, 1.5], [1.0]]),
        ({}, [[0.0, 0.0], [0.0]]),
    ],
)
def test_a_reward_is_the_weighted_sum_of_its_terms(
    terms: dict[str, Any], expected: list[list[float]]
) -> None:
    assert rewards(terms) == [pytest.approx(row) for row in expected]


def test_the_environments_own_parts_stay_beside_the_terms() -> None:
    step = Step(reward=0.5, reward_parts={"door": 0.5})
    (group,) = score([Group((Trajectory((step,)),))], RewardConfig())
    assert group.trajectories[0].steps[0].reward_parts == {"door": 0.5, "environment": 0.5}


def test_the_parts_are_kept_and_the_score_is_not_touched() -> None:
    (group,) = score([GROUP], RewardConfig(terms={"environment": 1.0, "invalid_action": -1.0}))
    assert group.trajectories[0].steps[1].reward_parts == {
        "environment": 0.25,
        "invalid_action": 1.0,
    }
    assert [t.score for t in group.trajectories] == [0.75, 1.0]


@pytest.mark.parametrize("name", sorted(REWARDS))
def test_every_term_has_a_value_for_every_step(name: str) -> None:
    options = RewardConfig(terms={name: OPTIONS.get(name, {})}).chosen[name]
    rows = [row for row in REWARDS[name](GROUP, options) if not isinstance(row, RewardFault)]
    assert [len(row) for row in rows] == [2, 1]


@pytest.mark.parametrize("name", sorted(REWARDS))
def test_every_term_takes_a_group_that_does_not_count_one_without_steps_and_an_empty_one(
    name: str,
) -> None:
    config = RewardConfig(terms={name: OPTIONS.get(name, {})})
    broken = Trajectory((Step(reward=math.nan),), outcome=Outcome.ENV_ERROR)
    groups = score([Group((broken,)), Group((Trajectory(),)), Group()], config)
    assert [[len(t.steps) for t in group.trajectories] for group in groups] == [[1], [0], []]
    assert groups[0].trajectories[0].steps[0].reward == 0.0
    assert score([], config) == []


@pytest.mark.parametrize("name", sorted(set(REWARDS) - {"judge", "process", "arena"}))
@given(valid=st.booleans(), success=st.booleans(), reward=st.floats(-5, 5))
def test_a_faulted_member_changes_nothing_for_the_others(
    name: str, valid: bool, success: bool, reward: float
) -> None:
    parts = {"cost": 0.5, "rubric": reward, "test:a": float(valid), "door": 1.0}
    step = Step(reward=reward, action_valid=valid, reward_parts=parts, record=TEXTS)
    member = Trajectory((step, step), success=success, score=float(success))
    last = Step(reward=1.0, reward_parts={"rubric": 0.4}, record=TEXTS)
    other = Trajectory((last,), success=True, score=1.0)
    fault = Trajectory((step,) * 3, success=True, outcome=Outcome.ENV_ERROR)
    table = {"shape": [{"name": "par"}], **OPTIONS.get(name, {})}
    alone, faulted = (
        rewards({name: table}, Group(group)) for group in ((member, other), (member, fault, other))
    )
    assert alone == [faulted[0], faulted[2]]
    assert faulted[1] == [0.0] * 3


@pytest.mark.parametrize("name", sorted(set(REWARDS) - {"judge", "process", "arena"}))
@given(order=st.permutations(range(4)), scores=st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_the_order_of_siblings_does_not_matter(
    name: str, order: list[int], scores: list[float]
) -> None:
    def member(i: int) -> Trajectory:
        parts = {"cost": scores[i], "rubric": scores[i], "test:a": scores[i] - 0.5, "door": 1.0}
        texts = {**TEXTS, "patch": f"diff --git a/{i} b/{i}\n+{i}"}
        step = Step(
            reward=scores[i], action_valid=scores[i] > 0.2, reward_parts=parts, record=texts
        )
        return Trajectory((step,) * (i + 1), success=scores[i] > 0.5, score=scores[i])

    table = {"shape": [{"name": "par"}], **OPTIONS.get(name, {})}
    ordered = rewards({name: table}, Group(tuple(map(member, range(4)))))
    shuffled = rewards({name: table}, Group(tuple(map(member, order))))
    assert shuffled == [ordered[i] for i in order]


@pytest.mark.case(31)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_episode_whose_reward_is_not_a_number_does_not_count(value: float) -> None:
    steps = (Step(reward=1.0), Step(reward=value))
    odd, well = Trajectory(steps, task_id="valid/3"), Trajectory((Step(reward=2.0),))
    (group,) = score([Group((odd, well))], RewardConfig(terms={"environment": 1.0}))
    first, second = group.trajectories
    assert first.outcome is Outcome.INFRA_ERROR
    assert "'environment' of rl.rewards" in (first.error or "")
    assert "for step 1 of task 'valid/3'" in (first.error or "")
    assert [step.reward for step in first.steps] == [0.0, 0.0]
    assert second.counts
    assert [step.reward for step in second.steps] == [2.0]


@pytest.mark.case(31)
def test_nor_does_one_whose_sum_overflows() -> None:
    group = Group((Trajectory((Step(reward=1e308),), task_id="t"),))
    (scored,) = score([group], RewardConfig(terms={"environment": 1e10}))
    (only,) = scored.trajectories
    assert not only.counts
    assert "the sum of rl.rewards gave inf for step 0 of task 't'" in (only.error or "")
    assert only.steps[0].reward == 0.0


def test_a_part_that_the_environment_does_not_tell_is_refused_with_those_it_tells() -> None:
    ended = Trajectory((Step(reward_parts={"door": 1.0}),))
    config = RewardConfig(terms={"parts": {"weights": {"dor": 1.0}}})
    with pytest.raises(DataError, match=r"terms\.parts: .*'dor', there are: door"):
        score([Group((ended,))], config)
    truncated = Trajectory(ended.steps, outcome=Outcome.TRUNCATED)
    score([Group((truncated,))], config)  # parts may be told at the end only


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"terms": {"enviroment": 1.0}}, "did you mean 'rewards.terms.environment'?"),
        ({"terms": {"overlong": 1.0}}, "'rewards.terms.overlong.limit' is required"),
        ({"terms": {"dler": {"limt": 3}}}, "did you mean 'rewards.terms.dler.limit'?"),
        ({"terms": {"overlong": {"limit": 4, "buffer": 5}}}, "buffer of at most limit (4)"),
        ({"terms": {"turn": True}}, "rewards.terms.turn: wanted a weight"),
        ({"terms": {"turn": "1"}}, "rewards.terms.turn: wanted a weight"),
        ({"terms": {"turn": math.nan}}, "rewards.terms.turn.weight"),
        ({"terms": {"turn": {"shape": [{"name": "pra"}]}}}, "did you mean 'par'?"),
        (
            {"terms": {"turn": {"shape": [{"name": "par", "low": 1.0}]}}},
            "shape.0: 'low' is not an option",
        ),
        ({"terms": {"turn": {"shape": [{"name": "bound"}]}}}, "wanted low, high or both"),
        ({"terms": {"turn": {"shape": [{"name": "noise_backward"}]}}}, "add to more than 0"),
        ({"terms": {"cost": {"cheap": 1.0, "dear": 1.0}}}, "cheap below dear"),
        ({"terms": {"format": {"pattern": "("}}}, "wanted a regular expression"),
        ({"terms": {"parts": {"weights": {}}}}, "rewards.terms.parts.weights"),
        ({"terms": {"judge": {"rubric": "x"}}}, "'rewards.terms.judge.judge' is required"),
    ],
)
def test_what_cannot_work_is_refused(tables: dict[str, Any], told: str) -> None:
    assert told in refusal(**tables)


def test_a_dumped_config_reads_back_equal() -> None:
    shapes = [{"name": "par", "references": [1, 2.5]}, {"name": "delta"}]
    terms = {"environment": {"weight": 1, "shape": shapes}, "turn": -0.1, **OPTIONS}
    tables = {"terms": terms, "gates": [{"terms": ["environment"], "threshold": 0.5}]}
    config = build_config(Run, {"rewards": tables}, "run.toml")
    assert build_config(Run, tomllib.loads(dump_toml(config)), "dumped") == config
    assert build_config(Run, tomllib.loads(dump_toml(Run())), "dumped") == Run()


def test_a_config_tells_what_its_terms_need_recorded() -> None:
    assert RewardConfig().needs == frozenset()
    assert RewardConfig(terms={"kl": 0.01, "turn": 1.0}).needs == {"reference"}


def test_the_kl_is_subtracted_token_by_token() -> None:
    completion = Completion(ids=(1, 2), logprobs=(-1.0, -2.0), reference_logprobs=(-1.5, -1.0))
    group = Group((Trajectory((Step(completion=completion), Step())),))
    assert rewards({"kl": 0.1}, group) == [[pytest.approx(-0.1 * (0.5 - 1.0)), 0.0]]
    missing = Step(completion=Completion(ids=(1,), logprobs=(-1.0,)))
    with pytest.raises(DataError, match=r"rl\.rewards\.terms\.kl"):
        rewards({"kl": 0.1}, Group((Trajectory((missing,)),)))
