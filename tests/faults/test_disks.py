"""Case 27: real disks that are full or read-only; they are mounted here, which root alone can."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from longstep_agents.trace import read_rows
from longstep_training.checkpoint import find_checkpoints, read_checkpoint
from longstep_training.cli import main
from longstep_training.config import build_config
from longstep_training.log import RunLog
from longstep_training.loop import train
from longstep_training.recipe import TrainConfig
from longstep_training.run import Run
from longstep_training.storage import StorageError

pytestmark = pytest.mark.case(27)
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
    "rl": {"iterations": 2, "tasks": 4, "siblings": 4},
    "run": {"checkpoint_every": 1},
}
SETTINGS = build_config(TrainConfig, CONFIG, "test")
CLOCKS = {"seconds", "timing", "tokens_per_second", "sampled_tokens_per_second", "engine"}


def mount(folder: Path, *options: str) -> None:
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "-t", "tmpfs", "-o", "size=8m", "tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Path]:
    """Read-only."""
    folder = tmp_path / "frozen"
    folder.mkdir()
    mount(folder, "--bind", str(folder))
    mount(folder, "-o", "remount,ro,bind")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(SETTINGS, run)
    return run


def fill(disk: Path, room: int) -> None:
    """Leave so many bytes."""
    with (disk / "filler").open("wb", buffering=0) as file:
        left = disk_room(disk) - room
        file.write(bytes(max(0, left)))


def disk_room(disk: Path) -> int:
    told = os.statvfs(disk)
    return told.f_bavail * told.f_frsize


def fails_at(place: type, name: str, count: int, then: Callable[[], None]) -> pytest.MonkeyPatch:
    """Before the so-manieth call, something happens."""
    patch, plain, calls = pytest.MonkeyPatch(), getattr(place, name), iter(range(1, 10**6))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == count:
            then()
        return plain(*args, **kwargs)

    patch.setattr(place, name, call)
    return patch


def measured(run: Path) -> list[dict[str, Any]]:
    rows = read_rows(run / "metrics.jsonl")
    return [{key: value for key, value in row.items() if key not in CLOCKS} for row in rows]


def weights(run: Path) -> dict[str, bytes]:
    files = sorted((run / "checkpoints" / "rl-000002").rglob("*.safetensors"))
    return {key: t.numpy().tobytes() for path in files for key, t in load_file(path).items()}


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["longstep", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    "room", [0, 20_000, *(pytest.param(size, marks=pytest.mark.slow) for size in (5_000, 60_000))]
)
@pytest.mark.parametrize(
    ("place", "name"), [(Run, "save"), (RunLog, "metrics")], ids=["checkpoint", "metrics"]
)
def test_a_run_ends_with_one_line_and_goes_on_when_there_is_room(
    whole: Path, disk: Path, place: type, name: str, room: int
) -> None:
    run = disk / "run"
    patch = fails_at(place, name, 2, lambda: fill(disk, room))
    try:
        with pytest.raises(StorageError) as caught:
            train(SETTINGS, run)
    finally:
        patch.undo()
    told = str(caught.value)
    assert str(run) in told
    assert "No space left on device; make room, and continue with: longstep train --resume" in told
    assert "\n" not in told
    for folder in find_checkpoints(run / "checkpoints"):
        read_checkpoint(folder)
    assert read_checkpoint(run / "checkpoints" / "latest").phase in ("imitation", "rl")
    assert next(row["phase"] for row in RunLog(run).rows()) == "imitation"
    (disk / "filler").unlink()
    train(SETTINGS, run, resume=True)
    assert measured(run) == measured(whole)
    assert weights(run) == weights(whole)
    assert read_checkpoint(run / "checkpoints" / "latest").iteration == 2
    assert not [path.name for path in run.rglob("*.partial")]


@pytest.mark.parametrize("room", [0, 8_000])
def test_a_run_that_has_no_room_to_begin_begins_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], disk: Path, room: int
) -> None:
    fill(disk, room)
    config = disk.parent / "tiny.toml"
    config.write_text('[train]\nenv_id = "longstep/Treasure-v0"\n')
    words = ("train", config, "--set", "rl.iterations=0", "--set", "imitation.iterations=0")
    assert command(monkeypatch, *words, "--out", disk / "run") == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    (error,) = errors
    assert str(disk / "run") in error
    assert "No space left on device; make room, " in error
    (disk / "filler").unlink()
    begun = (disk / "run" / "config.toml").exists()
    assert f"--resume {disk / 'run'}" in error if begun else "or name another --out" in error
    again = ("train", "--resume", disk / "run") if begun else (*words, "--out", disk / "run")
    monkeypatch.setattr("sys.argv", ["longstep", *map(str, again)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code


def test_a_read_only_folder_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], frozen: Path
) -> None:
    config = frozen.parent / "tiny.toml"
    config.write_text('[train]\nenv_id = "longstep/Treasure-v0"\n')
    for words in (("train", config), ("eval", "longstep/Treasure-v0", "--agent", "noop")):
        assert command(monkeypatch, *words, "--out", frozen / "new") == 1
        (error,) = (e for e in capsys.readouterr().err.splitlines() if e.startswith("error: "))
        assert f"{frozen / 'new'} cannot be written: Read-only file system; let it be" in error


@pytest.mark.parametrize("room", [0, 20_000])
def test_an_evaluation_ends_with_one_line_and_goes_on_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], disk: Path, room: int
) -> None:
    out, calm = disk / "eval", disk.parent / "calm"
    words = ("eval", "longstep/Treasure-v0", "--agent", "random", "--tasks", 20)
    command(monkeypatch, *words, "--out", calm)
    fill(disk, room)
    assert command(monkeypatch, *words, "--out", out) == 1
    (error,) = (e for e in capsys.readouterr().err.splitlines() if e.startswith("error: "))
    assert str(out) in error
    assert f"No space left on device; make room, and go on with --resume --out {out}" in error
    (disk / "filler").unlink()
    begun = (out / "evaluation.json").exists()
    command(monkeypatch, *words, "--out", out, *(["--resume"] if begun else []))

    def played(folder: Path) -> dict[str, Any]:
        rows = read_rows(folder / "episodes" / "eval.jsonl")
        assert len(rows) == 20
        return {row["task_id"]: row["steps"] for row in rows}

    assert played(out) == played(calm)
    assert json.loads((out / "results.json").read_text())
