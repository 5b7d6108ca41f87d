"""What a run has measured, in place of what would be assumed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from longstep_training.config import ConfigError, build_config, read_tree
from longstep_training.planning.costs import Costs, Layout, Setting, make_costs, update_flops
from longstep_training.planning.episodes import draw_groups, find_hazard, mean_turns
from longstep_training.planning.machines import Machine
from longstep_training.planning.settings import Assumptions, Recipe
from longstep_training.planning.shapes import Shape, read_shape

_LEAST_SPREAD = 1.3
"""How much the batch of passes must differ for their overhead to be told from their arithmetic."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One iteration of a run."""

    episodes: int
    turns: float
    """Of all episodes."""
    context: float
    """Tokens of all episodes."""
    drawn: float
    passes: float
    rollout: float
    engine: float | None
    """Seconds in the engine, where it tells them."""
    update: float
    between: float
    """Seconds between the two."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run's folder tells."""

    folder: Path
    recipe: Recipe
    shape: Shape
    processes: int
    accelerated: bool
    rows: Sequence[Measured]
    reply: float
    """Tokens of a reply."""
    prompt: float
    """The share of what is read that the first prompt is."""


def calibrate(folders: Sequence[Path], machine: Machine, recipe: Recipe) -> dict[str, Any]:
    """Assumptions as runs measured them, for a plan of `recipe`; medians over iterations.

    Texts and turns hold for any machine; speeds are only taken from runs on a machine like the one
    that is planned for.

    Raises:
        ConfigError: a folder holds no run, or none with an iteration of reinforcement learning.
    """
    runs = [read_run(folder) for folder in folders]
    found = _texts(runs, recipe)
    if all(run.accelerated == machine.accelerator for run in runs):
        found |= _speeds(runs, machine, Assumptions(**found))
    return found


def read_run(folder: Path) -> RunFacts:
    """What a run has measured of itself.

    Raises:
        ConfigError: the folder holds no run, or none with an iteration of reinforcement learning.
    """
    path = folder / "metrics.jsonl"
    if not path.exists():
        raise ConfigError(f"--calibrate: {folder} holds no metrics.jsonl; name a run's folder")
    tree = read_tree(folder / "config.toml")
    recipe = build_config(Recipe, tree, str(folder / "config.toml"))
    rows = [_measured(row) for row in _json_lines(path) if row.get("phase") == "rl"]
    if not rows:
        raise ConfigError(f"--calibrate: {path} has no iteration of rl; let the run come to one")
    reply, prompt = _replies(folder / "episodes" / "rl.jsonl")
    run = tree.get("run", {})
    return RunFacts(
        folder=folder,
        recipe=recipe,
        shape=read_shape(folder / "policy"),
        processes=run.get("processes", 1),
        accelerated=str(run.get("device", "cpu")).startswith("cuda"),
        rows=rows,
        reply=reply,
        prompt=prompt,
    )


def _measured(row: Mapping[str, Any]) -> Measured:
    timing, engine = row["timing"], row.get("engine", {})
    useful = row["sampled_tokens_per_second"] * timing["rollout"]
    sampled = useful / (1 - engine.get("wasted", 0.0))
    counted = row["episodes"] - row["failed_episodes"]
    laps = sum(timing.values())
    return Measured(
        episodes=row["episodes"],
        turns=row["turns"] * counted,
        context=row["tokens_per_second"] * laps,
        drawn=useful,
        passes=sampled / engine["batch"] if "batch" in engine else 0.0,
        rollout=timing["rollout"],
        engine=engine["busy"] * timing["rollout"] if "busy" in engine else None,
        update=timing["update"],
        between=laps - timing["rollout"] - timing["update"],
    )


def _replies(path: Path) -> tuple[float, float]:
    """Tokens of a reply in the mean, and the share of the first prompt in what is shown."""
    replies, characters, first = list[int](), 0, 0
    for episode in _json_lines(path) if path.exists() else ():
        for number, step in enumerate(episode["steps"]):
            replies.append(len(step.get("tokens", {}).get("text", ())))
            shown = len(step.get("shown", ""))
            characters += shown
            first += shown if number == 0 else 0
    reply = sum(replies) / len(replies) if replies else 0.0
    return reply, first / characters if characters else 0.0


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            yield json.loads(line)
        except ValueError:
            raise ConfigError(f"{path}, line {number} is not JSON; was the run cut off?") from None


def _texts(runs: Sequence[RunFacts], recipe: Recipe) -> dict[str, Any]:
    """Lengths of episodes and of their parts."""
    rows = [row for run in runs for row in run.rows]
    turns = sum(row.turns for row in rows)
    hazards = [
        find_hazard(
            sum(r.turns for r in run.rows) / sum(r.episodes for r in run.rows),
            run.recipe.turn_limit,
        )
        for run in runs
    ]
    drawn = sum(row.drawn for row in rows) / turns
    reply = max(drawn, sum(run.reply for run in runs) / len(runs))
    read = sum(row.context for row in rows) / turns - reply
    episodes = sum(row.episodes for row in rows)
    prompt = max(1.0, read * turns / episodes * sum(run.prompt for run in runs) / len(runs))
    later = (read * turns - prompt * episodes) / max(1.0, turns - episodes)
    limit = recipe.turn_limit
    return {
        "turns": mean_turns(sum(hazards) / len(hazards), limit),
        "prompt_tokens": prompt,
        "observation_tokens": max(0.0, later),
        "reply_tokens": max(1e-3, reply),
        "reply_spread": 0.0,
        "drawn": min(1.0, drawn / reply),
    }


def _speeds(runs: Sequence[RunFacts], machine: Machine, texts: Assumptions) -> dict[str, Any]:
    """Efficiencies and the times of a turn and an episode."""
    updates, hosts, credits = list[float](), list[float](), list[float]()
    points: list[tuple[float, float, float]] = []
    for run in runs:
        setting = Setting(run.shape, machine, run.recipe, _own(run, texts))
        layout = Layout(run.processes, run.processes, apart=False)
        costs = make_costs(setting, layout, lanes=run.recipe.run.concurrency)
        groups = draw_groups(run.recipe, setting.assumed, 64)
        flops = update_flops(setting, groups) / sum(map(len, groups))
        peak = run.processes * machine.rate(setting.compute_bytes)
        for row in run.rows:
            updates.append(flops * row.context / _mean_tokens(groups) / row.update / peak)
            credits.append(row.between / row.episodes)
            engine = row.rollout if row.engine is None else row.engine
            hosts.append(run.processes * (row.rollout - engine) / row.turns)
            full = run.processes * engine
            points.append(
                (
                    row.passes,
                    _arithmetic(costs, groups, row) * setting.assumed.read_efficiency,
                    full,
                )
            )
    overhead, efficiency = _fit(points)
    waited = {"latency": 0.0, "latency_spread": 0.0}
    return {
        "update_efficiency": min(1.0, median(updates)),
        "read_efficiency": efficiency,
        "pass_seconds": overhead,
        "host_seconds": max(0.0, median(hosts)),
        "credit_seconds": median(credits),
        **waited,
    }


def _own(run: RunFacts, texts: Assumptions) -> Assumptions:
    """The run's own turns, which another limit may have cut."""
    turns = sum(r.turns for r in run.rows) / sum(r.episodes for r in run.rows)
    return texts.model_copy(update={"turns": turns})


def _mean_tokens(groups: Sequence[Any]) -> float:
    episodes = [episode for group in groups for episode in group]
    return sum(float(e.tokens) for e in episodes) / len(episodes)


def _arithmetic(costs: Costs, groups: Sequence[Any], row: Measured) -> float:
    """Seconds of an engine's arithmetic in an iteration, scaled from drawn episodes."""
    free = replace(costs, host_seconds=0.0)
    total = tokens = 0.0
    for episode in (e for group in groups for e in group):
        past = 0.0
        for turn in episode.turns:
            total += free.turn_work(turn, past) + costs.drawn_seconds * turn.drawn
            past += turn.read + turn.drawn
        tokens += past
    return total * row.context / tokens


def _fit(points: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """The overhead of a pass and the efficiency of arithmetic, by least squares of relative errors.

    Seconds are o passes + peak seconds / efficiency. Where batches are too much alike to tell both
    apart, or the overhead comes out below 0, all is taken for arithmetic.
    """
    sizes = [work / passes for passes, work, _ in points if passes]
    tell = len(sizes) == len(points) and max(sizes) > _LEAST_SPREAD * min(sizes)
    if tell:
        rows = [(passes / s, work / s) for passes, work, s in points]
        pp, pw, ww = (sum(a[i] * a[j] for a in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
        p, w = (sum(a[i] for a in rows) for i in (0, 1))
        overhead = (p * ww - w * pw) / (pp * ww - pw * pw)
        slope = (w * pp - p * pw) / (pp * ww - pw * pw)
        if overhead > 0 and slope > 0:
            return overhead, min(1.0, 1 / slope)
    return 0.0, min(1.0, median(work / seconds for _, work, seconds in points))
