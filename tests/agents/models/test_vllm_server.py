"""The client of vLLM servers, against one that misbehaves."""

import asyncio
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from longstep_agents.model import ContextError, SamplingParams
from longstep_agents.models.endpoint import VLLMServerConfig
from longstep_agents.models.endpoint_faults import EndpointError, EndpointFault
from longstep_agents.models.vllm_server import VLLMServer
from longstep_agents.types import Completion

PARAMS = SamplingParams(temperature=0.5, max_tokens=4, stop_ids=(1,), seed=3)


def answer(**fields: Any) -> dict[str, Any]:
    told = {"token_logprobs": [-0.25, -1.5]}
    choice = {"token_ids": [9, 1], "logprobs": told, "finish_reason": "stop", **fields}
    return {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


def server(url: str) -> VLLMServer:
    return VLLMServer(VLLMServerConfig(model="m", base_url=url, wait=0.0, attempts=2, seconds=5.0))


def sampled(bad: Any, *script: Any) -> tuple[Completion, Any]:
    async def play() -> tuple[Completion, Any]:
        async with bad.endpoint(*script) as endpoint:
            return await server(endpoint.url).sample([5, 6, 3], PARAMS), endpoint

    return asyncio.run(asyncio.wait_for(play(), 20))


def test_token_ids_go_out_and_come_in(bad: Any) -> None:
    done, endpoint = sampled(bad, bad.says(answer()))
    assert (done.ids, done.logprobs, done.stop) == ((9, 1), (-0.25, -1.5), "end")
    (asked,) = endpoint.asked
    wanted = {"model": "m", "prompt": [5, 6, 3], "temperature": 0.5, "max_tokens": 4}
    wanted |= {"stop_token_ids": [1], "return_token_ids": True, "logprobs": 0, "ignore_eos": True}
    assert {name: asked[name] for name in wanted} == wanted
    assert "allowed_token_ids" not in asked


def test_a_completion_that_was_cut_is_told_as_such(bad: Any) -> None:
    assert sampled(bad, bad.says(answer(finish_reason="length")))[0].stop == "length"


@pytest.mark.case(18)
def test_a_server_that_fails_once_is_asked_again(bad: Any) -> None:
    script = (bad.says(bad.failure("busy"), status=503), bad.says(answer()))
    done, endpoint = sampled(bad, *script)
    assert done.ids == (9, 1)
    assert endpoint.asked[0] == endpoint.asked[1]  # with the same seed


@pytest.mark.case(22)
@pytest.mark.parametrize(
    "body",
    [
        answer(token_ids=None),
        answer(logprobs=None),
        answer(logprobs={"token_logprobs": [-0.25]}),
        answer(logprobs={"token_logprobs": [-0.25, -1.5, -2.0]}),
        answer(logprobs={"token_logprobs": [-0.25, None]}),
        answer(logprobs={"token_logprobs": [-0.25, float("nan")]}),
        answer(logprobs={"token_logprobs": [-0.25, float("-inf")]}),
        {"choices": []},
        b"<html>",
    ],
)
def test_an_answer_without_exact_tokens_is_no_answer(bad: Any, body: Any) -> None:
    with pytest.raises(EndpointError) as caught:
        sampled(bad, bad.says(body))
    assert caught.value.fault is EndpointFault.MALFORMED


@pytest.mark.case(19)
@pytest.mark.parametrize(
    "told",
    [
        "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)",
        "This model's maximum context length is 512 tokens.",
    ],
)
def test_a_prompt_without_room_is_told_as_such(bad: Any, told: str) -> None:
    with pytest.raises(ContextError):
        sampled(bad, bad.says(bad.failure(told), status=400))


def test_a_server_that_takes_no_weights_says_so_and_keeps_its_version(bad: Any) -> None:
    async def play() -> tuple[EndpointError, VLLMServer, Any]:
        refuses = bad.says({"detail": "Not Found"}, status=404)
        async with bad.endpoint(refuses) as endpoint:
            model = server(endpoint.url)
            with pytest.raises(EndpointError, match="/collective_rpc") as caught:
                await model.load({"w": torch.ones(2)}, 3)
            return caught.value, model, endpoint

    error, model, endpoint = asyncio.run(asyncio.wait_for(play(), 20))
    assert model.policy_version == 0
    assert len(endpoint.asked) == 1  # a command is not repeated
    assert "VLLM_SERVER_DEV_MODE" in str(error)


def test_weights_go_by_way_of_a_folder_and_old_ones_are_forgotten(bad: Any) -> None:
    async def play() -> tuple[VLLMServer, Any]:
        script = (bad.says({"results": [None]}), bad.says({"success": True}))
        async with bad.endpoint(*script) as endpoint:
            model = server(endpoint.url)
            await model.load({"w": torch.ones(2)}, 3)
            return model, endpoint

    model, endpoint = asyncio.run(asyncio.wait_for(play(), 20))
    assert model.policy_version == 3
    assert endpoint.asked[0]["method"] == "take_weights"


def test_a_cache_that_was_not_forgotten_is_an_error(bad: Any) -> None:
    async def play() -> None:
        script = (bad.says({"results": [None]}), bad.says({"success": False}))
        async with bad.endpoint(*script) as endpoint:
            await server(endpoint.url).load({"w": torch.ones(2)}, 3)

    with pytest.raises(EndpointError, match="cache"):
        asyncio.run(asyncio.wait_for(play(), 20))


@pytest.mark.parametrize(
    "option",
    [{"token_ids": True}, {"tokens_field": "n"}, {"prices": {"prompt": 1.0, "completion": 1.0}}],
)
def test_options_that_do_nothing_there_are_refused(option: Any) -> None:
    with pytest.raises(ValidationError, match=next(iter(option))):
        VLLMServerConfig(model="m", base_url="http://x/v1", **option)
    with pytest.raises(ValidationError, match="base_url"):  # else it would be OpenAI that is asked
        VLLMServerConfig(model="m")  # type: ignore[call-arg]


def test_a_whole_batch_is_asked_for_at_a_time() -> None:
    assert VLLMServerConfig(model="m", base_url="http://x/v1").concurrency == 256
