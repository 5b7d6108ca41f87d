import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from longstep_agents.baselines import ScriptedAgent
from longstep_agents.evaluation.contestants import BUILT_IN, BuiltIn, scripted
from longstep_agents.evaluation.log import key_of, last_tries, read_evaluation
from longstep_agents.evaluation.run import Evaluation, EvaluationSettings, Running
from longstep_agents.evaluation.summary import compare_parts, summarise
from longstep_envs import Info, TextEnv, register
from longstep_envs.types import BadValueError
from longstep_tasks.suites import Part

TREASURE = Part("treasure", "treasure", turns=30, split="test", count=12)
KILLED = """
import sys
from pathlib import Path
from longstep_agents.evaluation.contestants import BUILT_IN
from longstep_agents.evaluation.run import Evaluation, EvaluationSettings, Running
from longstep_tasks.suites import Part
part = Part("treasure", "treasure", turns=30, split="test", count=12)
settings = EvaluationSettings(attempts=5)
out = Path(sys.argv[1])
slow = Running(concurrency=1)
Evaluation([part], BUILT_IN["random"], settings, slow).play(out, resume=out.exists())
"""


class Flaky(TextEnv):
    """Breaks at its first episode of task "a", and always at task "b"."""

    metadata = TextEnv.metadata | {"concurrency": "thread", "snapshot": "replay"}
    broken = False

    @property
    def task_ids(self) -> Sequence[str]:
        return ["a", "b", "c"]

    def _begin(self, task_id: str, *, expert: bool) -> tuple[str, Info]:
        self._task = task_id
        return task_id, Info(score=0.0)

    def _act(self, action: str) -> tuple[str, bool, Info]:
        if self._task == "b" or (self._task == "a" and not Flaky.broken):
            Flaky.broken = True
            raise RuntimeError("broken")
        return action, True, Info(score=1.0, success=True)


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Part:
    monkeypatch.setattr(Flaky, "broken", False)
    sys.modules["longstep_evaluation_flaky"] = sys.modules[__name__]
    register("evaluation/Flaky-v0", "longstep_evaluation_flaky:Flaky")
    return Part("flaky", "evaluation/Flaky-v0", turns=5)


def test_the_expert_solves_what_doing_nothing_does_not(tmp_path: Path) -> None:
    expert = Evaluation([TREASURE], BUILT_IN["expert"]).play(tmp_path / "expert")
    noop = Evaluation([TREASURE], BUILT_IN["noop"]).play(tmp_path / "noop")
    assert [row["success"] for row in expert] == [True] * 12
    assert [row["success"] for row in noop] == [False] * 12
    assert {row["stop_reason"] for row in noop} == {"turn_limit"}
    (found,) = compare_parts(noop, expert).values()
    assert (found.won, found.lost, found.difference) == (12, 0, 1.0)


def test_what_is_on_disk_is_what_is_told(tmp_path: Path) -> None:
    settings = EvaluationSettings(attempts=2)
    rows = Evaluation([TREASURE], BUILT_IN["random"], settings).play(tmp_path / "run")
    header, read = read_evaluation(tmp_path / "run")
    assert read == rows
    (part,) = summarise(header, read, k=[2])
    assert part.success.episodes == 24
    assert part.success.tasks == 12
    assert part.pass_hat[2].mean <= part.success.mean <= part.pass_at[2].mean
    assert json.dumps(part.as_row())
    with pytest.raises(BadValueError, match="pass@k with k=3: some task has 2 attempts"):
        summarise(header, read, k=[3])


def test_the_same_seed_plays_the_same_and_another_another(tmp_path: Path) -> None:
    def actions(name: str, seed: int) -> list[list[str]]:
        settings = EvaluationSettings(seed=seed)
        rows = Evaluation([TREASURE], BUILT_IN["random"], settings).play(tmp_path / name)
        return [[step["action"] for step in row["steps"]] for row in sorted(rows, key=key_of)]

    assert actions("a", 0) == actions("b", 0) != actions("c", 1)


def test_attempts_share_the_world_and_not_the_agents_chances(tmp_path: Path) -> None:
    settings = EvaluationSettings(attempts=3)
    rows = Evaluation([TREASURE], BUILT_IN["random"], settings).play(tmp_path / "run")
    seeds = {(row["task_id"], row["seed"]) for row in rows}
    assert len(seeds) == 12
    assert len({row["agent_seed"] for row in rows}) == 36


@pytest.mark.case(28)
def test_resuming_plays_exactly_what_is_missing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    evaluation = Evaluation([TREASURE], BUILT_IN["random"])
    whole = {key_of(row): row for row in evaluation.play(out)}
    log = out / "episodes" / "eval.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:7]) + lines[7][:40])  # cut off in the middle of a line
    played: list[str] = []
    rows = evaluation.play(
        out, resume=True, progress=lambda row, _, __: played.append(row["task_id"])
    )
    assert len(played) == 5
    assert len(rows) == 12
    for row in rows:
        timed = {"seconds": 0}
        assert row | timed == whole[key_of(row)] | timed


def test_a_finished_evaluation_has_nothing_to_resume(tmp_path: Path) -> None:
    evaluation = Evaluation([TREASURE], BUILT_IN["noop"])
    before = evaluation.play(tmp_path / "run")
    assert evaluation.play(tmp_path / "run", resume=True) == before


@pytest.mark.case(30)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"settings": EvaluationSettings(attempts=2)}, r'-  "attempts": 1,\n\+  "attempts": 2'),
        ({"contestant": scripted(["look"])}, r'\+  "agent": "scripted"'),
        ({"parts": [replace(TREASURE, turns=9)]}, r'\+ +"turns": 9'),
    ],
)
def test_other_settings_are_refused_with_the_difference(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    evaluation = Evaluation([TREASURE], BUILT_IN["noop"])
    evaluation.play(tmp_path / "run")
    with pytest.raises(BadValueError, match=told):
        replace(evaluation, **change).play(tmp_path / "run", resume=True)  # type: ignore[arg-type]


def test_folders_are_neither_overwritten_nor_invented(tmp_path: Path) -> None:
    evaluation = Evaluation([TREASURE], BUILT_IN["noop"])
    with pytest.raises(BadValueError, match="holds no evaluation; leave --resume away"):
        evaluation.play(tmp_path / "none", resume=True)
    evaluation.play(tmp_path / "run")
    with pytest.raises(BadValueError, match="holds an evaluation already; go on with --resume"):
        evaluation.play(tmp_path / "run")


@pytest.mark.case(29)
def test_two_processes_do_not_write_to_one_folder(tmp_path: Path) -> None:
    evaluation = Evaluation([TREASURE], BUILT_IN["noop"])

    def intrude(*_: object) -> None:
        with pytest.raises(BadValueError, match="another process writes to"):
            evaluation.play(tmp_path / "run", resume=True)

    evaluation.play(tmp_path / "run", progress=intrude)


def test_faults_are_played_again_and_every_try_is_kept(flaky: Part, tmp_path: Path) -> None:
    agent = BuiltIn("go", lambda _: ScriptedAgent(["go"]))
    rows = Evaluation([flaky], agent, running=Running(concurrency=1)).play(tmp_path / "run")
    assert Counter(row["task_id"] for row in rows) == {"a": 2, "b": 3, "c": 1}
    assert [row["outcome"] for row in rows if row["task_id"] == "a"] == ["env_error", "ok"]
    (part,) = summarise(read_evaluation(tmp_path / "run")[0], rows)
    assert part.success.mean == pytest.approx(2 / 3)
    assert part.without_faults.mean == 1.0
    assert (part.faults, part.retried) == (1, 2)
    again = Evaluation([flaky], agent, running=Running(retries=0)).play(
        tmp_path / "run", resume=True
    )
    assert Counter(row["task_id"] for row in again) == {"a": 2, "b": 4, "c": 1}


@pytest.mark.case(40)
def test_flagged_episodes_are_counted_and_count_as_they_are(tmp_path: Path) -> None:
    agent = BuiltIn("again", lambda _: ScriptedAgent(["look"] * 50))
    rows = Evaluation([TREASURE], agent).play(tmp_path / "run")
    assert {flag["name"] for row in rows for flag in row["flags"]} == {"repeats itself"}
    (part,) = summarise(read_evaluation(tmp_path / "run")[0], rows)
    assert (part.flagged, part.faults) == (len(rows), 0)
    Evaluation([TREASURE], BUILT_IN["expert"]).play(tmp_path / "expert")
    (honest,) = summarise(*read_evaluation(tmp_path / "expert"))
    assert (honest.flagged, honest.success.mean) == (0, 1.0)


def test_an_episode_whose_time_is_over_ends_scored(tmp_path: Path) -> None:
    settings = EvaluationSettings(working_seconds=1e-9)
    rows = Evaluation([TREASURE], BUILT_IN["expert"], settings).play(tmp_path / "run")
    assert {(row["outcome"], row["stop_reason"]) for row in rows} == {("truncated", "working_time")}


def kill_and_resume(out: Path, kills: int) -> None:
    """Kill the evaluation so often, then let it end."""
    for number in range(kills + 1):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(out)])
        log = out / "episodes" / "eval.jsonl"
        wanted = 50 * (number + 1) // (kills + 1)
        while number < kills and process.poll() is None:
            if log.exists() and log.read_bytes().count(b"\n") >= wanted:
                os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.001)
        process.wait()
    assert process.returncode == 0


@pytest.mark.case(26)
@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.evidence)])
def test_killed_at_any_moment_nothing_is_lost_or_played_twice(tmp_path: Path, kills: int) -> None:
    out = tmp_path / "run"
    kill_and_resume(out, kills)
    settings = EvaluationSettings(attempts=5)
    whole = Evaluation([TREASURE], BUILT_IN["random"], settings).play(tmp_path / "whole")
    _, rows = read_evaluation(out)
    assert len(rows) == len(last_tries(rows)) == len(whole) == 60
    told = {key_of(row): row["steps"] for row in rows}
    assert told == {key_of(row): row["steps"] for row in whole}
