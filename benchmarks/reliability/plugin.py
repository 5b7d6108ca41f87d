"""A plug-in of pytest: runs the tests of numbered faults only, and writes what came of each.

python -m pytest -p benchmarks.reliability.plugin --cases FILE
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

_found: dict[int, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
_ITEMS: dict[str, pytest.Item] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--cases", type=Path, help="run the numbered cases only, and write this file")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what shows no case."""
    if config.getoption("--cases") is not None:
        items[:] = [item for item in items if item.get_closest_marker("case")]
    _ITEMS.update({item.nodeid: item for item in items})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count a test's outcome under each of its cases."""
    if report.when == "call" or report.outcome != "passed":
        test = report.nodeid.partition("[")[0]
        for mark in _ITEMS[report.nodeid].iter_markers("case"):
            for number in mark.args:
                _found[number][test][report.outcome] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the file."""
    path = session.config.getoption("--cases")
    if path is not None:
        text = json.dumps({"numbers": _found}, indent=1, sort_keys=True)
        path.write_text(text + "\n", "utf-8")
