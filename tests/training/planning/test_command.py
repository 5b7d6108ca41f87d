import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from longstep_training.cli import app
from longstep_training.config import ConfigError
from longstep_training.planning.settings import Engine, Recipe, read_recipe

CONFIG = Path(__file__).parents[3] / "configs" / "household.toml"
FITS = [
    *("--set", "run.shard=true", "--set", "run.precision=bfloat16"),
    *("--set", "engine.context=4096", "--set", "run.concurrency=32"),
]


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


def test_an_engine_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'hf', 'vllm', 'vllm_server' or 'ray', got 'nope'"):
        read_recipe(CONFIG, ["engine.name=nope"])


def test_keys_of_ray_and_its_cluster_are_taken() -> None:
    told = ["name=ray", "replicas=3", "gpus=2", "cpus=4", "each.name=vllm", "each.devices=2"]
    overrides = [f"engine.{one}" for one in told]
    recipe = read_recipe(CONFIG, [*overrides, "engine.each.eager=true", "cluster.address=auto"])
    assert (recipe.engine.replicas, recipe.engine.gpus, recipe.sampling.devices) == (3, 2, 2)


def test_defaults_are_those_of_the_run() -> None:
    pytest.importorskip("torch")
    from longstep_training.engines import (
        ENGINES,
        RayEngineConfig,
        VLLMEngineConfig,
        VLLMServerEngineConfig,
    )
    from longstep_training.recipe import TrainConfig

    field = Engine.model_fields["name"]
    assert set(get_args(field.annotation)) == set(ENGINES)
    mine, ray, vllm = Engine(), RayEngineConfig(), VLLMEngineConfig()
    assert (mine.replicas, mine.gpus, mine.each.name) == (ray.replicas, ray.gpus, ray.each.name)
    assert (mine.memory, mine.cache_gib, mine.devices) == (vllm.memory, vllm.cache_gib, 1)
    assert mine.sync == VLLMServerEngineConfig.model_fields["sync"].default
    tree = {"train": {"env_id": "longstep/Treasure-v0"}}
    whole = TrainConfig.model_validate(tree).model_dump(mode="json")
    read = Recipe().model_dump(mode="json")

    others = {"devices", "memory", "cache_gib", "replicas", "gpus", "each", "sync"}

    def compare(mine: object, its: object, path: str) -> None:
        if isinstance(mine, dict):
            assert isinstance(its, dict), path
            for key, value in mine.items():
                if path.endswith(".engine") and key in others:  # of other engines
                    continue
                if path.endswith(".rl") and key == "corrections":  # the run resolves what is open
                    continue
                compare(value, its[key], f"{path}.{key}")
        else:
            assert mine == its, path

    compare(read, whole, "")
