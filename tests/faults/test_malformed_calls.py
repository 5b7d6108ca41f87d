"""Case 20: what models write in place of a call is told to them, counted, and never carried out."""

import json
from typing import Any

import pytest
from tests.agents.test_language_agent import Script, config, play

from longstep_agents.language_agent import AgentKit
from longstep_agents.messages import Reply, ToolCall
from longstep_agents.tools import Tool
from longstep_agents.tools.toolbox import ToolboxConfig
from longstep_agents.types import Completion
from longstep_envs.types import ToolSpec

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
CALL = '{"name": "note", "arguments": {"text": "hi"}}'
TAGGED = f"<tool_call>{CALL}</tool_call>"
HUGE = "x" * 5_000_000


def tagged(tool: str = "note", **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': tool, 'arguments': arguments})}</tool_call>"


REPLIES = {
    "nothing": ("", "missing"),
    "thought only": ("<think>I should write it down.</think>", "missing"),
    "thought without end": ("<think>I should write it down.", "truncated"),
    "no call": ("I write it down.", "missing"),
    "cut in the middle": (TAGGED[:40], "truncated"),
    "two calls": (TAGGED * 2, "several"),
    "doubled JSON": (f"<tool_call>{CALL}{CALL}</tool_call>", "several"),
    "a quote too many": (f'<tool_call>{CALL}"</tool_call>', "malformed"),
    "a raw line end": (TAGGED.replace("hi", "h\ni"), "malformed"),
    "arguments in a text": (TAGGED.replace('{"text": "hi"}', '"{}"'), "malformed"),
    "a key twice": (TAGGED.replace('"text": "hi"', '"text": "hi", "text": "ho"'), "duplicate_key"),
    "an unknown tool": (tagged("notes_notes", text="hi"), "unknown"),
    "a doubled name": (tagged("notenote", text="hi"), "unknown"),
    "arguments of 5 MB": (tagged(text=HUGE), "oversized"),
    "5 MB without a call": (HUGE, "missing"),
}


class Noted:
    """A tool that remembers what it was called with."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def run(self, arguments: Any) -> str:
        self.calls.append(arguments)
        return "noted"


def kit(noted: Noted, monkeypatch: pytest.MonkeyPatch, **options: Any) -> AgentKit:
    made = AgentKit(config(**options))
    spec = ToolSpec("note", "Write down.", SCHEMA)
    monkeypatch.setattr(made, "tools", lambda: (Tool(spec, noted.run),))
    return made


@pytest.mark.case(20)
@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_that_is_no_call_is_told_and_not_carried_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted, (text, fault) = Noted(), REPLIES[name]
    script = Script(text, TAGGED)
    wrong, right = play(script, kit(noted, monkeypatch), 2)
    assert wrong.aside is not None
    assert (wrong.aside.fault, wrong.valid) == (fault, False)
    assert 0 < len(wrong.aside.answer) < 1_000
    assert script.shown[1][-1].text == wrong.aside.answer
    assert right.valid
    assert noted.calls == [{"text": "hi"}]  # the right call, and it alone


NATIVE = {
    "no arguments": ("", "missing"),
    "cut arguments": ('{"text": "h', "truncated"),
    "doubled arguments": ('{"text": "hi"}{"text": "hi"}', "several"),
    "arguments of 5 MB": (json.dumps({"text": HUGE}), "oversized"),
}


@pytest.mark.case(20)
@pytest.mark.parametrize("name", NATIVE)
def test_a_call_beside_the_text_is_read_as_strictly(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted, (raw, fault) = Noted(), NATIVE[name]
    calls = (ToolCall("note", {}, "c1", raw=raw),) if raw else ()
    reply = Reply("", calls or None, completion=Completion(text=""))
    (act,) = play(Script(reply), kit(noted, monkeypatch, parser={"name": "openai"}), 1)
    assert act.aside is not None
    assert (act.aside.fault, act.valid) == (fault, False)
    assert len(act.aside.answer) < 1_000
    assert noted.calls == []


@pytest.mark.case(20)
@pytest.mark.parametrize(
    "arguments",
    [{}, {"text": "hi", "more": 1}, {"text": 7}, {"text": None}, {"Text": "hi"}],
    ids=["missing", "extra", "mistyped", "null", "misspelt"],
)
def test_arguments_that_do_not_fit_are_told_by_name(arguments: dict[str, Any]) -> None:
    from longstep_agents.tools import tool

    heard: list[str] = []

    def note(text: str) -> str:
        """Write down.

        Args:
            text: What.
        """
        heard.append(text)
        return "noted"

    made = AgentKit(config())
    made.tools = lambda: (tool(note),)  # type: ignore[method-assign]
    (act,) = play(Script(tagged(**arguments)), made, 1)
    assert act.aside is not None
    assert (act.aside.fault, act.valid) == ("arguments", False)
    assert "ext" in act.aside.answer or "more" in act.aside.answer
    assert heard == []


@pytest.mark.case(20)
def test_one_wrong_call_again_and_again_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    most = ToolboxConfig().end_repeats
    assert most is not None
    acts = play(Script(*[tagged("nothing")] * most), kit(Noted(), monkeypatch), most)
    ends = [act.aside.ends for act in acts if act.aside is not None]
    assert ends == [""] * (most - 1) + ["tool_loop"]
