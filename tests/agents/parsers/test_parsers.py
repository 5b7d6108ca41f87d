"""What holds for every kind of parser."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from longstep_agents.messages import ToolCall
from longstep_agents.parsers import PARSERS, AnyParserConfig, FaultKind, Parsed, Parser, make_parser
from longstep_envs.types import BadValueError, ToolSpec

TOOL = ToolSpec(
    "add",
    "Adds.",
    {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "What to add."},
            "count": {"type": "integer"},
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "list": {"type": "array", "items": {"type": "string"}},
            "place": {"$ref": "#/$defs/Place"},
            "loop": {"$ref": "#/properties/loop"},
        },
        "required": ["text"],
        "$defs": {"Place": {"type": "object", "properties": {"x": {"type": "number"}}}},
    },
)
COMMANDS = ["plain", "action", "verl_agent"]
CALLS = ["react", "hermes", "qwen_xml", "json"]
ALLOWING: dict[str, dict[str, Any]] = {
    "plain": {"think": "think"},
    "action": {"calls": True},
    "react": {"commands": True},
    "openai": {"commands": True},
    **{kind: {"commands": True, "max_calls": 3} for kind in ("hermes", "qwen_xml", "json")},
}
INPUTS = int(os.environ.get("LONGSTEP_FUZZ_INPUTS", "800"))
"""Texts that the parsers are fed with; set the variable to feed more."""
MARKS = (
    "<think>", "</think>", "<action>", "</action>", "<tool_call>", "</tool_call>", "```json\n",
    "```", "\n", "{", "}", "[", "]", '"', "\\", ":", ",", '{"name": "add", "arguments": {',
    '"text": "x"', "<function=add>", "</function>", "<parameter=count>", "</parameter>", "Action:",
    "Action Input:", "Thought:", "Observation:", "1e999", "NaN", "\\ud800", "\ud800", "é中🙂", " ",
    "\x00", "<search>", "</search>", "<answer>", "</answer>", "true", "null", "-", "9" * 120,
)  # fmt: skip

hostile = st.lists(st.sampled_from(MARKS) | st.text(max_size=8), max_size=40).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.sampled_from(MARKS).filter(lambda mark: mark != "\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)  # fmt: skip


ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyParserConfig)


def make(kind: str, **options: Any) -> Parser:
    if kind == "verl_agent":
        options.setdefault("environment", "alfworld")
    return make_parser(ADAPTER.validate_python({"name": kind, **options}), [TOOL])


def check(parsed: Parsed) -> None:
    """A reply means one thing, and what is given back can be stored and shown."""
    if parsed.fault is None:
        return
    assert not parsed.calls
    assert 0 < len(parsed.fault.message.encode()) < 4000


@pytest.mark.case(20)
@given(text=hostile, allowing=st.booleans())
@settings(max_examples=INPUTS // len(PARSERS), deadline=None)
@pytest.mark.parametrize("kind", sorted(PARSERS))
def test_no_text_breaks_a_parser(kind: str, text: str, allowing: bool) -> None:
    parser = make(kind, **(ALLOWING.get(kind, {}) if allowing else {}))
    parsed = parser.read(text)
    check(parsed)
    check(parser.read(text, (ToolCall("add", {}, "1", raw=text),)))
    if kind != "verl_agent":
        assert bool(parsed.command) + bool(parsed.calls) + bool(parsed.fault) == 1
        cut = parser.read(text, cut=True)
        check(cut)
        assert cut == parsed or (cut.fault is not None and cut.fault.kind == "truncated")


@given(said=st.text(min_size=1, max_size=30), thought=st.text(max_size=20))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("kind", [*COMMANDS, *CALLS, "openai"])
def test_a_command_reads_back(kind: str, said: str, thought: str) -> None:
    assume(said.strip())
    options = {"commands": True} if kind in [*CALLS, "openai"] else {}
    parser = make(kind, **options)
    try:
        text = parser.write(said, thought)
    except BadValueError:
        assume(False)
    parsed = parser.read(text)
    assert parsed.fault is None
    assert parsed.thought == thought.strip()
    assert parsed.command in (said.strip(), said.strip().lower())


@given(arguments=st.dictionaries(st.text(max_size=6), values, max_size=4))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("kind", ["action", "hermes", "json"])
def test_every_call_in_json_can_be_written_and_reads_back(
    kind: str, arguments: dict[str, Any]
) -> None:
    parser = make(kind, **({"calls": True} if kind == "action" else {}))
    call = ToolCall("add", arguments)
    assert parser.read(parser.write(call)) == Parsed(calls=(call,))


@given(
    arguments=st.fixed_dictionaries(
        {},
        optional={
            "text": st.text(max_size=20),
            "other": st.text(max_size=9),
            "count": st.integers(-(10**50), 10**50),
            "maybe": st.text(max_size=9),
            "list": st.lists(st.text(max_size=5), max_size=3),
            "place": st.fixed_dictionaries({"x": st.floats(-1e9, 1e9)}),
        },
    ),
    thought=st.text(max_size=20),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("kind", CALLS)
def test_a_call_reads_back(kind: str, arguments: dict[str, Any], thought: str) -> None:
    parser, call = make(kind), ToolCall("add", arguments)
    try:
        text = parser.write(call, thought)
    except BadValueError:
        assume(False)
    assert parser.read(text) == Parsed(thought.strip(), calls=(call,))


@pytest.mark.case(20)
@pytest.mark.parametrize("kind", ["hermes", "qwen_xml", "json"])
def test_calls_one_after_another_are_several(kind: str) -> None:
    calls = tuple(ToolCall("add", {"text": str(i)}) for i in range(3))
    text = "\n".join(make(kind).write(call) for call in calls)
    assert make(kind, max_calls=3).read(text).calls == calls
    fault = make(kind, max_calls=2).read(text).fault
    assert fault is not None
    assert fault.kind is FaultKind.SEVERAL
    assert "3 calls where 2" in fault.message


@pytest.mark.parametrize("kind", CALLS)
def test_what_json_cannot_say_is_not_written(kind: str) -> None:
    for value in (float("nan"), {1, 2}, object(), "\ud800"):
        with pytest.raises(BadValueError):
            make(kind).write(ToolCall("add", {"list": value}))


HOSTILE = {
    "opened tags": "<tool_call><action><think" * 8_000,
    "closed tags": "</tool_call></action></function></parameter>" * 5_000,
    "tags": '<tool_call>{"name":"a"}</tool_call><action>x</action>' * 4_000,
    "deep": '<tool_call>{"name": "add", "arguments": ' + "[" * 200_000,
    "bare and deep": '{"a":' * 40_000,
    "quotes": '{"' + '\\"' * 100_000,
    "backslashes": '<tool_call>{"' + "\\" * 200_000 + "</tool_call>",
    "digits": '{"name": "add", "arguments": {"count": ' + "9" * 200_000 + "}}",
    "fences": "```json\n" * 25_000,
    "fenced objects": "```json\n{}\n```\n" * 13_000,
    "objects": "{}\n" * 65_000,
    "labels": "Action:\nAction Input: {}\n" * 8_000,
    "parameters": "<tool_call><function=a>" + "<parameter=x>1</parameter>" * 8_000,
    "spaces": " " * 200_000,
    "thoughts": "<think>" * 30_000,
    "searches": "<search>" * 25_000,
    "lines": "\n" * 200_000,
}


@pytest.mark.case(20)
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", sorted(PARSERS))
def test_long_hostile_text_is_read_in_no_time(kind: str, name: str) -> None:
    options: dict[str, Any] = {} if kind == "verl_agent" else {"max_bytes": 10**7}
    if kind in ("hermes", "qwen_xml", "json"):
        options["max_calls"] = 10**6
    environments = ["search", "webshop"] if kind == "verl_agent" else [None]
    for environment in environments:
        parser = make(kind, **options, **({"environment": environment} if environment else {}))
        begin = time.process_time()
        check(parser.read(HOSTILE[name], (ToolCall("add", {}, "1", raw=HOSTILE[name]),)))
        assert time.process_time() - begin < 0.5


@pytest.mark.case(20)
@pytest.mark.parametrize("kind", [*CALLS, "plain", "action"])
def test_sizes_are_bytes_and_bound_to_the_byte(kind: str) -> None:
    options = {"commands": True} if kind in CALLS else {}
    said = "é" * 100
    written = make(kind, **options).write(said)
    assert make(kind, max_bytes=200, **options).read(written).command == said
    fault = make(kind, max_bytes=199, **options).read(written).fault
    assert fault is not None
    assert fault.kind is FaultKind.OVERSIZED
    assert "200 bytes where 199" in fault.message


@pytest.mark.parametrize("kind", [*CALLS, "openai"])
def test_the_policy_is_told_what_it_can_call(kind: str) -> None:
    told = make(kind).instructions([TOOL])
    assert kind == "openai" or ("add(" in told and "What to add." in told)
    assert make(kind).instructions([])
    assert "3 calls" in make("hermes", max_calls=3).instructions([])


@pytest.mark.parametrize("kind", COMMANDS)
def test_formats_of_commands_refuse_tools(kind: str) -> None:
    assert make(kind).instructions([])
    with pytest.raises(BadValueError, match="choose one that reads calls"):
        make(kind).instructions([TOOL])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"name": "hermse"}, "hermes"),
        ({"name": "plain", "max_calls": 2}, "max_calls"),
        ({"name": "react", "max_calls": 2}, "max_calls"),
        ({"name": "action", "tag": "a>b"}, "tag"),
        ({"name": "plain", "require_think": True}, "the name of a tag for `think`"),
        ({"name": "verl_agent"}, "environment"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ADAPTER.validate_python(options)
