import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.page.episodes import read_shard
from longstep_agents.page.training import TrainingRun
from longstep_agents.page.types import Run
from longstep_agents.trace import trace_row
from longstep_agents.types import Step, Trajectory

MakeRun = Callable[..., Path]


def describe(folder: Path) -> Run:
    run = TrainingRun(folder)
    run.refresh()
    return run.describe("run")


def append(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_a_whole_run_is_told(make_run: MakeRun) -> None:
    run = describe(make_run())
    assert run["about"]["config"]["rl"]["credit"] == {"name": "gigpo"}
    assert (run["ended"], run["unreadable"], run["seconds"]) == (True, 0, 285.0)
    assert [(part["stage"], part["iteration"]) for part in run["parts"]] == [
        ("imitation", 30),
        ("rl", 20),
    ]
    assert run["parts"][0]["by_task_type"]["pick_two_obj_and_place"]["episodes"] == 100
    assert [mark["phase"] for mark in run["marks"]] == ["imitation", "rl"]
    assert run["reliability"]["reported"] == 30 * 64 + 20 * 128


def test_numbers_of_nested_tables_and_lists_become_curves(make_run: MakeRun) -> None:
    curves = {(curve["phase"], curve["name"]): curve for curve in describe(make_run())["curves"]}
    assert curves["imitation", "timing.update"]["x"] == list(range(1, 31))
    assert curves["rl", "entropy_by_turn.1"]["y"] == [1.2] * 20
    assert curves["rl", "gates.outcome"]["y"][-1] == pytest.approx(0.8, abs=0.05)
    names = {name for _, name in curves}
    assert not names & {"phase", "iteration", "rl", "entropy_by_turn.0", "entropy_by_turn.3"}
    assert "success" not in {name for phase, name in curves if phase == "imitation"}


def test_numbers_that_are_not_finite_are_gaps(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"phase": "rl", "iteration": 1, "kl": NaN, "loss": 1e999, "flag": true, "note": "x"}\n'
        '{"phase": "rl", "iteration": 2, "kl": 0.5, "loss": "x", "episodes": 1e999}\n'
    )
    curves = {curve["name"]: curve["y"] for curve in describe(tmp_path)["curves"]}
    assert curves == {"kl": [None, 0.5], "loss": [None], "episodes": [None]}


def test_episodes_stand_in_the_order_in_which_they_ended(tmp_path: Path) -> None:
    def episode(phase: str, iteration: int, **more: Any) -> dict[str, Any]:
        return {"phase": phase, "iteration": iteration, "task_id": "t", "steps": [], **more}

    played = [
        episode("rl", 1, group=0),
        episode("rl", 1, group=1),
        episode("rl", 2, group=0),
    ]
    append(tmp_path / "episodes" / "rl.jsonl", *played)
    between = [episode("eval", 9, after="imitation"), episode("eval", 2, after="rl", part="seen")]
    append(tmp_path / "episodes" / "eval.jsonl", *between)
    run = TrainingRun(tmp_path)
    assert run.refresh()
    told = run.describe("run")["episodes"]
    assert told["group"] == ["eval/9//t", "rl/1/0", "rl/1/1", "rl/2/0", "eval/2/seen/t"]
    assert [one["place"].path.stem for one in run.episodes] == ["eval", "rl", "rl", "rl", "eval"]


def test_a_run_is_read_on_and_read_anew_when_it_was_resumed(make_run: MakeRun) -> None:
    folder = make_run(iterations=3)
    run = TrainingRun(folder)
    assert run.refresh()
    assert not run.refresh()
    append(folder / "metrics.jsonl", {"phase": "rl", "iteration": 4, "success": 1.0})
    assert run.refresh()
    assert success(run)["x"] == [1, 2, 3, 4]
    kept = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)[:33]
    (folder / "draft").write_text("".join(kept))
    (folder / "draft").replace(folder / "metrics.jsonl")
    assert run.refresh()
    assert success(run)["x"] == [1, 2]
    assert run.describe("run")["episodes"]["count"] == 48


def success(run: TrainingRun) -> Any:
    curves = run.describe("run")["curves"]
    return next(one for one in curves if (one["phase"], one["name"]) == ("rl", "success"))


def test_a_run_ends_with_its_last_evaluation_or_its_last_iteration(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[imitation]\niterations = 1\n[rl]\niterations = 2\n")
    for phase, iteration, ended in (("imitation", 1, False), ("rl", 1, False), ("rl", 2, True)):
        append(tmp_path / "metrics.jsonl", {"phase": phase, "iteration": iteration})
        assert describe(tmp_path)["ended"] == ended
    with (tmp_path / "config.toml").open("a") as file:
        file.write('[[evaluation]]\nname = "valid"\n')
    assert not describe(tmp_path)["ended"]
    append(tmp_path / "metrics.jsonl", {"phase": "eval", "name": "valid", "stage": "rl"})
    assert describe(tmp_path)["ended"]


@pytest.mark.case(40)
def test_flags_are_told_with_their_place(tmp_path: Path) -> None:
    honest, other = Step(action="git diff"), Step(action="git show HEAD~1")
    for iteration, steps in ((2, (honest, other)), (1, (honest,))):
        row = {"phase": "rl", "iteration": iteration, **trace_row(Trajectory(steps))}
        append(tmp_path / "episodes" / "rl.jsonl", row)
    run = describe(tmp_path)
    assert run["episodes"]["flagged"] == [0, 1]
    (flag,) = run["reliability"]["flagged"]
    assert flag == {
        "episode": 1,
        "step": 1,
        "rule": "looks for the solution in the history",
        "text": "git show HEAD~1",
    }


@pytest.mark.case(40)
def test_flags_that_do_not_fit_are_left_out(tmp_path: Path) -> None:
    good = {"name": "says nothing", "step": 0, "why": "x" * 10_000}
    odd: list[Any] = [{**good, "step": 1}, {**good, "step": -1}, {**good, "name": 1}, None, "x", []]
    row = {"phase": "rl", "iteration": 1, "steps": [{"action": ""}], "flags": [good, *odd]}
    append(tmp_path / "episodes" / "rl.jsonl", row, {**row, "flags": "x"})
    (flag,) = describe(tmp_path)["reliability"]["flagged"]
    assert (flag["rule"], len(flag["text"])) == ("says nothing", 200)


def test_what_is_of_the_wrong_type_is_taken_for_nothing(tmp_path: Path) -> None:
    bad: list[Any] = [None, "x", [], {}, 1, True, 1e400, -1]
    names = "phase iteration after group part task_id success score outcome seconds steps tokens"
    rows = [dict.fromkeys([*names.split(), "error"], value) for value in bad]
    rows += [{"steps": [value, {"observation": value, "reward": value}]} for value in bad]
    append(tmp_path / "episodes" / "rl.jsonl", *rows)
    metrics = "phase iteration after stage name success episodes by_task_type data"
    append(
        tmp_path / "metrics.jsonl",
        *({**dict.fromkeys(metrics.split(), value), "phase": "eval"} for value in bad),
    )
    (tmp_path / "config.toml").write_text("= nonsense")
    run = TrainingRun(tmp_path)
    run.refresh()
    told = run.describe("run")
    assert told["episodes"]["count"] == len(rows)
    assert told["unreadable"] == 1
    json.dumps([told, read_shard(run.episodes)], allow_nan=False)
