"""The training loop: sample, score, credit, batch, update."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from longstep_agents.actions import enclose, write
from longstep_agents.models.engine import Statistics
from longstep_agents.rollout import collect
from longstep_agents.small_policy import build_model, build_tokenizer, save_policy
from longstep_agents.strategies import check_forks
from longstep_agents.types import Group
from longstep_envs import EnvPool
from longstep_envs.registry import load
from longstep_envs.types import DataError
from longstep_training.batch import Row, build_row, build_rows
from longstep_training.config import dump_toml
from longstep_training.credit import CREDIT, Credit
from longstep_training.credit.gae import GAEConfig
from longstep_training.critic import explained_variance, value_loss, value_rows
from longstep_training.data import prepare
from longstep_training.distributed import World, launch, processes
from longstep_training.engines import Sampler
from longstep_training.entropy import TurnTally, turn_means
from longstep_training.imitation import draw_requests, imitation_loss, make_teacher
from longstep_training.interruption import InterruptedRunError, Interruption
from longstep_training.log import Display
from longstep_training.measure import parts_row, sampling_row
from longstep_training.origin import CONFIG, POLICY, check_origin
from longstep_training.player import check_agent, draw_seeds, require_some
from longstep_training.recipe import TrainConfig
from longstep_training.reinforcement import policy_loss
from longstep_training.rewards import gate_rates, score
from longstep_training.run import Run
from longstep_training.run_lock import RunLock
from longstep_training.sampling import Plan
from longstep_training.sealed import sealing, write_file
from longstep_training.staleness import mismatch_row
from longstep_training.storage import writing_to
from longstep_training.updater import Updater
from longstep_training.weights import TOKEN_WEIGHTS

__all__ = ["TrainConfig", "train"]


def train(config: TrainConfig, out: Path, resume: bool = False) -> None:
    """Train as `config` says and leave a run directory at `out`.

    Under torchrun every process calls this; the directory is the one that rank 0 names.

    Raises:
        LongstepError: the config, the data or the run directory is not usable.
    """
    settings, lock = config.run, RunLock(out)
    first = partial(begin, config, out, resume, lock)
    with writing_to(out, partial(_go_on, out)), config.cluster.left_at_end(), closing(lock):
        launch(settings.processes, work, config, out, resume, device=settings.device, first=first)


def begin(config: TrainConfig, out: Path, resume: bool, lock: RunLock) -> None:
    """Look at everything that can be missing, then write the run directory and its first policy."""
    if resume:
        lock.acquire()
        check_origin(out, config)
    display = Display(shown=True)
    display.message(f"run: {out}")
    config.cluster.join(processes(config.run.processes), config.engine.cluster_cpus)
    for data in config.data:
        prepare(data, partial(display.update, f"games in {data.out}", status=""))
    check(config)
    if not resume:
        check_agent(config)
        lock.acquire()
        write_file(out / "config.toml", dump_toml(config))
    if not resume or not (out / POLICY).exists():
        make_policy(config, out / POLICY)


def _go_on(out: Path) -> str:
    begun = (out / "config.toml").exists()
    return f"and continue with: longstep train --resume {out}" if begun else "or name another --out"


def check(config: TrainConfig) -> None:
    """Tell what is missing now, not after the warm start.

    Raises:
        LongstepError: tasks, a model, or what methods need.
    """
    for source in (config.train, *(evaluation.tasks for evaluation in config.evaluation)):
        source.task_ids()
    if config.rl.iterations:
        config.rl.rewards.prepare()
    if config.rl.strategy is not None:
        env_id = config.train.env_id
        check_forks(config.rl.strategy, env_id, load(env_id).metadata["snapshot"])
    check_model("policy.path", config.policy.path)
    if config.rl.reference not in (None, "start"):
        check_model('rl.reference, which is "start" or a folder', Path(config.rl.reference))


def check_model(key: str, folder: Path | None) -> None:
    """Refuse a folder without a model.

    Raises:
        DataError: there is none.
    """
    if folder is not None and not (folder / "config.json").exists():
        raise DataError(f"{key}: {folder} holds no model in Hugging Face format")


def work(world: World, config: TrainConfig, out: Path, resume: bool) -> None:
    """One process's part of the run."""
    if not (out / "policy" / "config.json").exists():
        raise DataError(
            f"process {world.rank} does not see {out}, which process 0 has written; all machines "
            "need one folder that they share: name it with --out"
        )
    config.cluster.share(world)
    interruption = Interruption(world, config.run.grace)
    with interruption.listening(), closing(Run(interruption, config, out, resume=resume)) as run:
        try:
            imitate(run)
            run.evaluate("warm start")
            reinforce(run)
            run.evaluate("rl")
        except InterruptedRunError:
            run.departure.leave()
            interruption.end_helper()
            raise


def imitate(run: Run) -> None:
    """The warm start: maximise the likelihood of expert demonstrations."""
    config = run.config.imitation
    for iteration in run.iterations("imitation", config.iterations):
        timer = Timer()
        groups = run.player.demonstrate(run.rng("imitation", iteration))
        timer.lap("rollout")
        rows = [build_row(t, [1.0] * len(t.steps)) for g in groups for t in g.trajectories]
        objective = partial(imitation_loss, run.model, config=config)
        sums = run.update(rows, objective, ("imitation", iteration), config.schedule)
        timer.lap("update")
        run.finish("imitation", iteration, groups, sums, timer.laps)


def reinforce(run: Run) -> None:
    """Reinforcement learning from groups of sampled trajectories."""
    config, meter = run.config.rl, Meter(run.player.sampler)
    for iteration in run.iterations("rl", config.iterations):
        timer = Timer()
        groups = sample(run, iteration)
        timer.lap("rollout")
        done, seconds = meter.read()
        run.notes |= sampling_row(
            run.world, done, seconds if run.producer else timer.laps["rollout"]
        )
        run.notes |= mismatch_row(run.world, groups)
        chosen = run.sampling.select(groups)
        credit_PGS = assign(run, chosen)
        learnt, learnt_PGS, replays = run.sampling.extend(chosen, credit_PGS)
        run.sampling.observe(groups)
        aggregation = config.aggregation or config.loss.natural_aggregation
        rows = build_rows(learnt, learnt_PGS, aggregation, replays=replays)
        timer.lap("credit")
        if run.critic is not None:
            run.notes["critic"] = criticise(run, run.critic, chosen, iteration)
            timer.lap("critic")
        run.write_out(iteration, chosen, credit_PGS)
        timer.lap("log")
        sums = improve(run, rows, iteration)
        timer.lap("update")
        run.notes["sampling"] = run.sampling.metrics()
        run.notes |= {"gates": opened(run, groups), "parts": parts_row(run.world, groups)}
        if config.strategy is not None:
            run.notes["strategy"] = run.world.sum_values(run.player.take_spent())
        if run.producer is not None:
            run.notes["asynchronous"] = run.producer.measured()
        run.finish("rl", iteration, groups, sums, timer.laps)
    run.end_rollouts()


def assign(run: Run, groups: Sequence[Group]) -> Credit:
    """What each step, or each token, earned. Statistics are over the groups of all processes."""
    config = run.config.rl
    shares = run.world.gather(groups)
    everyone = [group for share in shares for group in share]
    credit_PGS = CREDIT[config.credit.name](everyone, config.credit)
    for weights in config.weights:
        credit_PGS = TOKEN_WEIGHTS[weights.name](everyone, credit_PGS, weights)
    start = sum(len(share) for share in shares[: run.world.rank])
    return credit_PGS[start : start + len(groups)]


def improve(run: Run, rows: Sequence[Row], iteration: int) -> dict[str, float]:
    """The policy's updates of an iteration, under entropy control."""
    config, tally = run.config.rl, TurnTally()
    rows = run.control.begin(rows, run.rng("rl", iteration, "entropy", run.world.rank))
    objective = partial(
        policy_loss,
        run.model,
        config=config,
        temperature=run.config.agent.temperature,
        control=run.control,
        tally=tally,
    )
    sums = run.update(rows, objective, ("rl", iteration), config.schedule)
    tally = tally.over(run.world)
    run.control.observe(tally.watched)
    run.notes["entropy_by_turn"] = turn_means(tally.entropy)
    return sums


def criticise(
    run: Run, critic: Updater, groups: Sequence[Group], iteration: int
) -> dict[str, float]:
    """Let the critic learn what the groups have earned."""
    config = run.config.rl
    assert config.critic is not None
    assert isinstance(config.credit, GAEConfig)
    rows = value_rows(groups, config.credit)
    objective = partial(value_loss, critic.model, config=config.critic.loss)
    sums = run.learn(critic, rows, objective, ("rl", iteration, "critic"), config.critic.schedule)
    total = run.world.sum_values({name: sums.get(name, 0.0) for name in ("value_loss", "shares")})
    everyone = [row for share in run.world.gather(rows) for row in share]
    return {
        "loss": total["value_loss"] / max(1.0, total["shares"]),
        "explained_variance": explained_variance(everyone),
    }


def opened(run: Run, groups: Sequence[Group]) -> dict[str, float]:
    """The share of all processes' trajectories in which each gate was open."""
    rates = gate_rates(groups, run.config.rl.rewards.gates)
    counted = sum(len(group.counted) for group in groups)
    total = run.world.sum_values(
        {
            "counted": counted,
            **{
                gate.part: counted * rates.get(gate.part, 0.0)
                for gate in run.config.rl.rewards.gates
            },
        }
    )
    return {name: total[name] / max(1.0, total["counted"]) for name in total if name != "counted"}


def sample(run: Run, iteration: int) -> list[Group]:
    """The scored groups of an iteration: of its tasks, and of more while a strategy misses some."""
    config, rng = run.config.rl, run.rng("rl", iteration)
    groups: list[Group] = []
    run.sampling.begin(iteration)
    missing = config.tasks
    while missing:
        played = run.recorder.record(play(run, missing, iteration, rng))
        groups += score(played, config.rewards)
        run.patience.check([t for group in groups for t in group.trajectories])
        missing = run.sampling.missing(groups)
    return groups


def play(run: Run, count: int, iteration: int, rng: random.Random) -> list[Group]:
    """So many groups: of tasks drawn now, or, asynchronously, of those drawn until now."""
    if run.producer is None:
        return run.player.sample_groups(draw(run, count, rng), rng)
    if short := run.producer.short_of(count, run.config.rl.iterations - iteration):
        plan = draw(run, short, rng)
        requests = run.world.share(draw_seeds(plan, rng))
        run.producer.begin(requests, plan.siblings, plan.turns)
    return run.producer.take(count)


def draw(run: Run, count: int, rng: random.Random) -> Plan:
    """So many tasks, as the strategies want them, without those that are in quarantine."""
    return run.quarantine.plan(run.sampling.plan(run.player.plan(count, rng), rng), rng)


class Timer:
    """Wall seconds of the parts of an iteration."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Give the time since the last lap to `name`."""
        now = time.perf_counter()
        self.laps[name], self._last = now - self._last, now


class Meter:
    """What the engine does from one reading to the next."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._last = sampler.statistics, time.perf_counter()

    def read(self) -> tuple[Statistics, float]:
        """What it has done since it was read last, and the seconds of that."""
        (before, then), self._last = self._last, (self._sampler.statistics, time.perf_counter())
        return self._last[0] - before, self._last[1] - then


def make_policy(config: TrainConfig, folder: Path) -> None:
    """The model and tokenizer that training starts from: a copy, or a small new one."""
    with sealing(folder, World()) as draft:
        if config.policy.path is not None:
            shutil.copytree(config.policy.path, draft, dirs_exist_ok=True)
        else:
            tokenizer = build_tokenizer(asyncio.run(_expert_texts(config)))
            model = build_model(tokenizer, config.policy.small, config.seed)
            save_policy(model, tokenizer, draft)
        (draft / CONFIG).write_text(dump_toml(config), "utf-8")


async def _expert_texts(config: TrainConfig) -> list[str]:
    """Every observation, and every action as the agent writes it, of some expert episodes."""
    rng = random.Random(f"{config.seed}/vocabulary")
    ids = config.train.task_ids()
    drawn = [ids[rng.randrange(len(ids))] for _ in range(config.policy.vocabulary_episodes)]
    requests = draw_requests(drawn, rng, config.imitation)
    source = config.train
    limits = replace(source.limits, turns=config.imitation.turns, tokens=None)
    cluster = config.cluster.pool_settings()
    with EnvPool(source.env_id, dict(source.env_kwargs), limits=limits, **cluster) as pool:
        played = await collect(pool, requests, partial(make_teacher, config=config.imitation))
    action = config.agent.action
    require_some(played)
    texts = [t.final_observation for t in played]
    for trajectory in played:
        texts += [step.observation for step in trajectory.steps]
        for step in trajectory.steps:
            said = step.admissible or (step.action,)  # an environment need not list commands
            texts += [enclose(write(command, action), action) for command in said]
    return texts
