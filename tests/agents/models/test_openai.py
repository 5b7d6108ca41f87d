import asyncio
from typing import Any

import pytest
from tests.agents.models.asking import HELLO, TOOL, endpoint, failed, played

from longstep_agents.constraint import TokenTrie
from longstep_agents.messages import Ask, Message, Reply, ToolCall
from longstep_agents.models.endpoint import EndpointConfig, Prices
from longstep_agents.models.endpoint_faults import EndpointFault
from longstep_agents.models.openai import ChatConversation, ChatEndpoint
from longstep_envs.types import BadValueError


def test_messages_and_settings_arrive_as_the_protocol_says(bad: Any) -> None:
    call = ToolCall("look", {"where": "är"}, "c1")
    broken = ToolCall("look", {}, "c2", raw='{"where": ')
    talk = [
        *HELLO,
        Message("assistant", "Hm.", calls=(call, broken)),
        Message("tool", "A \ud800 door.", call_id="c1"),
    ]
    reply, _, server = played(
        bad,
        bad.says(bad.message()),
        messages=talk,
        ask=Ask(temperature=0.5, max_tokens=9, tools=(TOOL,)),
        tokens_field="max_completion_tokens",
        leave_out=("seed",),
        request={"top_p": 0.9},
    )
    assert (reply.text, reply.calls, reply.bridge_ids) == ("go north", None, ())
    (asked,) = server.asked
    assert asked["messages"][:2] == [
        {"role": "system", "content": "Play."},
        {"role": "user", "content": "You are in a hall."},
    ]
    first, second = asked["messages"][2]["tool_calls"]
    assert first == {
        "id": "c1",
        "type": "function",
        "function": {"name": "look", "arguments": '{"where": "är"}'},
    }
    assert second["function"]["arguments"] == '{"where": '
    assert asked["messages"][3] == {"role": "tool", "content": "A ? door.", "tool_call_id": "c1"}
    assert asked["tools"][0]["function"]["parameters"] == TOOL.parameters
    assert asked["model"] == "good-7b"
    assert (asked["temperature"], asked["max_completion_tokens"], asked["top_p"]) == (0.5, 9, 0.9)
    assert "seed" not in asked
    assert "max_tokens" not in asked


def test_what_is_new_to_an_endpoint_is_on_record(bad: Any) -> None:
    told = {"content": "Hm.", "tool_calls": [{"id": "a", "function": {"name": "look"}}]}

    async def play() -> list[Reply]:
        async with bad.endpoint(bad.says(bad.message(message=told))) as server:
            talk = ChatConversation(endpoint(server.url))
            replies = [await talk.reply(HELLO, Ask(tools=(TOOL,)))]
            said = Message("assistant", "Hm.", calls=replies[0].calls or ())
            grown = [*HELLO, said, Message("tool", "A door.", call_id="a")]
            replies.append(await talk.reply(grown, Ask()))
            replies.append(await talk.reply([*HELLO, said], Ask()))
            return replies

    first, second, third = asyncio.run(play())
    assert first.begins_row
    assert first.shown.startswith('[tools]\n{"type": "function", "function": {"name": "look"')
    assert first.shown.endswith("[system]\nPlay.\n[user]\nYou are in a hall.")
    assert (second.begins_row, second.shown) == (False, "[tool]\nA door.")
    assert third.begins_row
    assert third.shown.endswith('[assistant]\nHm.\n{"name": "look", "arguments": "{}"}')


def test_native_calls_are_told_apart_and_bad_arguments_stay_as_they_came(bad: Any) -> None:
    told = [
        {"id": "a", "function": {"name": "look", "arguments": '{"x": 1}'}},
        {"id": "b", "function": {"name": "look", "arguments": '{"x": 1'}},
        {"function": {"name": "look", "arguments": "[1]"}},
        {"id": "d", "function": {"name": "look", "arguments": ""}},
    ]
    said = {"content": None, "tool_calls": told, "reasoning_content": "North?"}
    reply, _, _ = played(bad, bad.says(bad.message(message=said)), ask=Ask(tools=(TOOL,)))
    assert reply.text == ""
    assert reply.reasoning == "North?"
    assert reply.calls == (
        ToolCall("look", {"x": 1}, "a", raw='{"x": 1}'),
        ToolCall("look", {}, "b", raw='{"x": 1'),
        ToolCall("look", {}, "call-0-2", raw="[1]"),
        ToolCall("look", {}, "d", raw="{}"),
    )


@pytest.mark.parametrize(
    ("fields", "stop"),
    [({}, "end"), ({"finish_reason": "length"}, "length"), ({"stop_reason": "\n"}, "\n")],
)
def test_why_it_stopped(bad: Any, fields: dict[str, Any], stop: str) -> None:
    reply, _, _ = played(bad, bad.says(bad.message(**fields)))
    assert reply.completion.stop == stop
    assert reply.completion.ids == ()


def test_each_turn_and_each_episode_has_a_seed_of_its_own(bad: Any) -> None:
    async def play() -> list[int]:
        async with bad.endpoint(bad.says(bad.message())) as server:
            asked = endpoint(server.url)
            for seed in (0, 1, 0):
                conversation = ChatConversation(asked, seed)
                for _ in range(2):
                    await conversation.reply(HELLO, Ask())
            return [sent["seed"] for sent in server.asked]

    seeds = asyncio.run(play())
    assert seeds[:2] == seeds[4:]
    assert len(set(seeds)) == 4


def test_at_most_so_many_requests_are_under_way_and_all_are_accounted(bad: Any) -> None:
    good = bad.says(bad.message())

    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        await good(writer)

    async def play() -> tuple[ChatEndpoint, list[ChatConversation], int]:
        async with bad.endpoint(slow) as server:
            asked = endpoint(
                server.url,
                concurrency=2,
                prices=Prices(prompt=2.0, completion=10.0, cached=0.5),
            )
            talks = [ChatConversation(asked, seed) for seed in range(6)]
            await asyncio.gather(*(talk.reply(HELLO, Ask()) for talk in talks))
            return asked, talks, server.most_at_once

    asked, talks, most = asyncio.run(play())
    assert most == 2
    assert (asked.usage.prompt_tokens, asked.usage.completion_tokens) == (600, 120)
    assert asked.usage.cached_tokens == 360
    assert asked.cost == pytest.approx((240 * 2.0 + 360 * 0.5 + 120 * 10.0) / 1e6)
    assert {talk.usage.prompt_tokens for talk in talks} == {100}
    waits = [talk.usage.waiting_seconds for talk in talks]
    assert max(waits) > 0.15  # for two others, in line
    assert min(waits) < max(waits) / 2  # for nobody
    assert sum(talk.usage.seconds for talk in talks) >= 0.6


def test_answers_that_do_not_tell_their_tokens_are_counted(bad: Any) -> None:
    _, asked, _ = played(bad, bad.says({"choices": [{"message": {"content": "x"}}]}))
    assert (asked.usage.requests, asked.usage.uncounted) == (1, 1)
    assert asked.cost is None


def test_token_ids_make_rows_and_a_changed_past_begins_a_new_one(bad: Any) -> None:
    def told(prompt: list[int], ids: list[int]) -> Any:
        logprobs = {"content": [{"token": "x", "logprob": -i} for i, _ in enumerate(ids)]}
        body = bad.message(token_ids=ids, logprobs=logprobs)
        return bad.says({**body, "prompt_token_ids": prompt})

    async def play() -> tuple[list[Reply], Any]:
        script = [told([1, 2], [3, 4]), told([1, 2, 3, 4, 5], [6]), told([9, 5], [6])]
        async with bad.endpoint(*script) as server:
            talk = ChatConversation(endpoint(server.url, token_ids=True))
            return [await talk.reply(HELLO, Ask()) for _ in script], server.asked[0]

    replies, asked = asyncio.run(play())
    assert asked["return_token_ids"] is asked["logprobs"] is True
    assert [(r.bridge_ids, r.begins_row) for r in replies] == [
        ((1, 2), True),
        ((5,), False),
        ((9, 5), True),
    ]
    assert replies[0].completion.ids == (3, 4)
    assert replies[0].completion.logprobs == (0.0, -1.0)


@pytest.mark.case(22)
def test_token_ids_that_do_not_come_are_missed(bad: Any) -> None:
    error, _, _ = failed(bad, bad.says(bad.message()), token_ids=True)
    assert error.fault is EndpointFault.MALFORMED
    assert "token ids" in str(error)


@pytest.mark.case(22)
@pytest.mark.parametrize(
    ("ids", "logprobs"),
    [([3, 4], [0.0]), ([3], [0.0, -1.0]), ([], [0.0]), ([3], [float("nan")]), ([3], [None])],
)
def test_log_probabilities_that_do_not_fit_are_never_padded(
    bad: Any, ids: list[int], logprobs: list[Any]
) -> None:
    told = {"content": [{"token": "x", "logprob": one} for one in logprobs]}
    body = bad.message(token_ids=ids, logprobs=told) | {"prompt_token_ids": [1, 2]}
    error, _, _ = failed(bad, bad.says(body), token_ids=True)
    assert error.fault is EndpointFault.MALFORMED


def test_one_endpoint_serves_several_event_loops(bad: Any) -> None:
    asked: list[ChatEndpoint] = []

    async def play() -> str:
        async with bad.endpoint(bad.says(bad.message())) as server:
            asked.append(asked[0] if asked else endpoint(server.url))
            asked[0].config = asked[0].config.model_copy(update={"base_url": server.url})
            return (await ChatConversation(asked[0]).reply(HELLO, Ask())).text

    assert [asyncio.run(play()) for _ in range(2)] == ["go north"] * 2


def test_the_key_goes_only_where_it_was_named_for(
    bad: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("MY_KEY", "mine")
    for variable, key in ((None, "bearer none"), ("MY_KEY", "bearer mine")):
        _, _, server = played(bad, bad.says(bad.message()), key_variable=variable)
        assert server.keys == [key]
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(BadValueError, match="set OPENAI_API_KEY"):
        ChatEndpoint(EndpointConfig(model="m"))


def test_a_constraint_is_refused() -> None:
    talk = ChatConversation(endpoint("http://127.0.0.1:9/v1"))
    with pytest.raises(BadValueError, match=r"action\.constraint"):
        asyncio.run(talk.reply(HELLO, Ask(constraint=TokenTrie([(1,)]))))
    with pytest.raises(BadValueError, match=r"action\.constraint"):
        talk.tokens("look")


def test_the_length_of_a_text_is_estimated() -> None:
    talk = ChatConversation(endpoint("http://127.0.0.1:9/v1"))
    assert [talk.count(text) for text in ("", "a", "go to desk 1", "\ud800")] == [0, 1, 3, 1]
