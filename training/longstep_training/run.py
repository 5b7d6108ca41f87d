"""One training run on one process: its models, its environments, its files."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from longstep_agents.agent import (
    Agent,
    DemonstratingAgent,
    ExpertAgent,
    LanguageAgent,
    LanguageAgentConfig,
)
from longstep_agents.models.hf import HFModel
from longstep_agents.render import Renderer
from longstep_agents.rollout import EpisodeRequest, collect_groups
from longstep_agents.types import Group, Trajectory
from longstep_envs import EnvPool, Limits
from longstep_training.batch import Batch, Row
from longstep_training.checkpoint import (
    Progress,
    find_checkpoints,
    read_checkpoint,
    restore,
    save_checkpoint,
)
from longstep_training.distributed import World
from longstep_training.evaluate import evaluate, summarise
from longstep_training.log import PHASES, Display, RunLog
from longstep_training.policy import Updater, load_model
from longstep_training.recipe import EvaluationConfig, TaskSource, TrainConfig

Objective = Callable[[Batch], tuple[torch.Tensor, dict[str, float]]]


class Run:
    """What the training loop works with. Everything random is a function of (seed, place)."""

    def __init__(self, world: World, config: TrainConfig, folder: Path, *, resume: bool) -> None:
        torch.set_num_threads(config.run.threads)
        self.world, self.config, self.folder = world, config, folder
        self.log = RunLog(folder)
        self.display = Display(shown=world.leads)
        self.tokenizer = AutoTokenizer.from_pretrained(folder / "policy")
        self.renderer = Renderer(self.tokenizer, config.agent.system)
        self.model = load_model(folder / "policy")
        self.sampler = HFModel(self.model, lanes=config.run.concurrency)
        self.done = Progress("imitation", 0, 0.0, 0)
        self.updater = self._new_updater("imitation")
        self._pools: dict[str, EnvPool] = {}
        if resume:
            self._resume()
        self._started = time.perf_counter() - self.done.seconds
        self._phase_started = time.perf_counter()

    # Places

    def iterations(self, phase: str, count: int) -> Iterator[int]:
        """The iterations of a phase that are still to be done, counted from 1."""
        first = PHASES.index(self.done.phase)
        if PHASES.index(phase) < first:
            return
        if PHASES.index(phase) > first:
            self.updater = self._new_updater(phase)
            self.done = replace(self.done, phase=phase, iteration=0)
        for iteration in range(self.done.iteration + 1, count + 1):
            self._phase_started = time.perf_counter()
            yield iteration

    def random(self, *place: object) -> random.Random:
        """The random stream of one place in the run; the same on every rank."""
        return random.Random("/".join(map(str, (self.config.seed, *place))))

    # Episodes

    def demonstrate(self, iteration: int) -> list[Group]:
        """Fresh expert demonstrations on training tasks: this rank's share, one a group."""
        settings = self.config.imitation
        rng = self.random("imitation", iteration)
        tasks = self._draw(rng, settings.demonstrations)
        kinds, shares = zip(*settings.experts.items(), strict=True)
        requests = [
            EpisodeRequest(task, rng.randrange(2**31), expert=kind)
            for task, kind in zip(tasks, rng.choices(kinds, shares, k=len(tasks)), strict=True)
        ]

        def make_agent(request: EpisodeRequest) -> Agent:
            return DemonstratingAgent(ExpertAgent(), self.renderer, self.config.agent)

        groups = self._collect(requests, make_agent, siblings=1)
        return [group for group in groups if group.trajectories[0].success]

    def sample_groups(self, iteration: int) -> list[Group]:
        """Groups of siblings on training tasks, played by the present policy: this rank's share."""
        settings = self.config.rl
        rng = self.random("rl", iteration)
        requests = [
            EpisodeRequest(task, seed=rng.randrange(2**31), agent_seed=rng.randrange(2**31))
            for task in self._draw(rng, settings.tasks)
        ]
        return self._collect(requests, self._language_agent, siblings=settings.siblings)

    def evaluate(self, stage: str) -> None:
        """Play every evaluation set once, unless this stage has been evaluated already."""
        for evaluation in self.config.evaluation:
            known = [r for r in self.log.rows() if r.get("stage") == stage]
            if evaluation.episodes and not any(r["name"] == evaluation.name for r in known):
                self._evaluate(evaluation, stage)
            self.world.wait()

    # Learning

    def update(self, rows: Sequence[Row], objective: Objective, place: Sequence[object],
               updates: int) -> dict[str, float]:
        """`updates` optimiser steps, each on its part of the shuffled rows; summed statistics."""
        order = list(rows)
        self.random(*place, self.world.rank).shuffle(order)
        sums: dict[str, float] = {}
        norms = []
        for part in range(updates):
            step = self.updater.step(order[part::updates], objective)
            norms.append(step.pop("grad_norm"))
            for name, value in step.items():
                sums[name] = sums.get(name, 0.0) + value
        self.done = replace(self.done, policy_version=self.done.policy_version + 1)
        self.sampler.refresh(self.done.policy_version)
        return {**sums, "grad_norm": sum(norms) / len(norms) / self.world.size}

    def finish(self, phase: str, iteration: int, groups: Sequence[Group],
               sums: dict[str, float], timing: dict[str, float]) -> None:
        """Log the iteration, show it, and save a checkpoint where one is due."""
        row = self._metrics(phase, iteration, groups, sums, timing)
        self.done = replace(
            self.done, phase=phase, iteration=iteration, seconds=row["seconds"]
        )
        if self.world.leads:
            self.log.metrics(row)
        total = getattr(self.config, phase).iterations
        self.display.update(phase, iteration, total, _status(row))
        if iteration % self.config.run.checkpoint_every == 0 or iteration == total:
            self.save()

    def save(self) -> None:
        """Write a checkpoint of the present place."""
        if self.world.leads:
            save_checkpoint(
                self.folder / "checkpoints", self.tokenizer, self.updater, self.done,
                self.config.run.keep_checkpoints,
            )
        self.world.wait()

    def close(self) -> None:
        """Close every environment."""
        for pool in self._pools.values():
            pool.close()
        self.display.close()

    # Inside

    def _new_updater(self, phase: str) -> Updater:
        optimizer = getattr(self.config, phase).optimizer
        return Updater(self.model, optimizer, self.world)

    def _resume(self) -> None:
        found = find_checkpoints(self.folder / "checkpoints")
        if not found:
            return
        self.done = read_checkpoint(found[-1])
        self.updater = self._new_updater(self.done.phase)
        restore(found[-1], self.updater)
        self.sampler.refresh(self.done.policy_version)
        if self.world.leads:
            self.log.rewind(self.done.phase, self.done.iteration)
        self.world.wait()
        self.display.message(f"resumed after {self.done.phase} {self.done.iteration}")

    def _pool(self, source: TaskSource) -> EnvPool:
        key = json.dumps(source.model_dump(mode="json"), sort_keys=True)
        if key not in self._pools:
            limits = Limits(turns=source.turns)
            self._pools[key] = EnvPool(source.env_id, dict(source.env_kwargs), limits=limits)
        return self._pools[key]

    def _draw(self, rng: random.Random, count: int) -> list[str]:
        ids = self.config.train.task_ids()
        return [ids[rng.randrange(len(ids))] for _ in range(count)]

    def _language_agent(
        self, request: EpisodeRequest, agent: LanguageAgentConfig | None = None
    ) -> Agent:
        settings = agent or self.config.agent
        return LanguageAgent(self.sampler, self.renderer, settings, request.agent_seed)

    def _collect(self, requests: Sequence[EpisodeRequest],
                 make_agent: Callable[[EpisodeRequest], Agent], siblings: int) -> list[Group]:
        return asyncio.run(
            collect_groups(
                self._pool(self.config.train),
                self.world.share(requests),
                make_agent,
                siblings=siblings,
                concurrency=self.config.run.concurrency,
            )
        )

    def _evaluate(self, evaluation: EvaluationConfig, stage: str) -> None:
        started = time.perf_counter()
        ids = evaluation.tasks.task_ids()[: evaluation.episodes]
        requests = [EpisodeRequest(task, seed=i, agent_seed=i) for i, task in enumerate(ids)]
        settings = self.config.agent.model_copy(update={"temperature": evaluation.temperature})
        played = evaluate(
            self._pool(evaluation.tasks),
            requests,
            lambda request: self._language_agent(request, settings),
            self.world,
            self.config.run.concurrency,
        )
        row = {
            "phase": "eval",
            "after": self.done.phase,
            "iteration": self.done.iteration,
            "seconds": time.perf_counter() - self._started,
            "name": evaluation.name,
            "stage": stage,
            "temperature": evaluation.temperature,
            "constraint": self.config.agent.action.constraint,
            **summarise(played),
            "timing": {"evaluation": time.perf_counter() - started},
        }
        self.display.message(
            f"{stage}, {evaluation.name}: {100 * row['success']:.1f} % of {row['episodes']} "
            f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
        )
        if self.world.leads:
            self.log.metrics(row)
            shown = [Group((t,)) for t in _first_of_each_type(played)]
            self.log.episodes(self.done.phase, self.done.iteration, shown)

    def _metrics(self, phase: str, iteration: int, groups: Sequence[Group],
                 sums: dict[str, float], timing: dict[str, float]) -> dict[str, Any]:
        played = [t for group in groups for t in group.trajectories]
        counted = [t for t in played if t.counts]
        total = self.world.sum_values(
            {
                **sums,
                "episodes": len(played),
                "counted": len(counted),
                "successes": sum(t.success for t in counted),
                "rewards": sum(t.total_reward for t in counted),
                "turns": sum(len(t.steps) for t in counted),
                "invalid": sum(not step.action_valid for t in counted for step in t.steps),
                "uniform_groups": sum(len({t.total_reward for t in g.counted}) < 2 for g in groups),
                "groups": len(groups),
                "context_tokens": sum(_token_count(t) for t in counted),
            }
        )
        seconds = time.perf_counter() - self._phase_started
        episodes, tokens = max(1.0, total["counted"]), max(1.0, total["tokens"])
        norm = total.pop("grad_norm")
        return {
            "phase": phase,
            "iteration": iteration,
            "success": total["successes"] / episodes,
            "reward": total["rewards"] / episodes,
            "turns": total["turns"] / episodes,
            "invalid_actions": total["invalid"] / max(1.0, total["turns"]),
            "entropy": total["entropy"] / tokens,
            "loss": total["loss"] / tokens,
            "grad_norm": norm,
            "clip_fraction": total.get("clip_fraction", 0.0) / tokens,
            "sampler_kl": total.get("sampler_kl", 0.0) / tokens,
            "uniform_groups": total["uniform_groups"] / max(1.0, total["groups"]),
            "episodes": int(total["episodes"]),
            "failed_episodes": int(total["episodes"] - total["counted"]),
            "chosen_tokens": int(total["tokens"]),
            "seconds": time.perf_counter() - self._started,
            "tokens_per_second": total["context_tokens"] / seconds,
            "timing": timing,
        }


def _token_count(trajectory: Trajectory) -> int:
    return sum(len(s.bridge_ids) + len(s.completion.ids) for s in trajectory.steps)


def _first_of_each_type(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    first: dict[tuple[str, bool], Trajectory] = {}
    for trajectory in trajectories:
        first.setdefault((trajectory.task_type, trajectory.success), trajectory)
    return list(first.values())


def _status(row: dict[str, Any]) -> str:
    return (
        f"success {100 * row['success']:4.1f} %  reward {row['reward']:.2f}  "
        f"entropy {row['entropy']:.2f}  {row['tokens_per_second']:,.0f} tokens/s"
    )
