"""Whole runs, tiny: the same config and seed give the same bytes, also after a kill."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

CONFIG = """
seed = 5
[train]
env_id = "longstep/Treasure-v0"
turns = 10
env_kwargs = { split = "train", rooms = 3, locks = 1 }
[[evaluation]]
name = "valid"
episodes = 6
[evaluation.tasks]
env_id = "longstep/Treasure-v0"
turns = 10
env_kwargs = { split = "valid", rooms = 3, locks = 1 }
[policy]
vocabulary_episodes = 16
small = { hidden = 16, layers = 2, heads = 2, feed_forward = 32 }
[agent]
max_tokens = 8
action = { constraint = "admissible" }
[imitation]
iterations = 2
demonstrations = 8
schedule = { updates = 2 }
[rl]
iterations = 4
tasks = 4
siblings = 4
sampling = [{ name = "difficulty" }, { name = "spear", replay_from = 2, ramp = 0 }]
[run]
checkpoint_every = 1
"""
Row = dict[str, Any]


def start(folder: Path, out: str, *arguments: str) -> subprocess.Popen[str]:
    config = folder / "tiny.toml"
    config.write_text(CONFIG, "utf-8")
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from longstep_training.cli import main; main()",
            "train",
            *([] if "--resume" in arguments else [str(config), "--out", str(folder / out)]),
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out + err


def metrics(run: Path) -> list[Row]:
    """What was measured, without what a clock says."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    clocks = {"seconds", "timing", "tokens_per_second", "sampled_tokens_per_second"}
    for row in rows:
        row.get("engine", {}).pop("busy", None)
    return [{key: value for key, value in row.items() if key not in clocks} for row in rows]


def weights(run: Path) -> dict[str, bytes]:
    folder = run / "checkpoints" / "rl-000004"
    found = {}
    for path in sorted(folder.rglob("*.safetensors")):
        for key, value in load_file(path).items():
            # Which process writes what all have is chance.
            found[f"{path.parent.name} {key}"] = value.numpy().tobytes()
    return found


def episodes(run: Path) -> dict[str, str]:
    """What was written of episodes, without what a clock says."""
    return {
        path.name: re.sub(r'"seconds": [0-9.]+', "", path.read_text())
        for path in sorted((run / "episodes").iterdir())
    }


def assert_same(one: Path, other: Path) -> None:
    assert metrics(one) == metrics(other)
    assert weights(one) == weights(other)
    assert episodes(one) == episodes(other)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.002)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed, and what it said."""
    folder = tmp_path_factory.mktemp("whole")
    said = finish(start(folder, "run"))
    (folder / "said.txt").write_text(said)
    return folder / "run"


def test_a_run_says_how_it_goes_in_plain_lines(whole: Path) -> None:
    lines = (whole.parent / "said.txt").read_text().splitlines()
    assert any("imitation 2/2" in line and "success" in line for line in lines)
    assert any("rl 4/4" in line and "tok/s" in line for line in lines)
    assert any(line.startswith("rl, valid: ") for line in lines)
    assert lines[-1].startswith("episodes: ") or lines[-2].startswith("episodes: ")
    assert not any("\x1b" in line for line in lines)
    assert (whole / "report.html").exists()


def test_every_iteration_and_evaluation_is_measured_once(whole: Path) -> None:
    rows = metrics(whole)
    places = [(row["phase"], row["iteration"]) for row in rows]
    training = [("imitation", 1), ("imitation", 2), ("eval", 2)]
    assert places == [*training, *(("rl", i) for i in (1, 2, 3, 4)), ("eval", 4)]
    for row in rows:
        if row["phase"] == "rl":
            assert row["episodes"] == 16
            assert row["failed_episodes"] == 0
            assert abs(row["sampler_kl"]) < 0.1


def test_the_first_group_of_each_iteration_is_written_out_token_by_token(whole: Path) -> None:
    written = (whole / "episodes" / "rl.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in written]
    assert {row["group"] for row in rows} == {0}
    for row in rows:
        assert (row["env_id"], type(row["seed"])) == ("longstep/Treasure-v0", int)
        assert row["steps"][0]["begins"]
        for step in row["steps"]:
            tokens = step["tokens"]
            assert step["shown"]
            assert "environment" in step["parts"]
            assert "".join(tokens["text"]).startswith(step.get("text", step["action"]))
            assert sum(tokens["logprob"]) == pytest.approx(step["logprob"], rel=1e-3, abs=1e-4)
            assert len(tokens["entropy"]) == len(tokens["chosen"]) == len(tokens["text"])
            assert all(h >= 0 for h in tokens["entropy"])
    evaluated = (whole / "episodes" / "eval.jsonl").read_text().splitlines()
    assert {json.loads(line)["part"] for line in evaluated} == {"valid"}


def test_what_methods_remember_makes_a_difference_after_the_checkpoint_of_the_kill(
    whole: Path,
) -> None:
    sampling = [row["sampling"] for row in metrics(whole) if row["phase"] == "rl"]
    assert sampling[1]["spear.buffer"] > 0
    assert sampling[2]["spear.replayed"] > 0
    assert sampling[1]["difficulty.known_tasks"] > 4


def test_the_same_config_and_seed_give_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    finish(start(tmp_path, "again"))
    assert_same(whole, tmp_path / "again")


@pytest.mark.slow
def test_another_seed_gives_another_run(whole: Path, tmp_path: Path) -> None:
    finish(start(tmp_path, "other", "--set", "seed=6"))
    assert metrics(whole) != metrics(tmp_path / "other")


@pytest.mark.case(25)
@pytest.mark.parametrize(
    "checkpoint", [pytest.param("imitation-000001", marks=pytest.mark.slow), "rl-000002"]
)
def test_a_killed_run_goes_on_to_the_same_bytes(
    whole: Path, tmp_path: Path, checkpoint: str
) -> None:
    process, run = start(tmp_path, "killed"), tmp_path / "killed"
    wait_for(run / "checkpoints" / checkpoint)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (run / "report.html").exists()
    finish(start(tmp_path, "killed", "--resume", str(run)))
    assert_same(whole, run)


@pytest.mark.slow
def test_two_processes_reproduce_themselves_and_survive_a_kill(tmp_path: Path) -> None:
    two = ("--set", "run.processes=2")
    finish(start(tmp_path, "one", *two))
    finish(start(tmp_path, "two", *two))
    assert_same(tmp_path / "one", tmp_path / "two")
    process, run = start(tmp_path, "killed", *two), tmp_path / "killed"
    wait_for(run / "checkpoints" / "rl-000001")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    finish(start(tmp_path, "killed", "--resume", str(run)))
    assert_same(tmp_path / "one", run)


def test_an_iteration_in_which_nothing_is_learnt_is_measured_all_the_same(tmp_path: Path) -> None:
    """In one turn no chest is reached: all groups are uniform, and dropped, and there is no row."""
    changes = (
        "train.turns=1",
        "train.env_kwargs.locks=0",
        "rl.iterations=1",
        'rl.sampling=[{name = "filter", refill = 1}]',
    )
    finish(start(tmp_path, "run", *(part for change in changes for part in ("--set", change))))
    row = next(row for row in metrics(tmp_path / "run") if row["phase"] == "rl")
    assert (row["uniform_groups"], row["chosen_tokens"], row["loss"]) == (1.0, 0, 0.0)
    assert (row["sampling"]["filter.dropped"], row["episodes"]) == (8, 32)


def test_a_dry_run_prints_the_whole_config(tmp_path: Path) -> None:
    shown = finish(start(tmp_path, "run", "--dry-run", "--set", "rl.siblings=3"))
    assert "siblings = 3" in shown
    assert "clip_high = 0.28" in shown
    assert not (tmp_path / "run").exists()


def test_adapters_learn_alone_and_survive_a_kill(whole: Path, tmp_path: Path) -> None:
    policy = whole / "checkpoints" / "latest"
    told = [
        *("--set", f"policy.path={policy}", "--set", "policy.lora={ rank = 2, alpha = 16.0 }"),
        *("--set", "rl.credit={ name = 'gae' }", "--set", "rl.critic={}"),
        *("--set", "imitation.iterations=0"),
    ]
    finish(start(tmp_path, "run", *told))
    process, run = start(tmp_path, "killed", *told), tmp_path / "killed"
    wait_for(run / "checkpoints" / "rl-000002")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    finish(start(tmp_path, "killed", "--resume", str(run)))
    assert_same(tmp_path / "run", run)
    before, after = (
        load_file(folder / "model.safetensors")
        for folder in (policy, run / "checkpoints" / "rl-000004")
    )
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {name for name in before if "_proj" in name}
