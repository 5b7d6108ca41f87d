"""The fastest layout that fits, what bounds it, and what would make it faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from longstep_envs.types import LongstepError
from longstep_training.config import ConfigError
from longstep_training.planning.bounds import Bound, find_bound
from longstep_training.planning.costs import Costs, Layout, Setting, make_costs, update_seconds
from longstep_training.planning.episodes import Group, draw_groups
from longstep_training.planning.memory import Memory, plan_memory
from longstep_training.planning.simulation import Outcome, Simulation

_TENSOR = (1, 2, 4, 8)
_SIMULATED = 4
"""Layouts that are simulated: those of the lowest bounds."""
_MOST = 8_192
_QUEUES = 0.7
"""The part of what no latency would save that more environments must save to be named first."""
_TURNS, _LEAST, _ITERATIONS = 12_000, 3, 12
"""Turns that are simulated, and how many iterations at least and at most."""


class NoRoomError(LongstepError, MemoryError):
    """Nothing that was planned fits in the accelerators' memory."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What an iteration would take if one cost were nothing."""

    name: str
    step: float
    gain: float
    """The share of the time that would be saved."""


_Ranked = tuple[float, int, int, Layout, list[Memory], Costs, Bound]
"""By the bound, then by the accelerators that are used, then in order."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An iteration of one layout, as simulated."""

    setting: Setting
    layout: Layout
    memory: Sequence[Memory]
    costs: Costs
    groups: Sequence[Group]
    outcome: Outcome
    bound: Bound


FREE: dict[str, dict[str, Any]] = {
    "update arithmetic": {"flop_seconds": 0.0},
    "traffic between trainers": {"traffic_seconds": 0.0},
    "optimiser": {"optimizer_seconds": 0.0},
    "decode bandwidth": {"weight_seconds": 0.0, "cache_seconds": 0.0},
    "engine arithmetic": {"drawn_seconds": 0.0, "read_seconds": 0.0, "pair_seconds": 0.0},
    "overhead of passes": {"pass_seconds": 0.0},
    "host": {"host_seconds": 0.0},
    "credit": {"credit_seconds": 0.0},
    "environment latency": {"wait": 0.0},
    "environment workers": {"workers": None},
    "weight sync": {"sync_seconds": 0.0},
}
"""What may limit an iteration, and which costs are then set to what. "memory" is beside them."""


def make_plan(setting: Setting, gpus: int) -> Plan:
    """The fastest layout of at most so many accelerators.

    Layouts are ranked by their bounds, and those with the lowest are simulated.

    Raises:
        ConfigError: the engine cannot be placed on so many.
        NoRoomError: none fits; the error tells how many would.
    """
    _check(setting, gpus)
    groups = draw_groups(
        setting.recipe, setting.assumed, _iterations(setting) * setting.recipe.rl.tasks
    )
    ranked: list[_Ranked] = []
    for layout in layouts(setting, gpus):
        memory = plan_memory(setting, layout, groups[: setting.recipe.rl.tasks])
        if all(one.fits for one in memory):
            costs = make_costs(setting, layout, memory[-1].lanes)
            bound = _bound(setting, layout, costs, groups)
            ranked.append((bound.step, layout.used, len(ranked), layout, memory, costs, bound))
    if not ranked:
        raise _no_room(setting, gpus, groups[: setting.recipe.rl.tasks])
    plans = []
    for _, _, _, layout, memory, costs, bound in sorted(ranked, key=lambda r: r[:3])[:_SIMULATED]:
        outcome = simulate(setting, layout, costs, groups)
        plans.append(Plan(setting, layout, memory, costs, groups, outcome, bound))
    return min(plans, key=lambda plan: plan.outcome.step)


def layouts(setting: Setting, gpus: int) -> Iterator[Layout]:
    """All accelerators, or fewer: powers of two; as the engine can be placed."""
    engine = setting.recipe.engine
    counts = {gpus, *(2**i for i in range(gpus.bit_length()) if 2**i <= gpus)}
    for used in sorted(counts, reverse=True):
        yield from _PLACED[engine.name](setting, used)


def _itself(setting: Setting, used: int) -> Iterator[Layout]:
    """Each process that trains samples."""
    yield Layout(used, used, apart=False)


def _beside(setting: Setting, used: int) -> Iterator[Layout]:
    """Each process that trains starts its own vLLM; on accelerators there is one process."""
    devices = setting.recipe.engine.devices
    if not setting.machine.accelerator:
        yield Layout(used, used, apart=False)
    elif used == devices:
        yield Layout(1, devices, apart=False, tensor=devices)


def _server(setting: Setting, used: int) -> Iterator[Layout]:
    """One server has some accelerators, the others train."""
    given = setting.assumed.server_devices
    for tensor in (given,) if given else _TENSOR:
        if tensor < used:
            yield Layout(used - tensor, tensor, apart=True, tensor=tensor)


def _actors(setting: Setting, used: int) -> Iterator[Layout]:
    """Each process that trains has so many actors."""
    width = setting.recipe.sampling.devices
    each = setting.recipe.engine.replicas * width
    if count := used // (1 + each):
        yield Layout(count, count * each, apart=True, tensor=width)


_PLACED: dict[str, Callable[[Setting, int], Iterator[Layout]]] = {
    "hf": _itself,
    "vllm": _beside,
    "vllm_server": _server,
    "ray": _actors,
}


def _check(setting: Setting, gpus: int) -> None:
    """Refuse an engine that cannot be placed."""
    engine, devices = setting.recipe.engine, setting.recipe.sampling.devices
    if setting.machine.accelerator and engine.name == "vllm" and gpus != devices:
        raise ConfigError(
            f"engine.name = vllm: each process that trains starts its own vLLM, and several on one "
            f"machine's GPUs are refused by the run; engine.devices = {devices} asks for --gpus "
            f"{devices}, got {gpus}. Set engine.devices, or engine.name to vllm_server, ray or hf"
        )
    if setting.machine.accelerator and engine.name == "ray" and engine.gpus != devices:
        raise ConfigError(
            f"engine.gpus: a plan knows actors with as many whole GPUs as they use, here {devices} "
            f"(engine.each.devices); got {engine.gpus:g}"
        )
    if next(layouts(setting, gpus), None) is None:
        raise ConfigError(
            f"--gpus {gpus}: engine.name = {engine.name} samples beside what trains, and that is "
            "too few for both; name more, or set engine.name = hf"
        )


def simulate(setting: Setting, layout: Layout, costs: Costs, groups: Sequence[Group]) -> Outcome:
    """Play and learn from these groups at these costs."""
    rl = setting.recipe.rl
    return Simulation(costs, groups, _update(setting, layout, costs), rl.tasks, rl.staleness).run()


def find_limits(plan: Plan) -> list[Limit]:
    """What an iteration would take without each cost, the most to be gained first."""
    found = []
    for name, free in {**FREE, "memory": {"lanes": max(1, plan.memory[-1].wanted)}}.items():
        costs = replace(plan.costs, **free)
        if costs == plan.costs:
            continue
        step = simulate(plan.setting, plan.layout, costs, plan.groups).step
        found.append(Limit(name, step, 1 - step / plan.outcome.step))
    found.sort(key=lambda limit: -limit.gain)
    for limit in found:  # an instant answer ends queues too, but it is they that hold things up
        if limit.name == "environment workers" and limit.gain > _QUEUES * found[0].gain:
            found.remove(limit)
            return [limit, *found]
    return found


def smallest(setting: Setting, groups: Sequence[Group]) -> int | None:
    """The least number of accelerators that has room."""
    return next((count for count in _counts() if _fits(setting, count, groups)), None)


def _counts() -> Iterator[int]:
    yield from range(1, 8)
    count = 8
    while count <= _MOST:
        yield count
        count += max(8, count // 64 * 8)


def _fits(setting: Setting, gpus: int, groups: Sequence[Group]) -> bool:
    return any(
        all(one.fits for one in plan_memory(setting, layout, groups))
        for layout in layouts(setting, gpus)
    )


def _iterations(setting: Setting) -> int:
    rl, limit = setting.recipe.rl, setting.recipe.turn_limit
    turns = rl.tasks * rl.siblings * min(setting.assumed.turns or 0.6 * limit, limit)
    return max(_LEAST + rl.staleness, min(_ITERATIONS, int(_TURNS / turns)))


def _update(setting: Setting, layout: Layout, costs: Costs) -> Callable[[Sequence[Group]], float]:
    return lambda groups: update_seconds(setting, costs, groups, layout.update)


def _bound(setting: Setting, layout: Layout, costs: Costs, groups: Sequence[Group]) -> Bound:
    rl = setting.recipe.rl
    return find_bound(costs, groups, _update(setting, layout, costs), rl.tasks, rl.staleness)


def _no_room(setting: Setting, gpus: int, groups: Sequence[Group]) -> NoRoomError:
    tried = [plan_memory(setting, layout, groups) for layout in layouts(setting, gpus)]
    refused = [min(m, key=lambda one: min(one.left, one.has - one.start)) for m in tried]
    one = max(refused, key=lambda one: min(one.left, one.has - one.start))
    parts = {**one.resident, **one.update, **one.engine, "cache": one.cache}
    needs = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in parts.items() if size)
    start = "" if one.starts else f", and {one.start / 1e9:.1f} GB at its start"
    if start and setting.recipe.run.shard:
        start += ": a sharded policy is loaded whole first"
    count = smallest(setting, groups)
    more = [f"with --gpus {count}" if count else "", _fewer(setting, gpus, groups)]
    more += [_mend(setting, change, groups) for change in _MENDS]
    if setting.recipe.engine.name == "vllm":
        more.append("perhaps with a lower engine.memory, which vLLM takes beside the trainer")
    ways = "; ".join(way for way in more if way) or "on no number of them"
    return NoRoomError(
        f"{setting.shape.name} does not fit on {gpus} x {setting.machine.name}: each has "
        f"{one.has / 1e9:.1f} GB to be used and needs {needs} GB{start}. It fits {ways}"
    )


def _fewer(setting: Setting, gpus: int, groups: Sequence[Group]) -> str:
    """How many episodes at a time there is room for, where each takes its cache at once."""
    if not setting.fixed_cache:
        return ""
    for change in ({}, *_MENDS):
        low, high = 0, setting.recipe.run.concurrency
        while low < high:
            middle = (low + high + 1) // 2
            some = _changed(setting, {**change, "concurrency": middle})
            low, high = (middle, high) if _fits(some, gpus, groups) else (low, middle - 1)
        if low:
            sets = _sets({**change, "concurrency": low})
            return (
                f"if you play at most {low} at a time ({sets}), or more with a shorter "
                "engine.context"
            )
    return ""


_MENDS: tuple[dict[str, Any], ...] = (
    {"shard": True},
    {"shard": True, "precision": "bfloat16"},
    {"shard": True, "precision": "bfloat16", "activation_checkpointing": "full"},
)


def _mend(setting: Setting, change: dict[str, Any], groups: Sequence[Group]) -> str:
    run = setting.recipe.run
    if all(getattr(run, key) == value for key, value in change.items()):
        return ""
    count = smallest(_changed(setting, change), groups)
    return f"with {_sets(change)} from --gpus {count}" if count else ""


def _changed(setting: Setting, change: dict[str, Any]) -> Setting:
    run = setting.recipe.run.model_copy(update=change)
    return replace(setting, recipe=setting.recipe.model_copy(update={"run": run}))


def _sets(change: dict[str, Any]) -> str:
    return " ".join(f"--set run.{key}={str(value).lower()}" for key, value in change.items())
