"""Writes `docs/reliability.md`: the numbered cases with their tests, and the evidence.

python -m benchmarks.reliability.report
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.reliability.evidence import ROOT, load, read_cases, read_mutants

PAGE = ROOT / "docs" / "reliability.md"
Tests = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Case -> test -> outcome -> how many times."""


def main() -> None:
    """Put every table between its marks."""
    results = load()
    page = PAGE.read_text("utf-8")
    tests: Tests = results.pop("cases", {}).get("numbers", {})
    removed = results.get("mutants", {}).get("numbers", {})
    removed.pop("verdicts", None)
    page = _put(page, "cases", cases(tests, removed.pop("by case", {})))
    for name, found in results.items():
        page = _put(page, name, evidence(found))
    PAGE.write_text(page, "utf-8")


def cases(tests: Tests, removed: Mapping[str, Mapping[str, int]]) -> str:
    """A row for each numbered case; `removed` tells how many mutants there are, and were caught."""
    listed = Counter(mutant["case"] for mutant in read_mutants())
    rows = ["| | what happens | what comes of it | tests | mutants |", "|---|---|---|---|---|"]
    for number, (what, expected) in read_cases().items():
        shown, ran = _shown(tests.get(str(number), {})), removed.get(str(number), {})
        waiting = f"{listed[number]} not run" if listed[number] else "none"
        guards = f"{ran['caught']} of {ran['mutants']}" if ran else waiting
        rows.append(f"| {number} | {what} | {expected} | {shown} | {guards} |")
    every = [outcomes for one in tests.values() for outcomes in one.values()]
    functions = len({test for one in tests.values() for test in one})
    rows += ["", f"Together: {_counted(every)}, of {functions} functions; some show several cases."]
    return "\n".join(rows)


def evidence(found: Mapping[str, Any]) -> str:
    """What a program has found: how it was called, and its numbers."""
    rows = [f"`{found['command']}`, at a load of {found['load']}:", "", "| | |", "|---|---|"]
    rows += [f"| {name} | {_value(value)} |" for name, value in found["numbers"].items()]
    return "\n".join(rows)


def _shown(tests: Mapping[str, Mapping[str, int]]) -> str:
    """How many tests, counting parameters, and what did not pass."""
    if not tests:
        return "none"
    files = sorted({test.partition("::")[0].rpartition("/")[2] for test in tests})
    return f"{_counted(tests.values())} ({', '.join(files)})"


def _counted(outcomes: Iterable[Mapping[str, int]]) -> str:
    total: Counter[str] = Counter()
    for one in outcomes:
        total.update(one)
    return ", ".join(
        f"{total[name]} {name}" for name in ("passed", "failed", "skipped") if total[name]
    )


def _value(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, dict) and any(isinstance(one, dict) for one in value.values()):
        return f"{len(value)}: {', '.join(value)}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _put(page: str, name: str, table: str) -> str:
    """The page with `table` between the marks of `name`; as it was where it has no such marks."""
    start, found, rest = page.partition(f"<!-- {name} -->")
    if not found:
        return page
    return f"{start}<!-- {name} -->\n{table}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"


if __name__ == "__main__":
    main()
