"""Writes `docs/reliability.md`: the numbered cases with their tests, and the evidence.

python -m benchmarks.reliability.report
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from benchmarks.reliability.evidence import ROOT, load, read_mutants

PAGE = ROOT / "docs" / "reliability.md"
CASES = ROOT / "tests/faults/cases.toml"
Tests = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Case -> test -> outcome -> how many times."""


def main() -> None:
    """Put every table between its marks."""
    results = load()
    page = PAGE.read_text("utf-8")
    tests: Tests = results.pop("cases", {}).get("numbers", {})
    page = _put(page, "cases", cases(tests))
    for name, found in results.items():
        page = _put(page, name, evidence(found))
    PAGE.write_text(page, "utf-8")


def cases(tests: Tests) -> str:
    """A row for each numbered case."""
    mutants = read_mutants()
    rows = ["| | what happens | what comes of it | tests | mutants |", "|---|---|---|---|---|"]
    for group in tomllib.loads(CASES.read_text("utf-8")).values():
        for number, (what, expected) in group.items():
            shown = _shown(tests.get(number, {}))
            guards = sum(str(mutant["case"]) == number for mutant in mutants)
            rows.append(f"| {number} | {what} | {expected} | {shown} | {guards or ''} |")
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
    total = {"passed": 0, "failed": 0, "skipped": 0}
    for outcomes in tests.values():
        for outcome, count in outcomes.items():
            total[outcome] += count
    told = [f"{count} {outcome}" for outcome, count in total.items() if count]
    files = sorted({test.partition("::")[0].rpartition("/")[2] for test in tests})
    return f"{', '.join(told)} ({', '.join(files)})"


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
