import json
import random
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.evaluation.contestants import BUILT_IN
from longstep_agents.evaluation.run import Evaluation
from longstep_agents.exports import export
from longstep_agents.language_agent import AgentKit, LanguageAgentConfig
from longstep_agents.render import Renderer
from longstep_agents.small_policy import build_tokenizer
from longstep_envs.types import DataError
from longstep_tasks.suites import Part
from longstep_training.config import build_config
from longstep_training.demonstrations import Demonstrations
from longstep_training.loop import train
from longstep_training.recipe import TaskSource, TrainConfig

SOURCE = TaskSource(env_id="longstep/Treasure-v0", turns=20)
OPTIONS = {"rooms": 3, "locks": 1}


@pytest.fixture(scope="session")
def atif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the expert has played, as files of ATIF."""
    folder = tmp_path_factory.mktemp("atif")
    part = Part("treasure", "longstep/Treasure-v0", turns=20, split="train", count=24)
    Evaluation([part], BUILT_IN["expert"]).play(folder / "expert")
    export("atif", folder / "expert", folder / "files")
    return folder / "files"


def _read(path: Path, source: TaskSource = SOURCE) -> Demonstrations:
    config = LanguageAgentConfig.model_validate({"action": {"constraint": "admissible"}})
    words = ["You are in the hall. go north unlock take red key open chest east south west door"]
    return Demonstrations(path, source, Renderer(build_tokenizer(words)), AgentKit(config))


def _change(files: Path, out: Path, change: Any) -> Path:
    """A copy of one of the files, changed."""
    document = json.loads(sorted(files.iterdir())[0].read_text())
    change(document)
    out.mkdir(exist_ok=True)
    (out / "changed.json").write_text(json.dumps(document))
    return out


def test_what_the_environment_listed_is_known_again(atif: Path) -> None:
    demonstrations = _read(atif)
    assert (len(demonstrations), demonstrations.refused) == (24, [])
    groups = demonstrations.draw(5, random.Random(0))
    assert groups == demonstrations.draw(5, random.Random(0))
    for group in groups:
        (trajectory,) = group.trajectories
        assert trajectory.success
        assert trajectory.total_reward == pytest.approx(1.0)
        assert all(step.completion.allowed for step in trajectory.steps)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["extra"]["longstep"].update(success=False), "tells of a failure"),
        (lambda d: d["steps"].pop(), "the record ends before"),
        (lambda d: d["steps"][1]["extra"]["longstep"].update(action="jump"), "played again"),
        (lambda d: d["steps"].append(d["steps"][-1]), "played again, it ends in success"),
        (lambda d: d.update(steps=d["steps"] * 10), "more than imitation.turns"),
    ],
)
def test_what_does_not_come_to_the_same_is_left_out(
    change: Any, told: str, atif: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=told):
        _read(_change(atif, tmp_path / "bad", change))


def test_what_is_no_task_of_the_environment_is_taken_at_its_word(
    atif: Path, tmp_path: Path
) -> None:
    def elsewhere(document: Any) -> None:
        document["extra"]["longstep"]["task_id"] = "elsewhere"

    demonstrations = _read(_change(atif, tmp_path / "other", elsewhere))
    (group,) = demonstrations.draw(1, random.Random(0))
    assert group.trajectories[0].task_id == "elsewhere"
    assert all(step.completion.allowed is None for step in group.trajectories[0].steps)


def test_a_policy_learns_from_recorded_episodes(
    atif: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "files").mkdir()
    for number, file in enumerate(sorted(atif.iterdir())):
        (tmp_path / "files" / f"{number}.json").write_bytes(file.read_bytes())
    (tmp_path / "files" / "bad.json").write_text("\x1b[31m")
    config = build_config(
        TrainConfig,
        {
            "train": {"env_id": SOURCE.env_id, "split": "train", "turns": 20},
            "policy": {
                "vocabulary_episodes": 16,
                "small": {"hidden": 16, "layers": 1, "heads": 2, "feed_forward": 32},
            },
            "agent": {"max_tokens": 8, "action": {"constraint": "admissible"}},
            "imitation": {
                "iterations": 6,
                "demonstrations": 16,
                "recorded": str(tmp_path / "files"),
                "schedule": {"updates": 4},
                "optimizer": {"learning_rate": 1e-2},
            },
            "rl": {"iterations": 0},
        },
        "test",
    )
    train(config, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    losses = [row["loss"] for row in rows if row["phase"] == "imitation"]
    assert losses[-1] < 0.7 * losses[0]
    told = capfd.readouterr().err
    assert "to be imitated: 24 recorded episodes" in told
    assert "left out: " in told
    assert "bad.json" in told
