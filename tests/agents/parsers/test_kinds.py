"""What each kind of parser makes of replies, well formed and as models break them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from longstep_agents.messages import ToolCall
from longstep_agents.parsers import AnyParserConfig, FaultKind, Parsed, Parser, make_parser
from longstep_envs.types import ToolSpec

MISSING, MALFORMED, TRUNCATED = FaultKind.MISSING, FaultKind.MALFORMED, FaultKind.TRUNCATED
OVERSIZED, SEVERAL, DUPLICATE = FaultKind.OVERSIZED, FaultKind.SEVERAL, FaultKind.DUPLICATE_KEY
SEARCH = ToolSpec(
    "search",
    "Searches.",
    {
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "k": {"type": "integer"},
            "tags": {"type": ["array", "null"]},
            "size": {"enum": [1, 2]},
            "unit": {"$ref": "#/$defs/Unit"},
            "either": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
        },
        "$defs": {"Unit": {"enum": ["cm", "in"]}},
    },
)
CALL = '{"name": "search", "arguments": {"query": "red shoe", "k": 3}}'
SEARCHED = Parsed(calls=(ToolCall("search", {"query": "red shoe", "k": 3}),))


ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyParserConfig)


def make(kind: str, **options: Any) -> Parser:
    return make_parser(ADAPTER.validate_python({"name": kind, **options}), [SEARCH])


def fault(parsed: Parsed) -> FaultKind:
    """The kind of the fault; nothing else has been read."""
    assert parsed.fault is not None
    assert parsed == Parsed(fault=parsed.fault)
    assert "Wanted: " in parsed.fault.message
    return parsed.fault.kind


BROKEN_CALLS = [
    (CALL[:-1], TRUNCATED),
    (CALL[:30], TRUNCATED),
    ('{"name": "search", "arguments": {"query": "red', TRUNCATED),
    (CALL + '"', MALFORMED),
    (CALL.replace("red shoe", "red\nshoe"), MALFORMED),
    (CALL.replace('"', "'"), MALFORMED),
    (CALL.replace("3}", "3,}"), MALFORMED),
    (CALL.replace("3}", "NaN}"), MALFORMED),
    (CALL.replace("3}", "-Infinity}"), MALFORMED),
    (CALL.replace("3}", "1e999}"), OVERSIZED),
    (CALL.replace("3}", "9" * 5_000 + "}"), OVERSIZED),
    (CALL.replace("3}", "[" * 40 + "]" * 40 + "}"), OVERSIZED),
    (CALL.replace("red shoe", "\\ud800"), MALFORMED),
    (CALL.replace("red shoe", "\ud800"), MALFORMED),
    (CALL.replace('"k"', '"query"'), DUPLICATE),
    (CALL.replace('"arguments"', '"name"'), DUPLICATE),
    (CALL.replace('"arguments"', '"parameters"'), MALFORMED),
    ('{"name": "search"}', MALFORMED),
    ('{"name": "search", "arguments": {}, "id": 1}', MALFORMED),
    ('{"name": "search", "arguments": "{}"}', MALFORMED),
    ('{"name": "search", "arguments": []}', MALFORMED),
    ('{"name": null, "arguments": {}}', MALFORMED),
    ('{"name": " ", "arguments": {}}', MALFORMED),
    ('{"arguments": {}}', MALFORMED),
    ("{}", MALFORMED),
]


@pytest.mark.case(20)
@pytest.mark.parametrize(("written", "kind"), BROKEN_CALLS)
def test_broken_json_is_the_same_fault_wherever_it_stands(written: str, kind: FaultKind) -> None:
    assert fault(make("hermes").read(f"<tool_call>{written}</tool_call>")) is kind
    assert fault(make("json").read(f"```json\n{written}\n```")) is kind
    assert fault(make("json").read(f"I look.\n{written}")) is kind
    assert fault(make("action", calls=True).read(f"<action>{written}</action>")) is kind


@pytest.mark.case(20)
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", MISSING),
        ("I would search now.", MISSING),
        (CALL, MISSING),
        (f"<tool_call>{CALL}", TRUNCATED),
        (f"<think>I wonder <tool_call>{CALL}</tool_call>", TRUNCATED),
        (f"<think>a</think></think><tool_call>{CALL}</tool_call>", MALFORMED),
        (f"{CALL}</tool_call>", MALFORMED),
        (f"<tool_call>{CALL}<tool_call>{CALL}</tool_call>", MALFORMED),
        (f"<tool_call>{CALL}</tool_call></tool_call>", MALFORMED),
        (f"<tool_call>{CALL}{CALL}</tool_call>", SEVERAL),
        (f"<tool_call>{CALL}</tool_call><tool_call>{CALL}</tool_call>", SEVERAL),
        ("<tool_call></tool_call>", MALFORMED),
        (f"<tool_call>[{CALL}]</tool_call>", MALFORMED),
        (f"<tool_call>{CALL.replace('red', 'r' * 20_000)}</tool_call>", OVERSIZED),
    ],
)
def test_hermes_faults(text: str, kind: FaultKind) -> None:
    assert fault(make("hermes").read(text)) is kind


def test_hermes_reads_what_is_well_formed() -> None:
    enclosed = f"<tool_call>\n{CALL}\n</tool_call>"
    assert make("hermes").read(enclosed) == SEARCHED
    parsed = make("hermes").read(f"Hm.</think>\nI look.\n{enclosed}\nSoon.")
    assert (parsed.thought, parsed.calls) == ("Hm.\nI look.\nSoon.", SEARCHED.calls)
    renamed = enclosed.replace("arguments", "parameters")
    assert make("hermes", arguments_key="parameters").read(renamed) == SEARCHED
    assert make("hermes", commands=True).read(" look ") == Parsed(command="look")
    doubled = make("hermes").read(enclosed.replace('"search"', '"search_searchsearch"'))
    assert doubled.calls[0].name == "search_searchsearch"  # the toolbox knows what there is


@pytest.mark.case(20)
@pytest.mark.parametrize(
    ("inside", "kind"),
    [
        ("", MALFORMED),
        (CALL, MALFORMED),
        ("<function=></function>", MALFORMED),
        ("<function=search", MALFORMED),
        ("<function=search>", MALFORMED),
        ("<function=a b></function>", MALFORMED),
        ("<function=search></function> and more", MALFORMED),
        ("<function=search></function><function=search></function>", MALFORMED),
        ("<function=search>words</function>", MALFORMED),
        ("<function=search><parameter=query>x</function>", MALFORMED),
        ("<function=search><parameter=k>three</parameter></function>", MALFORMED),
        ("<function=search><parameter=k></parameter></function>", MALFORMED),
        ("<function=search><parameter=k>1 2</parameter></function>", MALFORMED),
        ("<function=search><parameter=tags>[1</parameter></function>", TRUNCATED),
        ("<function=search><parameter=k>1e999</parameter></function>", OVERSIZED),
        ("<function=search>" + "<parameter=k>1</parameter>" * 2 + "</function>", DUPLICATE),
    ],
)
def test_qwen_xml_faults(inside: str, kind: FaultKind) -> None:
    assert fault(make("qwen_xml").read(f"<tool_call>{inside}</tool_call>")) is kind


def test_qwen_xml_needs_its_outer_tags() -> None:
    inside = "<function=search></function>"
    assert fault(make("qwen_xml").read(inside)) is MISSING
    assert fault(make("qwen_xml").read(f"{inside}</tool_call>")) is MALFORMED
    assert fault(make("qwen_xml").read(f"<tool_call>{inside}")) is TRUNCATED


@pytest.mark.parametrize(
    ("parameter", "written", "value"),
    [
        ("query", "5", "5"),
        ("query", "\n a\nb \n", " a\nb "),
        ("k", "\n5\n", 5),
        ("tags", "null", None),
        ("tags", '["5"]', ["5"]),
        ("size", "2", 2),
        ("unit", "cm", "cm"),
        ("either", "5", "5"),
        ("unknown", "5", "5"),
    ],
)
def test_qwen_xml_values_are_of_the_schemas_type(parameter: str, written: str, value: Any) -> None:
    text = f"<function=search><parameter={parameter}>{written}</parameter></function>"
    parsed = make("qwen_xml").read(f"<tool_call>\n{text}\n</tool_call>")
    assert parsed.calls == (ToolCall("search", {parameter: value}),)


@pytest.mark.case(20)
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", MISSING),
        ("I would search.", MISSING),
        (f"```python\n{CALL.replace('{', '')}\n```", MISSING),
        (f"```json\n{CALL}", TRUNCATED),
        ("```json\n```", MALFORMED),
        ("```\nls\n```", MALFORMED),
        (f"{CALL}\nand so on", MALFORMED),
        (f"{CALL}{CALL}", SEVERAL),
        (f"{CALL}\n{CALL}", SEVERAL),
        (f"```json\n{CALL}\n```\n```json\n{CALL}\n```", SEVERAL),
        (f"```json\n[{CALL}]\n```", MALFORMED),
        (CALL.replace("red", "r" * 20_000), OVERSIZED),
    ],
)
def test_json_faults(text: str, kind: FaultKind) -> None:
    assert fault(make("json").read(text)) is kind


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        (CALL, ""),
        (f"  {CALL}\n\n", ""),
        (f"<think>a</think>\nI look.\n{CALL}", "a\nI look."),
        (f"```\n{CALL}\n```", ""),
        (f"I look.\n```json\n{CALL}\n```\nSoon.", "I look.\nSoon."),
        (f"```python\nx = {{}}\n```\n```json\n{CALL}\n```", "```python\nx = {}\n```"),
    ],
)
def test_json_reads_what_is_well_formed(text: str, thought: str) -> None:
    assert make("json").read(text) == Parsed(thought, calls=SEARCHED.calls)


@pytest.mark.case(20)
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", MISSING),
        ("Thought: I look.", MISSING),
        ("Action:", MISSING),
        ("Action: search", MISSING),
        ("Action:\nAction Input: {}", MISSING),
        ("Action Input: {}", MISSING),
        ("Action Input: {}\nAction: search", MALFORMED),
        ("Action: search\nAction Input: {}\nAction Input: {}", MALFORMED),
        ("Action: search\nAction Input: {}\nThought: more", MALFORMED),
        ("Action: search\nAction Input: {}\nObservation: found", MALFORMED),
        ("Action: search\nfor\nAction Input: {}", MALFORMED),
        ("Action: search\nAction Input: red shoe", MALFORMED),
        ("Action: search\nAction Input:", MALFORMED),
        ("Action: search\nAction Input: [1]", MALFORMED),
        ("Action: search\nAction Input: {} {}", SEVERAL),
        ('Action: search\nAction Input: {"query": "re', TRUNCATED),
        ("Action: search\nAction Input: {}\nAction: search\nAction Input: {}", SEVERAL),
        (f'Action: search\nAction Input: {{"query": "{"r" * 20_000}"}}', OVERSIZED),
    ],
)
def test_react_faults(text: str, kind: FaultKind) -> None:
    assert fault(make("react").read(text)) is kind


def test_react_reads_what_is_well_formed() -> None:
    text = 'Well.\nThought: I look\n for it.\n Action: search\nAction Input: {\n "query": "x"\n}\n'
    call = ToolCall("search", {"query": "x"})
    assert make("react").read(text) == Parsed("Well.\nI look\n for it.", calls=(call,))
    command = make("react", commands=True).read("Thought: on.\nAction: go north")
    assert command == Parsed("on.", "go north")


@pytest.mark.case(20)
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", MISSING),
        ("go north", MISSING),
        ("<action></action>", MISSING),
        ("<action> \n</action>", MISSING),
        ("<Action>go north</Action>", MISSING),
        ("<action>go north", TRUNCATED),
        ("<think>where", TRUNCATED),
        ("<think>where <action>go north</action>", TRUNCATED),
        ("<think>a</think><think>b</think><action>go</action>", MALFORMED),
        ("</action>oops<action>go</action>", MALFORMED),
        ("<action>go<action>go</action>", MALFORMED),
        ("<action>go</action><action>go</action>", SEVERAL),
        (f"<action>{'x' * 20_000}</action>", OVERSIZED),
        ("<action>\ud800</action>", MALFORMED),
    ],
)
def test_action_faults(text: str, kind: FaultKind) -> None:
    assert fault(make("action").read(text)) is kind


def test_action_reads_what_is_well_formed() -> None:
    parser = make("action")
    assert parser.read("<action> go\nnorth </action>") == Parsed(command="go\nnorth")
    assert parser.read("on</think> So: <action>go</action>.") == Parsed("on\nSo:\n.", "go")
    rejected = "<think>or <action>sit</action>?</think><action>go</action>"
    assert parser.read(rejected) == Parsed("or <action>sit</action>?", "go")
    assert parser.read(f"<action>{CALL}</action>") == Parsed(command=CALL)
    assert make("action", calls=True).read(f"<action>{CALL}</action>") == SEARCHED
    renamed = make("action", tag="do", think="plan", require_think=True)
    assert renamed.read("<plan>p</plan><do>go</do>") == Parsed("p", "go")
    assert fault(renamed.read("<do>go</do>")) is MISSING
    assert renamed.read(renamed.write("go")) == Parsed("", "go")


def test_plain_takes_all_for_the_command() -> None:
    assert make("plain").read(" <think>x\ny ") == Parsed(command="<think>x\ny")
    assert make("plain", think="think").read("<think>x</think>\ngo") == Parsed("x", "go")
    assert fault(make("plain").read(" \n")) is MISSING
    assert fault(make("plain", think="think").read("<think>x</think>")) is MISSING


@pytest.mark.case(20)
@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ('{"query": "red', TRUNCATED),
        ('{"query": 1, "query": 2}', DUPLICATE),
        ("{}{}", SEVERAL),
        ("null", MALFORMED),
        ("red shoe", MALFORMED),
        ('{"query": NaN}', MALFORMED),
        ('"{}"', MALFORMED),
        (" ", MALFORMED),
        ('{"query": "\ud800"}', MALFORMED),
        ("[" * 100_000, OVERSIZED),
        (f'{{"query": "{"r" * 20_000}"}}', OVERSIZED),
    ],
)
def test_native_arguments_that_are_no_object_are_faults(raw: str, kind: FaultKind) -> None:
    assert fault(make("openai").read("", (ToolCall("search", {}, "call-1", raw=raw),))) is kind


def test_native_calls() -> None:
    parser, told = make("openai"), ToolCall("search", {"k": 3}, "call-1")
    assert parser.read(" I look. ", (told,)) == Parsed("I look.", calls=(told,))
    unread = ToolCall("search", {}, "call-1", raw='{"k": 3}')
    assert parser.read("", (unread,)) == Parsed(calls=(told,))
    assert fault(parser.read("", (told, told))) is SEVERAL
    assert make("openai", max_calls=2).read("", (told, told)).calls == (told, told)
    assert fault(parser.read("", (ToolCall("", {}),))) is MALFORMED
    assert fault(parser.read("", (ToolCall("search", {"k": float("inf")}),))) is MALFORMED
    assert fault(parser.read("", (ToolCall("search", {"k": object()}),))) is MALFORMED
    assert fault(parser.read("I look.", ())) is MISSING
    assert make("openai", commands=True).read("look") == Parsed(command="look")


@pytest.mark.case(20)
@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        ("plain", {}, "go to shelf 1"),
        ("plain", {}, ""),
        ("plain", {"think": "think"}, "first I would like to"),
        ("react", {"commands": True}, "Thought: on.\nAction: go to shelf 1"),
        ("react", {}, "Thought: on.\nAction: sear"),
        ("hermes", {"commands": True}, "go to shelf 1"),
        ("hermes", {}, "first I would like to"),
        ("qwen_xml", {"commands": True}, "go to shelf 1"),
        ("json", {"commands": True}, "go to shelf 1"),
        ("openai", {"commands": True}, "go to shelf 1"),
        ("action", {}, "first I would like to"),
        ("action", {}, "<action>go to shelf 1"),
    ],
)
def test_what_was_cut_off_is_not_taken_for_a_whole(kind: str, options: Any, text: str) -> None:
    assert fault(make(kind, **options).read(text, cut=True)) is TRUNCATED


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("action", "<action>go</action> which I"),
        ("hermes", f"<tool_call>{CALL}</tool_call> which I"),
        ("json", CALL),
        ("json", f"```json\n{CALL}\n```"),
        ("react", 'Action: search\nAction Input: {"query": "x"}'),
    ],
)
def test_what_tells_its_own_end_is_whole_wherever_the_reply_was_cut(kind: str, text: str) -> None:
    parser = make(kind)
    assert parser.read(text).fault is None
    assert parser.read(text, cut=True) == parser.read(text)


@pytest.mark.case(20)
def test_a_native_call_without_the_arguments_that_were_cut_off_is_not_made() -> None:
    parser, bare = make("openai"), ToolCall("search", {}, "call-1")
    assert parser.read("", (bare,)).calls == (bare,)
    assert fault(parser.read("", (bare,), cut=True)) is TRUNCATED
    whole = ToolCall("search", {}, "call-1", raw='{"k": 3}')
    assert parser.read("", (whole,), cut=True) == parser.read("", (whole,))


def test_a_fault_tells_what_came_what_was_wanted_and_what_to_do() -> None:
    long = f"<tool_call>{CALL[:-1]}" + "\n x" * 1_000
    parsed = make("hermes").read(long)
    assert parsed.fault is not None
    assert parsed.fault.message.splitlines()[0] == (
        "Your reply was not carried out: it opens <tool_call> and does not close it."
    )
    assert '<tool_call>{"name": "search"' in parsed.fault.message
    assert f"({len(long):,} characters)" in parsed.fault.message
    assert "Reply again, more briefly" in parsed.fault.message
    assert len(parsed.fault.message) < 600
