import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.training.trackers.conftest import Track

from longstep_training.trackers.trackio import TrackioConfig

pytest.importorskip("trackio", reason="pip install 'longstep[trackio]'")


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trackio's, in a folder of its own; its modules keep the folder that they were told first."""
    for name, module in list(sys.modules.items()):
        if name.startswith("trackio.") and hasattr(module, "TRACKIO_DIR"):
            monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
    return import_module("trackio.sqlite_storage").SQLiteStorage


def test_the_database_holds_every_number_once(
    storage: Any,
    track: Track,
    tracked: dict[tuple[str, int], float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    track(TrackioConfig(project="tests"))
    assert capsys.readouterr().out == ""
    (run,) = storage.get_runs("tests")
    found = [
        ((name, row["step"]), value)
        for row in storage.get_logs("tests", run)
        for name, value in row.items()
        if name not in ("step", "timestamp")
    ]
    assert len(found) == len(tracked)
    assert dict(found) == pytest.approx(tracked)
