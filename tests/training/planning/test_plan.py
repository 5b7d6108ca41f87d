import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longstep_training.config import ConfigError
from longstep_training.planning.costs import Layout, Setting, make_costs
from longstep_training.planning.episodes import draw_groups
from longstep_training.planning.machines import MACHINES, Machine
from longstep_training.planning.plan import (
    NoRoomError,
    Plan,
    find_limits,
    layouts,
    make_plan,
    smallest,
)
from longstep_training.planning.report import as_dict, lines, workers_needed
from longstep_training.planning.settings import Assumptions, Recipe
from longstep_training.planning.shapes import SHAPES

RECIPE: dict[str, Any] = {
    "train": {"turns": 6},
    "agent": {"max_tokens": 512},
    "engine": {"name": "vllm_server"},
    "rl": {"tasks": 6, "siblings": 4},
    "run": {"shard": True, "precision": "bfloat16"},
}


def setting_of(
    size: str = "7B",
    machine: Machine = MACHINES["h100"],
    recipe: dict[str, Any] | None = None,
    **assumed: Any,
) -> Setting:
    tree = {**RECIPE, **(recipe or {})}
    return Setting(
        SHAPES[size], machine, Recipe.model_validate(tree), Assumptions.model_validate(assumed)
    )


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    size=st.sampled_from(["0.6B", "7B", "14B"]),
    power=st.integers(5, 7),
    staleness=st.integers(0, 1),
    latency=st.sampled_from([0.0, 0.2, 3.0]),
)
def test_more_accelerators_are_never_slower(
    size: str, power: int, staleness: int, latency: float
) -> None:
    recipe = {"rl": {**RECIPE["rl"], "staleness": staleness}}
    setting = setting_of(size, recipe=recipe, latency=latency)
    few, many = (make_plan(setting, 2**p) for p in (power, power + 1))
    assert many.outcome.step <= few.outcome.step * 1.03  # turns come in another order
    for plan in (few, many):
        assert plan.outcome.step >= plan.bound.step * (1 - 1e-9)
        assert all(one.fits for one in plan.memory)


def limit(setting: Setting, gpus: int = 64) -> str:
    return find_limits(make_plan(setting, gpus))[0].name


def test_what_limits_an_iteration_is_what_costs_most() -> None:
    h100 = MACHINES["h100"]
    calm: dict[str, Any] = {
        "pass_seconds": 0.0,
        "latency": 0.0,
        "host_seconds": 0.0,
        "credit_seconds": 0.0,
        "handover_rate": 1e15,
    }
    assert limit(setting_of(**calm, update_efficiency=0.01)) == "update arithmetic"
    assert limit(setting_of(**(calm | {"latency": 60.0}))) == "environment latency"
    assert limit(setting_of(**(calm | {"pass_seconds": 1.0}))) == "overhead of passes"
    assert limit(setting_of(**(calm | {"host_seconds": 5.0}))) == "host"
    assert limit(setting_of(**(calm | {"latency": 5.0}), workers=1)) == "environment workers"
    slow = replace(h100, bandwidth=h100.bandwidth / 100)
    assert limit(setting_of(machine=slow, **calm)) == "decode bandwidth"
    far = replace(h100, link=1e8, network=1e8)
    linked = limit(setting_of(machine=far, **calm))
    assert linked in ("weight sync", "traffic between trainers")


def test_what_does_not_fit_is_refused_with_the_number_that_would() -> None:
    run = {**RECIPE["run"], "activation_checkpointing": "full"}
    setting = setting_of("14B", recipe={"run": run}, server_devices=2)
    with pytest.raises(NoRoomError, match=r"Qwen3-14B does not fit on 4 x h100") as told:
        make_plan(setting, 4)
    count = int(str(told.value).rpartition("--gpus ")[2])
    groups = draw_groups(setting.recipe, setting.assumed, setting.recipe.rl.tasks)
    assert smallest(setting, groups) == count
    assert make_plan(setting, count).layout.used == count


def test_an_unsharded_run_is_told_to_shard() -> None:
    with pytest.raises(NoRoomError, match=r"--set run.shard=true from --gpus"):
        make_plan(setting_of(recipe={"run": {"precision": "bfloat16"}}), 64)


def test_what_no_number_holds_is_said() -> None:
    tiny = replace(MACHINES["h100"], memory=1e9)
    with pytest.raises(NoRoomError, match="on no number of them"):
        make_plan(setting_of("70B", machine=tiny), 8)


@pytest.mark.parametrize("size", ["32B", "70B"])
@pytest.mark.parametrize("engine", ["hf", "vllm_server"])
def test_what_could_not_be_loaded_is_refused(size: str, engine: str) -> None:
    recipe = {
        "engine": {"name": engine, "context": 512},
        "run": {**RECIPE["run"], "activation_checkpointing": "full", "concurrency": 1},
    }
    with pytest.raises(NoRoomError, match="a sharded policy is loaded whole first"):
        make_plan(setting_of(size, recipe=recipe), 64)


def test_a_cache_that_is_too_large_is_refused_with_what_would_fit() -> None:
    recipe = {"engine": {"name": "hf", "dtype": "bfloat16"}}
    with pytest.raises(NoRoomError, match=r"play at most \d+ at a time") as told:
        make_plan(setting_of("1.7B", recipe=recipe), 8)
    assert "engine.context" in str(told.value)
    found = re.search(r"run\.concurrency=(\d+)", str(told.value))
    assert found is not None
    run = {**RECIPE["run"], "concurrency": int(found[1])}
    make_plan(setting_of("1.7B", recipe={**recipe, "run": run}), 8)
    run["concurrency"] += 1
    with pytest.raises(NoRoomError):
        make_plan(setting_of("1.7B", recipe={**recipe, "run": run}), 8)


def found_layouts(count: int, machine: Machine = MACHINES["h100"], **engine: Any) -> list[Layout]:
    return list(layouts(setting_of(machine=machine, recipe={"engine": engine}), count))


def test_engines_are_placed_as_the_run_places_them() -> None:
    assert {one.apart for one in found_layouts(16, name="hf")} == {False}
    assert found_layouts(16, name="vllm", devices=4) == [Layout(1, 4, apart=False, tensor=4)]
    servers = found_layouts(16, name="vllm_server")
    assert {one.replicas for one in servers} == {1}
    assert Layout(8, 8, apart=True, tensor=8) in servers
    each = {"name": "vllm", "devices": 2}
    actors = found_layouts(64, name="ray", replicas=3, gpus=2, each=each)
    assert actors[0] == Layout(9, 54, apart=True, tensor=2)
    assert all(one.replicas == 3 * one.update for one in actors)
    cpu = replace(MACHINES["h100"], accelerator=False)
    assert found_layouts(4, cpu, name="vllm")[0].replicas == 4


@pytest.mark.parametrize(
    ("engine", "gpus", "said"),
    [
        ({"name": "vllm"}, 64, "starts its own vLLM, and several on one machine's GPUs"),
        ({"name": "ray"}, 64, "engine.gpus"),
        ({"name": "ray", "gpus": 0.5}, 64, "got 0.5"),
        ({"name": "ray", "gpus": 1, "replicas": 8}, 8, "too few for both"),
        ({"name": "vllm_server"}, 1, "too few for both"),
    ],
)
def test_an_engine_without_a_place_is_refused(engine: dict[str, Any], gpus: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_plan(setting_of(recipe={"engine": engine}), gpus)


def test_weights_are_handed_over_at_the_rate_of_a_machine() -> None:
    whole = 4 * SHAPES["7B"].parameters

    def sync(name: str, layout: Layout, **assumed: Any) -> float:
        tree = {"engine": {"name": name}, "run": {"precision": "bfloat16"}}
        return make_costs(setting_of(recipe=tree, **assumed), layout, lanes=1).sync_seconds

    apart = Layout(16, 8, apart=True)
    assert sync("vllm_server", apart) == pytest.approx(whole / 2e9)
    assert sync("vllm_server", apart, handover_rate=1e9) == pytest.approx(whole / 1e9)
    assert sync("ray", apart) == pytest.approx(8 * whole / 2e9)
    assert sync("ray", Layout(4, 4, apart=True)) == pytest.approx(4 * whole / 2e9)
    assert sync("vllm", Layout(1, 1, apart=False)) == pytest.approx(whole / 2e9)
    assert sync("hf", Layout(8, 8, apart=False)) == 0.0


def test_weights_that_are_broadcast_wait_for_links_not_for_a_disk() -> None:
    def sync(layout: Layout, **engine: Any) -> float:
        tree = {"engine": {"name": "vllm_server", **engine}, "run": {"shard": False}}
        return make_costs(setting_of(recipe=tree), layout, lanes=1).sync_seconds

    near, far = Layout(4, 4, apart=True), Layout(16, 8, apart=True)
    assert sync(near, sync="nccl") < sync(far, sync="nccl") < sync(far) / 10
    setting = setting_of()
    halved = 2 * SHAPES["7B"].parameters
    rate = setting.machine.bus(8) * setting.assumed.link_efficiency
    assert sync(near, sync="nccl") == pytest.approx(halved / rate)


def test_environments_are_counted_by_littles_law() -> None:
    plan = make_plan(setting_of(latency=2.0, latency_spread=0.0), 64)
    rl = plan.setting.recipe.rl
    turns = sum(len(e.turns) for g in plan.groups for e in g) / (len(plan.groups) / rl.tasks)
    assert workers_needed(plan) == pytest.approx(turns * 2.0 / plan.bound.engine, abs=1)


def test_a_plan_says_what_it_is_and_where_its_numbers_are_from() -> None:
    plan: Plan = make_plan(setting_of(), 64)
    told = as_dict(plan, find_limits(plan), {"latency": "given"})
    text = "\n".join(lines(told))
    assert "planned, not measured" in text
    assert "Limited by: " in text
    assert "What to change: " in text
    assert "latency = 0.1  (given)" in text
    assert "update_efficiency = 0.4  (assumed)" in text
    assert f"{plan.setting.machine.source}" in text
    assert text.count("start: policies are loaded whole first") == len(plan.memory)
    assert "handover_rate = 2e+09  (assumed)" in text
