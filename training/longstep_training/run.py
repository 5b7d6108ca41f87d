"""One training run on one process: the model, the place it has come to, and its files."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel

from longstep_agents.encoding import TextDecoder
from longstep_agents.types import Group, Trajectory
from longstep_training.adapters import add_adapters
from longstep_training.batch import Row
from longstep_training.blocks import run_blocks
from longstep_training.checkpoint import (
    CRITIC,
    Parts,
    Progress,
    find_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    read_methods,
    restore,
    save_checkpoint,
)
from longstep_training.credit import Credit
from longstep_training.critic import new_critic
from longstep_training.departure import Countdown, Departure
from longstep_training.entropy import ENTROPY
from longstep_training.evaluate import evaluation_row
from longstep_training.interruption import Interruption
from longstep_training.lean import make_lean
from longstep_training.log import PHASES, Display, RunLog
from longstep_training.measure import iteration_row, status
from longstep_training.player import Patience, Player
from longstep_training.policy import compute_in, load_model, load_tokenizer
from longstep_training.producer import Producer
from longstep_training.recipe import TrainConfig
from longstep_training.record import Recorder
from longstep_training.sampling import Sampling
from longstep_training.sampling.quarantine import Quarantine
from longstep_training.shards import shard
from longstep_training.terminal import clean
from longstep_training.trackers import Trackers
from longstep_training.trackers.types import TrackedRun
from longstep_training.updater import Objective, Schedule, Updater

_MOST_TOLD = 10


class Stateful(Protocol):
    """What remembers something from one iteration to the next; it is the same on every rank."""

    def state(self) -> Any:
        """What it remembers, as JSON can say it."""
        ...

    def load(self, state: Any) -> None:
        """Go on from what `state` gave."""
        ...


class Run:
    """What the training loop works with. Everything random is a function of (seed, place)."""

    _sync_seconds = 0.0
    """What it took to bring the latest weights to the sampler."""

    def __init__(
        self, interruption: Interruption, config: TrainConfig, folder: Path, *, resume: bool
    ) -> None:
        torch.set_num_threads(config.run.threads)
        self.world = world = interruption.world
        self.interruption, self.config, self.folder = interruption, config, folder
        self.display = Display(shown=world.leads)
        self.model = _load(config, folder / "policy")
        nn.Module.to(self.model, world.device)
        self.tokenizer = load_tokenizer(folder / "policy", self.model)
        self.log = RunLog(folder, TextDecoder(self.tokenizer))
        self.player = Player(
            world, config, self.model, self.tokenizer, folder / "policy", interruption
        )
        self.player.check()
        self._prepare(self.model)  # the sampler, by now, has its own weights where these are shared
        self._tell_of_recorded()
        self.sampling = Sampling(config.rl.sampling, world)
        self.quarantine = Quarantine(config.rl.quarantine, world)
        self.control = ENTROPY[config.rl.entropy.name](config.rl.entropy)
        self.methods: dict[str, Stateful] = {
            "sampling": self.sampling,
            "entropy": self.control,
            "quarantine": self.quarantine,
        }
        self.producer = self._make_producer()
        """Plays while the policy is trained; None where it plays, then learns."""
        self.notes: dict[str, Any] = {}
        """What else the present iteration's row is to say."""
        self.departure = Departure(self)
        self.done = Progress("imitation", 0, 0.0, 0)
        self._begin("imitation")
        known = self.log.rows() if resume else []
        if resume:
            self._resume()
        self.trackers = self._track(known, resume=resume)
        self._iteration_started = time.perf_counter()
        self._started = self._iteration_started - self.done.seconds

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, interruptions left out."""
        return time.perf_counter() - self._started

    @cached_property
    def patience(self) -> Patience:
        """How many batches in a row may fail as a whole."""
        return Patience(self.config.rl.outages, self.world)

    @cached_property
    def recorder(self) -> Recorder:
        """Records what the methods of RL need of every token."""
        config = self.config.rl
        return Recorder(
            config.needs,
            self.model,
            self._reference(config.reference) if config.reference else None,
            self.critic.model if self.critic else None,
            temperature=self.config.agent.temperature,
            token_budget=config.optimizer.token_budget,
        )

    @cached_property
    def _narrator(self) -> Recorder:
        """Records what the log tells of every token, as far as no method has it recorded."""
        return Recorder(
            frozenset(("entropies",)) - self.config.rl.needs,
            self.model,
            temperature=self.config.agent.temperature,
            token_budget=self.config.rl.optimizer.token_budget,
        )

    def rng(self, *place: object) -> random.Random:
        """The random stream of one place in the run."""
        return random.Random("/".join(map(str, (self.config.seed, *place))))

    def iterations(self, phase: str, count: int) -> Iterator[int]:
        """The iterations of a phase that are still to be done, counted from 1."""
        if PHASES.index(phase) < PHASES.index(self.done.phase):
            return
        if phase != self.done.phase:
            self._begin(phase)
            self.done = replace(self.done, phase=phase, iteration=0)
        for iteration in range(self.done.iteration + 1, count + 1):
            self._iteration_started = time.perf_counter()
            self.departure.begin(phase, iteration)
            yield iteration

    def update(
        self, rows: Sequence[Row], objective: Objective, place: Sequence[object], schedule: Schedule
    ) -> dict[str, float]:
        """Optimiser steps of the policy on shuffled parts of the rows; statistics summed."""
        sums = self.learn(self.updater, rows, objective, place, schedule)
        self.done = replace(self.done, policy_version=self.done.policy_version + 1)
        self._refresh()
        return sums

    def learn(
        self,
        updater: Updater,
        rows: Sequence[Row],
        objective: Objective,
        place: Sequence[object],
        schedule: Schedule,
    ) -> dict[str, float]:
        """Optimiser steps on shuffled parts of the rows; statistics summed over all of them."""
        rng = self.rng(*place, "order", self.world.rank)
        order, steps = list(rows), Countdown(schedule.passes * schedule.updates)
        sums: dict[str, float] = {}
        for _ in range(schedule.passes):
            rng.shuffle(order)
            for part in range(schedule.updates):
                self.departure.must_fit(steps.seconds_left())
                step = updater.step(order[part :: schedule.updates], objective)
                if not sums:  # the weights are still those that sampled
                    sums["first_tokens"] = step.get("fresh_tokens", 0.0)
                    sums["first_ratio_deviation"] = step.get("ratio_deviation", 0.0)
                for name, value in step.items():
                    sums[name] = sums.get(name, 0.0) + value
        sums["grad_norm"] /= schedule.passes * schedule.updates
        return sums

    def finish(
        self,
        phase: str,
        iteration: int,
        groups: Sequence[Group],
        sums: Mapping[str, float],
        timing: Mapping[str, float],
    ) -> None:
        """Log the iteration with its notes, show it, and save a checkpoint where one is due."""
        elapsed = time.perf_counter() - self._iteration_started
        self._isolate(groups)
        row: dict[str, Any] = {
            "phase": phase,
            "iteration": iteration,
            **iteration_row(self.world, groups, sums, elapsed),
            "seconds": self.seconds,
            **self.notes,
            "sync_bytes": self.world.size * self.player.sampler.copied_bytes,
            "timing": {**timing, "sync": self._sync_seconds},
        }
        self.notes.clear()
        self.done = replace(self.done, phase=phase, iteration=iteration, seconds=self.seconds)
        if self.world.leads:
            self.log.metrics(row)
            self.trackers.log(row)
        total = getattr(self.config, phase).iterations
        self.display.update(phase, iteration, total, status(row))
        self.departure.end()
        if iteration % self.config.run.checkpoint_every == 0 or iteration == total:
            self.save()
        self.interruption.leave()

    def write_out(self, iteration: int, groups: Sequence[Group], credit_PGS: Credit) -> None:
        """Log every episode of the first groups, before the policy learns from them."""
        shown = self.config.run.log_groups if self.world.leads else 0
        told = self._narrator.record(groups[:shown])  # by all, for the policy may be sharded
        if self.world.leads:
            self.log.episodes({"phase": "rl", "iteration": iteration}, told, credit_PGS[:shown])

    def save(self) -> None:
        """Write a checkpoint of the present place."""
        began = time.perf_counter()
        methods = {name: method.state() for name, method in self.methods.items()}
        parts = Parts(self.tokenizer, self.updater, self.critic, methods)
        keep, every = self.config.run.keep_checkpoints, self.config.run.keep_every
        save_checkpoint(self.folder / "checkpoints", parts, self.done, keep, every)
        self.departure.saved(time.perf_counter() - began)

    def end_rollouts(self) -> None:
        """Play nothing any more that is to be learnt from."""
        if self.producer is not None:
            self.producer.close()

    def evaluate(self, stage: str) -> None:
        """Play every evaluation set once, unless this stage was evaluated before."""
        for evaluation in self.config.evaluation:
            known = {row["name"] for row in self.log.rows() if row.get("stage") == stage}
            self.world.wait()
            if evaluation.name in known:
                continue
            started = time.perf_counter()
            played = self.player.evaluate(evaluation)
            place = {
                "phase": "eval",
                "after": self.done.phase,
                "iteration": self.done.iteration,
            }
            row = {
                **place,
                "seconds": self.seconds,
                "stage": stage,
                **evaluation_row(evaluation, self.config.agent, played),
                "timing": {"evaluation": time.perf_counter() - started},
            }
            self.display.message(
                f"{stage}, {evaluation.name}: {100 * row['success']:.1f} % of {row['episodes']} "
                f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
            )
            if self.world.leads:
                shown = [Group((t,)) for t in _one_of_each_kind(played)]
                self.log.episodes({**place, "part": evaluation.name}, shown)
                self.log.metrics(row)  # last: with its row, an evaluation is done
                self.trackers.log(row)

    def close(self) -> None:
        """Close every environment, and tell what became of the episodes."""
        self.end_rollouts()
        self.player.close()
        where = f"process {self.world.rank}, " if self.world.size > 1 else ""
        self.display.message(f"{where}{self.player.accounts}")
        self.trackers.close()
        self.display.close()

    def _track(self, known: Sequence[Mapping[str, Any]], *, resume: bool) -> Trackers:
        run = TrackedRun(self.folder, self.config.model_dump(mode="json"), resume)
        configs = self.config.run.trackers if self.world.leads else ()
        return Trackers(configs, run, self.display.message, known)

    def _isolate(self, groups: Sequence[Group]) -> None:
        """Leave out, and name, tasks that have failed too often."""
        for task in self.quarantine.observe(groups):
            self.display.message(f"task {clean(task)} is played no more: it failed again and again")
        if self.quarantine.tasks:
            self.notes["quarantined"] = self.quarantine.tasks

    def _tell_of_recorded(self) -> None:
        recorded = self.player.recorded
        if recorded is None:
            return
        self.display.message(f"to be imitated: {len(recorded)} recorded episodes")
        for refused in recorded.refused[:_MOST_TOLD]:
            self.display.message(f"left out: {clean(refused)}")
        if len(recorded.refused) > _MOST_TOLD:
            self.display.message(f"left out: {len(recorded.refused) - _MOST_TOLD} more")

    def _make_producer(self) -> Producer | None:
        config, player = self.config, self.player
        if not config.rl.staleness:
            return None
        sampler, room = player.sampler, config.run.concurrency
        made = Producer(self.world, config.rl, sampler, player.stage, room, self.interruption)
        self.methods["producer"] = made
        return made

    def _refresh(self) -> None:
        """Sample from the policy as it is now."""
        began = time.perf_counter()
        (self.producer or self.player.sampler).refresh(self.done.policy_version)
        self._sync_seconds = time.perf_counter() - began

    def _prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """Put the model where it is trained, as the config says; returns it."""
        run = self.config.run
        nn.Module.to(model, self.world.device)
        compute_in(run.precision, model)
        if run.lean:
            make_lean(model)
        run_blocks(model, run.activation_checkpointing, compiled=run.compile)
        return shard(model, self.world, run.precision) if run.shard else model

    def _reference(self, where: str) -> PreTrainedModel:
        """The policy that RL started from, or the one in a folder."""
        if where != "start":
            return self._prepare(load_model(Path(where)))
        found = find_checkpoints(self.folder / "checkpoints")
        warm = [path for path in found if path.name.startswith("imitation-")]
        if warm:
            read_checkpoint(warm[-1])
        return self._prepare(load_model(warm[-1] if warm else self.folder / "policy"))

    def _begin(self, phase: str) -> None:
        """Make the optimisers of a phase."""
        config = self.config.rl.critic if phase == "rl" else None
        optimizer = getattr(self.config, phase).optimizer
        self.updater = Updater(self.model, optimizer, self.world, self._note_skip)
        self.critic: Updater | None = None
        if config is not None:
            critic = self._prepare(new_critic(self.model))
            self.critic = Updater(critic, config.optimizer, self.world, self._note_skip)

    def _note_skip(self, told: dict[str, Any]) -> None:
        """Write down of which episodes a step was left out."""
        place = {"phase": self.done.phase, "iteration": self.done.iteration + 1}
        ranks = enumerate(self.world.gather(told))
        if self.world.leads:
            self.log.skip([{**place, "rank": rank, **one} for rank, one in ranks])
        self.display.message(f"a step was left out: its gradient has norm {told['grad_norm']}")

    def _resume(self) -> None:
        newest = newest_checkpoint(self.folder / "checkpoints", self.display.message)
        if newest is not None:
            self.done = read_checkpoint(newest)
            self._begin(self.done.phase)
            restore(newest, self.updater)
            if self.critic is not None:
                restore(newest / CRITIC, self.critic)
            for name, state in read_methods(newest).items():
                self.methods[name].load(state)
            self._refresh()
        self.departure.resume()
        if self.world.leads:
            self.log.rewind(self.done.phase, self.done.iteration)
        self.world.wait()
        self.display.message(f"resumed after {self.done.phase} {self.done.iteration}")


def _load(config: TrainConfig, folder: Path) -> PreTrainedModel:
    """What is trained: the policy, or adapters that are put into it."""
    model, lora = load_model(folder), config.policy.lora
    return model if lora is None else add_adapters(model, lora, config.seed)


def _one_of_each_kind(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The first success and the first failure of every task type."""
    first: dict[tuple[str, bool], Trajectory] = {}
    for trajectory in trajectories:
        first.setdefault((trajectory.task_type, trajectory.success), trajectory)
    return list(first.values())
