"""An endpoint's settings, and the account of what was used there."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from pydantic import Field, JsonValue, NonNegativeFloat, PositiveFloat, PositiveInt

from longstep_agents.config import Config


class Prices(Config):
    """What a million tokens cost, in any currency."""

    prompt: NonNegativeFloat
    completion: NonNegativeFloat
    cached: NonNegativeFloat | None = None
    """Of the prompt's tokens that the endpoint had seen before; without it, they cost the same."""


class LineConfig(Config):
    """How an endpoint is reached, whatever it is asked for."""

    model: str
    base_url: str | None = None
    """The address of an OpenAI-compatible endpoint; without it, OpenAI's."""
    key_variable: str | None = None
    """The environment variable that holds the key. Without an address, OPENAI_API_KEY; an endpoint
    of one's own gets no key that was not named for it."""
    concurrency: PositiveInt = 16
    """Requests under way at a time."""
    attempts: PositiveInt = 7
    """Of a request. With the waits between them an endpoint can be away for a minute."""
    seconds: PositiveFloat = 120.0
    """The time of one attempt, from the connection to the answer's last byte."""
    connect_seconds: PositiveFloat = 10.0
    wait: NonNegativeFloat = 1.0
    """Seconds before the second attempt, where the endpoint tells no time; each later wait is twice
    as long."""
    longest_wait: PositiveFloat = 60.0
    """An endpoint that wants a longer wait is given up."""
    leave_out: tuple[str, ...] = ()
    """Fields that the endpoint does not take, such as `temperature` or `seed`."""
    request: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of the request, as the endpoint knows them."""


class EndpointConfig(LineConfig):
    """Which endpoint is asked for chat completions, and how."""

    token_ids: bool = False
    """Ask for token ids and log-probabilities, as vLLM and `longstep serve` give them."""
    tokens_field: str = "max_tokens"
    """Some models know it as `max_completion_tokens`."""
    prices: Prices | None = None


class VLLMServerConfig(LineConfig):
    """Which vLLM server is asked, and how."""

    base_url: str
    concurrency: PositiveInt = 256
    """Requests under way at a time: what does not come together is not computed together."""
    context: PositiveInt | None = None
    """The longest prompt with its completion, as `--max-model-len` says; without it, what the
    policy allows."""
    exchange: Path | None = None
    """Folder through which new weights go, under the same path for the server; without it, a
    temporary one on this machine."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used. Attempts that failed are in `attempts` and `waiting_seconds` only."""

    requests: int = 0
    """Answered ones."""
    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Those of `prompt_tokens` that the endpoint had seen before."""
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    """Those of `completion_tokens` that are not in the text."""
    uncounted: int = 0
    """Answers that did not tell their tokens."""
    seconds: float = 0.0
    """Of the attempts that were answered: the policy's own time."""
    waiting_seconds: float = 0.0
    """Waiting for a turn, for attempts that failed and between attempts: not the policy's time."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def cost(self, prices: Prices) -> float:
        """What the tokens cost."""
        cached = prices.prompt if prices.cached is None else prices.cached
        fresh = self.prompt_tokens - self.cached_tokens
        paid = fresh * prices.prompt + self.cached_tokens * cached
        return (paid + self.completion_tokens * prices.completion) / 1e6
