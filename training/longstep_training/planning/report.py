"""A plan as people read it, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from longstep_training.planning.plan import Limit, Plan

NOTICE = "planned, not measured"
_GIGA = 1e9
_ADVICE = {
    "update arithmetic": "more GPUs for the update, rl.optimizer.share = true where episodes begin "
    "alike, run.precision = bfloat16, fewer rl.schedule.passes",
    "traffic between trainers": "a larger rl.optimizer.token_budget, so that weights are gathered "
    "less often, or fewer GPUs for the update",
    "optimiser": "run.shard = true, so that each GPU steps its share, or fewer rl.schedule.updates",
    "decode bandwidth": "more episodes at a time for each replica, engine.dtype = bfloat16, or "
    "more GPUs for the engine",
    "engine arithmetic": "more GPUs for the engine, engine.share_prefixes = true, shorter "
    "observations",
    "overhead of passes": "more episodes at a time for each replica, shorter replies, or an engine "
    "with less of it (engine.name = vllm)",
    "host": "a quicker environment or agent, or more processes that play",
    "credit": "fewer run.log_groups, or credit that costs less",
    "environment latency": "rl.staleness = 1 or more, so that episodes go on during updates, and "
    "more rl.tasks at a time",
    "environment workers": "more environments",
    "weight sync": "fewer, larger iterations; one server (engine.name = vllm_server) where Ray "
    "gets a copy of each trainer; a handover_rate that was measured",
    "memory": "more GPUs, a shorter engine.context, or engine.dtype = bfloat16, so that more "
    "episodes are played at a time",
}


def as_dict(plan: Plan, limits: Sequence[Limit], sources: Mapping[str, str]) -> dict[str, Any]:
    """Everything that a plan tells; seconds, bytes and tokens."""
    layout, outcome, bound = plan.layout, plan.outcome, plan.bound
    learnt = sum(e.tokens for g in plan.groups for e in g) / outcome.iterations
    return {
        "notice": NOTICE,
        "model": plan.setting.shape.name,
        "parameters": plan.setting.shape.parameters,
        "gpu": plan.setting.machine.name,
        "layout": {**asdict(layout), "used": layout.used, "replicas": layout.replicas},
        "memory": [_memory(one) for one in plan.memory],
        "step": {
            "seconds": outcome.step,
            "update": outcome.update_seconds / outcome.iterations,
            "trainer_waited": outcome.trainer_waited / outcome.iterations,
            "engine_busy": outcome.engine_busy,
            "drawn_tokens": outcome.drawn / outcome.iterations,
            "learnt_tokens": learnt,
            "rollout_tokens_per_second": outcome.drawn / outcome.seconds,
            "update_tokens_per_second": learnt
            * outcome.iterations
            / max(outcome.update_seconds, 1e-12),
            "batch": outcome.batch,
        },
        "balance": _balance(plan),
        "environments": {
            "answering": outcome.in_environment,
            "to_keep_the_engine_busy": workers_needed(plan),
        },
        "bound": asdict(bound),
        "of_bound": bound.step / outcome.step,
        "limits": [asdict(limit) for limit in limits],
        "advice": _ADVICE[limits[0].name] if limits else "",
        "assumed": {
            name: {"value": value, "source": sources.get(name, "assumed")}
            for name, value in plan.setting.assumed.model_dump().items()
        },
        "machine": asdict(plan.setting.machine),
        "iterations_simulated": outcome.iterations,
    }


def workers_needed(plan: Plan) -> int:
    """Environments that must answer at a time for the engine never to wait for one.

    Little's law: turns a second that the engine can take, times seconds of latency.
    """
    episodes = [episode for group in plan.groups for episode in group]
    turns = sum(len(e.turns) for e in episodes) / plan.outcome.iterations
    waited = sum(t.waited for e in episodes for t in e.turns) * plan.costs.wait
    latency = waited / max(1, sum(len(e.turns) for e in episodes))
    return math.ceil(turns / plan.bound.engine * latency) if plan.bound.engine > 0 else 0


def _memory(one: Any) -> dict[str, Any]:
    told = asdict(one)
    return {**told, "cache": one.cache, "peak": one.peak, "left": one.left, "starts": one.starts}


def _balance(plan: Plan) -> dict[str, float]:
    """GPU-seconds of an iteration, and how GPUs would be split in proportion to them."""
    engine = plan.bound.engine * plan.layout.engine
    update = (plan.bound.update - plan.costs.sync_seconds) * plan.layout.update
    share = engine / (engine + update) if engine + update else 0.5
    return {
        "engine_gpu_seconds": engine,
        "update_gpu_seconds": update,
        "engine_share": share,
        "engine_gpus_if_split": share * plan.layout.used,
    }


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """The plan's text."""
    layout, step = told["layout"], told["step"]
    machine = told["machine"]
    yield f"{told['model']} ({told['parameters'] / _GIGA:.3g} B weights), {_where(told)}: {NOTICE}."
    yield ""
    yield from _memory_lines(told["memory"], apart=layout["apart"])
    yield ""
    count = told["iterations_simulated"]
    yield f"An iteration takes {_time(step['seconds'])} (simulated, {count} iterations):"
    yield (
        f"  rollout   {step['rollout_tokens_per_second']:,.0f} drawn tokens a second of the whole "
        f"iteration; {step['drawn_tokens']:,.0f} of them, {step['batch']:.0f} a pass"
    )
    yield (
        f"  update    {step['update_tokens_per_second']:,.0f} tokens a second while it runs; "
        f"{step['learnt_tokens']:,.0f} of them in {_time(step['update'])}"
    )
    yield (
        f"  trainers wait {_time(step['trainer_waited'])}; engines work "
        f"{step['engine_busy']:.0%} of the time"
    )
    yield f"  {_balance_line(told)}"
    env = told["environments"]
    yield (
        f"  environments: {env['answering']:.0f} answer at a time; "
        f"{env['to_keep_the_engine_busy']} must, for engines that never wait"
    )
    yield ""
    yield from _bound_lines(told)
    yield ""
    yield from _limit_lines(told)
    yield ""
    yield f"Of {machine['source']}: {_rates(machine)}"
    yield "Taken for granted (--assume KEY=VALUE, --calibrate RUN):"
    for name, one in told["assumed"].items():
        if one["value"] is not None:
            yield f"  {name} = {_number(one['value'])}  ({one['source']})"


def _where(told: Mapping[str, Any]) -> str:
    layout, name = told["layout"], told["gpu"]
    replicas = f"{layout['replicas']} replica{'s' * (layout['replicas'] > 1)} of {layout['tensor']}"
    if layout["apart"]:
        split = f"{layout['update']} train, {layout['engine']} sample ({replicas})"
    else:
        split = f"all train and sample in turn ({replicas})"
    return f"{layout['used']} x {name}, {split}"


def _memory_lines(memory: Sequence[Mapping[str, Any]], *, apart: bool) -> Iterator[str]:
    for number, one in enumerate(memory):
        who = ("of a trainer", "of a sampler")[number] if apart else "of each"
        yield f"Memory {who}, GB of {one['has'] / _GIGA:.1f}:"
        parts = {**one["resident"], **one["update"], **one["engine"]}
        if one["wanted"]:
            parts[f"cache, {one['lanes']} of {one['wanted']} episodes a replica"] = one["cache"]
        for name, size in parts.items():
            yield f"  {name:<40} {size / _GIGA:9.3f}"
        yield f"  {'left at the fullest moment':<40} {one['left'] / _GIGA:9.3f}"
        yield f"  {'start: policies are loaded whole first':<40} {one['start'] / _GIGA:9.3f}"


def _balance_line(told: Mapping[str, Any]) -> str:
    balance, layout = told["balance"], told["layout"]
    share = balance["engine_share"]
    if layout["apart"]:
        wanted = f"by work, {balance['engine_gpus_if_split']:.1f} of {layout['used']} would sample"
    else:
        wanted = f"split, {balance['engine_gpus_if_split']:.1f} of {layout['used']} would sample"
    return f"balance: {share:.0%} of the work is rollout, {1 - share:.0%} update; {wanted}"


def _bound_lines(told: Mapping[str, Any]) -> Iterator[str]:
    bound = told["bound"]
    yield f"Bound: {_time(bound['step'])}, of which this is {told['of_bound']:.0%}. At the least:"
    for name, meaning in {
        "update": "updates, credit and weight sync",
        "engine": "the engine's work, at full batches",
        "episode": "the longest episode, nothing in its way",
        "lanes": "all episodes, as many at a time as may be",
        "workers": "environments, with as many as there are",
    }.items():
        if bound[name]:
            yield f"  {_time(bound[name]):>9}  {meaning}"


def _limit_lines(told: Mapping[str, Any]) -> Iterator[str]:
    limits = [limit for limit in told["limits"] if limit["gain"] >= 0.005]
    if not limits:
        yield "Limited by nothing that is counted."
        return
    yield f"Limited by: {limits[0]['name']}. If it took no time, an iteration would take:"
    for limit in limits:
        yield f"  {_time(limit['step']):>9}  (-{limit['gain']:.0%})  without {limit['name']}"
    yield f"What to change: {told['advice']}."


def _rates(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['flops'] / 1e12:.3g} TFLOP/s in bfloat16, {machine['flops32'] / 1e12:.3g} in "
        f"float32, {machine['memory'] / _GIGA:.3g} GB at {machine['bandwidth'] / _GIGA:,.0f} GB/s, "
        f"links of {machine['link'] / _GIGA:,.0f} GB/s, network {machine['network'] / _GIGA:,.0f}"
    )


def _time(seconds: float) -> str:
    return (
        f"{seconds:,.1f} s"
        if seconds >= 10
        else f"{seconds:.2g} s"
        if seconds < 1
        else f"{seconds:.2f} s"
    )


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower()
