import asyncio
import email.utils
import json
import time
from typing import Any

import pytest
from tests.agents.models.asking import ASK, HELLO, endpoint, failed, played

from longstep_agents.messages import Reply
from longstep_agents.model import ContextError, EngineError
from longstep_agents.models.endpoint_faults import EndpointError, EndpointFault
from longstep_agents.models.openai import ChatConversation, check


def failed_then_played(bad: Any, play: Any, **options: Any) -> tuple[EndpointError, Reply]:
    """The endpoint's fault in two attempts out of two, then in one out of two."""

    async def episode() -> tuple[EndpointError, Reply]:
        async with bad.endpoint(play, play, play, bad.says(bad.message())) as server:
            talk = ChatConversation(endpoint(server.url, attempts=2, **options))
            with pytest.raises(EndpointError) as caught:
                await talk.reply(HELLO, ASK)
            return caught.value, await talk.reply(HELLO, ASK)

    return asyncio.run(asyncio.wait_for(episode(), 20))


async def reset(writer: asyncio.StreamWriter) -> None:
    """Break off in the middle of the body."""
    writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n" + b'{"choices": [')
    await writer.drain()
    writer.transport.abort()


async def hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def drip(writer: asyncio.StreamWriter) -> None:
    """A byte now and then, so that no gap is long."""
    writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n")
    for _ in range(600):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def flood(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 999999999\r\n\r\n")
    for _ in range(10):
        writer.write(b" " * 2**20)
        await writer.drain()


@pytest.mark.case(18)
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_rate_limit_is_waited_for_as_long_as_told(bad: Any, form: str) -> None:
    wait = "1" if form == "seconds" else email.utils.formatdate(time.time() + 3, usegmt=True)
    busy = bad.says(bad.failure("slow down"), 429, retry_after=wait)
    began = time.monotonic()
    reply, asked, server = played(bad, busy, bad.says(bad.message()), prices=None)
    passed = time.monotonic() - began
    assert reply.text == "go north"
    usage = asked.usage
    assert (usage.requests, usage.attempts, len(server.asked)) == (1, 2, 2)
    assert usage.waiting_seconds >= 0.9  # which is not the policy's time
    assert usage.seconds + usage.waiting_seconds <= passed


@pytest.mark.case(18)
def test_a_longer_wait_than_allowed_is_not_waited_for(bad: Any) -> None:
    busy = bad.says(bad.failure("slow down"), 429, retry_after="3600")
    error, _, server = failed(bad, busy)
    assert error.fault is EndpointFault.RATE_LIMITED
    assert "3600 s" in str(error)
    assert len(server.asked) == 1


FAULTS = {
    "always 429": (429, "slow down", {}, EndpointFault.RATE_LIMITED, 3),
    "no credit": (429, "pay", {"code": "insufficient_quota"}, EndpointFault.REFUSED, 1),
    "always 500": (500, "oh", {}, EndpointFault.SERVER, 3),
    "overloaded": (529, "oh", {}, EndpointFault.SERVER, 3),
    "wrong key": (401, "bad key", {}, EndpointFault.REFUSED, 1),
    "forbidden": (403, "no", {}, EndpointFault.REFUSED, 1),
    "no model": (404, "no model good-7b", {}, EndpointFault.UNKNOWN_MODEL, 1),
    "too long": (400, "maximum context length is 8", {}, EndpointFault.CONTEXT, 1),
    "too long by code": (
        400,
        "no",
        {"code": "context_length_exceeded"},
        EndpointFault.CONTEXT,
        1,
    ),
    "odd field": (400, "temperature must be 1", {}, EndpointFault.REJECTED, 1),
}


@pytest.mark.case(18, 19)
@pytest.mark.parametrize("case", FAULTS)
def test_a_refusal_is_named_and_only_retried_where_it_may_pass(bad: Any, case: str) -> None:
    status, text, fields, fault, attempts = FAULTS[case]
    error, asked, server = failed(bad, bad.says(bad.failure(text, **fields), status))
    assert error.fault is fault
    assert isinstance(error, EngineError)
    assert isinstance(error, ContextError) == (fault is EndpointFault.CONTEXT)
    assert f"HTTP {status} {text}" in str(error)
    assert "'good-7b' at http://127.0.0.1" in str(error)
    assert "\n" not in str(error)
    assert len(server.asked) == asked.usage.attempts == attempts
    assert asked.usage.requests == 0


BROKEN: dict[str, Any] = {
    "not JSON": b"<html>Welcome</html>",
    "half": json.dumps({"choices": [{"message": {"content": "hi"}}]}).encode()[:30],
    "empty": b"",
    "empty choices": {"choices": []},
    "no choices": {"error": {"message": "upstream died"}},
    "a list": [1],
    "content of a wrong type": {"choices": [{"message": {"content": 7}}]},
    "no message": {"choices": [{}]},
    "calls of a wrong type": {"choices": [{"message": {"tool_calls": "look"}}]},
    "nameless call": {"choices": [{"message": {"tool_calls": [{"function": {}}]}}]},
    "usage of a wrong type": {"choices": [{"message": {}}], "usage": {"prompt_tokens": "9"}},
    "too deep": b"[" * 100_000,
    "half a character": b'{"choices": [{"message": {"content": "\xff"}}]}',
}


@pytest.mark.case(18)
@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_answer_is_asked_for_again_then_named(bad: Any, case: str) -> None:
    error, reply = failed_then_played(bad, bad.says(BROKEN[case]))
    assert error.fault is EndpointFault.MALFORMED
    assert len(str(error)) < 500
    assert reply.text == "go north"


@pytest.mark.case(18)
@pytest.mark.parametrize(
    ("play", "fault", "seconds"),
    [
        (reset, EndpointFault.UNREACHABLE, 9.0),
        (hang, EndpointFault.TIMEOUT, 0.5),
        (drip, EndpointFault.TIMEOUT, 0.5),
        (flood, EndpointFault.MALFORMED, 9.0),
    ],
)
def test_no_way_of_not_answering_holds_an_episode(
    bad: Any, play: Any, fault: EndpointFault, seconds: float
) -> None:
    began = time.monotonic()
    error, reply = failed_then_played(bad, play, seconds=seconds)
    assert error.fault is fault
    assert reply.text == "go north"
    assert time.monotonic() - began < 15


def checked(bad: Any, *script: Any, models: Any = None, **options: Any) -> tuple[str, Any]:
    async def play() -> tuple[str, Any]:
        async with bad.endpoint(*script, models=models) as server:
            asked = endpoint(options.pop("url", server.url), **options)
            try:
                await check(asked)
            except EndpointError as error:
                return str(error), server
            return "", server

    return asyncio.run(asyncio.wait_for(play(), 20))


def test_check_passes_a_good_endpoint_for_a_few_tokens(bad: Any) -> None:
    told, server = checked(bad, bad.says(bad.message()))
    assert told == ""
    (asked,) = server.asked
    assert asked["max_tokens"] <= 16


def test_check_does_not_need_a_list_of_models(bad: Any) -> None:
    for models in (bad.says(bad.failure("no"), 403), bad.says(b"<html>"), bad.says({"data": 7})):
        told, _ = checked(bad, bad.says(bad.message()), models=models)
        assert told == ""


def test_check_tells_in_one_line_what_is_wrong(bad: Any) -> None:
    lacking = bad.says(bad.failure("The model does not exist"), 404)
    told, _ = checked(bad, lacking, model="god-7b")
    assert "unknown model" in told
    assert "It has 1 models: good-7b" in told
    told, _ = checked(bad, bad.says(bad.failure("no"), 401))
    assert "refused: HTTP 401 no; check the key" in told
    began = time.monotonic()
    told, _ = checked(bad, url="http://127.0.0.1:9/v1", wait=30.0)
    assert "unreachable" in told
    assert "is it running" in told
    assert time.monotonic() - began < 15  # and not 30
    assert "\n" not in told
