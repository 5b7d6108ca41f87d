"""Runs that get signals, tiny: nothing that was begun is lost, counted twice or changed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from longstep_agents.models.hf import HFModel
from longstep_training.config import build_config, dump_toml
from longstep_training.interruption import InterruptedRunError, Interruption
from longstep_training.loop import train
from longstep_training.recipe import TrainConfig
from longstep_training.updater import Updater

CONFIG: dict[str, Any] = {
    "seed": 5,
    "train": {
        "env_id": "longstep/Treasure-v0",
        "turns": 8,
        "env_kwargs": {"split": "train", "rooms": 3, "locks": 1},
    },
    "policy": {
        "vocabulary_episodes": 16,
        "small": {"hidden": 16, "layers": 2, "heads": 2, "feed_forward": 32},
    },
    "agent": {"max_tokens": 8, "action": {"constraint": "admissible"}},
    "imitation": {"iterations": 1, "demonstrations": 4, "schedule": {"updates": 1}},
    "rl": {"iterations": 3, "tasks": 4, "siblings": 4, "sampling": [{"name": "difficulty"}]},
    "run": {"checkpoint_every": 9},
}
CLOCKS = {"seconds", "timing", "tokens_per_second", "sampled_tokens_per_second"}
PASS, STEP = (HFModel, "_advance"), (Updater, "step")
Place = tuple[type, str]
# Started by itself where a signal is to end the process, and where several processes train.
SCRIPT = """
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # children of some shells are deaf to it
from longstep_agents.models.hf import HFModel
left, numbers = int(sys.argv.pop(1)), [float(part) for part in sys.argv.pop(1).split(",")]
plain = HFModel._advance

def advance(model):
    global left
    left -= 1
    if left == 0:
        for number in numbers:
            os.kill(os.getpid(), int(number)) if number >= 1 else time.sleep(2 * number)
    return plain(model)

HFModel._advance = advance
from longstep_training.cli import main
main()
"""


def config(**parts: Any) -> TrainConfig:
    tree = {k: {**v, **parts.get(k, {})} if isinstance(v, dict) else v for k, v in CONFIG.items()}
    return build_config(TrainConfig, tree, "test")


def signalled(place: Place, count: int, number: int = signal.SIGTERM) -> pytest.MonkeyPatch:
    """Sends this process a signal in the so-manieth pass of the engine, or step of an optimiser."""
    patch = pytest.MonkeyPatch()
    plain: Callable[..., Any] = getattr(*place)
    calls = iter(range(1, 10**9))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == count:
            os.kill(os.getpid(), number)
        return plain(*args, **kwargs)

    patch.setattr(*place, call)
    return patch


def interrupt(run: Path, settings: TrainConfig, place: Place, count: int, **options: Any) -> None:
    patch, before = signalled(place, count), signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(InterruptedRunError) as caught:
            train(settings, run, **options)
    finally:
        patch.undo()
    assert caught.value.status == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def in_flight(run: Path, rank: int = 0) -> list[dict[str, Any]]:
    told = json.loads((run / "in-flight" / f"rank-{rank}.json").read_text())
    found: list[dict[str, Any]] = told["episodes"]
    return found


def played(episodes: list[dict[str, Any]]) -> int:
    """The steps of episodes that are over, and of those that are not."""
    parts = [one.get("trajectory", one["left"]) for one in episodes]
    return sum(len(part.get("steps", ())) for part in parts)


def rows(run: Path) -> list[dict[str, Any]]:
    """What was measured, without what a clock says."""
    told = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in told:
        row.get("engine", {}).pop("busy", None)
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in told]


def weights(run: Path) -> dict[str, bytes]:
    """Of policy and optimiser, whichever process has written which part."""
    files = sorted((run / "checkpoints" / "rl-000003").rglob("*.safetensors"))
    return {
        key: value.numpy().tobytes() for path in files for key, value in load_file(path).items()
    }


def assert_same(one: Path, other: Path) -> None:
    assert rows(one) == rows(other)
    assert weights(one) == weights(other)
    assert not (other / "in-flight").exists()


def checkpoints(run: Path) -> set[str]:
    return {path.parent.name for path in (run / "checkpoints").glob("[ir]*/manifest.json")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(config(), run)
    return run


@pytest.mark.case(25)
def test_a_run_that_is_left_amid_episodes_goes_on_to_the_same_bytes(
    whole: Path, tmp_path: Path
) -> None:
    """Twice in one iteration, the second time while it goes on."""
    run = tmp_path / "run"
    interrupt(run, config(), PASS, 16)
    assert checkpoints(run) == {"imitation-000001", "rl-000001"}
    first = in_flight(run)
    assert len(first) == 16
    interrupt(run, config(), PASS, 3, resume=True)
    second = in_flight(run)
    assert checkpoints(run) == {"imitation-000001", "rl-000001"}
    assert played(second) > played(first)
    train(config(), run, resume=True)
    assert_same(whole, run)


def test_what_was_played_of_an_episode_stands_in_its_record(tmp_path: Path) -> None:
    """Also before the first checkpoint of its phase, and where prompts have to be read again."""
    run, settings = tmp_path / "run", config(rl={"iterations": 1}, agent={"action": {}})
    interrupt(run, settings, PASS, 30)
    left = [one["left"] for one in in_flight(run)]
    assert len(left) == 16
    assert all(one["begun"]["ids"] for one in left)  # in the middle of replies
    told = json.loads((run / "in-flight" / "rank-0.json").read_text())
    assert told["place"] == ["rl", 1]
    train(settings, run, resume=True)
    (row,) = [row for row in rows(run) if row["phase"] == "rl"]
    assert (row["episodes"], row["failed_episodes"]) == (16, 0)
    written = (run / "episodes" / "rl.jsonl").read_text().splitlines()
    episodes = [json.loads(line) for line in written]
    for episode in episodes:
        siblings = [one for one in left if one["request"]["task_id"] == episode["task_id"]]
        actions = [[step.get("action", "") for step in one["steps"]] for one in siblings]
        played = [step["action"] for step in episode["steps"]]
        assert any(begun and played[: len(begun)] == begun for begun in actions)


@pytest.mark.case(25)
def test_an_iteration_that_fits_is_finished(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    interrupt(run, config(), STEP, 4)  # one of imitation, two of each iteration of RL
    assert checkpoints(run) == {"imitation-000001", "rl-000002"}
    assert not (run / "in-flight").exists()
    assert [row["iteration"] for row in rows(run)] == [1, 1, 2]
    train(config(), run, resume=True)
    assert_same(whole, run)


def test_one_that_does_not_fit_is_learnt_from_again_and_not_played_again(
    whole: Path, tmp_path: Path
) -> None:
    run, hasty = tmp_path / "run", config(run={"checkpoint_every": 1, "grace": 1e-6})
    interrupt(run, hasty, STEP, 4)
    assert checkpoints(run) == {"imitation-000001", "rl-000001"}
    assert all("trajectory" in one for one in in_flight(run))
    train(config(), run, resume=True)
    assert_same(whole, run)


def test_asynchronous_episodes_go_on_with_the_versions_that_they_had(tmp_path: Path) -> None:
    run, settings = tmp_path / "run", config(rl={"staleness": 1, "iterations": 3})
    interrupt(run, settings, PASS, 14)
    orders = json.loads((run / "in-flight" / "rank-0.json").read_text())["orders"]
    assert orders
    steps = [s for o in orders for e in o["episodes"] for s in e["left"].get("steps", ())]
    assert steps
    train(settings, run, resume=True)
    learnt = [row for row in rows(run) if row["phase"] == "rl"]
    assert [row["iteration"] for row in learnt] == [1, 2, 3]
    assert all(row["episodes"] == 16 and row["failed_episodes"] == 0 for row in learnt)
    assert max(row["asynchronous"]["staleness_max"] for row in learnt) <= 1


def test_what_is_in_flight_of_another_policy_is_left_alone(whole: Path, tmp_path: Path) -> None:
    """As where somebody has deleted the newest checkpoint to go back."""
    run = tmp_path / "run"
    interrupt(run, config(run={"checkpoint_every": 1}), PASS, 27)
    newest = max(checkpoints(run))
    assert newest == "rl-000002"
    flights, other = run / "in-flight", tmp_path / "other"
    interrupt(other, config(run={"checkpoint_every": 1}), PASS, 16)
    shutil.rmtree(flights)
    (other / "in-flight").rename(flights)
    train(config(), run, resume=True)
    assert weights(run) == weights(whole)


def test_a_signal_that_comes_with_another_is_its_echo() -> None:
    interruption = Interruption(grace=5.0)
    with interruption.listening():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        interruption.leave(seconds=1.0)
        with pytest.raises(InterruptedRunError) as caught:
            interruption.leave(seconds=9.0)
    assert caught.value.status == 130
    assert signal.getsignal(signal.SIGINT) is not interruption._hear


def start(run: Path, settings: TrainConfig, when: int, how: str) -> tuple[int, str]:
    """`how`: signals by number, and pauses by half-seconds; its status and what it said."""
    told = run.parent / "config.toml"
    told.write_text(dump_toml(settings))
    resumes = (run / "config.toml").exists()
    where = ["--resume", str(run)] if resumes else [str(told), "--out", str(run)]
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(when), how, "train", *where],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return process.returncode, process.stdout + process.stderr


@pytest.mark.case(24)
def test_the_command_tells_how_to_go_on_and_ends_with_the_signal(tmp_path: Path) -> None:
    run, settings = tmp_path / "run", config(rl={"iterations": 1})
    status, said = start(run, settings, 5, "2")
    assert status == 130, said
    assert f"interrupted; continue with: longstep train --resume {run}" in said
    assert "Traceback" not in said
    assert len(in_flight(run)) == 16


@pytest.mark.case(24)
@pytest.mark.case(25)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "status"), [("15,0.6,15", -15), ("2,0.6,2", -2), ("15,9", -9), ("15,0.01,9", -9)]
)
def test_a_second_signal_ends_it_at_once_and_nothing_is_broken(
    whole: Path, tmp_path: Path, how: str, status: int
) -> None:
    run = tmp_path / "run"
    ended, said = start(run, config(), 16, how)
    assert ended == status, said
    train(config(), run, resume=True)
    assert_same(whole, run)


@pytest.mark.slow
def test_two_processes_leave_together_and_come_to_the_same_bytes(tmp_path: Path) -> None:
    two = config(run={"processes": 2})
    status, said = start(tmp_path / "whole", two, 10**9, "15")
    assert status == 0, said
    run = tmp_path / "run"
    status, said = start(run, two, 16, "15")
    assert status == 143, said
    assert [len(in_flight(run, rank)) for rank in (0, 1)] == [8, 8]
    status, said = start(run, two, 10**9, "15")
    assert status == 0, said
    assert_same(tmp_path / "whole", run)


@pytest.mark.case(25)
@pytest.mark.evidence
def test_many_interruptions_anywhere_change_nothing(whole: Path, tmp_path: Path) -> None:
    rng, run, done = random.Random(0), tmp_path / "run", 0
    settings = config(run={"checkpoint_every": 1})
    while True:
        place = rng.choice([PASS] * 9 + [STEP])
        patch = signalled(place, rng.randrange(1, 5) if place is PASS else 1)
        try:
            train(settings, run, resume=run.exists())
            break
        except InterruptedRunError:
            done += 1
        finally:
            patch.undo()
    assert done > 8
    assert rows(run) == rows(whole)
    assert weights(run) == weights(whole)
