"""Processes that torchrun has started: they find each other, share a run, and end together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from longstep_training.distributed import World, launch
from longstep_training.torchrun import LaunchError, Place, leads, told

WHOLE = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
CONFIG = """
[train]
env_id = "longstep/Treasure-v0"
turns = 10
env_kwargs = { split = "train", rooms = 3, locks = 1 }
[policy]
vocabulary_episodes = 16
small = { hidden = 16, layers = 2, heads = 2, feed_forward = 32 }
[agent]
max_tokens = 8
action = { constraint = "admissible" }
[imitation]
iterations = 2
demonstrations = 8
[rl]
iterations = 4
tasks = 4
siblings = 4
[run]
checkpoint_every = 1
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def test_a_process_that_nobody_started_with_others_is_alone() -> None:
    assert told({}) is None
    assert leads({})


def test_the_place_is_what_torchrun_says() -> None:
    assert told({**WHOLE, "LOCAL_RANK": "1"}) == Place(1, 4, 1)
    assert told(WHOLE) == Place(1, 4, 0)  # of a launcher that starts one process a machine
    assert not leads(WHOLE)
    assert leads({**WHOLE, "RANK": "0"})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"MASTER_PORT": None, "WORLD_SIZE": None}, "WORLD_SIZE, MASTER_PORT not; start with"),
        ({"RANK": "first"}, "RANK='first'"),
        ({"RANK": "-1"}, "RANK='-1'"),
        ({"RANK": "4"}, "RANK=4 is none of WORLD_SIZE=4"),
        ({"LOCAL_RANK": "gpu0"}, "LOCAL_RANK='gpu0'"),
    ],
)
def test_half_a_place_is_refused(changes: dict[str, str | None], complaint: str) -> None:
    environ = {name: value for name, value in (WHOLE | changes).items() if value is not None}
    with pytest.raises(LaunchError, match=complaint):
        told(environ)


def test_another_number_of_processes_than_torchrun_started_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LaunchError, match=r"run.processes = 2, and 4 processes were started"):
        launch(2, print)


def test_a_gpu_that_is_not_there_is_told_of() -> None:
    with pytest.raises(LaunchError, match=r"run.device = cuda, and process 0 .* has no GPU"):
        launch(1, print, device="cuda")


def test_first_is_done_before_anybody_works() -> None:
    said: list[Any] = []
    launch(1, lambda world, given: said.append((world, given)), 7, first=lambda: said.append("go"))
    assert said == ["go", (World(), 7)]


def start(folder: Path, processes: int, *arguments: str) -> subprocess.Popen[str]:
    module = ["--nproc-per-node", str(processes), "-m", "longstep_training", "train"]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*TORCHRUN, *module, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environ,
    )


def rows(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in found if row["phase"] != "eval"]


@pytest.mark.slow
def test_a_sharded_run_is_interrupted_and_goes_on_on_another_number_of_processes(
    tmp_path: Path,
) -> None:
    (tmp_path / "tiny.toml").write_text(CONFIG, "utf-8")
    process = start(tmp_path, 2, "tiny.toml", "--set", "run.shard=true", "--out", "run")
    run = tmp_path / "run"
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "rl-000002").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    told_of = process.communicate(timeout=60)[0]
    assert "--resume run" in told_of
    process = start(tmp_path, 1, "--resume", "run", "--set", "run.shard=false")
    told_of = process.communicate(timeout=120)[0]
    assert process.returncode == 0, told_of
    assert [row["iteration"] for row in rows(run)] == [1, 2, 1, 2, 3, 4]
    assert (run / "report.html").exists()
    assert (run / "checkpoints" / "latest").resolve().name == "rl-000004"


@pytest.mark.slow
def test_what_one_process_refuses_ends_all(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(CONFIG, "utf-8")
    process = start(tmp_path, 2, "tiny.toml", "--set", "policy.path=nowhere", "--out", "run")
    told_of = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    assert "error: policy.path: nowhere holds no model" in told_of
    assert "Traceback" not in told_of.partition("torch/distributed")[0]
