import json
from collections.abc import Callable
from pathlib import Path

import pytest

from longstep_envs.types import DataError
from longstep_training.run_files import read_run

MakeRun = Callable[..., Path]


def test_a_whole_run_is_read(make_run: MakeRun) -> None:
    files = read_run(make_run(iterations=30))
    assert files.config.startswith("seed = 0")
    assert [row.phase for row in files.metrics].count("rl") == 30
    assert [row.stage for row in files.evaluations] == ["warm start", "rl", "rl"]
    assert files.evaluations[0].by_task_type["pick_and_place_simple"].episodes == 85
    assert len(files.episodes) == 48
    assert files.unreadable == 0
    assert files.seconds == 365


def test_an_episode_is_loaded_from_its_place(make_run: MakeRun) -> None:
    run = make_run()
    files = read_run(run)
    lines = sorted((run / "episodes").glob("*.jsonl"))[1].read_text("utf-8").splitlines()
    last = json.loads(lines[-1])
    episode = files.episodes[-1].load()
    assert episode.task_id == last["task_id"]
    assert [step.action for step in episode.steps] == [step["action"] for step in last["steps"]]


def test_a_line_cut_off_and_lines_of_nonsense_are_counted(make_run: MakeRun) -> None:
    run = make_run()
    whole = read_run(run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('[1, 2]\n{"phase": "rl", "iteration": "x"}\n\n{"phase": "eval"}\n{"phase": "r')
    (run / "episodes" / "z.jsonl").write_bytes(b"\xff\xfe\n")
    files = read_run(run)
    assert files.unreadable == 5
    assert (files.metrics, files.evaluations) == (whole.metrics, whole.evaluations)


def test_numbers_beyond_the_known_fields_are_kept_and_others_are_not(tmp_path: Path) -> None:
    row = '{"phase": "rl", "kl": 0.5, "loss": NaN, "note": "x", "flag": true, "entropy": null}\n'
    (tmp_path / "metrics.jsonl").write_text(row)
    assert read_run(tmp_path).metrics[0].numbers == {"kl": 0.5}


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no run"):
        read_run(tmp_path)
    with pytest.raises(DataError, match="holds no run"):
        read_run(tmp_path / "nowhere")
