import io
import json
import sys
import time
from pathlib import Path

import pytest
from benchmarks.pace import Pace


def test_a_trainer_stops_every_so_often_and_its_clock_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = io.StringIO()
    monkeypatch.setattr(sys, "stdout", told)
    monkeypatch.setattr(sys, "stdin", io.StringIO("go\ngo\nstop\n"))
    saved: list[Path] = []

    def save(folder: Path) -> None:
        time.sleep(0.2)
        saved.append(folder)

    pace = Pace(tmp_path, every=2)
    pace.begin()
    assert [pace.done(iteration, save) for iteration in (1, 2, 3, 4)] == [True, True, True, False]
    lines = [json.loads(line) for line in told.getvalue().splitlines()]
    assert [line["iteration"] for line in lines] == [0, 2, 4]
    assert 0 < lines[1]["wall"] < lines[2]["wall"] < 0.2
    assert [folder.name for folder in saved] == ["0002", "0004"]


def test_what_a_trainer_prints_does_not_come_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, said = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", told)
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(sys, "stdin", io.StringIO("go\n"))
    pace = Pace(tmp_path, every=1)
    sys.stdout.write("epoch 1 of 3\n")
    pace.begin()
    assert json.loads(told.getvalue())["iteration"] == 0
    assert said.getvalue() == "epoch 1 of 3\n"
