"""The Hub's Session Trace Simple Format: a header and messages, one file an episode.

Described at https://huggingface.co/docs/hub/session-traces-format (commit 9d14846 of hub-docs).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longstep_agents.exports.episodes import Episode, Step, read_source
from longstep_agents.exports.files import dump, new_folder


def export(run: Path, out: Path) -> int:
    """Write the folder; how many episodes it has."""
    source = read_source(run)
    with new_folder(out) as folder:
        for episode in source:
            lines = [_header(episode), *map(_message, _messages(episode))]
            text = "".join(dump(line) + "\n" for line in lines)
            (folder / f"{episode.id}.jsonl").write_text(text, "utf-8")
    return len(source.places)


def _header(episode: Episode) -> dict[str, Any]:
    """What the format demands, and what it lets through."""
    told = episode.model_dump(exclude={"id", "steps", "final_observation"})
    ending = "solved" if episode.success else episode.stop_reason.replace("_", " ")
    return {
        "type": "session",
        "harness": "longstep",
        "id": f"{episode.run}-{episode.id}",
        "name": f"{episode.task_id}: {ending}",
        **told,
    }


def _message(message: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "message": {k: v for k, v in message.items() if v is not None}}


def _messages(episode: Episode) -> Iterator[dict[str, Any]]:
    yield {"role": "user", "content": episode.opening}
    for number, step in enumerate(episode.steps):
        calls = _calls(step, number)
        if step.for_memory:
            yield {"role": "user", "content": step.observation}
        yield {
            "role": "assistant",
            "content": step.said,
            "reasoningContent": step.reasoning or None,
            "toolCalls": calls or None,
            "model": episode.model or None,
        }
        answer = episode.answer(number)
        if answer is not None:
            yield {
                "role": "tool" if calls else "user",
                "content": answer,
                "toolCallId": calls[0]["id"] if calls else None,
            }
    if episode.error:
        yield {"role": "system", "content": episode.error}


def _calls(step: Step, number: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call-{number + 1}-{place}",
            "function": {"name": call["name"], "arguments": dump(call["arguments"])},
        }
        for place, call in enumerate(step.calls, 1)
    ]
