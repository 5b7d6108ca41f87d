"""Shows that the tests of guards can fail: removes each guard in a copy, and runs its test there.

    python -m benchmarks.reliability.mutants [FILE...] [--case N]... [--jobs N] [--again]

A mutant is a table of `tests/faults/mutants/`: a piece of code and what takes its place, and a
test that has to be red then (`hangs = true` where it never ends instead). The same test has to be
green in the copy without any change. One that is skipped, for want of a backend say, shows nothing
and is told apart, as is one that cannot be imported without the guard. What was caught is not run
again until the mutant, its code or its test file changes, or with `--again`.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NoReturn

import pytest
import typer
from benchmarks.reliability.evidence import ROOT, load, read_cases, read_mutants, save

COPIED = ("envs", "tasks", "agents", "training", "tests", "benchmarks", "configs", "examples")
FILES = ("pyproject.toml", "README.md", "Makefile")
_SECONDS = 120
"""Of a test without its guard."""
_GREEN_SECONDS = 3_600
"""Of all tests together with their guards."""
_TOLD = {
    "failed": "caught",
    "passed": "survived",
    "skipped": "skipped",
    "not found": "nothing ran without the guard",
    "endless": f"no end within {_SECONDS} s without the guard; say `hangs = true` if it means to",
}
_OPTIONS: tuple[str, ...] = ("-q", "-m", "not golden and not evidence", "-p", "no:cacheprovider")
_OPTIONS += ("-p", "benchmarks.reliability.plugin")
_HEAVY = ("torch", "transformers.models.qwen3.modeling_qwen3", "openai", "hypothesis", "gymnasium")
Mutant = Mapping[str, Any]
Outcomes = Mapping[str, str]
"""Of each test that ran, with its parameters: passed, failed or skipped."""


def main(
    files: Annotated[list[str] | None, typer.Argument(help="Such as `models`; all else.")] = None,
    case: Annotated[list[int] | None, typer.Option(help="Repeatable; all else.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Copies that are worked in at a time.")] = 1,
    again: Annotated[bool, typer.Option("--again", help="Run what was caught, too.")] = False,
) -> None:
    """Run them, tell those that are not caught, and write what is known of all."""
    chosen = [one for one in read_mutants(*files or ()) if not case or one["case"] in case]
    before = _known()
    mutants = {_digest(one): one for one in chosen}
    if not again:
        mutants = {key: one for key, one in mutants.items() if before.get(key) != "caught"}
    found = _run_all(list(mutants.values()), jobs) if mutants else []
    _write(read_mutants(), _known() | dict(zip(mutants, found, strict=True)))
    raise typer.Exit(not set(found) <= {"caught", "skipped"})


def _run_all(mutants: Sequence[Mutant], jobs: int) -> list[str]:
    _warm()
    with TemporaryDirectory() as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            trees.put(_copy(Path(folder, str(number))))
        green = _with_guards(trees, sorted({one["test"] for one in mutants}))
        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(lambda one: _judge(trees, one, green[one["test"]]), mutants))


def _known() -> dict[str, str]:
    """What became of mutants before, by digest."""
    verdicts: dict[str, str] = load().get("mutants", {}).get("numbers", {}).get("verdicts", {})
    return verdicts


def _digest(mutant: Mutant) -> str:
    """Of all that a verdict stands on, but for what the code and the test import."""
    test = mutant["test"].partition("::")[0]
    texts = [(ROOT / path).read_text("utf-8") for path in (mutant["file"], test)]
    told = json.dumps([dict(mutant), *texts], sort_keys=True)
    return blake2b(told.encode(), digest_size=8).hexdigest()


def _write(mutants: Sequence[Mutant], verdicts: Mapping[str, str]) -> None:
    pairs = [(one, verdicts.get(_digest(one), "not run")) for one in mutants]
    every, found = Counter(m["case"] for m in mutants), Counter(what for _, what in pairs)
    caught = Counter(m["case"] for m, what in pairs if what == "caught")
    numbers: dict[str, Any] = {"mutants": len(mutants)}
    numbers |= {what: found[what] for what in ("caught", "survived", "skipped", "not run")}
    others = [f"{_name(m)}: {what}" for m, what in pairs if what not in ("caught", "not run")]
    numbers["not caught"] = others or "none"
    without = [number for number in read_cases() if not every[number]]
    numbers["cases without a mutant"] = without or "none"
    numbers["by case"] = {str(n): {"mutants": every[n], "caught": caught[n]} for n in every}
    numbers["verdicts"] = {_digest(m): w for m, w in pairs if w != "not run"}
    save("mutants", "Guards removed one by one", numbers)


def _copy(folder: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    folder.parent.chmod(0o755)  # sandboxes show parts of it to users who are nobody here
    return folder


def _with_guards(trees: SimpleQueue[Path], tests: Sequence[str]) -> dict[str, str]:
    """What becomes of the tests in a copy without any change, in one run."""
    tree = trees.get()
    outcomes = _run(tree, tests, _GREEN_SECONDS) if tests else {}
    trees.put(tree)
    return {test: _worst(outcomes, test) for test in tests}


def _judge(trees: SimpleQueue[Path], mutant: Mutant, green: str) -> str:
    """What became of a mutant: caught, survived, skipped, or why it cannot be told."""
    found = green
    if green == "passed":
        tree = trees.get()
        found = _without_guard(tree, mutant)
        trees.put(tree)
    elif green != "skipped":
        found = f"the test is {green} with the guard"
    typer.echo(f"{found:9} {_name(mutant)}")
    return found


def _without_guard(tree: Path, mutant: Mutant) -> str:
    path = tree / mutant["file"]
    code = path.read_text("utf-8")
    if code.count(mutant["old"]) != 1:
        return f"the code stands {code.count(mutant['old'])} times there"
    path.write_text(code.replace(mutant["old"], mutant["new"]), "utf-8")
    try:
        outcome = _worst(_run(tree, [mutant["test"], "-x"], _SECONDS), mutant["test"])
    except TimeoutError:
        outcome = "failed" if mutant.get("hangs") else "endless"
    finally:
        path.write_text(code, "utf-8")
    return _TOLD[outcome]


def _run(tree: Path, arguments: Sequence[str], seconds: float) -> Outcomes:
    """What became of tests in a copy; those of the slowest kind are left out.

    Raises:
        TimeoutError: they do not end.
    """
    told = tree / "outcomes.json"
    told.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        _become_pytest(tree, [*_OPTIONS, "--outcomes", str(told), *arguments])
    deadline = time.monotonic() + seconds
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"no end within {seconds} s: {arguments}")
        time.sleep(0.02)
    outcomes: dict[str, str] = json.loads(told.read_text("utf-8")) if told.exists() else {}
    return outcomes


def _become_pytest(tree: Path, arguments: list[str]) -> NoReturn:
    """In a child: run the copy's tests on the copy's packages, in silence."""
    status = 3
    try:
        os.setsid()
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(silence, stream)
        os.chdir(tree)
        packages = [str(tree / name) for name in ("envs", "tasks", "agents", "training")]
        sys.path[:0] = [*packages, str(tree)]
        os.environ["PYTHONPATH"] = os.pathsep.join(packages)
        for name in [name for name in sys.modules if name.startswith("benchmarks")]:
            del sys.modules[name]  # the copy has its own
        status = pytest.main(arguments)
    finally:
        os._exit(status)


def _warm() -> None:
    """Import what takes long and is no part of the copies, once for all that are forked."""
    for name in _HEAVY:
        with suppress(ImportError):
            importlib.import_module(name)


def _worst(outcomes: Outcomes, test: str) -> str:
    """Of a test with all its parameters: one that fails is enough, and one that is not skipped."""
    found = {o for node, o in outcomes.items() if node == test or node.startswith(f"{test}[")}
    return next((one for one in ("failed", "passed", "skipped") if one in found), "not found")


def _name(mutant: Mutant) -> str:
    return f"case {mutant['case']}, {mutant['file']}, {mutant['test'].rpartition('::')[2]}"


if __name__ == "__main__":
    typer.run(main)
