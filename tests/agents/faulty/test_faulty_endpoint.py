import asyncio
from typing import Any

import pytest

pytest.importorskip("openai")

from longstep_agents.faulty import KINDS, FaultyEndpoint
from longstep_agents.messages import Ask, Message
from longstep_agents.models.endpoint import EndpointConfig
from longstep_agents.models.endpoint_faults import EndpointError
from longstep_agents.models.openai import ChatConversation, ChatEndpoint
from longstep_envs.types import BadValueError, UnknownNameError

HELLO = [Message("user", "You are in a hall.")]


async def _upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    from longstep_agents.faulty.endpoint import answer

    await reader.readuntil(b"\r\n\r\n")
    body = b'{"choices": [{"message": {"role": "assistant", "content": "go north"}}]}'
    writer.write(answer(200, body))
    await writer.drain()
    writer.close()


def talk(faulty: dict[str, Any], requests: int, **options: Any) -> tuple[list[str], FaultyEndpoint]:
    """What so many requests came to: the reply, or the fault."""

    async def ask(url: str, number: int) -> str:
        quick = {"model": "m", "wait": 0.0, "seconds": 1.0, **options}
        endpoint = ChatEndpoint(EndpointConfig(base_url=f"{url}/v1", **quick))
        try:
            reply = await ChatConversation(endpoint, seed=number).reply(HELLO, Ask())
        except EndpointError as error:
            return str(error.fault)
        return reply.text

    async def everything() -> tuple[list[str], FaultyEndpoint]:
        server = await asyncio.start_server(_upstream, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        proxy = FaultyEndpoint(f"http://127.0.0.1:{port}", **faulty)
        async with proxy.open() as url:
            replies = [await ask(url, number) for number in range(requests)]
        server.close()
        return replies, proxy

    return asyncio.run(asyncio.wait_for(everything(), 60))


@pytest.mark.case(18)
@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("rate_limited", "rate_limited"),
        ("server_error", "server"),
        ("unavailable", "server"),
        ("reset", "unreachable"),
        ("cut", "unreachable"),
        ("late", "timeout"),
        ("garbage", "malformed"),
        ("no_choices", "malformed"),
    ],
)
def test_each_kind_is_told_as_what_it_is(kind: str, fault: str) -> None:
    replies, _ = talk({"rate": 1.0, "kinds": (kind,)}, 1, attempts=1)
    assert replies == [fault]


@pytest.mark.case(18)
def test_with_more_tries_every_request_gets_its_answer() -> None:
    kinds = tuple(kind for kind in KINDS if kind != "late")
    replies, proxy = talk({"rate": 0.3, "kinds": kinds}, 60, attempts=8)
    assert replies == ["go north"] * 60
    assert sum(proxy.happened.values()) == proxy.requests - 60 + proxy.happened["wrong_lengths"]
    assert proxy.happened == talk({"rate": 0.3, "kinds": kinds}, 60, attempts=8)[1].happened


def test_without_faults_everything_passes() -> None:
    replies, proxy = talk({"rate": 0.0}, 5)
    assert (replies, proxy.requests, proxy.happened) == (["go north"] * 5, 5, {})


def test_wrong_options_are_told() -> None:
    with pytest.raises(UnknownNameError, match="rate_limited"):
        FaultyEndpoint("http://x", kinds=("explode",))
    with pytest.raises(BadValueError, match="rate=2"):
        FaultyEndpoint("http://x", rate=2.0)
    with pytest.raises(BadValueError, match="http://HOST:PORT"):
        FaultyEndpoint("https://x")
