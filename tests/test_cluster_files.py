"""The launch files of examples/cluster say what the programs that read them take."""

import json
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from longstep_training.config import build_config, override_tree
from longstep_training.recipe import TrainConfig

FOLDER = Path(__file__).parents[1] / "examples" / "cluster"
SOURCE: dict[str, Any] = {"train": {"env_id": "longstep/Treasure-v0"}}
JOB = {
    "entrypoint",
    "shutdownAfterJobFinishes",
    "ttlSecondsAfterFinished",
    "backoffLimit",
    "rayClusterSpec",
}
CLUSTER = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
HEAD = {"rayStartParams", "template"}
GROUP = HEAD | {"groupName", "replicas", "minReplicas", "maxReplicas"}
"""Fields of KubeRay's reference for ray.io/v1, as far as the manifest uses them."""


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    read: dict[str, Any] = yaml.safe_load((FOLDER / "rayjob.yaml").read_text("utf-8"))
    return read


def test_the_script_is_bash() -> None:
    subprocess.run(["bash", "-n", FOLDER / "slurm.sbatch"], check=True)


def test_the_script_starts_ray_then_torchrun(tmp_path: Path) -> None:
    """With programs in place of SLURM, Ray and torch that write down how they are called."""
    calls, out = tmp_path / "calls", tmp_path / "run"
    bodies = {
        "scontrol": "echo a; echo b; echo c",
        "srun": 'echo "srun $*" >> "$CALLS"; while [[ $1 == --* ]]; do shift; done; "$@"',
        "ray": "[[ $1 != start ]] || sleep 1",
        "torchrun": "exit 0",
    }
    for name, body in bodies.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    given = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "x", "SLURM_CPUS_PER_TASK": "4"}
    env = given | {"SLURM_GPUS_ON_NODE": "8", "TRAIN_NODES": "2", "CALLS": str(calls)}
    command: list[str | Path] = ["bash", FOLDER / "slurm.sbatch", "c.toml", out, "seed=3"]
    subprocess.run(
        command, check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin", **env}, timeout=60
    )
    said = calls.read_text().splitlines()
    starts = {re.search(r"--nodelist=(\w)", line)[1]: line for line in said if " ray start" in line}  # type: ignore[index]
    assert "--head --port=20007" in starts["a"]
    assert all("--address=a:20007" in starts[node] for node in "bc")
    assert [re.findall(r"--num-gpus=(\d)", starts[node]) for node in "abc"] == [["0"], ["0"], ["8"]]
    (training,) = [line for line in said if "torchrun" in line]
    assert "--nodelist=a,b " in training
    assert "--nnodes=2 --nproc-per-node=8" in training
    _check_command(training.partition("-m longstep_training ")[2])
    assert "--set seed=3" in training


def test_the_manifest_has_only_fields_that_kuberay_knows(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"].keys() <= JOB
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster.keys() <= CLUSTER
    assert cluster["headGroupSpec"].keys() == HEAD
    for group in cluster["workerGroupSpecs"]:
        assert group.keys() == GROUP
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]


def test_the_manifests_command_is_one_of_ours_and_finds_room(job: dict[str, Any]) -> None:
    entry = job["spec"]["entrypoint"]
    config = _check_command(entry.partition("-m longstep_training ")[2])
    groups = {g["groupName"]: g for g in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]}
    trainers = int(re.findall(r"--nproc-per-node=(\d+)", entry)[0])
    engines = groups["engines"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert trainers * config.engine.gpus <= int(engines["nvidia.com/gpu"])  # type: ignore[attr-defined]
    offered = json.loads(json.loads(groups["environments"]["rayStartParams"]["resources"]))
    places = groups["environments"]["replicas"] * offered["environments"]
    assert config.cluster.workers is not None
    assert trainers * config.cluster.workers <= places


def _check_command(text: str) -> TrainConfig:
    """The config that a command of ours sets, once it is one."""
    words = shlex.split(text)
    assert words[0] == "train"
    overrides = [word for flag, word in pairwise(words) if flag == "--set"]
    return build_config(TrainConfig, override_tree(dict(SOURCE), overrides), "test")
