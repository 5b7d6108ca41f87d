"""The page about environments does what it says."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "environments.md"


def test_the_example_registers_passes_the_checks_and_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, *scripts = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    (tmp_path / "guess.py").write_text(module)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    names: dict[str, Any] = {}
    for script in scripts:
        exec(script, names)
    assert type(names["env"]).__name__ == "GuessEnv"
    reports = names["reports"]
    assert [report.error for report in reports] == [None] * 100
    assert {report.result[1] for report in reports} <= {"success", "turn_limit"}
