"""What becomes of a reply: a command, a call, a note, a fault."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from longstep_agents.agent import Act
from longstep_agents.language_agent import AgentKit, LanguageAgent, LanguageAgentConfig
from longstep_agents.messages import Ask, Message, Reply, ToolCall
from longstep_agents.model import EngineError
from longstep_agents.models.chat_wire import write_messages
from longstep_agents.rollout import EpisodeRequest, collect
from longstep_agents.tools import Tool, ToolError, ToolFault
from longstep_agents.trace import trace_row
from longstep_agents.types import Completion
from longstep_envs import EnvPool, Limits
from longstep_envs.types import BadValueError, Info, ToolSpec

SEARCH = ToolSpec("search", "Search.", {"type": "object", "properties": {"query": {}}})


class Script:
    """Says what it was told to say, and keeps what it was shown."""

    formats = frozenset(("hermes", "qwen_xml", "openai"))

    def __init__(self, *said: str | Reply) -> None:
        self._said = iter(said)
        self.shown: list[list[Message]] = []
        self.asked: list[Ask] = []

    def count(self, text: str) -> int:
        return len(text.split())

    def tokens(self, text: str) -> tuple[int, ...]:
        return tuple(text.encode())

    async def reply(self, messages: Sequence[Message], ask: Ask) -> Reply:
        self.shown.append(list(messages))
        self.asked.append(ask)
        said = next(self._said)
        return Reply(said, completion=Completion(text=said)) if isinstance(said, str) else said

    def close(self) -> None: ...


def call(tool: str, /, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': tool, 'arguments': arguments})}</tool_call>"


def config(**options: Any) -> LanguageAgentConfig:
    return LanguageAgentConfig.model_validate({"parser": {"name": "hermes"}, **options})


def play(
    script: Script, kit: AgentKit, turns: int, seen: Sequence[str] = ("Find the key.",)
) -> list[Act]:
    """The acts of an agent that is answered by itself, or by the next thing to see."""
    agent = LanguageAgent(script, kit)

    async def episode() -> list[Act]:
        acts: list[Act] = []
        waiting = list(seen)
        observation = waiting.pop(0)
        for _ in range(turns):
            act = await agent.act(observation, Info())
            acts.append(act)
            if act.aside is not None:
                observation = act.aside.answer
            elif waiting:
                observation = waiting.pop(0)
        return acts

    return asyncio.run(episode())


def test_calls_of_its_own_tools_are_answered_and_those_of_the_environment_are_acted_out() -> None:
    kit = AgentKit(config(tools={"calculator": {}}), [SEARCH])
    script = Script(call("calculator", expression="6 * 7"), call("search", query="42"))
    own, acted = play(script, kit, 2)
    assert own.aside is not None
    assert (own.aside.target, own.aside.answer, own.aside.fault) == ("tool", "42", "")
    assert json.loads(acted.action) == {"name": "search", "arguments": {"query": "42"}}
    assert acted.aside is None
    assert [m.role for m in script.shown[1]] == ["user", "assistant", "tool"]
    assert {spec.name for spec in script.asked[0].tools} == {"calculator", "search"}


@pytest.mark.case(20)
def test_what_cannot_be_read_is_told_and_given_to_nobody() -> None:
    script = Script("I will look around.", call("calculator", expression="1"))
    fault, fine = play(script, AgentKit(config(tools={"calculator": {}})), 2)
    assert fault.aside is not None
    assert (fault.aside.target, fault.aside.fault, fault.valid) == ("nobody", "missing", False)
    assert "tool_call" in fault.aside.answer
    assert script.shown[1][-1].text == fault.aside.answer
    assert fine.valid


@pytest.mark.case(20)
def test_an_unknown_tool_is_answered_with_the_nearest_of_all() -> None:
    kit = AgentKit(config(tools={"calculator": {}}), [SEARCH])
    (act,) = play(Script(call("serch", query="x")), kit, 1)
    assert act.aside is not None
    assert act.aside.fault == ToolFault.UNKNOWN
    assert "did you mean 'search'" in act.aside.answer


@pytest.mark.case(20)
def test_a_call_of_the_environment_stands_alone() -> None:
    options = {"parser": {"name": "hermes", "max_calls": 3}, "tools": {"calculator": {}}}
    both = call("calculator", expression="1") + call("search", query="x")
    (act,) = play(Script(both), AgentKit(config(**options), [SEARCH]), 1)
    assert act.aside is not None
    assert (act.aside.target, act.aside.fault) == ("nobody", "several")
    two = call("calculator", expression="1") + call("calculator", expression="2")
    (act,) = play(Script(two), AgentKit(config(**options), [SEARCH]), 1)
    assert act.aside is not None
    assert act.aside.answer == "1\n\n2"


@pytest.mark.case(20)
def test_the_same_failing_call_over_and_over_ends_the_episode() -> None:
    kit = AgentKit(config(tools={"calculator": {}}, toolbox={"end_repeats": 3}))
    *before, last = play(Script(*[call("calculator", expression="1 / 0")] * 3), kit, 3)
    assert [act.aside.ends for act in before if act.aside is not None] == ["", ""]
    assert last.aside is not None
    assert (last.aside.target, last.aside.fault, last.valid) == ("tool", "failed", False)
    assert last.aside.ends == "tool_loop"
    assert "3 times in a row" in last.aside.answer


@pytest.mark.case(23)
def test_a_tool_whose_server_is_down_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(arguments: Any) -> str:
        raise ToolError("the server is gone", ToolFault.UNAVAILABLE)

    kit = AgentKit(config())
    monkeypatch.setattr(kit, "tools", lambda: (Tool(SEARCH, down),))
    with pytest.raises(EngineError, match="the server is gone"):
        play(Script(call("search", query="x")), kit, 1)


def test_a_note_is_shown_when_what_it_was_made_of_is_not() -> None:
    kit = AgentKit(config(memory={"name": "scratchpad", "turns": 0}), [SEARCH])
    note = call("write_note", name="key", text="under the mat")
    script = Script(note, call("search", query="x"), call("search", query="y"))
    play(script, kit, 3, ["Find the key.", "a hall", "a garden"])
    (last,) = script.shown[2]
    gap = "[Earlier steps not shown: 1 to 2]"
    assert last.text == f"Find the key.\n\nkey: under the mat\n\n{gap}\n\na hall"


def test_where_the_template_tells_nothing_the_prompt_tells_of_the_tools() -> None:
    script = Script(call("calculator", expression="1"))
    script.formats = frozenset[str]()
    play(script, AgentKit(config(system="Be brief.", tools={"calculator": {}})), 1)
    system = script.shown[0][0]
    assert system.role == "system"
    assert system.text.startswith("Be brief.\n\n")
    assert "calculator" in system.text
    assert "<tool_call>" in system.text
    assert script.asked[0].tools == ()


@pytest.mark.parametrize("memory", [{"name": "full"}, {"name": "window", "turns": 1}])
def test_every_call_that_an_endpoint_is_shown_has_its_answer(memory: dict[str, Any]) -> None:
    def reply(*identities: str) -> Reply:
        calls = tuple(
            ToolCall("calculator", {"expression": "1"}, one, '{"expression": "1"}')
            for one in identities
        )
        return Reply("", calls, completion=Completion())

    parser = {"name": "openai", "max_calls": 2, "commands": True}
    kit = AgentKit(config(parser=parser, tools={"calculator": {}}, memory=memory))
    script = Script(reply("a", "b"), reply("c"), "look", reply("d"), "look")
    play(script, kit, 5, ["Find the key.", "a hall"])
    for shown in script.shown:
        waiting: set[str] = set()
        for message in write_messages(shown):
            if message["role"] == "tool":
                waiting.remove(message["tool_call_id"])
            else:
                assert not waiting
            waiting |= {one["id"] for one in message.get("tool_calls", ())}
        assert not waiting


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"parser": None, "tools": {"calculator": {}}}, "a parser that reads calls"),
        ({"parser": {"name": "plain"}, "tools": {"calculator": {}}}, "a parser that reads calls"),
        ({"parser": None, "memory": {"name": "scratchpad"}}, "a parser that reads calls"),
        ({"prompt": "x.txt"}, "stepwise"),
        ({"action": {"constraint": "admissible"}}, 'agent.action.constraint = "none"; or no'),
        ({"action": {"order": "noun_first"}}, 'agent.action.order = "plain"'),
        ({"action": {"second_noun": ["move"]}}, r"agent.action.second_noun = \[\]"),
        ({"action": {"tag": "do"}}, r"no agent.action.tag; or no agent.parser"),
        ({"max_tokens": 0}, "greater than 0"),
        ({"temperature": -1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options: Any, wanted: str) -> None:
    with pytest.raises(ValidationError, match=wanted):
        config(**options)


@pytest.mark.parametrize("parser", [None, {"name": "action"}])
def test_tools_of_the_environment_that_nothing_could_call_are_refused(parser: Any) -> None:
    with pytest.raises(BadValueError, match=r"tools \(search\).*agent.parser.name = "):
        AgentKit(config(parser=parser), [SEARCH])
    AgentKit(config(parser={"name": "action", "calls": True}), [SEARCH])
    AgentKit(config(parser=parser))


MEMORIES: list[dict[str, Any]] = [
    {"name": "full"},
    {"name": "window", "turns": 0},
    {"name": "budget", "tokens": 3},
    {"name": "summary", "tokens": 2},
    {"name": "overwrite", "chunk": 4},
    {"name": "retrieval", "turns": 1},
    {"name": "scratchpad", "turns": 1},
]


@pytest.mark.parametrize("context", ["append", "stepwise"])
@pytest.mark.parametrize("memory", MEMORIES, ids=lambda memory: memory["name"])
def test_every_prompt_shows_what_it_asks_about(memory: dict[str, Any], context: str) -> None:
    """What is seen now, or the part of it that is being read, stands in the prompt."""
    script = Script(*[call("search", query="x")] * 9)
    seen = ["one two three four\nfive six seven\nWhere is it?", "a hall", "a garden"]
    acts = play(script, AgentKit(config(memory=memory, context=context), [SEARCH]), 6, seen)
    waiting = iter(seen)
    for act, shown in zip(acts, script.shown, strict=False):
        told = act.aside.observation if act.aside is not None else next(waiting, "")
        asked = told if memory["name"] != "overwrite" or act.aside else told.splitlines()[-1:]
        assert "".join(asked) in shown[-1].text


def test_what_was_read_in_parts_is_not_shown_again() -> None:
    long = "\n".join(f"line {n}" for n in range(8)) + "\nWhere is it?"
    kit = AgentKit(config(memory={"name": "overwrite", "chunk": 8}), [SEARCH])
    script = Script(*["noted"] * 3, *[call("search", query="x")] * 2)
    play(script, kit, 5, [long, "a hall"])
    assert all("line 3" not in m.text for shown in script.shown[-2:] for m in shown)
    assert [m.text for m in script.shown[-1]][::2] == ["noted\n\nWhere is it?", "a hall"]


@pytest.mark.parametrize("parser", ["react", "json", "action"])
def test_a_format_that_nobody_else_tells_is_told_in_the_prompt(parser: str) -> None:
    script = Script("?")
    script.formats = frozenset(("hermes",))
    play(script, AgentKit(config(parser={"name": parser})), 1)
    assert script.shown[0][0].role == "system"
    assert {"react": "Action:", "json": "arguments", "action": "<action>"}[parser] in (
        script.shown[0][0].text
    )
    quiet = Script("?")
    quiet.formats = frozenset[str]()
    play(quiet, AgentKit(config(parser={"name": parser}, tell_format=False)), 1)
    assert [m.role for m in quiet.shown[0]] == ["user"]


def test_answers_to_calls_that_were_read_from_text_are_told_as_text() -> None:
    script = Script(call("calculator", expression="1"), call("calculator", expression="2"))
    script.formats = frozenset(("openai",))
    play(script, AgentKit(config(tools={"calculator": {}})), 2)
    assert [m.role for m in script.shown[1]] == ["system", "user", "assistant", "user"]
    assert script.asked[0].tools == ()


def test_calls_beside_the_text_are_not_waited_for_where_none_can_come() -> None:
    script = Script("?")
    script.formats = frozenset(("hermes",))
    with pytest.raises(EngineError, match=r"set agent.parser.name to one that reads text"):
        LanguageAgent(script, config(parser={"name": "openai"}))


@pytest.mark.case(20)
def test_half_of_a_listed_command_is_not_carried_out() -> None:
    half = Completion((1, 2), (0.0, 0.0), "look", "length", allowed=((1,), (2,)))
    script = Script(Reply("look", completion=half))
    act = asyncio.run(LanguageAgent(script, LanguageAgentConfig()).act("x", Info()))
    assert act.aside is not None
    assert (act.aside.target, act.aside.fault, act.valid) == ("nobody", "truncated", False)


@pytest.mark.case(20)
@pytest.mark.parametrize(
    ("options", "text", "done"),
    [
        ({}, "go to shelf 1", ""),
        ({"action": {"order": "noun_first"}}, "shelf 1 go to", ""),
        ({"action": {"tag": "do"}}, "<do>go to shelf 1", ""),
        ({"action": {"tag": "do"}}, "<do>go to shelf 1</do> for", "go to shelf 1"),
        ({"parser": {"name": "plain"}}, "go to shelf 1", ""),
        ({"parser": {"name": "action"}}, "<action>go to shelf 1</action> for", "go to shelf 1"),
    ],
)
def test_only_a_whole_command_is_carried_out_of_a_reply_that_was_cut(
    options: dict[str, Any], text: str, done: str
) -> None:
    script = Script(Reply(text, completion=Completion((1,), (0.0,), text, "length")))
    agent = LanguageAgent(script, LanguageAgentConfig.model_validate(options))
    act = asyncio.run(agent.act("x", Info(admissible_commands=["go to shelf 1"])))
    assert (act.aside is None) == bool(done)
    if act.aside is None:
        assert (act.action, act.valid) == (done, True)
    else:
        assert (act.aside.target, act.aside.fault, act.valid) == ("nobody", "truncated", False)


def test_what_an_endpoint_tells_of_thinking_is_on_record_and_bounded() -> None:
    replies = [
        Reply("on", reasoning="The key is near."),
        Reply("on", reasoning="hm " * 10_000),
        Reply("on"),
    ]
    agent = LanguageAgent(Script(*replies), LanguageAgentConfig())
    with EnvPool("longstep/Treasure-v0", limits=Limits(turns=3)) as pool:
        (played,) = asyncio.run(collect(pool, [EpisodeRequest("train/0")], lambda request: agent))
    first, long, none = played.steps
    assert (first.reasoning, none.reasoning) == ("The key is near.", "")
    assert len(long.reasoning) <= 20_000
    assert "characters left out" in long.reasoning
    rows = trace_row(played)["steps"]
    assert [row.get("reasoning") for row in rows] == [first.reasoning, long.reasoning, None]


def test_a_thought_is_not_kept_in_memory() -> None:
    script = Script("<think>hm</think>noted", *[call("search", query="x")] * 2)
    kit = AgentKit(config(memory={"name": "overwrite", "chunk": 8}), [SEARCH])
    play(script, kit, 2, ["one two three four five six seven\nWhere is it?"])
    assert "hm" not in script.shown[1][0].text
