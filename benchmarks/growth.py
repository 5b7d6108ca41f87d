"""What a token costs when everything grows: turns, environments, context.

    python benchmarks/growth.py OUT [--repeats 2] [--json]

A small Qwen3 plays episodes with the `hf` engine and all that a training run has, and learns from
them with one step of AdamW. Each point is a process of its own: CPU seconds of one thread, and how
far the resident memory rose, both for each token of the rows. Each is measured with and without
attention (which then hands back its queries), so that what must grow can be told from what must
not: attention is quadratic in the context, everything else is linear in tokens.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self
from unittest.mock import patch

import torch
import typer
from comparison import Comparison, show  # type: ignore[import-not-found]
from fixed_talk import FixedTalk, make_tokenizer, words  # type: ignore[import-not-found]
from rollout import AGENT, MODEL  # type: ignore[import-not-found]
from transformers import Qwen3Config, Qwen3ForCausalLM

from longstep_agents.attention import ATTENTION, Documents, LaneCache
from longstep_agents.conversation import TokenConversation
from longstep_agents.language_agent import AgentKit, LanguageAgent, LanguageAgentConfig
from longstep_agents.models.engine import EngineConfig
from longstep_agents.models.hf import HFModel
from longstep_agents.render import Renderer
from longstep_agents.rollout import EpisodeRequest, collect_groups
from longstep_agents.types import Group
from longstep_envs import EnvPool, Info, Limits, register
from longstep_training.batch import Row, build_rows
from longstep_training.distributed import World
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.updater import OptimizerConfig, Updater

ENV_ID = "bench/Growing-v0"
SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 20_480,
}
GOAL = 1.5
Point = dict[str, int]
"""Turns, environments, and the tokens that are said and told at each turn."""


def _point(turns: int, envs: int, *, said: int, told: int) -> Point:
    return {"turns": turns, "envs": envs, "said": said, "told": told}


AXES: dict[str, dict[int, Point]] = {
    "turns": {n: _point(n, 16, said=8, told=8) for n in (8, 16, 32, 64, 128)},
    "environments": {n: _point(8, n, said=8, told=24) for n in (1, 4, 16, 64, 256)},
    "context": {1_024 * n: _point(8, 2, said=16 * n, told=112 * n) for n in (1, 2, 4, 8, 16)},
}
SIDES = ("rollout", "update")

register(ENV_ID, "growth:Talk")


class Talk(FixedTalk):  # type: ignore[misc]
    """Says so many tokens at each turn."""

    def __init__(self, told: int = 8, envs: int = 1) -> None:
        self._told, self._envs = told, envs
        super().__init__()

    @property
    def task_ids(self) -> Sequence[str]:
        """One for each environment."""
        return [str(i) for i in range(self._envs)]

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        return words(100 * int(task_id), self._told // 2), Info()

    def _act(self, action: str) -> tuple[str, bool, Info]:
        return words(999, self._told // 2 - 1) + " ", False, Info()

    def _make_copy(self) -> Self:
        return type(self)(self._told, self._envs)


class Subject:
    """A policy, with what plays it and what trains it."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.model = Qwen3ForCausalLM(Qwen3Config(**{**MODEL, **SHAPE})).eval()
        self.model.set_attn_implementation(ATTENTION)
        self._renderer = Renderer(make_tokenizer())

    def play(self, point: Point) -> list[Group]:
        """All episodes of a point, with an engine of its own."""
        row = point["turns"] * (point["said"] + point["told"]) + 64
        config = EngineConfig(context=min(row, SHAPE["max_position_embeddings"]))
        engine = HFModel(self.model, config, lanes=point["envs"])
        kit = AgentKit(LanguageAgentConfig.model_validate({**AGENT, "max_tokens": point["said"]}))

        def agent(request: EpisodeRequest) -> LanguageAgent:
            seed = request.agent_seed
            return LanguageAgent(TokenConversation(engine, self._renderer, seed=seed), kit)

        requests = [EpisodeRequest(str(i), agent_seed=i) for i in range(point["envs"])]
        options = {"told": point["told"], "envs": point["envs"]}
        with EnvPool(ENV_ID, options, limits=Limits(turns=point["turns"]), mode="inline") as pool:
            groups = asyncio.run(collect_groups(pool, requests, agent, siblings=1))
        failed = [t.error for group in groups for t in group.trajectories if not t.counts]
        if failed:
            raise RuntimeError(f"{len(failed)} episodes failed, the first with: {failed[0]}")
        return groups

    def rows(self, groups: Sequence[Group]) -> list[Row]:
        """To be learnt from, each with a credit of 1."""
        credit = [[[1.0] * len(t.steps) for t in g.trajectories] for g in groups]
        return build_rows(groups, credit)

    def learn(self, rows: Sequence[Row]) -> None:
        """One step of AdamW."""
        config = OptimizerConfig(token_budget=4_096, learning_rate=1e-6)
        updater = Updater(self.model, config, World())
        updater.step(rows, partial(policy_loss, self.model, config=ReinforcementConfig()))


def main(
    out: Annotated[Path, typer.Argument(help="Where points and the plot are written.")],
    repeats: Annotated[int, typer.Option(help="Measurements of each side, the best counts.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    point: Annotated[str | None, typer.Option(help="Measure one, as JSON; for itself.")] = None,
) -> None:
    """Measure every point that `OUT` lacks; print the table, and draw the plot."""
    if point is not None:
        typer.echo(json.dumps(measure(json.loads(point), repeats)))
        return
    out.mkdir(parents=True, exist_ok=True)
    found = {axis: _measured(axis, points, out, repeats) for axis, points in AXES.items()}
    show([_compare(axis, side, found[axis]) for axis in found for side in SIDES], as_json=as_json)
    if not as_json:
        _tell(found)
    from growth_plot import draw  # type: ignore[import-not-found]

    (out / "growth.svg").write_text(draw(found), "utf-8")


def measure(point: Point, repeats: int) -> dict[str, Any]:
    """Seconds and bytes of a token in each phase, with attention and without."""
    subject = Subject()
    small = {**point, "turns": 2, "envs": 2, "said": 4, "told": 8}
    subject.learn(subject.rows(subject.play(small)))  # what is made once is made now
    groups = subject.play(point)
    rows = subject.rows(groups)
    tokens = sum(len(row.ids) for row in rows)
    work: dict[str, Callable[[], object]] = {
        "rollout": lambda: subject.play(point),
        "update": lambda: subject.learn(rows),
    }
    told: dict[str, Any] = {"tokens": tokens}
    for side, run in work.items():
        seconds, memory = _spend(run, repeats)
        with _without_attention():
            plain, _ = _spend(run, repeats)
        told[side] = {
            "seconds": seconds / tokens,
            "plain": plain / tokens,
            "bytes": memory / tokens,
        }
    return told


def _spend(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """CPU seconds of the best, and the bytes by which resident memory rose at the most."""
    seconds, memory = [], []
    for _ in range(repeats):
        _forget_peak()
        before, begin = _resident("VmRSS"), time.process_time()
        run()
        seconds.append(time.process_time() - begin)
        memory.append(_resident("VmHWM") - before)
    return min(seconds), max(memory)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def _resident(name: str) -> int:
    rows = (line.split() for line in Path("/proc/self/status").read_text("ascii").splitlines())
    return next(1024 * int(row[1]) for row in rows if row[0] == f"{name}:")


@contextmanager
def _without_attention() -> Iterator[None]:
    """Attention costs nothing, and neither does its cache."""

    def attend(packing: Any, layer: int, query: Any, key: Any, value: Any, scale: float) -> Any:
        return query

    with ExitStack() as stack:
        for packing in (Documents, LaneCache):
            stack.enter_context(patch.object(packing, "attend", attend))
        yield


Found = Mapping[int, Mapping[str, Any]]


def _measured(axis: str, points: Mapping[int, Point], out: Path, repeats: int) -> Found:
    found = {}
    for size, point in points.items():
        path = out / f"{axis}-{size}.json"
        if not path.exists():
            command = [sys.executable, __file__, str(out), "--point", json.dumps(point)]
            command += ["--repeats", str(repeats)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            path.write_text(done.stdout.splitlines()[-1], "utf-8")
        found[size] = json.loads(path.read_text("utf-8"))
    return found


def _compare(axis: str, side: str, found: Found) -> Comparison:
    """The largest beside the smallest; at the limit only arithmetic grows."""
    (low, first), *_, (high, last) = found.items()
    ours, theirs = (1e6 * one[side]["seconds"] for one in (last, first))
    grown = _arithmetic(AXES[axis][high]) / _arithmetic(AXES[axis][low])
    return Comparison(
        name=f"{side}, {axis} {low:,} to {high:,}",
        ours=ours,
        theirs=theirs,
        unit="CPU us a token",
        goal=round(1 / GOAL, 2),
        least=theirs * grown,
        limit="arithmetic grows as it must",
    )


def _arithmetic(point: Point) -> float:
    """Operations of a token, in the mean: 2 for each weight, 4 q for each token it sees."""
    hidden, query, key = SHAPE["hidden_size"], 128, 64
    weights = 2 * hidden * (query + key) + 3 * hidden * SHAPE["intermediate_size"]
    context = point["turns"] * (point["said"] + point["told"])
    head = 2 * hidden * MODEL["vocab_size"] * point["said"] / (point["said"] + point["told"])
    return float(head + SHAPE["num_hidden_layers"] * (2 * weights + 4 * query * context / 2))


def _tell(found: Mapping[str, Found]) -> None:
    """Every point."""
    columns = ("", "", "us a token", "without attention", "attention", "KB a token")
    typer.echo(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for axis, points in found.items():
        for side in SIDES:
            for size, told in points.items():
                one = told[side]
                share = max(0.0, 1 - one["plain"] / one["seconds"])
                cells = [f"{1e6 * one['seconds']:.1f}", f"{1e6 * one['plain']:.1f}", f"{share:.0%}"]
                cells.append(f"{one['bytes'] / 1e3:.1f}")
                typer.echo(f"| {side} | {size:,} {axis} | {' | '.join(cells)} |")


if __name__ == "__main__":
    typer.run(main)
