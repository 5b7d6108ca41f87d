import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from longstep_agents.types import Group
from longstep_envs.types import DataError
from longstep_training.cli import app
from longstep_training.commands.replay import _own_reward, _training_worlds
from longstep_training.log import RunLog

TREASURE = "longstep/Treasure-v0"


def longstep(*arguments: str | Path, raises: bool = False) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=not raises)


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    out = tmp_path / "run"
    longstep("eval", TREASURE, "--agent", "random", "--tasks", "3", "--out", out)
    return out


@pytest.mark.case(33)
def test_an_evaluation_is_proved_or_its_first_difference_told(evaluation: Path) -> None:
    done = longstep("replay", evaluation, "--verify")
    assert (done.exit_code, done.stdout[:40]) == (0, "3 of 3 episodes went the same way, 150 s")
    log = evaluation / "episodes" / "eval.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    rows[1]["steps"][4]["observation"] = "\x1b[2JAll is well."
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = longstep("replay", evaluation, "--verify", "--json")
    (found,) = json.loads(done.stdout)["differences"]
    assert (done.exit_code, found["episode"], found["step"]) == (1, 1, 4)
    told = longstep("replay", evaluation, "--verify").stdout
    assert f"episode 1, step 4, observation ({rows[1]['task_id']})" in told
    assert "\x1b" not in told
    assert "2 of 3 episodes" in told
    assert longstep("replay", evaluation, "--verify", "--episode", "0").exit_code == 0
    assert longstep("replay", evaluation, "--verify", "--episode", "1").exit_code == 1


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("evaluation.json", "nonsense", "evaluation.json holds no JSON"),
        ("evaluation.json", "[]", "wanted a table with the key 'asked'"),
        ("config.toml", "seed = 1", "wanted the key 'train'"),
        ("config.toml", "seed =", "config.toml cannot be read"),
        ("config.toml", None, "config.toml cannot be read"),
    ],
)
def test_a_run_of_which_nothing_is_told_is_refused(
    evaluation: Path, file: str, text: str | None, told: str
) -> None:
    (evaluation / "evaluation.json").unlink()
    if text is not None:
        (evaluation / file).write_text(text)
    with pytest.raises(DataError, match=told):
        longstep("replay", evaluation, "--verify", raises=True)


def test_an_episode_is_shown(evaluation: Path) -> None:
    row = json.loads((evaluation / "episodes" / "eval.jsonl").read_text().splitlines()[2])
    shown = longstep("replay", evaluation, "--episode", "2").stdout
    assert shown.startswith(row["steps"][0]["observation"])
    assert f"> {row['steps'][7]['action']}" in shown
    assert row["final_observation"] in shown
    played = json.loads(longstep("replay", evaluation, "--episode", "2", "--json").stdout)
    assert len(played["said"]) == len(row["steps"]) + 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name an --episode to be shown, or say --verify"),
        (["--episode", "3"], "--episode 3: there are 3, counted from 0"),
    ],
)
def test_what_cannot_be_asked_is_told(evaluation: Path, arguments: list[str], told: str) -> None:
    done = longstep("replay", evaluation, *arguments)
    assert done.exit_code == 2
    assert told in done.output


def test_rows_of_before_prove_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'[train]\nenv_id = "{TREASURE}"\n')
    RunLog(tmp_path).episodes({"phase": "rl", "iteration": 1}, [Group()])
    old = {"phase": "rl", "iteration": 1, "task_id": "a", "outcome": "ok", "steps": []}
    (tmp_path / "episodes" / "rl.jsonl").write_text(json.dumps(old) + "\n")
    done = longstep("replay", tmp_path, "--verify")
    assert (done.exit_code, "left out: 1 no seed" in done.stdout) == (1, True)


def test_each_phase_of_training_has_its_world() -> None:
    worlds = _training_worlds(
        {
            "train": {"env_id": "a", "env_kwargs": {"x": 1}},
            "evaluation": [{"name": "held-out", "tasks": {"env_id": "b"}}],
            "rl": {"strategy": {"name": "hint"}, "rewards": {"terms": {"environment": 1.0}}},
        }
    )
    trained = worlds({"phase": "rl"})
    assert (trained.env_id, trained.env_kwargs, trained.hints) == ("a", {"x": 1}, True)
    assert trained.reward == "environment"
    played = worlds({"phase": "eval", "part": "held-out"})
    assert (played.env_id, played.reward, played.hints) == ("b", "", False)


@pytest.mark.parametrize(
    ("rewards", "part"),
    [
        ({"terms": {"environment": {"weight": 2.0}, "turn": -0.1}}, "environment"),
        ({"terms": {"environment": {"shape": [{"name": "to_go"}]}}}, None),
        ({"terms": {"environment": 1.0}, "gates": [{"part": "x"}]}, None),
        ({"terms": {"outcome": 1.0}}, None),
        ({}, None),
    ],
)
def test_rewards_are_compared_where_the_trainer_kept_them(
    rewards: dict[str, Any], part: str | None
) -> None:
    assert _own_reward({"rewards": rewards}) == part
