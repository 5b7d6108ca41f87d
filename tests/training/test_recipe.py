import math
from collections.abc import Callable
from typing import Any

import pytest

from longstep_envs.types import DataError
from longstep_training.config import ConfigError, build_config
from longstep_training.recipe import EvaluationConfig, TrainConfig

TREASURE = {"env_id": "longstep/Treasure-v0"}


def refusal(**tables: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        build_config(TrainConfig, {"train": TREASURE, **tables}, "run.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"rl": {"credit": {"name": "gigop"}}}, "did you mean 'gigpo'?"),
        ({"rl": {"loss": {"name": "clop"}}}, "did you mean 'clip'?"),
        ({"rl": {"entropy": {"name": "bonsu"}}}, "did you mean 'bonus'?"),
        ({"rl": {"rewards": {"terms": {"enviroment": 1.0}}}}, "did you mean 'rl.rewards.terms.env"),
        ({"train": {"env_id": "longstep/Tresure-v0"}}, "did you mean 'longstep/Treasure-v0'?"),
        ({"evaluation": [{"name": "a", "tasks": {"env_id": "x"}}]}, "evaluation.0.tasks.env_id"),
        ({"data": [{"out": "d", "generator": "alfword"}]}, "did you mean 'alfworld'?"),
        ({"rl": {"siblings": 0}}, "rl.siblings"),
        (
            {"run": {"activation_checkpointing": "selective", "compile": True}},
            "full or none beside compile",
        ),
        ({"rl": {"schedule": {"updates": 0}}}, "rl.schedule.updates"),
        ({"rl": {"iterations": -1}}, "rl.iterations"),
        ({"rl": {"siblings": 1}}, "siblings of 2 or more, for gigpo compares"),
        ({"rl": {"rewards": {"terms": {}}}}, "wanted a reward, for gigpo"),
        ({"rl": {"rewards": {"terms": {"outcome": 0.0, "turn": 0.0}}}}, "one term a weight"),
        ({"imitation": {"iterations": -1}}, "imitation.iterations"),
        ({"imitation": {"demonstrations": 0}}, "imitation.demonstrations"),
        ({"imitation": {"turns": 0}}, "imitation.turns"),
        ({"imitation": {"context_weight": -0.1}}, "imitation.context_weight"),
        ({"imitation": {"experts": {}}}, "imitation.experts"),
        ({"imitation": {"experts": {"plan": -1.0}}}, "imitation.experts.plan"),
        ({"run": {"checkpoint_every": 0}}, "run.checkpoint_every"),
        ({"agent": {"temperature": 0.0}, "rl": {"iterations": 1}}, "agent.temperature above 0"),
        ({"evaluation": [{"name": "a", "tasks": TREASURE}] * 2}, "a name of its own"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(
    tables: dict[str, Any], told: str
) -> None:
    assert told in refusal(**tables)


@pytest.mark.parametrize(
    "option",
    [
        {"learning_rate": 0.0},
        {"learning_rate": -1e-3},
        {"betas": [1.0, 0.9]},
        {"betas": [0.9, -0.1]},
        {"weight_decay": -0.1},
        {"clip_norm": 0.0},
        {"warmup_steps": -1},
        {"decay_steps": 0},
        {"final_fraction": 1.1},
        {"token_budget": 0},
    ],
    ids=str,
)
def test_an_optimiser_that_cannot_work_is_refused(option: dict[str, Any]) -> None:
    (key,) = option
    assert f"rl.optimizer.{key}" in refusal(rl={"optimizer": option})
    assert f"imitation.optimizer.{key}" in refusal(imitation={"optimizer": option})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("key", "rl"),
    [
        ("optimizer.learning_rate", lambda x: {"optimizer": {"learning_rate": x}}),
        ("credit.step_weight", lambda x: {"credit": {"name": "gigpo", "step_weight": x}}),
        ("credit.weights.a", lambda x: {"credit": {"name": "gdpo", "weights": {"a": x}}}),
        ("entropy.coefficient", lambda x: {"entropy": {"name": "bonus", "coefficient": x}}),
        ("kl.coefficient", lambda x: {"kl": {"coefficient": x}, "reference": "start"}),
        ("rewards.terms.turn.weight", lambda x: {"rewards": {"terms": {"turn": x}}}),
    ],
)
def test_numbers_are_finite(number: float, key: str, rl: Callable[[float], Any]) -> None:
    told = refusal(rl=rl(number))
    assert f"rl.{key}: " in told
    assert "finite number" in told


@pytest.mark.parametrize(
    "rl",
    [
        {"credit": {"name": "gae"}, "critic": {}},
        {"credit": {"name": "reinforce_pp"}},
        {"credit": {"name": "reinforce_pp_baseline", "as_released": True}},
        {"credit": {"name": "gigpo", "as_released": True}},
    ],
    ids=str,
)
def test_methods_that_compare_no_siblings_need_none(rl: dict[str, Any]) -> None:
    assert TrainConfig.model_validate({"train": TREASURE, "rl": {**rl, "siblings": 1}})


@pytest.mark.parametrize(
    "rl",
    [
        {"credit": {"name": "gdpo", "weights": {"environment": 1.0}}},
        {"credit": {"name": "salt", "base": {"name": "gdpo"}}},
    ],
    ids=str,
)
def test_terms_may_only_be_recorded_where_credit_weighs_them(rl: dict[str, Any]) -> None:
    terms = {"rewards": {"terms": {"environment": 0.0}}}
    assert TrainConfig.model_validate({"train": TREASURE, "rl": {**rl, **terms}})


def test_greedy_sampling_is_fine_where_nothing_is_reinforced() -> None:
    config = TrainConfig.model_validate({"train": TREASURE, "agent": {"temperature": 0.0}})
    assert config.agent.temperature == 0.0


def test_task_ids_are_those_of_the_environment_with_its_options() -> None:
    source = {**TREASURE, "env_kwargs": {"split": "valid"}}
    config = TrainConfig.model_validate({"train": source})
    assert config.train.task_ids()[:2] == ("valid/0", "valid/1")


def test_an_evaluation_plays_tasks_spread_over_its_set() -> None:
    source = {"env_id": "longstep/ALFWorld-v0"}
    whole = EvaluationConfig.model_validate({"name": "all", "tasks": source, "episodes": 99})
    some = EvaluationConfig.model_validate({"name": "some", "tasks": source, "episodes": 4})
    ids = whole.task_ids()
    assert len(ids) == 12
    assert some.task_ids() == [ids[0], ids[3], ids[6], ids[9]]


def test_tasks_may_be_those_that_match_a_pattern() -> None:
    source = {**TREASURE, "match": "train/1?"}
    ids = TrainConfig.model_validate({"train": source}).train.task_ids()
    assert ids == tuple(f"train/1{digit}" for digit in range(10))
    nothing = TrainConfig.model_validate({"train": {**TREASURE, "match": "nothing*"}})
    with pytest.raises(DataError, match=r"no task matches 'nothing\*'; there is 'train/0', say"):
        nothing.train.task_ids()
