"""Reads the Agent Trajectory Interchange Format, versions 1.0 to 1.8, as recordings.

Described by RFC 0001 of https://github.com/harbor-framework/harbor. Whoever wrote a file may be
hostile: sizes are capped, and a file that is refused does not keep the others from being read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longstep_agents.messages import ToolCall
from longstep_agents.recording import Recording, Turn
from longstep_agents.types import Target
from longstep_envs.types import DataError

_FILE_BYTES = 64_000_000
_STEPS = 10_000
_CHARACTERS = 1_000_000
_PARTS = 100
_OURS = "longstep"

Text = Annotated[str, Field(max_length=_CHARACTERS)]


class _Atif(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Part(_Atif):
    type: Literal["text"]  # pictures and sounds are nothing that a text can say
    text: Text


Content = Text | Annotated[list[_Part], Field(max_length=_PARTS)]


class _Call(_Atif):
    tool_call_id: str = ""
    function_name: Text
    arguments: dict[str, Any]


class _Result(_Atif):
    content: Content | None = None


class _Observation(_Atif):
    results: Annotated[list[_Result], Field(max_length=_PARTS)] = []


class _OurStep(_Atif):
    action: Text | None = None
    reward: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    target: Target = "environment"


class _StepExtra(_Atif):
    longstep: _OurStep = _OurStep()


class _Step(_Atif):
    source: Literal["system", "user", "agent"]
    message: Content = ""
    tool_calls: Annotated[list[_Call], Field(max_length=_PARTS)] | None = None
    observation: _Observation | None = None
    is_copied_context: bool | None = None
    extra: _StepExtra | None = None


class _Ours(_Atif):
    env_id: Text = ""
    task_id: Text = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    task_type: Text = ""
    success: bool | None = None


class _Extra(_Atif):
    longstep: _Ours = _Ours()


class _Trajectory(_Atif):
    schema_version: Annotated[str, Field(pattern=r"^ATIF-v1\.\d+$")]
    trajectory_id: Text | None = None
    session_id: Text | None = None
    steps: Annotated[list[_Step], Field(min_length=1, max_length=_STEPS)]
    extra: _Extra | None = None


def read_atif(path: Path) -> tuple[list[Recording], list[str]]:
    """The recordings of a file, or of all `*.json` under a folder; and why others are refused.

    Raises:
        DataError: there is no such file, or not one that can be read.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    found: list[Recording] = []
    refused: list[str] = []
    for file in files:
        try:
            found.append(_read(file))
        except DataError as error:
            refused.append(str(error))
    if not found:
        told = "; ".join(refused[:3]) or "there is no file *.json"
        raise DataError(f"{path} holds no trajectory in ATIF: {told}")
    return found, refused


def _read(file: Path) -> Recording:
    try:
        if file.stat().st_size > _FILE_BYTES:
            raise DataError(f"{file} is larger than {_FILE_BYTES:,} bytes")
        trajectory = _Trajectory.model_validate_json(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{file}: {place}: {first['msg']}") from None
    if any(step.is_copied_context for step in trajectory.steps):
        raise DataError(f"{file} goes on from another trajectory, whose steps it repeats")
    about = trajectory.extra.longstep if trajectory.extra else _Ours()
    turns, last = _turns(trajectory.steps)
    if not turns:
        raise DataError(f"{file}: the agent says nothing in it")
    return Recording(
        tuple(turns),
        name=trajectory.trajectory_id or trajectory.session_id or file.stem,
        env_id=about.env_id,
        task_id=about.task_id,
        task_type=about.task_type,
        seed=about.seed,
        success=about.success,
        final_observation=last,
    )


def _turns(steps: Iterable[_Step]) -> tuple[list[Turn], str]:
    """The agent's turns, each with what came before it; and what came after the last.

    What a system prompt says is left to the policy's own.
    """
    turns: list[Turn] = []
    seen: list[str] = []
    for step in steps:
        ours = step.extra.longstep if step.extra else _OurStep()
        if ours.target == "memory":
            continue  # what is remembered, this agent's own memory asks for anew
        if step.source == "agent":
            turns.append(_turn("\n\n".join(seen), step, ours))
            seen = []
        if step.source == "user":
            seen.append(_text(step.message))
        if step.source != "system":
            seen += _results(step)
    return turns, "\n\n".join(seen)


def _turn(observation: str, step: _Step, ours: _OurStep) -> Turn:
    calls = tuple(
        ToolCall(call.function_name, call.arguments, call.tool_call_id)
        for call in step.tool_calls or ()
    )
    command = None if calls else ours.action
    return Turn(observation, _text(step.message), calls, command, ours.reward, ours.target)


def _results(step: _Step) -> Iterator[str]:
    for result in step.observation.results if step.observation else ():
        if result.content:
            yield _text(result.content)


def _text(content: Content) -> str:
    return content if isinstance(content, str) else "\n\n".join(part.text for part in content)
