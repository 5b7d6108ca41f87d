"""Cases 24 and 25: Ctrl-C, once and twice, in an evaluation; a kill amid saves of checkpoints."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longstep_agents.evaluation.log import key_of, last_tries, read_evaluation
from longstep_agents.trace import read_rows

FAULTY = "longstep/Faulty-v0"  # without faults, but in a process that is waited for
COMMAND = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # children of some shells are deaf to it
from longstep_agents.evaluation.log import EvaluationLog
times, plain = int(sys.argv.pop(1)), EvaluationLog.add

def add(log, row):
    plain(log, row)
    if len(log.rows) == 20:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)

EvaluationLog.add = add
from longstep_training.cli import main
main()
"""


def evaluate(out: Path, interruptions: int, *words: str) -> tuple[int, str]:
    """Forty episodes, one after the other; signals come with the twentieth."""
    options = ("--agent", "random", "--tasks", "20", "-n", "2", "--max-concurrency", "1")
    command = [sys.executable, "-c", COMMAND, str(interruptions), "eval", FAULTY, *options]
    done = subprocess.run([*command, "--out", str(out), *words], capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.case(24)
@pytest.mark.parametrize("times", [1, 2])
def test_an_evaluation_that_is_interrupted_loses_nothing(tmp_path: Path, times: int) -> None:
    out = tmp_path / "run"
    status, said = evaluate(out, times)
    assert status == 130, said
    assert "Traceback" not in said or times == 2
    assert f"interrupted; go on with --resume --out {out}" in said
    _, rows = read_evaluation(out)
    before = {key_of(row): json.dumps(row) for row in rows if row["outcome"] != "cancelled"}
    assert 20 <= len(before) < 40
    status, said = evaluate(out, 0, "--resume")
    assert status == 0, said
    _, rows = read_evaluation(out)
    assert len(last_tries(rows)) == 40
    assert before.items() <= {key_of(row): json.dumps(row) for row in rows}.items()


SAVING = """
import sys
from pathlib import Path
import torch
from longstep_agents.attention import ATTENTION
from longstep_agents.small_policy import SmallPolicyConfig, build_model, build_tokenizer
from longstep_training.checkpoint import Parts, Progress, save_checkpoint
from longstep_training.distributed import World
from longstep_training.updater import OptimizerConfig, Updater
torch.set_num_threads(1)
tokenizer = build_tokenizer(["look at shelf 1, shelf 2, cup 3"])
model = build_model(tokenizer, SmallPolicyConfig(hidden=16, layers=1, heads=2), seed=0)
updater = Updater(model, OptimizerConfig(), World())
for n in range(1, 10**6):
    place = Progress("rl", n, 0.0, n)
    save_checkpoint(Path(sys.argv[1]), Parts(tokenizer, updater), place, keep=2)
"""


@pytest.mark.case(25)
def test_what_a_kill_amid_saves_leaves_can_be_read(tmp_path: Path) -> None:
    from longstep_training.checkpoint import find_checkpoints, load_policy, read_checkpoint

    command = [sys.executable, "-c", SAVING, str(tmp_path)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not (tmp_path / ".rl-000004.partial" / "config.json").exists():  # that is amid a save
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    found = find_checkpoints(tmp_path)
    assert found
    for folder in (*found, tmp_path / "latest"):
        assert read_checkpoint(folder).iteration >= 2
        load_policy(folder)


@pytest.mark.case(28)
@pytest.mark.parametrize("cut", [1, 2, 30])
def test_half_a_last_line_of_a_log_is_left_out(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"n": 1}\n{"n": 2}\n{"name": "of the last of the lines"}\n'[:-cut])
    assert read_rows(path) == [{"n": 1}, {"n": 2}]
