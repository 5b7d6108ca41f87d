"""The Agent Trajectory Interchange Format, one file an episode.

Described by RFC 0001 of https://github.com/harbor-framework/harbor, version 1.8.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from longstep_agents.exports.episodes import Episode, Step, read_source
from longstep_agents.exports.files import dump, new_folder

SCHEMA = "ATIF-v1.8"
OURS = "longstep"
"""The key of what the format has no field for."""


def export(run: Path, out: Path) -> int:
    """Write the folder; how many episodes it has."""
    source = read_source(run)
    with new_folder(out) as folder:
        for episode in source:
            (folder / f"{episode.id}.json").write_text(dump(to_atif(episode)) + "\n", "utf-8")
    return len(source.places)


def to_atif(episode: Episode) -> dict[str, Any]:
    """The document of an episode."""
    kept = {"steps", "final_observation", "prompt_tokens", "sampled_tokens", "cost"}
    first = _told("user", episode.opening) if episode.opening or not episode.error else None
    error = _told("system", episode.error) if episode.error else None
    steps = [step for step in (first, *_played(episode), error) if step is not None]
    return {
        "schema_version": SCHEMA,
        "session_id": f"{episode.run}/{episode.group}" if episode.group else episode.run,
        "trajectory_id": f"{episode.run}/{episode.id}",
        "agent": _filled(
            {
                "name": episode.agent or OURS,
                "version": version("longstep"),
                "model_name": episode.model,
            }
        ),
        "steps": [{"step_id": number, **step} for number, step in enumerate(steps, 1)],
        "final_metrics": _filled(
            {
                "total_prompt_tokens": episode.prompt_tokens,
                "total_completion_tokens": episode.sampled_tokens,
                "total_cost_usd": episode.cost,
                "total_steps": len(steps),
            }
        ),
        "extra": {OURS: episode.model_dump(exclude=kept)},
    }


def _told(source: str, message: str) -> dict[str, Any]:
    return {"source": source, "message": message}


def _played(episode: Episode) -> Iterator[dict[str, Any]]:
    for number, step in enumerate(episode.steps):
        if step.for_memory:
            yield {**_told("user", step.observation), "extra": {OURS: {"target": step.target}}}
        yield _step(episode, number, step)


def _step(episode: Episode, number: int, step: Step) -> dict[str, Any]:
    """A turn of the agent with what came back; without a model, it is a deterministic dispatch."""
    calls = [
        {
            "tool_call_id": f"call-{number + 1}-{place}",
            "function_name": call["name"],
            "arguments": call["arguments"],
        }
        for place, call in enumerate(step.calls, 1)
    ]
    told = _told("agent", step.said)
    if episode.model:
        told |= _filled({"reasoning_content": step.reasoning, "metrics": _metrics(step)})
    answer = episode.answer(number)
    if answer is not None:
        result = {"source_call_id": calls[0]["tool_call_id"]} if calls else {}
        told["observation"] = {"results": [{**result, "content": answer}]}
    return {
        **told,
        **_filled({"tool_calls": calls}),
        "llm_call_count": 1 if episode.model else 0,
        "extra": {OURS: _ours(step)},
    }


def _metrics(step: Step) -> dict[str, Any]:
    tokens = step.tokens
    whole = None not in tokens.logprob
    return _filled(
        {
            "completion_tokens": len(tokens.text),
            "logprobs": tokens.logprob if whole else None,
            "extra": _filled({"tokens": _filled(tokens.model_dump(exclude={"logprob"}))}),
        }
    )


def _ours(step: Step) -> dict[str, Any]:
    """What the format has no field for; the action always, since a reader may need it alone."""
    default = Step()
    fields = step.model_dump(exclude={"observation", "action", "text", "reasoning", "tokens"})
    told = {name: value for name, value in fields.items() if value != getattr(default, name)}
    return {"action": step.action, **told}


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
