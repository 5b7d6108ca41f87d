"""A row of SWE-bench Lite as it is published: its gold patch solves it in a container."""

import lzma
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from longstep_envs.data import build_once, cache_folder
from longstep_envs.sandbox import SandboxSpec
from longstep_envs.sandbox.docker import DockerSandbox
from longstep_envs.sandbox.docker_daemon import connect
from longstep_envs.sandbox.docker_image import ensure_image
from longstep_envs.swe.grade import grade
from longstep_envs.swe.rows import load_rows
from longstep_envs.swe.sdist import run_pip
from longstep_envs.swe.sources import WORKSPACE, base_tree, pack
from longstep_envs.swe.tasks import make_tasks
from longstep_envs.swe.types import Instance, Repository
from longstep_envs.types import DataError, text_hash

pytestmark = [pytest.mark.docker, pytest.mark.network]

_HERE = Path(__file__).parent / "flask_5063"
_DOCKERFILE = Path(__file__).parents[3] / "docker" / "swe.Dockerfile"
_SDIST = "pypi:Flask==2.2.3#sha256=7eb373984bf1c770023fce9db164ed0c3353cd0b53f130f4693da0ca756a2e6d"
_GIT_TREES = {
    "src/flask": "8edc912b14e44dc4419a2fb6639868e2d4b54e04",
    "tests": "fbdfc0505de29f5e8d4c0495284e2fc45d29483a",
}
"""What `git rev-parse BASE_COMMIT:FOLDER` says in a clone of Flask."""


@pytest.fixture(scope="module")
def instance() -> Instance:
    """The row, with its source from the package index in the place of the official image."""
    row = load_rows(_HERE / "row.json").instances[0]
    base = lzma.decompress((_HERE / "base.patch.xz").read_bytes()).decode()
    return replace(row, source=_SDIST, bug_patch=base, extra={"python_path": "src"})


@pytest.fixture(scope="module")
def tree(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flask") / "base.tar"
    try:
        path.write_bytes(pack(base_tree(instance)))
    except DataError as error:
        pytest.skip(f"Flask's source cannot be had: {error}")
    return path


@pytest.fixture(scope="module")
def repository(tree: Path) -> Iterator[Repository]:
    """The repository in an image that holds the packages which Flask and its tests need."""
    if reason := DockerSandbox.missing():
        pytest.skip(f"docker: {reason}")
    client = connect()
    options: dict[str, Any] = {"buildargs": {"BASE": ensure_image(client)}, "rm": True}
    image, _ = client.images.build(
        path=str(_packages()), dockerfile=str(_DOCKERFILE), tag="longstep/flask-test", **options
    )
    environment = {"PYTHONPATH": f"{WORKSPACE}/src:/python-packages"}
    spec = SandboxSpec(image="longstep/flask-test", tree=tree, environment=environment)
    yield Repository(tree, spec, "python3 -m pytest -q --tb=no {tests}")
    client.images.remove(image.id, force=True)


def _packages() -> Path:
    wanted = _HERE / "requirements.txt"
    folder = cache_folder("swe") / f"flask-{text_hash(wanted.read_text())[:12]}"
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--requirement", str(wanted)]
    try:
        return build_once(
            folder, lambda draft: run_pip(["install", *options, "--target", str(draft)])
        )
    except DataError as error:
        pytest.skip(f"the packages that Flask needs cannot be had: {error}")


def test_its_files_are_those_of_the_base_commit(tree: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xf", str(tree), "-C", str(tmp_path)], check=True)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "-f", "src/flask", "tests"], cwd=tmp_path, check=True)
    for folder, wanted in _GIT_TREES.items():
        command = ["git", "write-tree", f"--prefix={folder}/"]
        told = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        assert told.stdout.strip() == wanted


def test_its_gold_patch_solves_it(instance: Instance, repository: Repository) -> None:
    graded = grade(instance, repository, instance.gold_patch, backend="docker")
    assert graded.problem == ""
    assert graded.resolved, [t for t, good in graded.pass_to_pass.items() if not good]
    assert len(graded.fail_to_pass) == 2
    assert len(graded.pass_to_pass) == 54


def test_nothing_less_solves_it(instance: Instance, repository: Repository) -> None:
    assert not grade(instance, repository, "", backend="docker").resolved
    comment = (
        "--- a/src/flask/cli.py\n+++ b/src/flask/cli.py\n@@ -1,2 +1,3 @@\n"
        "+# nothing\n from __future__ import annotations\n \n"
    )
    graded = grade(instance, repository, comment, backend="docker")
    assert graded.problem == ""
    assert not any(graded.fail_to_pass.values())
    assert all(graded.pass_to_pass.values())


def test_the_expert_solves_it_with_the_tools(instance: Instance, repository: Repository) -> None:
    class Prepared:
        def prepare(self, instance: Instance) -> Repository:
            return repository

    tasks = make_tasks("one row", [instance], Prepared())
    env = gymnasium.make("longstep/SWE-v0", tasks=tasks, sandbox="docker")
    _, info = env.reset(seed=0, options={"expert": True})
    ended, score = False, 0.0
    for action in info["expert_plan"]:
        assert not ended
        _, _, ended, _, info = env.step(action)
        score = info["score"]
    assert ended
    assert score == 1.0
    env.close()
