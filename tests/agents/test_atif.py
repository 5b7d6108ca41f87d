import json
from pathlib import Path
from typing import Any

import pytest

from longstep_agents import atif
from longstep_agents.atif import read_atif
from longstep_agents.recording import Turn
from longstep_envs.types import DataError

# As another harness writes it: a system prompt, a thought beside each call, a last word.
FOREIGN: dict[str, Any] = {
    "schema_version": "ATIF-v1.5",
    "session_id": "s-1",
    "agent": {"name": "other", "version": "1", "tool_definitions": [{"any": "thing"}]},
    "steps": [
        {"step_id": 1, "source": "system", "message": "You are a terminal agent."},
        {"step_id": 2, "source": "user", "message": [{"type": "text", "text": "Find the cup."}]},
        {
            "step_id": 3,
            "source": "agent",
            "model_name": "m",
            "message": "I look.",
            "reasoning_content": "hm",
            "tool_calls": [
                {"tool_call_id": "c", "function_name": "look", "arguments": {"at": "desk"}}
            ],
            "observation": {"results": [{"source_call_id": "c", "content": "A cup."}]},
            "metrics": {"prompt_tokens": 5},
        },
        {"step_id": 4, "source": "user", "message": "And?"},
        {"step_id": 5, "source": "agent", "message": "There it is.", "extra": {"other": 1}},
    ],
}


def _write(folder: Path, name: str, document: object) -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return path


def test_turns_come_with_all_that_was_seen_before_them(tmp_path: Path) -> None:
    (recording,), refused = read_atif(_write(tmp_path, "a.json", FOREIGN))
    assert (recording.name, recording.success, refused) == ("s-1", None, [])
    first, second = recording.turns
    assert (first.observation, first.message) == ("Find the cup.", "I look.")
    assert [(call.name, call.arguments) for call in first.calls] == [("look", {"at": "desk"})]
    assert second == Turn("A cup.\n\nAnd?", "There it is.")


def _step(**changes: Any) -> dict[str, Any]:
    said = {"step_id": 1, "source": "agent", "message": "x", **changes}
    return {**FOREIGN, "steps": [said]}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("not JSON", "the file: Invalid JSON"),
        ("[" * 100_000, "the file: Invalid JSON"),
        ([], "the file"),
        ({}, "schema_version"),
        ({**FOREIGN, "schema_version": "ATIF-v2.0"}, "schema_version"),
        ({**FOREIGN, "steps": []}, "steps"),
        ({**FOREIGN, "steps": FOREIGN["steps"][:2]}, "the agent says nothing"),
        (_step(source="assistant"), "steps.0.source"),
        (_step(message=[{"type": "image", "source": {}}]), "steps.0.message"),
        (_step(message="x" * 1_000_001), "steps.0.message"),
        (_step(is_copied_context=True), "goes on from another"),
        (_step(extra={"longstep": {"reward": "much"}}), "steps.0.extra.longstep.reward"),
        (_step(tool_calls=[{"function_name": "a", "arguments": "b"}]), "arguments"),
    ],
)
def test_a_bad_file_is_refused_by_itself(document: object, told: str, tmp_path: Path) -> None:
    _write(tmp_path, "bad.json", document)
    with pytest.raises(DataError, match="holds no trajectory in ATIF"):
        read_atif(tmp_path)
    _write(tmp_path, "good.json", FOREIGN)
    (_,), (refused,) = read_atif(tmp_path)
    assert "bad.json" in refused
    assert told in refused


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atif, "_FILE_BYTES", 100)
    with pytest.raises(DataError, match=r"larger than 100 bytes"):
        read_atif(_write(tmp_path, "a.json", FOREIGN))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_atif(tmp_path / "missing.json")
    with pytest.raises(DataError, match=r"there is no file \*\.json"):
        read_atif(tmp_path)
