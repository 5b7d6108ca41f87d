import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from longstep_training.cli import app
from longstep_training.config import ConfigError
from longstep_training.planning.settings import Recipe, read_recipe

CONFIG = Path(__file__).parents[3] / "configs" / "household.toml"
FITS = ["--set", "run.shard=true", "--set", "run.precision=bfloat16"]


def test_a_plan_needs_no_torch_and_prints_json() -> None:
    program = (
        "import sys; from longstep_training.cli import main; main(); "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    command = ["plan", str(CONFIG), "--gpus", "16", "--model", "1.7B", "--json", *FITS]
    run = [sys.executable, "-c", program, *command]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["notice"] == "planned, not measured"
    assert told["step"]["seconds"] >= told["bound"]["step"]
    assert {"memory", "balance", "environments", "limits", "advice", "assumed"} <= told.keys()


def test_a_plan_is_printed_for_people() -> None:
    given = ["--model", "0.6B", "--assume", "latency=2.5", *FITS]
    done = CliRunner().invoke(app, ["plan", str(CONFIG), "--gpus", "8", *given])
    assert done.exit_code == 0
    assert "planned, not measured" in done.output
    assert "latency = 2.5  (given)" in done.output


def test_an_override_that_no_plan_reads_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'rl.tasks'"):
        read_recipe(CONFIG, ["rl.taks=3"])


def test_defaults_are_those_of_the_run() -> None:
    pytest.importorskip("torch")
    from longstep_training.recipe import TrainConfig

    tree = {"train": {"env_id": "longstep/Treasure-v0"}}
    whole = TrainConfig.model_validate(tree).model_dump(mode="json")
    read = Recipe().model_dump(mode="json")

    def compare(mine: object, its: object, path: str) -> None:
        if isinstance(mine, dict):
            assert isinstance(its, dict), path
            for key, value in mine.items():
                if path.endswith(".engine") and key == "devices":  # of vLLM alone
                    continue
                if path.endswith(".rl") and key == "corrections":  # the run resolves what is open
                    continue
                compare(value, its[key], f"{path}.{key}")
        else:
            assert mine == its, path

    compare(read, whole, "")
