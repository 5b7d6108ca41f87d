"""The files that evidence of reliability leaves, of which `docs/reliability.md` is made."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

FOLDER = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[2]


def save(name: str, what: str, numbers: Mapping[str, Any]) -> None:
    """Write and print what a program has found; the machine's load stands beside it."""
    arguments = shlex.join(["python", "-m", f"benchmarks.reliability.{name}", *sys.argv[1:]])
    found = {
        "what": what,
        "command": arguments,
        "load": round(os.getloadavg()[0], 1),
        "numbers": dict(numbers),
    }
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    (FOLDER / f"{name}.json").write_text(text, "utf-8")
    typer.echo(text)


def read_cases() -> dict[int, tuple[str, str]]:
    """The numbered cases: what happens, and what is to come of it."""
    groups = tomllib.loads((ROOT / "tests/faults/cases.toml").read_text("utf-8")).values()
    return {int(number): (what, wanted) for g in groups for number, (what, wanted) in g.items()}


def read_mutants(*names: str) -> list[dict[str, Any]]:
    """The guards that tests must miss, by case: tables of these files of `tests/faults/mutants/`.

    Raises:
        FileNotFoundError: there is no such file.
    """
    folder = ROOT / "tests/faults/mutants"
    files = [folder / f"{name}.toml" for name in names] or sorted(folder.glob("*.toml"))
    listed = [one for path in files for one in tomllib.loads(path.read_text("utf-8"))["mutant"]]
    return sorted(listed, key=lambda mutant: (mutant["case"], mutant["file"], mutant["test"]))


def load() -> dict[str, dict[str, Any]]:
    """Everything that was found, by the name of its program."""
    return {
        path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))
    }
