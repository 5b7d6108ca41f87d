"""Feeds hostile input to everything that reads input, and counts what is neither read nor refused.

    python -m benchmarks.reliability.fuzz                              every target
    python -m benchmarks.reliability.fuzz parser/hermes --count 500    some, and no result

Each target runs in a process of its own, whose memory is capped. An input may end in a value or in
an error that is meant for the user; every other exception is a crash, and more than a second of
processor time, or a minute of any, is a hang.
"""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from benchmarks.reliability.evidence import load, save
from benchmarks.reliability.fuzz_targets import TARGETS, Target, open_target
from benchmarks.reliability.mutation import Mutator, drawn

from longstep_envs.types import LongstepError
from longstep_tasks.types import TasksError

CPU_SECONDS = 1.0
WALL_SECONDS = 60.0
DATA_BYTES = 3 * 2**30
_MOST_EXAMPLES = 20
_DRAWN = 20
"""One input of so many is not mutated from a valid one, but drawn by hypothesis."""
_REFUSED = (LongstepError, TasksError)


class Hang(BaseException):
    """An input took too long; nothing that catches errors may catch this."""


@dataclass
class Findings:
    """What came of one target's inputs."""

    inputs: int = 0
    values: int = 0
    refused: int = 0
    crashes: int = 0
    hangs: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    """Seconds of processor time that one input took."""
    peak_mb: int = 0
    examples: dict[str, str] = field(default_factory=dict)
    """Where it crashed -> the beginning of an input that did it."""


def attack(target: Target, count: int, seed: int) -> Findings:
    """Feed mutated inputs to a target, after its valid ones, of which it has to take some."""
    found, kinds = Findings(), Counter[str]()
    with _interrupting():
        told = [_outcome(target, valid, kinds, WALL_SECONDS) for valid in target.seeds]
    problems = set(told) - {("", "")}
    if problems or not kinds["value"]:
        raise RuntimeError(f"valid inputs are not taken: {kinds}, {problems}")
    kinds.clear()
    began = time.monotonic()

    def take(data: bytes) -> None:
        before = time.process_time()
        place, told = _outcome(target, data, kinds)
        found.slowest = max(found.slowest, round(time.process_time() - before, 3))
        if place and len(found.examples) < _MOST_EXAMPLES:
            found.examples.setdefault(place, f"{told:.200}, from {data!r:.300}")

    mutator = Mutator(target.seeds, target.tokens, random.Random(seed))
    with _interrupting():
        for _ in range(count - count // _DRAWN):
            take(mutator.draw())
        drawn(take, count // _DRAWN)
    found.inputs, found.seconds = kinds.total(), round(time.monotonic() - began, 1)
    found.values, found.refused = kinds["value"], kinds["refused"]
    found.crashes, found.hangs = kinds["crash"], kinds["hang"]
    found.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return found


def _outcome(
    target: Target, data: bytes, kinds: Counter[str], seconds: float = CPU_SECONDS
) -> tuple[str, str]:
    """Count what comes of an input; where it crashed, if it did, and what was said."""
    try:
        with _clock(seconds):
            target.feed(data)
    except _REFUSED:
        kinds["refused"] += 1
    except Hang as error:
        kinds["hang"] += 1
        return f"hang: {_place(error)}", ""
    except Exception as error:  # whatever it is: that is what is looked for
        kinds["crash"] += 1
        return f"{type(error).__name__}: {_place(error)}", str(error)
    else:
        kinds["value"] += 1
    return "", ""


def _place(error: BaseException) -> str:
    """The innermost place of ours on the way to an error."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "longstep_" in f.filename]
    place = ours[-1] if ours else traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(place.filename).name}:{place.name}"


@contextmanager
def _clock(seconds: float) -> Iterator[None]:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def _interrupting() -> Iterator[None]:
    """Let the clock end what takes too long."""
    before = {one: signal.signal(one, _too_long) for one in (signal.SIGPROF, signal.SIGALRM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _too_long(_number: int, _frame: Any) -> None:
    raise Hang


def run_here(name: str, count: int, seed: int) -> Findings:
    """Attack one target in this process."""
    logging.disable()  # servers tell of what they refuse
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LONGSTEP_CACHE"] = str(Path(folder, "cache"))
        return attack(open_target(name, Path(folder)), count, seed)


def run_apart(name: str, count: int, seed: int) -> dict[str, Any]:
    """Attack one target in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.reliability.fuzz", name]
    command += ["--count", str(count), "--seed", str(seed), "--here"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return asdict(Findings(crashes=1, examples={f"exit status {done.returncode}": ""}))
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Targets; by default all.")] = None,
    count: Annotated[int, typer.Option(help="Inputs of each; 0: as the target says.")] = 0,
    seed: int = 0,
    here: Annotated[bool, typer.Option(help="In this process, of the first target.")] = False,
    missing: Annotated[bool, typer.Option(help="Those only that the results lack.")] = False,
) -> None:
    """Attack targets; a whole run of one takes its place in the results."""
    if here and names:
        resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, DATA_BYTES))
        found = run_here(names[0], count or TARGETS[names[0]].inputs, seed)
        typer.echo(json.dumps(asdict(found)))
        return
    done = _known() if missing else {}
    failed = False
    for name in [one for one in names or TARGETS if one not in done]:
        told = run_apart(name, count or TARGETS[name].inputs, seed)
        typer.echo(f"{name}: {json.dumps(told)}", err=True)
        failed |= bool(told["crashes"] or told["hangs"])
        if not count:
            _keep({**_known(), name: told})
    if failed:
        raise typer.Exit(1)


def _known() -> dict[str, Any]:
    """What is in the results, of targets that there still are."""
    found = load().get("fuzz", {"numbers": {"targets": {}}})["numbers"]["targets"]
    return {name: told for name, told in found.items() if name in TARGETS}


def _keep(results: dict[str, Any]) -> None:
    keys = ("inputs", "values", "refused", "crashes", "hangs")
    total = {key: sum(one[key] for one in results.values()) for key in keys}
    limits = {"cpu_seconds": CPU_SECONDS, "wall_seconds": WALL_SECONDS, "data": DATA_BYTES}
    what = "Hostile input to everything that reads input; what is neither a value nor an error."
    ordered = {name: results[name] for name in TARGETS if name in results}
    save("fuzz", what, {**total, "limits": limits, "targets": ordered})


if __name__ == "__main__":
    typer.run(main)
