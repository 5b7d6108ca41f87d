import json
from pathlib import Path

from longstep_agents.exports import export


def test_every_line_has_every_field_of_every_episode(run: Path, tmp_path: Path) -> None:
    export("jsonl", run, tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text("utf-8").split("\n")[:-1]
    won, failed, evil = (json.loads(line, parse_constant=_refuse) for line in lines)
    assert won.keys() == failed.keys() == evil.keys()
    assert won["steps"][0].keys() == won["steps"][1].keys() == evil["steps"][0].keys()
    assert won["steps"][0]["tokens"]["entropy"] == [0.6, 0.7]
    assert (won["reward"], won["seed"], won["task_id"]) == (1.0, 7, "train/7")
    assert failed["steps"] == []


def _refuse(constant: str) -> None:
    raise AssertionError(constant)
