"""Case 30: a run goes on as the run that it was begun as."""

from pathlib import Path
from typing import Any

import pytest

from longstep_envs.types import BadValueError, DataError
from longstep_training.cli import main
from longstep_training.config import build_config
from longstep_training.loop import begin, train
from longstep_training.origin import check_origin
from longstep_training.recipe import TrainConfig
from longstep_training.run_lock import RunLock


def config(**parts: Any) -> TrainConfig:
    tree: dict[str, Any] = {
        "train": {
            "env_id": "longstep/Treasure-v0",
            "turns": 8,
            "env_kwargs": {"split": "train", "rooms": 3, "locks": 1},
        },
        "policy": {
            "vocabulary_episodes": 8,
            "small": {"hidden": 16, "layers": 1, "heads": 2, "feed_forward": 32},
        },
        "agent": {"max_tokens": 8, "action": {"constraint": "admissible"}},
        "imitation": {"iterations": 1, "demonstrations": 2, "schedule": {"updates": 1}},
        "rl": {"iterations": 0},
    }
    tree = {key: {**tree.get(key, {}), **parts.get(key, {})} for key in {*tree, *parts}}
    return build_config(TrainConfig, tree, "test")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that has begun, and was left before it learnt anything."""
    folder, lock = tmp_path / "run", RunLock(tmp_path / "run")
    begin(config(), folder, False, lock)
    lock.close()
    return folder


def kept(run: Path) -> dict[str, bytes]:
    paths = sorted(path for path in run.rglob("*") if path.is_file())
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.case(30)
def test_another_config_is_refused_with_the_difference(run: Path) -> None:
    before = kept(run)
    other = config(rl={"tasks": 3}, imitation={"demonstrations": 7}, run={"grace": 1.0})
    told = r"another config; put it back, .*:\nimitation.demonstrations: 2, now 7\n"
    with pytest.raises(BadValueError, match=rf"{told}rl.tasks: \d+, now 3$"):
        train(other, run, resume=True)
    assert kept(run) == before


@pytest.mark.case(30)
def test_a_config_that_was_edited_in_the_runs_folder_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "config.toml"
    path.write_text(path.read_text().replace("demonstrations = 2", "demonstrations = 3"))
    monkeypatch.setattr("sys.argv", ["longstep", "train", "--resume", str(run)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert "error: imitation.demonstrations: 2, now 3" in capsys.readouterr().err


@pytest.mark.case(30)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_another_model_or_tokenizer_is_refused_by_the_name_of_its_file(
    run: Path, name: str
) -> None:
    path = run / "policy" / name
    path.write_bytes(path.read_bytes().replace(b"e", b"f", 1))
    with pytest.raises(DataError, match=rf"policy: {name} has changed .*; put it back"):
        train(config(), run, resume=True)


def test_how_the_machine_is_used_may_change(run: Path) -> None:
    train(config(run={"checkpoint_every": 1, "concurrency": 3}), run, resume=True)
    assert (run / "checkpoints" / "latest" / "model.safetensors").exists()


def test_a_run_may_go_on_for_longer(run: Path) -> None:
    check_origin(run, config(rl={"iterations": 5}))
    with pytest.raises(BadValueError, match=r"imitation\.iterations: 1, now 2"):
        check_origin(run, config(rl={"iterations": 5}, imitation={"iterations": 2}))
