import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.evaluation.contestants import BUILT_IN
from longstep_agents.evaluation.log import read_evaluation
from longstep_agents.evaluation.run import Evaluation, EvaluationSettings
from longstep_agents.evaluation.summary import compare_parts, summarise
from longstep_agents.page.library import Library
from longstep_agents.page.types import SHARD_EPISODES, Run
from longstep_envs.types import DataError
from longstep_tasks.suites import Part

MakeRun = Callable[..., Path]


def only(folder: Path) -> Run:
    (run,) = Library([folder]).index()["runs"]
    return run


def test_an_evaluation_is_told_as_its_summary_tells_it(evaluations: Path) -> None:
    run = only(evaluations / "random")
    header, rows = read_evaluation(evaluations / "random")
    (summary,) = summarise(header, rows)
    (part,) = run["parts"]
    assert part["success"] == summary.as_row()["success"]
    assert (part["turns"], part["stop_reasons"]) == (summary.turns, summary.stop_reasons)
    assert part["data"] == []  # treasure is made of nothing
    assert (run["name"], run["kind"], run["about"]) == ("random", "evaluation", header)
    assert run["ended"]
    assert run["episodes"]["count"] == 24
    assert run["episodes"]["group"][0] == "treasure/" + rows[0]["task_id"]
    assert run["reliability"]["dispatched"] == run["reliability"]["reported"] == 24


def test_every_two_evaluations_are_compared(evaluations: Path) -> None:
    index = Library([evaluations]).index()
    (pair,) = index["pairs"]
    rows = [read_evaluation(evaluations / name)[1] for name in ("expert", "random")]
    found = compare_parts(*rows)["treasure"]
    assert (pair["first"], pair["second"], pair["part"]) == ("expert", "random", "treasure")
    assert (pair["difference"], pair["p"], pair["won"]) == (found.difference, found.p, found.won)


def test_runs_are_found_two_levels_deep_and_told_apart(
    make_run: MakeRun, evaluations: Path, tmp_path: Path
) -> None:
    for name in ("a/eval", "b/eval", "c"):
        shutil.copytree(evaluations / "expert", tmp_path / name)
    shutil.copytree(make_run(), tmp_path / "B-Eval")
    shutil.copytree(evaluations / "expert", tmp_path / "too" / "deep" / "eval")
    (tmp_path / "notes").mkdir()
    library = Library([tmp_path, tmp_path / "c"])
    assert list(library.runs) == ["B-Eval", "c", "a-eval", "b-eval-2"]
    assert list(Library([tmp_path / "c"]).runs) == ["c"]


def test_shards_hold_every_episode_once(make_run: MakeRun, evaluations: Path) -> None:
    library = Library([make_run(), evaluations])
    counts = {run["id"]: run["episodes"]["count"] for run in library.index()["runs"]}
    shards = {name: library.shard(name) or [] for name in library.shards()}
    assert [*shards] == ["household-seed0-0", "household-seed0-1", "expert-0", "random-0"]
    assert len(shards["household-seed0-0"]) == SHARD_EPISODES
    for key, count in counts.items():
        rows = [row for name in shards if name.startswith(key) for row in shards[name]]
        assert len(rows) == count
        assert all(row["steps"] for row in rows)


@pytest.mark.parametrize("name", ["", "-", "random", "random-", "random-1", "random-x", "x-0"])
def test_there_are_no_other_shards(evaluations: Path, name: str) -> None:
    assert Library([evaluations]).shard(name) is None


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="no run or evaluation in"):
            Library([folder])


@pytest.mark.parametrize(
    "header", ["", "[]", '{"asked": 1e999}', '{"asked": {"parts": [{"name": 1}, 2]}}']
)
def test_without_a_header_the_episodes_are_shown(
    evaluations: Path, tmp_path: Path, header: str
) -> None:
    folder = tmp_path / "headless"
    shutil.copytree(evaluations / "random", folder)
    (folder / "evaluation.json").write_text(header)
    run = only(folder)
    assert (run["name"], run["parts"], run["unreadable"]) == ("headless", [], 1)
    assert run["episodes"]["count"] == 24


def test_settings_that_json_cannot_say_are_told_as_text(tmp_path: Path) -> None:
    deep = "".join(f"[x{'.x' * n}]\n" for n in range(30))
    (tmp_path / "config.toml").write_text(f"day = 2026-01-02\nrate = nan\nlimit = inf\n{deep}")
    config = only(tmp_path)["about"]["config"]
    assert (config["day"], config["rate"], config["limit"]) == ("2026-01-02", None, None)
    json.dumps(config, allow_nan=False)


def test_an_evaluation_that_runs_is_live_until_nothing_is_missing(
    evaluations: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "half"
    shutil.copytree(evaluations / "random", folder)
    log = folder / "episodes" / "eval.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:10]))
    library = Library([folder])
    index = library.index()
    assert index["live"]
    assert index["runs"][0]["reliability"]["reported"] == 10
    assert index["runs"][0]["reliability"]["lost"] == 0
    with log.open("a") as file:
        file.write("".join(lines[10:]))
    assert library.refresh()
    assert not library.index()["live"]
    assert library.index()["runs"][0]["episodes"]["count"] == 24


def test_episodes_that_results_do_not_know_of_are_lost(evaluations: Path, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    shutil.copytree(evaluations / "random", folder)
    log = folder / "episodes" / "eval.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:20]))
    (folder / "results.json").write_text("[]")
    assert only(folder)["reliability"]["lost"] == 4
    assert only(folder)["ended"]


def test_an_evaluation_that_ends_in_faults_ends(evaluations: Path, tmp_path: Path) -> None:
    folder = tmp_path / "faults"
    shutil.copytree(evaluations / "expert", folder)
    log = folder / "episodes" / "eval.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    rows[0]["outcome"] = "env_error"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    library = Library([folder])
    assert library.index()["live"]
    assert not library.refresh()
    (folder / "results.json").write_text("[]")
    assert library.refresh()
    assert not library.index()["live"]


def test_tries_are_told_and_the_last_one_counts(evaluations: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tries"
    shutil.copytree(evaluations / "expert", folder)
    log = folder / "episodes" / "eval.jsonl"
    row = json.loads(log.read_text().splitlines()[0])
    fault = {**row, "outcome": "env_error", "success": False, "steps": []}
    faults = [{**fault, "error": f"worker {pid} died at 0x{pid:x}"} for pid in (17, 4711)]
    twice = json.loads(log.read_text().splitlines()[1])
    log.write_text("".join(json.dumps(one) + "\n" for one in faults) + log.read_text())
    with log.open("a") as file:
        file.write(json.dumps(twice) + "\n")
    run = only(folder)
    told = run["reliability"]
    assert (told["retried"], told["duplicated"], told["reported"]) == (2, 1, 24)
    assert told["outcomes"]["env_error"] == 2
    assert told["errors"] == [{"text": "worker # died at #", "count": 2, "episodes": [0, 1]}]
    assert run["episodes"]["superseded"][:4] == [1, 1, 0, 1]
    assert told["given_up"] == []
    log.write_text(json.dumps(faults[0]) + "\n")
    assert only(folder)["reliability"]["given_up"] == [f"{row['part']}: {row['task_id']}"]
    assert run["parts"][0]["success"]["mean"] == 1.0


@pytest.mark.case(42)
def test_rows_of_the_wrong_types_do_no_harm(evaluations: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    shutil.copytree(evaluations / "expert", folder)
    bad: list[Any] = [None, "x", [], {}, 1, True, -1e300]
    names = "part task_id attempt outcome success score turns seconds tokens cost steps error"
    with (folder / "episodes" / "eval.jsonl").open("a") as file:
        file.writelines(json.dumps(dict.fromkeys(names.split(), v)) + "\n" for v in bad)
        file.writelines(
            json.dumps({"part": "treasure", "task_id": "x", "score": v}) + "\n" for v in bad
        )
    library = Library([folder, evaluations])
    json.dumps(library.index(), allow_nan=False)
    for name in library.shards():
        json.dumps(library.shard(name), allow_nan=False)


def test_a_run_that_begins_later_appears(evaluations: Path, tmp_path: Path) -> None:
    shutil.copytree(evaluations / "expert", tmp_path / "expert")
    library = Library([tmp_path])
    part = Part("treasure", "treasure", turns=5, split="test", count=2)
    Evaluation([part], BUILT_IN["noop"], EvaluationSettings()).play(tmp_path / "noop")
    assert library.refresh()
    assert [run["name"] for run in library.index()["runs"]] == ["expert", "noop"]
