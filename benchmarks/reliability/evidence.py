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


def read_mutants() -> list[dict[str, Any]]:
    """The guards that tests must miss: tables of `tests/faults/mutants/`, by case."""
    files = (ROOT / "tests/faults/mutants").glob("*.toml")
    listed = [one for path in files for one in tomllib.loads(path.read_text("utf-8"))["mutant"]]
    return sorted(listed, key=lambda mutant: (mutant["case"], mutant["file"]))


def load() -> dict[str, dict[str, Any]]:
    """Everything that was found, by the name of its program."""
    return {
        path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))
    }
