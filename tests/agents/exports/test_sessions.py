import json
from pathlib import Path
from typing import Any

from longstep_agents.exports import export

# The fields of https://huggingface.co/docs/hub/session-traces-format, as read in November 2026.
FIELDS = {"role", "content", "reasoningContent", "toolCalls", "toolCallId", "timestamp", "model"}


def _read(folder: Path) -> list[list[dict[str, Any]]]:
    return [
        [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]
        for path in sorted(folder.iterdir())
    ]


def test_every_file_is_a_header_and_messages(run: Path, tmp_path: Path) -> None:
    export("sessions", run, tmp_path / "out")
    for header, *messages in _read(tmp_path / "out"):
        assert (header["type"], header["harness"]) == ("session", "longstep")
        assert header["id"]
        for line in messages:
            assert line["type"] == "message"
            message = line["message"]
            assert {"role", "content"} <= message.keys() <= FIELDS
            assert message["role"] in ("user", "assistant", "system", "tool")
            assert isinstance(message["content"], str)


def test_calls_and_their_results_are_linked(run: Path, tmp_path: Path) -> None:
    export("sessions", run, tmp_path / "out")
    (_, *lines), (_, *failed), _ = _read(tmp_path / "out")
    messages = [line["message"] for line in lines]
    assert [m["role"] for m in messages] == ["user", "assistant", "user", "assistant", "tool"]
    assert messages[1]["content"] == "chest open"
    assert messages[1]["reasoningContent"] == "chests open"
    (call,) = messages[3]["toolCalls"]
    assert call["function"] == {"name": "take", "arguments": '{"what": "gold"}'}
    assert messages[4]["toolCallId"] == call["id"]
    assert failed[-1]["message"]["content"] == "RuntimeError: the world ended"
