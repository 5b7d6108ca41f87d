"""Household tasks until 75 % of held-out games are won, beside TRL: both from one warm start.

    python benchmarks/household_trl.py OUT --trl-python VENV/bin/python [--warm FOLDER] [--json]

The environment of TRL needs `trl` and `gymnasium`. Both sides train in a process and a thread of
their own, and take turns of a few iterations; after each, this process plays the held-out games
with the policy, which counts for neither. What has been measured stays in `OUT/curve.jsonl`; Ctrl-C
ends both sides and prints the table as far as it is known.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from comparison import Comparison, gemm_rate, show  # type: ignore[import-not-found]

from longstep_training.config import dump_toml, load_config
from longstep_training.evaluate import evaluate_checkpoint
from longstep_training.log import RunLog
from longstep_training.loss.token import ClipConfig
from longstep_training.recipe import TrainConfig

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "household.toml"
OURS = (
    "imitation.iterations=0",
    "rl.credit.name=grpo",
    "rl.credit.normalise=false",
    "run.processes=1",
    "run.checkpoint_every=100000",
    "run.log_groups=0",
    "engine.lean=true",
)
POOLED = 2
"""So many evaluations in a row count together, for 512 games alone are told to 4 % only."""


@dataclass(slots=True)
class Side:
    """A trainer in a process of its own, which waits to be told to go on."""

    name: str
    process: subprocess.Popen[str]
    folder: Path
    curve: list[dict[str, Any]] = field(default_factory=list)

    def next(self) -> dict[str, Any]:
        """Let it go on; what it tells when it stops again."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.curve:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} has ended; what it said is in {self.folder}.log")
        told: dict[str, Any] = json.loads(line)
        return told

    def end(self) -> None:
        """Stop it for good."""
        self.process.kill()
        self.process.wait()

    def reached(self, goal: float) -> dict[str, Any] | None:
        """Where its last evaluations together came to the goal first."""
        for last in range(POOLED, len(self.curve) + 1):
            pooled = self.curve[last - POOLED : last]
            if sum(one["success"] for one in pooled) / POOLED >= goal:
                return self.curve[last - 1]
        return None


def main(  # noqa: PLR0913 - an option each
    out: Annotated[Path, typer.Argument(help="Where everything is written.")],
    trl_python: Annotated[Path, typer.Option(help="A Python that has trl and gymnasium.")],
    warm: Annotated[
        Path | None, typer.Option(help="The policy to start from; without, it is trained first.")
    ] = None,
    goal: Annotated[float, typer.Option(help="Success on held-out games.")] = 0.75,
    every: Annotated[int, typer.Option(help="Iterations between evaluations.")] = 5,
    most: Annotated[float, typer.Option(help="Seconds of wall time of a side at most.")] = 2400.0,
    seed: Annotated[int, typer.Option(help="Of the warm start, the tasks and the policies.")] = 1,
    micro_batch: Annotated[int, typer.Option(help="TRL's rows of one forward pass.")] = 16,
    full_vocabulary: Annotated[
        bool, typer.Option(help="TRL's loss as it is, blind to what was admissible.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train both sides until each has won enough, then print the table."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    warm = (warm or _warm_start(out / "warm", seed)).resolve()
    config = load_config(TrainConfig, CONFIG, [f"seed={seed}", f"policy.path='{warm}'", *OURS])
    held_out = config.model_copy(update={"evaluation": config.evaluation[:1]})
    config = config.model_copy(update={"evaluation": ()})
    plan = _plan(config, warm, out / "trl", every, micro_batch)
    plan["admissible_loss"] = not full_vocabulary
    sides = [_start_ours(config, out / "longstep", every), _start_trl(plan, trl_python, out)]
    try:
        _race(sides, held_out, warm, goal, most)
    except KeyboardInterrupt:
        typer.echo("ended early", err=True)
    finally:
        for side in sides:
            side.end()
    show(_compare(sides, config, goal), as_json=as_json)


def _race(sides: Sequence[Side], config: TrainConfig, warm: Path, goal: float, most: float) -> None:
    """Let the sides take turns until each is there, or out of time or iterations."""
    first = evaluate_checkpoint(warm, config)[0]["success"]
    for side in sides:
        side.curve.append(side.next() | {"success": first})
        _note(side)
    going = list(sides)
    while going:
        for side in list(going):
            told = side.next()
            folder = side.folder / f"{told['iteration']:04d}"
            told["success"] = evaluate_checkpoint(folder, config)[0]["success"]
            side.curve.append(told)
            _note(side)
            spent = told["wall"] >= most or told["iteration"] >= config.rl.iterations
            if spent or side.reached(goal):
                going.remove(side)
                side.end()


def _note(side: Side) -> None:
    line = json.dumps({"side": side.name, **side.curve[-1], "load": os.getloadavg()[0]})
    with (side.folder.parent / "curve.jsonl").open("a") as file:
        file.write(line + "\n")
    typer.echo(line, err=True)


def _warm_start(run: Path, seed: int) -> Path:
    """The policy after imitation, which is trained where it is missing."""
    last = load_config(TrainConfig, CONFIG).imitation.iterations
    policy = run / "checkpoints" / f"imitation-{last:06d}"
    if not policy.exists():
        longstep = Path(sys.executable).parent / "longstep"
        anew = (str(CONFIG), "--out", str(run), "--set", f"seed={seed}", "--set", "rl.iterations=0")
        what = ("--resume", str(run)) if (run / "config.toml").exists() else anew
        subprocess.run([longstep, "train", *what], check=True, stdout=sys.stderr)
    return policy


def _start_ours(config: TrainConfig, folder: Path, every: int) -> Side:
    path = folder.with_suffix(".toml")
    path.write_text(dump_toml(config), "utf-8")
    return _start(
        "longstep", [sys.executable, "household_longstep.py", path, folder, every], folder
    )


def _start_trl(plan: dict[str, Any], python: Path, out: Path) -> Side:
    path = out / "trl.json"
    path.write_text(json.dumps(plan), "utf-8")
    return _start("TRL", [python, "household_peer.py", path], out / "trl")


def _start(name: str, command: Sequence[object], folder: Path) -> Side:
    interpreter, script, *rest = map(str, command)
    packages = [str(ROOT / room) for room in ("envs", "agents", "tasks")]
    with folder.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(
            [interpreter, str(Path(__file__).with_name(script)), *rest],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ":".join(packages)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    return Side(name, process, folder)


def _plan(
    config: TrainConfig, warm: Path, folder: Path, every: int, micro_batch: int
) -> dict[str, Any]:
    """What TRL's side is to do, told in numbers."""
    rl, loss, optimizer = config.rl, config.rl.loss, config.rl.optimizer
    assert isinstance(loss, ClipConfig), "TRL's loss that is like it is what the plan describes"
    return {
        "warm": str(warm),
        "folder": str(folder),
        "every": every,
        "micro_batch": micro_batch,
        "seed": config.seed,
        "games": config.train.env_kwargs["games"],
        "turns": config.train.turns,
        "action": config.agent.action.model_dump(),
        "max_tokens": config.agent.max_tokens,
        "temperature": config.agent.temperature,
        "turn_reward": rl.rewards.chosen["turn"].weight,
        "siblings": rl.siblings,
        "episodes": rl.tasks * rl.siblings,
        "updates": rl.schedule.updates,
        "clip_low": loss.clip_low,
        "clip_high": loss.clip_high,
        "drawn": [one for i in range(rl.iterations) for one in _drawn(config, i + 1)],
        **optimizer.model_dump(),
    }


def _drawn(config: TrainConfig, iteration: int) -> list[tuple[str, int]]:
    """The tasks of our iteration and the seeds of their games, as the run draws them."""
    rng = random.Random(f"{config.seed}/rl/{iteration}")
    ids = config.train.task_ids()
    tasks = [ids[rng.randrange(len(ids))] for _ in range(config.rl.tasks)]
    return [(task, (rng.randrange(2**31), rng.randrange(2**31))[0]) for task in tasks]


def _compare(sides: Sequence[Side], config: TrainConfig, goal: float) -> list[Comparison]:
    ends = [side.reached(goal) for side in sides]
    missing = [side.name for side, end in zip(sides, ends, strict=True) if end is None]
    note = f" ({' and '.join(missing)} not there: time so far)" if missing else ""
    mine, other = (end or side.curve[-1] for side, end in zip(sides, ends, strict=True))
    least = _least(sides[0].folder, int(mine["iteration"]))
    limit = "matrix products at full speed"
    name = f"to {goal:.0%} of held-out games{note}"
    each = [one["cpu"] / one["iteration"] for one in (mine, other)]
    return [
        Comparison(name, mine["wall"], other["wall"], "s", 3.0, least, limit),
        Comparison(name, mine["cpu"], other["cpu"], "CPU s", 3.0, least, limit),
        Comparison("an iteration", *each, "CPU s", None, least / mine["iteration"], limit),
        Comparison("iterations", mine["iteration"], other["iteration"], ""),
    ]


def _least(run: Path, iterations: int) -> float:
    """Seconds that the matrix products of so many iterations take where nothing else does.

    Each token is computed once to sample and, forward and backward, three times as much to learn;
    attention is left out.
    """
    from safetensors import safe_open

    with safe_open(run / "policy" / "model.safetensors", "pt") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    parameters = sum(a * b for a, b in (shape for shape in shapes if len(shape) == 2))
    rows = [row for row in RunLog(run).rows() if row["phase"] == "rl"][:iterations]
    tokens = sum(row["tokens_per_second"] * sum(row["timing"].values()) for row in rows)
    return float(2.0 * parameters * 4.0 * tokens / gemm_rate())


if __name__ == "__main__":
    typer.run(main)
