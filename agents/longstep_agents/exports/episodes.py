"""Episodes as all formats take them: read from a run's folder, whatever wrote it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from longstep_agents.page import values
from longstep_agents.page.library import kind_of
from longstep_agents.page.lines import Place
from longstep_agents.page.types import Run
from longstep_envs.types import DataError


def _text(value: object) -> str:
    """A text that can be written as UTF-8: half of a surrogate pair cannot."""
    return values.text(value).encode("utf-8", errors="replace").decode("utf-8")


def _whole(value: object) -> int:
    """A whole number of 64 bits, or 0."""
    found = values.whole(value)
    return found if -(2**63) <= found < 2**63 else 0


Text = Annotated[str, BeforeValidator(_text)]
Real = Annotated[float, BeforeValidator(values.real)]
Number = Annotated[float | None, BeforeValidator(values.number)]
Whole = Annotated[int, BeforeValidator(_whole)]
Yes = Annotated[bool, BeforeValidator(values.yes)]
Numbers = Annotated[dict[Text, Number], BeforeValidator(values.numbers)]
Texts = Annotated[list[Text], BeforeValidator(values.items)]
Column = Annotated[list[Number], BeforeValidator(values.items)]


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Tokens(_Kept):
    """The tokens of a reply, by columns."""

    text: Texts = []
    logprob: Column = []
    entropy: Column = []
    chosen: Column = []
    credit: Column = []


class Step(_Kept):
    """One turn; its fields are those of `StepRow`."""

    observation: Text = ""
    action: Text = ""
    text: Text = ""
    reasoning: Text = ""
    reward: Real = 0.0
    credit: Number = None
    logprob: Number = None
    state_key: Text = ""
    action_valid: Yes = True
    target: Text = "environment"
    fault: Text = ""
    unsayable: Whole = 0
    parts: Numbers = {}
    shown: Text = ""
    begins: Yes = False
    tokens: Annotated[Tokens, BeforeValidator(values.table)] = Tokens()

    @property
    def for_memory(self) -> bool:
        """Whether memory asked for it; its observation is then the question."""
        return self.target == "memory"

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The calls of tools that the action consists of, with `name` and `arguments`."""
        try:
            calls = [values.plain(json.loads(line)) for line in self.action.splitlines()]
        except (ValueError, RecursionError):
            return []
        return calls if all(map(_is_call, calls)) else []

    @property
    def said(self) -> str:
        """The reply as it was written, beside calls that were told apart from it."""
        return self.text or ("" if self.calls else self.action)


class Episode(_Kept):
    """An episode, and its place in a run."""

    id: Text
    """Of its own in the run: letters, digits, `-`, `_` and `.`."""
    run: Text
    number: Whole
    """Its place in the run, as the page counts."""
    agent: Text
    model: Text
    """Empty for agents without a model."""
    phase: Text = ""
    iteration: Whole = 0
    group: Text = ""
    """What siblings share."""
    part: Text = ""
    attempt: Whole = 0
    superseded: Yes = False
    """Whether it ended in a fault and was played again."""
    env_id: Text = ""
    task_id: Text = ""
    task_type: Text = ""
    seed: Whole = 0
    outcome: Text = ""
    stop_reason: Text = ""
    error: Text = ""
    success: Yes = False
    score: Real = 0.0
    reward: Real = 0.0
    turns: Whole = 0
    seconds: Number = None
    prompt_tokens: Whole = 0
    sampled_tokens: Whole = 0
    cost: Number = None
    steps: list[Step] = []
    final_observation: Text = ""

    @property
    def opening(self) -> str:
        """What was seen first."""
        return self.steps[0].observation if self.steps else self.final_observation

    def answer(self, step: int) -> str | None:
        """What came back after a step; None where nothing did."""
        if self.steps[step].for_memory:
            return None
        later = (s.observation for s in self.steps[step + 1 :] if not s.for_memory)
        return next(later, self.final_observation or None)


@dataclass(frozen=True)
class Source:
    """A run to be exported."""

    told: Run
    places: list[Place]

    @property
    def name(self) -> str:
        """For people and file names."""
        return self.told["id"]

    def __iter__(self) -> Iterator[Episode]:
        for number, place in enumerate(self.places):
            yield self._episode(number, place.read() or {})

    def _episode(self, number: int, row: Mapping[str, Any]) -> Episode:
        columns: Mapping[str, Any] = self.told["episodes"]
        listed = ("phase", "iteration", "group", "part", "attempt", "superseded", "reward", "turns")
        tokens = values.table(row.get("tokens"))
        agent, model = self._player(columns["phase"][number], columns["iteration"][number])
        return Episode.model_validate(
            {
                **row,
                **{name: columns[name][number] for name in listed},
                "id": f"{number:06d}-{safe(_text(row.get('task_id')))}",
                "run": self.name,
                "number": number,
                "agent": agent,
                "model": model,
                "steps": [values.table(step) for step in values.items(row.get("steps"))],
                "prompt_tokens": tokens.get("prompt"),
                "sampled_tokens": tokens.get("sampled"),
            }
        )

    def _player(self, phase: str, iteration: int) -> tuple[str, str]:
        """Who played, and with which model."""
        if self.told["kind"] == "training":
            return "longstep", f"{self.name}/{phase}-{iteration:06d}"
        asked = values.table(self.told["about"].get("asked"))
        contestant = values.table(asked.get("contestant"))
        name = values.text(contestant.get("name"))
        built_in = isinstance(contestant.get("agent"), str)
        return name, "" if built_in else values.text(contestant.get("model")) or name


def read_source(folder: Path) -> Source:
    """What there is to export in a folder.

    Raises:
        DataError: it holds no run, or one without episodes.
    """
    kind = kind_of(folder)
    if kind is None:
        raise DataError(
            f"{folder} holds neither a training run nor an evaluation; name the folder that --out "
            "named"
        )
    run = kind(folder)
    run.refresh()
    if not run.episodes:
        raise DataError(f"{folder} holds no episodes yet: nothing has ended there")
    told = run.describe(safe(folder.resolve().name))
    return Source(told, [episode["place"] for episode in run.episodes])


def safe(text: str) -> str:
    """A part of a file's name, or of an id: what may do harm there is replaced."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in text)
    return kept[:80].strip("-") or "unnamed"


def _is_call(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("arguments"), dict)
    )
