from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from longstep_training import trackers
from longstep_training.config import ConfigError, build_config, dump_toml
from longstep_training.recipe import RunConfig
from longstep_training.trackers import Trackers
from longstep_training.trackers.tensorboard import TensorBoardConfig
from longstep_training.trackers.types import TrackedRun, TrackerConfig
from longstep_training.trackers.wandb import WandbConfig

Seen = dict[tuple[str, int], float]


class Memory:
    """Remembers everything; fails at a step if it is told to."""

    fails_at: int | None = None

    def __init__(self, config: TrackerConfig, run: TrackedRun) -> None:
        self.seen: Seen = {}
        self.closed = False

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        if step == self.fails_at:
            raise ConnectionError("down\x1b[31m")
        for name, value in numbers.items():
            assert (name, step) not in self.seen
            self.seen[name, step] = value

    def close(self) -> None:
        self.closed = True


def _made(monkeypatch: pytest.MonkeyPatch, folder: Path, known: Any = ()) -> tuple[Any, list[str]]:
    """Two trackers of a run, and what a person is told."""
    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", Memory)
    monkeypatch.setitem(trackers.TRACKERS, "wandb", Memory)
    run, told = TrackedRun(folder, {"imitation": {"iterations": 2}}), list[str]()
    return Trackers([TensorBoardConfig(), WandbConfig()], run, told.append, known), told


def test_numbers_come_by_phase_and_step(
    rows: list[Any], tracked: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, told = _made(monkeypatch, folder)
    memories = list(made._trackers.values())
    for row in rows:
        made.log(row)
    made.close()
    assert [memory.seen for memory in memories] == [tracked, tracked]
    assert all(memory.closed for memory in memories)
    assert told == []


def test_what_was_tracked_before_is_not_tracked_again(
    rows: list[Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = _made(monkeypatch, folder, known=rows[:4])
    for row in rows:
        made.log(row)
    assert made._trackers["wandb"].seen == {("rl/loss", 4): 0.25}


def test_a_tracker_that_fails_is_told_of_once_and_stops_nothing(
    rows: list[Any], tracked: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, told = _made(monkeypatch, folder)
    made._trackers["wandb"].fails_at = 2
    for row in rows:
        made.log(row)
    assert made._trackers["tensorboard"].seen == tracked
    assert told == ["nothing more goes to wandb: ConnectionError: down[31m"]
    made.close()
    assert len(told) == 1


def test_a_package_that_is_not_there_is_told_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    told: list[str] = []
    made = Trackers([WandbConfig()], TrackedRun(folder, {}), told.append)
    made.log({"phase": "rl", "iteration": 1, "loss": 1.0})
    made.close()
    (line,) = told
    assert "pip install 'longstep[wandb]'" in line


def test_trackers_are_chosen_by_name_or_table() -> None:
    tree = {"trackers": ["tensorboard", {"name": "wandb", "project": "mine"}]}
    config = build_config(RunConfig, tree, "test")
    assert config.trackers == (TensorBoardConfig(), WandbConfig(project="mine"))
    assert 'name = "tensorboard"' in dump_toml(config)
    for wrong, told in (
        (["tensorbord"], "did you mean 'tensorboard'"),
        ([{"name": "wandb", "projekt": "x"}], "projekt"),
        ("wandb", "wanted a list"),
    ):
        with pytest.raises(ConfigError, match=told):
            build_config(RunConfig, {"trackers": wrong}, "test")
