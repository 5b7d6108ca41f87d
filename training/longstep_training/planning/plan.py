"""The fastest layout that fits, what bounds it, and what would make it faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from longstep_envs.types import LongstepError
from longstep_training.planning.bounds import Bound, find_bound
from longstep_training.planning.costs import Costs, Layout, Setting, make_costs, update_seconds
from longstep_training.planning.episodes import Group, draw_groups
from longstep_training.planning.memory import Memory, plan_memory
from longstep_training.planning.settings import Recipe
from longstep_training.planning.simulation import Outcome, Simulation

_TENSOR = (1, 2, 4, 8)
_SPLITS = 8
"""Parts in which accelerators are split between engine and update."""
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
        NoRoomError: none fits; the error tells how many would.
    """
    groups = draw_groups(
        setting.recipe, setting.assumed, _iterations(setting) * setting.recipe.rl.tasks
    )
    ranked: list[_Ranked] = []
    for layout in layouts(setting.recipe, gpus):
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


def layouts(recipe: Recipe, gpus: int) -> Iterator[Layout]:
    """All accelerators, or fewer: powers of two; together, and apart where the engine can be."""
    counts = {gpus, *(2**i for i in range(gpus.bit_length()) if 2**i <= gpus)}
    widths = _TENSOR if not recipe.samples_itself else (1,)
    for used in sorted(counts, reverse=True):
        for tensor in widths:
            if recipe.engine.name != "vllm_server" and used % tensor == 0:
                yield Layout(used, used, apart=False, tensor=tensor)
            if recipe.samples_itself:
                continue
            parts = {used * part // _SPLITS // tensor * tensor for part in range(1, _SPLITS)}
            for engine in sorted(parts - {0, used}):
                yield Layout(used - engine, engine, apart=True, tensor=tensor)


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
        for layout in layouts(setting.recipe, gpus)
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
    layout = next(layouts(setting.recipe, gpus), Layout(gpus, gpus, apart=False))
    one = min(plan_memory(setting, layout, groups), key=lambda memory: memory.left)
    parts = {**one.resident, **(one.update or one.engine)}
    told = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in parts.items())
    mends = [_mend(setting, change, groups) for change in _MENDS]
    count = smallest(setting, groups)
    more = [f"with --gpus {count}" if count else "", *mends]
    ways = "; ".join(way for way in more if way) or "on no number of them"
    return NoRoomError(
        f"{setting.shape.name} does not fit on {gpus} x {setting.machine.name}: each has "
        f"{one.has / 1e9:.1f} GB to be used and needs {told} GB. It fits {ways}"
    )


_MENDS: tuple[dict[str, Any], ...] = (
    {"shard": True},
    {"shard": True, "precision": "bfloat16"},
    {"shard": True, "precision": "bfloat16", "activation_checkpointing": "full"},
)


def _mend(setting: Setting, change: dict[str, Any], groups: Sequence[Group]) -> str:
    run = setting.recipe.run
    if all(getattr(run, key) == value for key, value in change.items()):
        return ""
    recipe = setting.recipe.model_copy(update={"run": run.model_copy(update=change)})
    count = smallest(replace(setting, recipe=recipe), groups)
    sets = " ".join(f"--set run.{key}={str(value).lower()}" for key, value in change.items())
    return f"with {sets} from --gpus {count}" if count else ""
