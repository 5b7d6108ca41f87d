import json
from pathlib import Path
from typing import Any

import pytest

from longstep_training.config import ConfigError
from longstep_training.planning.calibration import calibrate
from longstep_training.planning.costs import Setting
from longstep_training.planning.machines import MACHINES, Machine, find_machine
from longstep_training.planning.plan import make_plan
from longstep_training.planning.settings import Assumptions, Recipe
from longstep_training.planning.shapes import read_shape

CPU = Machine("cpu", 5e10, 5e10, 1e10, 1e10, 1e10, 1e9, accelerator=False)
POLICY = {
    "model_type": "qwen3",
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 192,
    "vocab_size": 600,
    "tie_word_embeddings": True,
}
RECIPE = {"train": {"turns": 20}, "rl": {"tasks": 8, "siblings": 4}}


def row(scale: float = 1.0, episodes: int = 32) -> dict[str, Any]:
    """A run whose engine needs 10 ms a pass, its host 0.2 ms a turn, its update 50 us a token."""
    turns, rollout_busy = 10.0 * episodes, 0.28 * scale
    rollout = rollout_busy + 2e-4 * turns
    drawn = turns
    update = 5e-5 * 100 * episodes
    timing = {"rollout": rollout, "credit": 0.01, "log": 0.006, "update": update}
    return {
        "phase": "rl",
        "iteration": 1,
        "episodes": episodes,
        "failed_episodes": 0,
        "turns": 10.0,
        "tokens_per_second": 100 * episodes / sum(timing.values()),
        "sampled_tokens_per_second": drawn / rollout,
        "engine": {"batch": drawn / 28, "busy": rollout_busy / rollout, "wasted": 0.0},
        "timing": timing,
    }


def write_run(folder: Path, rows: list[dict[str, Any]]) -> Path:
    (folder / "policy").mkdir(parents=True)
    (folder / "policy" / "config.json").write_text(json.dumps(POLICY), "utf-8")
    tree = "[train]\nturns = 20\n[rl]\ntasks = 8\nsiblings = 4\n"
    (folder / "config.toml").write_text(tree, "utf-8")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    return folder


def test_a_plan_of_the_calibrating_run_gives_its_times(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [{"phase": "imitation"}, row(), row()])
    recipe = Recipe.model_validate(RECIPE)
    assumed = Assumptions.model_validate(calibrate([run], CPU, recipe))
    assert assumed.turns == pytest.approx(10.0)
    assert assumed.host_seconds == pytest.approx(2e-4)
    assert assumed.credit_seconds == pytest.approx(5e-4)
    plan = make_plan(Setting(read_shape(run / "policy"), CPU, recipe, assumed), 1)
    update = plan.outcome.update_seconds / plan.outcome.iterations
    timing = row()["timing"]
    assert update == pytest.approx(timing["update"], rel=0.1)
    assert plan.outcome.step == pytest.approx(sum(timing.values()), rel=0.1)


def test_another_limit_keeps_the_chance_to_end(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [row()])
    longer = Recipe.model_validate({**RECIPE, "train": {"turns": 200}})
    assert 10.0 < calibrate([run], CPU, longer)["turns"] < 30.0
    shorter = Recipe.model_validate({**RECIPE, "train": {"turns": 5}})
    assert 3.0 < calibrate([run], CPU, shorter)["turns"] < 5.0


def test_speeds_of_a_processor_tell_nothing_of_an_accelerator(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [row()])
    found = calibrate([run], MACHINES["h100"], Recipe())
    assert "turns" in found
    assert not {"update_efficiency", "read_efficiency", "pass_seconds"} & found.keys()


@pytest.mark.parametrize(
    ("lines", "said"),
    [(None, "holds no metrics.jsonl"), ("", "no iteration of rl"), ("{", "line 1 is not JSON")],
)
def test_a_folder_without_measurements_is_refused(
    tmp_path: Path, lines: str | None, said: str
) -> None:
    run = write_run(tmp_path / "run", [])
    if lines is None:
        (run / "metrics.jsonl").unlink()
    else:
        (run / "metrics.jsonl").write_text(lines, "utf-8")
    with pytest.raises(ConfigError, match=said):
        calibrate([run], CPU, Recipe())


def test_this_machine_is_measured_and_a_file_of_ceilings_is_read(tmp_path: Path) -> None:
    here = find_machine("cpu")
    assert here.flops > 1e9
    assert not here.accelerator
    path = tmp_path / "box.json"
    told = {"flops": 2e11, "flops32": 1e11, "bandwidth": 2e10, "memory": 1e10}
    path.write_text(json.dumps(told), "utf-8")
    assert find_machine(str(path)).rate(4) == 1e11
    path.write_text(json.dumps({**told, "flop": 1}), "utf-8")
    with pytest.raises(ConfigError, match="unknown key 'flop'"):
        find_machine(str(path))
    with pytest.raises(ConfigError, match="did you mean 'h100'"):
        find_machine("h10")
