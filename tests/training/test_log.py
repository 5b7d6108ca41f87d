import json
from pathlib import Path

import pytest

from longstep_agents.types import Completion, Group, Step, Trajectory
from longstep_training.log import Display, RunLog

GROUP = Group(
    (
        Trajectory(
            (Step("see", "look", 0.5, "key", completion=Completion((1, 2), (-1.0, -0.5))),),
            task_id="train/1",
            success=True,
            final_observation="\u2028<end>\x85",
        ),
    )
)


def write_some(folder: Path) -> RunLog:
    log = RunLog(folder)
    for phase, iterations in (("imitation", (1, 2)), ("rl", (1, 2, 3))):
        for iteration in iterations:
            log.metrics({"phase": phase, "iteration": iteration})
            log.episodes({"phase": phase, "iteration": iteration}, [GROUP])
        log.metrics({"phase": "eval", "after": phase, "iteration": iterations[-1]})
    return log


def places(log: RunLog) -> list[tuple[str, int]]:
    return [(row["phase"], row["iteration"]) for row in log.rows()]


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    log = write_some(tmp_path)
    assert places(log) == [
        *[("imitation", 1), ("imitation", 2), ("eval", 2)],
        *[("rl", 1), ("rl", 2), ("rl", 3), ("eval", 3)],
    ]


def test_a_last_line_that_a_crash_cut_off_is_ignored(tmp_path: Path) -> None:
    log = write_some(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "rl", "itera')
    assert len(log.rows()) == 7
    log.rewind("rl", 3)
    log.metrics({"phase": "rl", "iteration": 4})
    assert places(log)[-2:] == [("eval", 3), ("rl", 4)]


@pytest.mark.parametrize(
    ("place", "rows", "imitated", "reinforced"),
    [
        (("rl", 2), 5, [1, 2], [1, 2]),
        (("imitation", 2), 3, [1, 2], []),
        (("imitation", 1), 1, [1], []),
        (("imitation", 0), 0, [], []),
    ],
)
def test_rewinding_drops_what_came_after_a_place(
    tmp_path: Path,
    place: tuple[str, int],
    rows: int,
    imitated: list[int],
    reinforced: list[int],
) -> None:
    log = write_some(tmp_path)
    log.rewind(*place)
    assert len(log.rows()) == rows
    for phase, kept in (("imitation", imitated), ("rl", reinforced)):
        lines = (tmp_path / "episodes" / f"{phase}.jsonl").read_text().splitlines()
        assert [json.loads(line)["iteration"] for line in lines] == kept
    assert not list(tmp_path.rglob("*.partial"))


def test_an_episode_is_written_whole_on_one_line(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.episodes({"phase": "rl", "iteration": 1, "part": "x"}, [GROUP], [[[(0.5, 0.0)]]])
    (line,) = (tmp_path / "episodes" / "rl.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row["final_observation"] == GROUP.trajectories[0].final_observation
    assert (row["task_id"], row["part"], row["outcome"]) == ("train/1", "x", "ok")
    (step,) = row["steps"]
    assert (step["credit"], step["logprob"], step["action"]) == (0.25, -1.5, "look")


def test_without_a_terminal_progress_is_plain_unbroken_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    display = Display(shown=True)
    display.update("rl", 1, 50, "[bold]success[/] " + "x" * 100)
    display.update("rl", 2, 50, "too soon after the line before")
    display.update("rl", 50, 50, "the last one is always shown")
    display.close()
    first, last = capsys.readouterr().err.splitlines()
    assert first.endswith("rl 1/50  [bold]success[/] " + "x" * 100)
    assert last.endswith("rl 50/50  the last one is always shown  0 s left")


def test_helpers_show_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(shown=False)
    display.message("hello")
    display.update("rl", 1, 1, "done")
    assert capsys.readouterr() == ("", "")


def test_plain_progress_tells_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(shown=True)
    display.update("rl", 1, 4, "learning")
    display.update("rl", 4, 4, "learning")
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].endswith("rl 1/4  learning")
    assert shown[1].endswith("rl 4/4  learning  0 s left")
