import json
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.exports import export


def _read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text("utf-8")) for path in sorted(folder.iterdir())]


def test_documents_are_valid(run: Path, evaluation: Path, tmp_path: Path) -> None:
    atif = pytest.importorskip("atif", reason="models of the format: pip install atif")
    for name, source in (("a", run), ("b", evaluation)):
        export("atif", source, tmp_path / name)
        for document in _read(tmp_path / name):
            atif.Trajectory.model_validate(document, strict=True)
            assert document["steps"]  # Harbor's own models want one at least


def test_turns_are_told_in_the_fields_of_the_format(run: Path, tmp_path: Path) -> None:
    export("atif", run, tmp_path / "out")
    won, failed, _ = _read(tmp_path / "out")
    assert won["schema_version"] == "ATIF-v1.8"
    first, said, called = won["steps"]
    assert (first["source"], first["message"]) == ("user", "You see a chest.")
    assert (said["source"], said["message"]) == ("agent", "chest open")
    assert said["reasoning_content"] == "chests open"
    assert said["metrics"]["completion_tokens"] == 2
    assert said["metrics"]["logprobs"] == [-0.1, -0.2]
    assert said["observation"] == {"results": [{"content": "It is open."}]}
    (call,) = called["tool_calls"]
    assert (call["function_name"], call["arguments"]) == ("take", {"what": "gold"})
    assert called["observation"]["results"] == [
        {"source_call_id": call["tool_call_id"], "content": "You have gold."}
    ]
    assert [step["source"] for step in failed["steps"]] == ["system"]


def test_what_the_format_has_no_field_for_is_kept_beside(run: Path, tmp_path: Path) -> None:
    export("atif", run, tmp_path / "out")
    won = _read(tmp_path / "out")[0]
    about = won["extra"]["longstep"]
    assert (about["env_id"], about["task_id"]) == ("longstep/Treasure-v0", "train/7")
    assert about["success"] is True
    step = won["steps"][1]["extra"]["longstep"]
    assert (step["action"], step["reward"], step["credit"]) == ("open chest", 0.75, 0.5)
    assert step["begins"] is True


def test_agents_without_a_model_have_no_metrics(evaluation: Path, tmp_path: Path) -> None:
    export("atif", evaluation, tmp_path / "out")
    for document in _read(tmp_path / "out"):
        played = [step for step in document["steps"] if step["source"] == "agent"]
        assert {step["llm_call_count"] for step in played} == {0}
        assert not any("metrics" in step for step in played)
