"""Case 41: nothing in the packages runs what it reads, but where a reason stands here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("envs", "tasks", "agents", "training")
MODULES = ("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "runpy", "code")
CALLS = ("eval", "exec", "compile", "__import__")
ATTRIBUTES = ("torch.load", "os.system", "os.popen")
ARGUMENTS = ("allow_pickle", "shell", "trust_remote_code")

ALLOWED = {
    "envs/longstep_envs/worker.py: pickle": (
        "the recipe comes over a socket pair from the process that started this one; what comes "
        "back is JSON"
    ),
    "envs/longstep_envs/link.py: pickle": "packs that recipe; reads none",
    "envs/longstep_envs/subject.py: pickle": (
        "`longstep check` packs and unpacks a snapshot of the environment that it runs anyway"
    ),
    "envs/longstep_envs/sandbox/docker_channel.py: exec": (
        "our own supervisor, sent into a container that trusts the host"
    ),
    "training/longstep_training/policy.py: trust_remote_code": "False",
}
"""What is found in a file -> why it may stay."""


def found_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        yield from modules_of(node)
        yield from names_of(node)


def modules_of(node: ast.AST) -> Iterator[str]:
    """What of MODULES a statement imports."""
    match node:
        case ast.Import(names=names):
            yield from (one.name for one in names if one.name.split(".")[0] in MODULES)
        case ast.ImportFrom(module=str() as module) if module.split(".")[0] in MODULES:
            yield module


def names_of(node: ast.AST) -> Iterator[str]:
    """What is called or handed on, in code or in the text of code."""
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in CALLS:
            yield name
        case ast.Attribute(value=ast.Name(id=owner), attr=name) if f"{owner}.{name}" in ATTRIBUTES:
            yield f"{owner}.{name}"
        case ast.keyword(arg=str() as name) | ast.Constant(value=str() as name):
            if name in ARGUMENTS:
                yield name
            elif "exec(" in name and "import" in name:
                yield "exec"


def everything() -> set[str]:
    files = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return {
        f"{path.relative_to(ROOT).as_posix()}: {what}" for path in files for what in found_in(path)
    }


@pytest.mark.case(41)
def test_nothing_runs_what_it_reads_without_a_reason() -> None:
    found = everything()
    assert found - ALLOWED.keys() == set(), "avoid it, or give the reason in ALLOWED"
    assert ALLOWED.keys() - found == set(), "this is gone; remove it from ALLOWED"


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from yaml import safe_load",
        "eval(x)",
        "torch.load(x)",
        "np.load(x, allow_pickle=True)",
        "run(x, shell=True)",
        "load(**{'trust_remote_code': True})",
    ],
)
def test_the_search_finds_what_it_looks_for(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.py"
    path.write_text(text)
    assert list(found_in(path))
