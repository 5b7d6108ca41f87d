"""A plug-in of pytest: writes what came of each test, or of each numbered fault.

python -m pytest -p benchmarks.reliability.plugin [--cases FILE] [--outcomes FILE]
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

_found: dict[int, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
_outcomes: dict[str, str] = {}
_ITEMS: dict[str, pytest.Item] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    parser.addoption("--cases", type=Path, help="run the numbered cases only, and write this file")
    parser.addoption("--outcomes", type=Path, help="write this file: what became of each test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what shows no case."""
    if config.getoption("--cases") is not None:
        items[:] = [item for item in items if item.get_closest_marker("case")]
    _ITEMS.update({item.nodeid: item for item in items})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count a test's outcome under each of its cases."""
    if report.when == "call" or report.outcome != "passed":
        test = report.nodeid.partition("[")[0]
        _outcomes[report.nodeid] = report.outcome
        for mark in _ITEMS[report.nodeid].iter_markers("case"):
            for number in mark.args:
                _found[number][test][report.outcome] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the files."""
    for option, told in (("--cases", {"numbers": _found}), ("--outcomes", _outcomes)):
        path = session.config.getoption(option)
        if path is not None:
            text = json.dumps(told, indent=1, sort_keys=True)
            path.write_text(text + "\n", "utf-8")
