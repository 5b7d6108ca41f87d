"""A hosted model as a contestant's voice."""

from __future__ import annotations

from typing import Any, Literal

from longstep_agents.models.endpoint import EndpointConfig, Prices
from longstep_agents.models.openai import ChatConversation, ChatEndpoint, check


class OpenAIEngineConfig(EndpointConfig):
    """Options of `openai`: any OpenAI-compatible endpoint."""

    name: Literal["openai"] = "openai"
    model: str = ""
    """Without it, the evaluation's own `model`."""


class EndpointVoices:
    """Speaks with a model behind an address."""

    decoder = None

    def __init__(self, config: EndpointConfig) -> None:
        """Prepare; nothing is sent yet.

        Raises:
            BadValueError: the key is not in the environment.
        """
        self._config = config
        self._endpoint = ChatEndpoint(config)

    @property
    def prices(self) -> Prices | None:
        """What its tokens cost, where the config tells."""
        return self._config.prices

    def about(self) -> dict[str, Any]:
        """The model's name and address: more is not known of it."""
        asked = {"model", "base_url", "request", "leave_out"}
        return {"engine": "openai", **self._config.model_dump(mode="json", include=asked)}

    def speak(self, seed: int) -> ChatConversation:
        """Begin the conversation of an episode."""
        return ChatConversation(self._endpoint, seed)

    async def begin(self) -> None:
        """Ask it for a few tokens.

        Raises:
            EndpointError: it is down, or does not take the key, the model or a setting.
        """
        await check(self._endpoint)

    async def end(self) -> None:
        """Close the connections."""
        await self._endpoint.close()
