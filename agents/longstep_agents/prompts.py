"""How what memory recalls is written for the policy: as a talk, or as one prompt a step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from longstep_agents.memory.types import Exchange, Recall
from longstep_agents.messages import Message
from longstep_envs.types import LongstepError

STEPWISE = """\
{{ task_description }}
{% if notes %}
What you wrote down before: {{ notes }}
{% endif %}
{% if step_count %}
Earlier steps shown: {{ history_length }} of {{ step_count }}.
{% endif %}
{% if history_length %}
What you saw and then did: {{ action_history }}
{% endif %}
{% if not opens %}
Step {{ current_step }}. You see now: {{ current_observation }}
{% endif %}
{% if admissible_actions %}
You can do: {{ admissible_actions }}
{% endif %}
"""
"""Our own prompt for `context = "stepwise"`. Its variables are those of verl-agent's prompts, so
that one of these can be put in a file and taken instead, each {name} written as {{ name }}."""


class PromptError(LongstepError, ValueError):
    """A prompt's template cannot be read or filled."""


class Writer(Protocol):
    """Writes a recall as messages."""

    def write(self, recall: Recall, number: int, admissible: Sequence[str]) -> list[Message]:
        """What the policy is shown.

        Args:
            recall: What memory shows.
            number: Of the exchange that is to come, counted from 0 over the episode.
            admissible: The commands that the environment lists.
        """
        ...


class Talk:
    """One message for all that was seen, one for each reply, in order.

    The first message also tells what memory holds, which steps are left out and, where it is out of
    sight, the task. All of it stands there, so that a talk that grows goes on as it was.
    """

    def __init__(self, system: str | None) -> None:
        self._head = [Message("system", system)] if system else []

    def write(self, recall: Recall, number: int, admissible: Sequence[str]) -> list[Message]:
        """The talk so far."""
        seen, said = _detached(recall, number)
        opening = [text for text in (recall.task * (not recall.opens), recall.notes) if text]
        gaps = _gaps(recall, number)
        if opening or gaps:
            first = [seen[0].text, gaps] if recall.opens else [gaps, seen[0].text]
            seen[0] = Message("user", "\n\n".join(filter(None, [*opening, *first])))
        turns = [message for pair in zip(seen, said, strict=False) for message in pair]
        return [*self._head, *turns, seen[-1]]


class Prompt:
    """A single message a step, from a template that is filled anew each time."""

    def __init__(self, system: str | None, path: Path | None) -> None:
        self._head = [Message("system", system)] if system else []
        self._template = _template(path)

    def write(self, recall: Recall, number: int, admissible: Sequence[str]) -> list[Message]:
        """The filled template.

        Raises:
            PromptError: the template asks for what there is not.
        """
        values = {
            "task_description": recall.task,
            "notes": recall.notes,
            "step_count": number,
            "history_length": len(recall.past),
            "action_history": _told(recall.past),
            "history": recall.past,
            "opens": recall.opens and not recall.past,
            "current_step": number + 1,
            "current_observation": recall.seen.text,
            "admissible_actions": ", ".join(admissible),
            "admissible": list(admissible),
        }
        try:
            text = self._template.render(values)
        except Exception as error:  # a template is the user's own code
            raise PromptError(
                f"the prompt's template: {type(error).__name__}: {error}; it can use "
                f"{', '.join(values)}"
            ) from error
        return [*self._head, Message("user", text)]


def _detached(recall: Recall, number: int) -> tuple[list[Message], list[Message]]:
    """What was seen and said, without answers to calls, or calls, of which the other is not shown.

    Both are then told as plain texts: chat protocols know no call without its answer.
    """
    seen = [*(exchange.seen for exchange in recall.past), recall.seen]
    numbers = [*(exchange.number for exchange in recall.past), number]
    before = [-1, *numbers]
    for i, (last, this) in enumerate(zip(before, numbers, strict=False)):
        if this != last + 1 and seen[i].role == "tool":
            seen[i] = Message("user", seen[i].text)
    said = [exchange.said for exchange in recall.past]
    for i, answer in enumerate(seen[1:]):
        if said[i].calls and answer.role != "tool":
            called = json.dumps([[call.name, dict(call.arguments)] for call in said[i].calls])
            said[i] = replace(said[i], text=said[i].text or called, calls=())
    return seen, said


def _gaps(recall: Recall, number: int) -> str:
    """A line about the steps that are left out, counted from 1; empty where there are none."""
    shown = [-1, *(exchange.number for exchange in recall.past), number]
    ranges = [
        f"{before + 2} to {after}" if after > before + 2 else f"{after}"
        for before, after in pairwise(shown)
        if after > before + 1
    ]
    return f"[Earlier steps not shown: {', '.join(ranges)}]" if ranges else ""


def _told(past: Sequence[Exchange]) -> str:
    lines = []
    for one in past:
        number = one.number + 1
        lines.append(f"[Observation {number}: '{one.seen.text}', Action {number}: '{one.action}']")
    return "\n".join(lines)


@cache
def _template(path: Path | None) -> Template:
    """A template of the user's own, or ours.

    Raises:
        PromptError: it cannot be read, or is no template.
    """
    environment = SandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    try:
        return environment.from_string(STEPWISE if path is None else path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError, TemplateError) as error:
        raise PromptError(f"the prompt's template {path} cannot be read: {error}") from error
