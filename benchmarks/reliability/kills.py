"""Processes that are killed at random instants: amid saves, amid training, amid evaluations.

    python -m benchmarks.reliability.kills [--saves 200] [--training 50] [--evaluation 50]

Each is forked from this process, which has imported everything, and gets SIGKILL after a time drawn
from as long as a save, or the whole run, takes. Saves go on in a loop; after each kill every
checkpoint that is found is read and loaded. Runs are killed several times each and gone on with; in
the end they are held against one that nothing disturbed: weights, optimiser, methods, and what was
logged, without what a clock says.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer
from benchmarks.reliability.evidence import save as save_evidence
from safetensors.torch import load_file
from transformers.utils.logging import disable_progress_bar

from longstep_agents.attention import ATTENTION
from longstep_agents.evaluation.contestants import BUILT_IN
from longstep_agents.evaluation.log import key_of, last_tries, read_evaluation
from longstep_agents.evaluation.run import Evaluation, EvaluationSettings, Running
from longstep_agents.small_policy import SmallPolicyConfig, build_model, build_tokenizer
from longstep_envs.types import LongstepError
from longstep_tasks.suites import Part
from longstep_training.batch import Row
from longstep_training.checkpoint import (
    Parts,
    Progress,
    find_checkpoints,
    read_checkpoint,
    restore,
    save_checkpoint,
)
from longstep_training.config import build_config
from longstep_training.distributed import World
from longstep_training.loop import train
from longstep_training.recipe import TrainConfig
from longstep_training.scores import score
from longstep_training.updater import OptimizerConfig, Updater

ROW = Row([5, 6, 7, 8], [4], [1, 3], [0.0, 0.0], [None, None], [1.0, 1.0], [0, 1], [1.0, 1.0], 2.0)
_CLOCKS = re.compile(
    r'"(seconds|timing|tokens_per_second|sampled_tokens_per_second|busy)": (\{[^}]*\}|[-0-9.e]+)'
)
CONFIG: dict[str, Any] = {
    "seed": 5,
    "train": {
        "env_id": "longstep/Treasure-v0",
        "turns": 10,
        "env_kwargs": {"split": "train", "rooms": 3, "locks": 1},
    },
    "policy": {
        "vocabulary_episodes": 16,
        "small": {"hidden": 16, "layers": 2, "heads": 2, "feed_forward": 32},
    },
    "agent": {"max_tokens": 8, "action": {"constraint": "admissible"}},
    "imitation": {"iterations": 2, "demonstrations": 8, "schedule": {"updates": 2}},
    "rl": {
        "iterations": 5,
        "tasks": 4,
        "siblings": 4,
        "sampling": [{"name": "difficulty"}, {"name": "spear", "replay_from": 2, "ramp": 0}],
    },
    "run": {"checkpoint_every": 1},
}
PART = Part("treasure", "treasure", turns=30, split="test", count=12)
PER_RUN = 5


def main(
    saves: Annotated[int, typer.Option(help="Kills amid saves.")] = 200,
    training: Annotated[int, typer.Option(help="Kills of training runs.")] = 50,
    evaluation: Annotated[int, typer.Option(help="Kills of evaluations.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the instants.")] = 0,
) -> None:
    """Kill, look, and write the result."""
    torch.set_num_threads(1)  # more would not survive a fork
    disable_progress_bar()
    rng = random.Random(seed)
    with TemporaryDirectory() as folder:
        numbers = kill_saves(Path(folder, "saves"), saves, rng)
        numbers |= kill_runs("training", _Training(Path(folder, "training")), training, rng)
        numbers |= kill_runs("evaluation", _Evaluating(Path(folder, "eval")), evaluation, rng)
    save_evidence("kills", "Processes killed at random instants", numbers)


def kill_saves(root: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Kill what saves checkpoints in a loop; how many of those that were found cannot be read."""
    tokenizer = build_tokenizer(["look at shelf 1, shelf 2, cup 3", "go to desk 1, open desk 1"])
    model = build_model(tokenizer, SmallPolicyConfig(hidden=64, layers=4, heads=4), seed=0)
    model.set_attn_implementation(ATTENTION)
    updater = Updater(model, OptimizerConfig(), World())

    def save_on() -> None:
        found = find_checkpoints(root)
        if found:
            restore(found[-1], updater)
        for iteration in range(updater.steps + 1, 10**6):
            updater.step([ROW], lambda batch: (-score(model, batch).logprobs_T.sum(), {}))
            progress = Progress("rl", iteration, float(iteration), iteration)
            save_checkpoint(root, Parts(tokenizer, updater), progress, keep=2)

    looked: Counter[str] = Counter()
    seconds = math.inf
    for _ in range(kills):
        known, start = set(find_checkpoints(root)), time.perf_counter()
        with forked(save_on):
            while set(find_checkpoints(root)) <= known:
                time.sleep(0.001)
            seconds = min(seconds, time.perf_counter() - start)
            time.sleep(rng.uniform(0.0, 2.0) * seconds)
        looked.update(_look(root, updater))
    return {
        "kills amid saves": kills,
        "of them with a save half done": looked["half"],
        "checkpoints read and loaded": looked["read"],
        "unreadable": looked["unreadable"],
    }


def _look(root: Path, updater: Updater) -> Iterator[str]:
    """What there is after a kill."""
    if any(root.glob(".*.partial")):
        yield "half"
    for folder in [*find_checkpoints(root), root / "latest"]:
        try:
            progress = read_checkpoint(folder)
            restore(folder, updater)
        except (LongstepError, OSError, ValueError):
            yield "unreadable"
        else:
            yield "read" if updater.steps == progress.iteration else "unreadable"


class _Training:
    """A training run, which is gone on with from its checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._config = build_config(TrainConfig, CONFIG, "the benchmark")

    def play(self, out: Path) -> None:
        train(self._config, out, resume=(out / "config.toml").exists())

    def told(self, out: Path) -> object:
        """Everything that a run leaves, but for clocks."""
        logs = [*out.glob("*.jsonl"), *(out / "episodes").glob("*.jsonl")]
        newest = find_checkpoints(out / "checkpoints")[-1]
        tensors = {
            f"{path.parent.name} {name}": value.numpy().tobytes()
            for path in newest.rglob("*.safetensors")  # how they are split is chance
            for name, value in load_file(path).items()
        }
        texts = {path.name: path.read_text() for path in newest.glob("*.json")}
        del texts["manifest.json"]  # it has the hash of what a clock says
        return {
            **tensors,
            **{path.name: _CLOCKS.sub("", path.read_text()) for path in logs},
            **{name: _CLOCKS.sub("", text) for name, text in texts.items()},
        }


class _Evaluating:
    """An evaluation, of which what is missing is played."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def play(self, out: Path) -> None:
        settings, slow = EvaluationSettings(attempts=5), Running(concurrency=1)
        resume = (out / "evaluation.json").exists()
        Evaluation([PART], BUILT_IN["random"], settings, slow).play(out, resume=resume)

    def told(self, out: Path) -> object:
        """Every episode, and whether each was played once."""
        _, rows = read_evaluation(out)
        once = len(rows) == len(last_tries(rows)) == 5 * (PART.count or 0)
        return once, {key_of(row): json.dumps(row["steps"]) for row in rows}


def kill_runs(
    name: str, kind: _Training | _Evaluating, kills: int, rng: random.Random
) -> dict[str, Any]:
    """Kill runs several times each until there were so many; how many end as an undisturbed one."""
    whole, start = kind.folder / "whole", time.perf_counter()
    end(lambda: kind.play(whole))
    seconds, expected = time.perf_counter() - start, kind.told(whole)
    done, runs, identical = 0, 0, 0
    while done < kills:
        out = kind.folder / str(runs)
        for _ in range(min(PER_RUN, kills - done)):
            with forked(lambda: kind.play(out)) as child:  # noqa: B023 - it is called here
                time.sleep(rng.uniform(0.0, 0.6) * seconds)
                alive = os.waitpid(child, os.WNOHANG)[0] == 0
            done += alive
            if not alive:
                break
        end(lambda: kind.play(out))  # noqa: B023 - it is called here
        runs, identical = runs + 1, identical + (kind.told(out) == expected)
    return {f"kills of {name}": done, f"{name} runs": runs, f"{name} runs identical": identical}


@contextmanager
def forked(work: Callable[[], None]) -> Iterator[int]:
    """A process that does this, killed at the end."""
    child = os.fork()
    if child == 0:
        _work(work)
    try:
        yield child
    finally:
        try:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # it has come to its end


def end(work: Callable[[], None]) -> None:
    """Let a process do this to its end."""
    child = os.fork()
    if child == 0:
        _work(work)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"a run that was to end well ended with {status}")


def _work(work: Callable[[], None]) -> None:
    """The life of a child, which must not come back to its parent's code."""
    status = 1
    try:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
        work()
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    typer.run(main)
