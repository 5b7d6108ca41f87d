"""A vLLM server as an engine: prompt ids go out, sampled ids and log-probabilities come in."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longstep_agents.models.chat_wire import TokenCounts, malformed
from longstep_agents.models.endpoint import Usage, VLLMServerConfig
from longstep_agents.models.endpoint_faults import EndpointError, EndpointFault, endpoint_error
from longstep_agents.models.endpoint_line import Endpoint
from longstep_agents.models.token_requests import RequestModel, TokenRequest
from longstep_agents.models.vllm import write_weights
from longstep_agents.types import Completion

if TYPE_CHECKING:
    from torch import Tensor

    from longstep_agents.models.broadcast import Broadcast
    from longstep_agents.models.weight_group import Group


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class _Logprobs(_Wire):
    token_logprobs: list[float]


class _Choice(_Wire):
    token_ids: list[int]
    logprobs: _Logprobs
    finish_reason: str


class _Answer(_Wire):
    """An answer of /v1/completions, as far as it is read here."""

    choices: list[_Choice] = Field(min_length=1, max_length=1)
    usage: TokenCounts | None = None


class VLLMServer(RequestModel):
    """Samples from a server started with `--logprobs-mode processed_logprobs`.

    New weights, sleep and wake need the server's VLLM_SERVER_DEV_MODE=1; weights also
    `--worker-extension-cls longstep_agents.models.vllm_worker.WeightTaker` where they go through a
    folder, `--weight-transfer-config` where they go through a group; and sleep
    `--enable-sleep-mode`.
    """

    def __init__(self, config: VLLMServerConfig, group: Group | None = None) -> None:
        """Prepare; nothing is sent yet.

        Weights go through the `group`, one of `longstep_agents.models.weight_group`; without one,
        through a folder.

        Raises:
            BadValueError: the key is not in the environment.
        """
        super().__init__()
        self._config = config
        self._endpoint = Endpoint(config)
        self._broadcast = None if group is None else _broadcast(self._endpoint, group)
        self.broadcasts = group is not None
        """Whether shares of weights will do, which are gathered one by one as they are sent."""
        self.sent_bytes = 0
        """Of the weights that were loaded last."""

    @property
    def usage(self) -> Usage:
        """What was used so far."""
        return self._endpoint.usage

    async def sleep(self) -> None:
        """Free the server's memory: its weights go to its machine's, its cache is forgotten.

        Raises:
            EndpointError: the server does not offer it.
        """
        with self._nothing_under_way():
            await self._command("sleep?level=1")

    async def wake(self) -> None:
        """Let the server take its memory back.

        Raises:
            EndpointError: the server does not offer it.
        """
        await self._command("wake_up")

    async def close(self) -> None:
        """Close the connections; the server goes on."""
        await self._endpoint.close()

    async def _complete(self, request: TokenRequest) -> Completion:
        fields: dict[str, Any] = {
            "prompt": list(request.prompt_ids),
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "stop_token_ids": list(request.stop_ids),
            "seed": request.seed,
            "logprobs": 0,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,  # a token that is no text by itself stays itself
            "ignore_eos": True,
            "skip_special_tokens": False,
            "top_p": 1.0,  # these are there against defaults of the model's own
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
        }
        if request.allowed_ids is not None:
            fields["allowed_token_ids"] = list(request.allowed_ids)
        answer, used = await self._endpoint.send(_post, fields, _read)
        self.cached_tokens += used.cached_tokens
        (choice,) = answer.choices
        return Completion(
            ids=tuple(choice.token_ids),
            logprobs=tuple(choice.logprobs.token_logprobs),
            stop="length" if choice.finish_reason == "length" else "end",
        )

    async def _load(self, weights: Mapping[str, Tensor]) -> None:
        if self._broadcast is None:
            with tempfile.TemporaryDirectory(dir=self._config.exchange) as folder:
                self.sent_bytes = write_weights(weights, Path(folder))
                await self._command("collective_rpc", {"method": "take_weights", "args": [folder]})
        else:
            self.sent_bytes = await self._broadcast.send(weights)
        done = await self._command("reset_prefix_cache")
        if not done.get("success"):
            told = f"the old weights' cache was not forgotten: {done}"
            raise endpoint_error(EndpointFault.SERVER, told)

    async def _command(self, path: str, fields: Mapping[str, Any] | None = None) -> Any:
        try:
            return await self._endpoint.command(path, fields or {})
        except EndpointError as error:
            if error.fault is not EndpointFault.UNKNOWN_MODEL:
                raise
            told = f"{error}; start the server with VLLM_SERVER_DEV_MODE=1"
            raise type(error)(EndpointFault.REJECTED, told) from error


def _broadcast(endpoint: Endpoint, group: Group) -> Broadcast:
    from longstep_agents.models.broadcast import Broadcast  # torch is slow to import

    return Broadcast(endpoint, group)


def _post(client: openai.AsyncOpenAI, fields: dict[str, Any]) -> Any:
    return client.completions.with_streaming_response.create(
        model=fields.pop("model"), prompt=fields.pop("prompt"), extra_body=fields
    )


def _read(body: bytes) -> _Answer:
    try:
        answer = _Answer.model_validate_json(body)
    except ValidationError as error:
        raise malformed(error, body) from None
    (choice,) = answer.choices
    told, ids = len(choice.logprobs.token_logprobs), len(choice.token_ids)
    if told != ids:
        raise endpoint_error(EndpointFault.MALFORMED, f"{told} log-probabilities for {ids} tokens")
    return answer
