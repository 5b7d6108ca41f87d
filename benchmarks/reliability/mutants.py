"""Shows that the tests of guards can fail: removes each guard in a copy, and runs its test there.

    python -m benchmarks.reliability.mutants [--case N]

A mutant is a table of `tests/faults/mutants/`: a piece of code and what takes its place, and a
test that has to be red then. The same test has to be green in the copy without any change.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from benchmarks.reliability.evidence import ROOT, read_mutants, save

COPIED = ("envs", "tasks", "agents", "training", "tests", "benchmarks", "configs", "examples")
FILES = ("pyproject.toml", "README.md", "Makefile")
_SECONDS = 300


def main(case: Annotated[int | None, typer.Option(help="Only this one.")] = None) -> None:
    """Run all, and write what was found."""
    mutants = [mutant for mutant in read_mutants() if case in (None, mutant["case"])]
    with TemporaryDirectory() as folder:
        tree = _copy(Path(folder))
        green = {test: _passes(tree, test) for test in sorted({m["test"] for m in mutants})}
        survived = [_name(m) for m in mutants if green[m["test"]] and _survives(tree, m)]
    broken = [test for test, passed in green.items() if not passed]
    for what, names in (("is red without any change", broken), ("survived", survived)):
        for name in names:
            typer.echo(f"{name}: {what}")
    if case is None:
        caught = len(mutants) - len(survived) - sum(not green[m["test"]] for m in mutants)
        save("mutants", "Guards removed one by one", {"mutants": len(mutants), "caught": caught})
    raise typer.Exit(bool(broken or survived))


def _copy(folder: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def _survives(tree: Path, mutant: Mapping[str, Any]) -> bool:
    """Whether the test passes without the guard."""
    path = tree / mutant["file"]
    code = path.read_text("utf-8")
    if code.count(mutant["old"]) != 1:
        typer.echo(f"{_name(mutant)}: the code stands {code.count(mutant['old'])} times there")
        return True
    path.write_text(code.replace(mutant["old"], mutant["new"]), "utf-8")
    try:
        return _passes(tree, mutant["test"])
    finally:
        path.write_text(code, "utf-8")


def _passes(tree: Path, test: str) -> bool:
    packages = os.pathsep.join(str(tree / name) for name in ("envs", "tasks", "agents", "training"))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-m",
        "not golden",
        "-p",
        "no:cacheprovider",
    ]
    try:
        done = subprocess.run(
            [*command, test],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": packages},
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _name(mutant: Mapping[str, Any]) -> str:
    return f"case {mutant['case']}, {mutant['file']}, {mutant['test'].rpartition('::')[2]}"


if __name__ == "__main__":
    typer.run(main)
