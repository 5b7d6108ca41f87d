"""The config of an evaluation, and the contestant that it describes: what `longstep eval` reads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, PositiveInt, ValidationInfo, field_validator

from longstep_agents.conversation import TokenConversation
from longstep_agents.encoding import TextDecoder
from longstep_agents.evaluation.contestants import (
    BUILT_IN,
    Contestant,
    LanguageModel,
    Voices,
    scripted,
)
from longstep_agents.evaluation.endpoint import EndpointVoices, OpenAIEngineConfig
from longstep_agents.evaluation.run import Evaluation, EvaluationSettings, Running
from longstep_agents.language_agent import LanguageAgentConfig
from longstep_agents.render import Renderer
from longstep_envs.types import text_hash
from longstep_tasks.suites import SUITES, Part, load_suite
from longstep_training.checkpoint import load_policy
from longstep_training.config import Config, ConfigError, choice_of, key_of, one_of, refusal
from longstep_training.engines import ENGINES, HFEngineConfig, Use, make_sampler

MODEL = "model"
SCRIPTED = "scripted"
PLAYERS = (MODEL, *BUILT_IN, SCRIPTED)


def _hosted(config: OpenAIEngineConfig) -> None:
    """Names the options of `openai` beside those of the engines that run a policy's folder."""


if TYPE_CHECKING:
    AnyVoiceConfig = Any
else:
    AnyVoiceConfig = choice_of({**ENGINES, "openai": _hosted})


def _suite(name: str) -> str:
    if name not in SUITES and "/" not in name:
        raise refusal(one_of(name, list(SUITES)) + ", or an environment's id")
    return name


class ContestConfig(Config):
    """What is evaluated, on what, and how."""

    suite: tuple[Annotated[str, AfterValidator(_suite)], ...] = Field(min_length=1)
    """Suites, and ids of environments."""
    player: Annotated[str, key_of(lambda: PLAYERS)] = MODEL
    """`model`, or one of the agents that need none."""
    actions: tuple[str, ...] = ()
    """What `scripted` does."""
    model: str = Field(default="", validate_default=True)
    """A policy's folder, or the name by which an endpoint knows the model."""
    engine: AnyVoiceConfig = HFEngineConfig()
    """What samples."""
    agent: LanguageAgentConfig = LanguageAgentConfig()
    settings: EvaluationSettings = EvaluationSettings()
    running: Running = Running()
    k: tuple[PositiveInt, ...] = ()
    """pass@k and pass^k are told for these; without any, for `settings.attempts` above 1."""

    @field_validator("actions")
    @classmethod
    def _are_scripted(cls, actions: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if actions and info.data.get("player") != SCRIPTED:
            raise refusal('player = "scripted" beside it, or none')
        return actions

    @field_validator("model")
    @classmethod
    def _is_named(cls, model: str, info: ValidationInfo) -> str:
        if not model and info.data.get("player") == MODEL:
            raise refusal("a policy's folder or the name of a hosted model, or --agent expert, say")
        return model

    @field_validator("k")
    @classmethod
    def _is_played(cls, k: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        settings = info.data.get("settings")
        if k and settings is not None and max(k) > settings.attempts:
            raise refusal(f"at most settings.attempts, which is {settings.attempts}")
        return k


def make_evaluation(config: ContestConfig) -> Evaluation:
    """The evaluation that a config describes.

    Raises:
        LongstepError: the model cannot be had.
        UnknownTaskSetError: there is no such suite.
        ConfigError: two suites cannot be told apart.
    """
    parts = [part for name in config.suite for part in load_suite(name)]
    return Evaluation(_apart(parts), _contestant(config), config.settings, config.running)


def _apart(parts: list[Part]) -> list[Part]:
    """Parts of several suites that are the same are played once.

    Raises:
        ConfigError: two that differ have one name, by which results are known.
    """
    by_name: dict[str, Part] = {}
    for part in parts:
        if by_name.setdefault(part.name, part) != part:
            raise ConfigError(
                f"two suites have a part {part.name!r} of different tasks; evaluate them one by one"
            )
    return list(by_name.values())


def _contestant(config: ContestConfig) -> Contestant:
    if config.player == SCRIPTED:
        return scripted(config.actions)
    if config.player != MODEL:
        return BUILT_IN[config.player]
    return LanguageModel(config.model, _voices(config), config.agent)


def _voices(config: ContestConfig) -> Voices:
    if isinstance(config.engine, OpenAIEngineConfig):
        named = {} if config.engine.model else {"model": config.model}
        return EndpointVoices(config.engine.model_copy(update=named))
    return PolicyVoices(Path(config.model), config)


class PolicyVoices:
    """Speaks with a policy of which the weights are here."""

    prices = None

    def __init__(self, folder: Path, config: ContestConfig) -> None:
        """Load it, and start what samples.

        Raises:
            DataError: the folder holds no policy.
            LongstepError: the engine cannot run it here.
        """
        model, tokenizer = load_policy(folder)
        self._folder, self._engine = folder, config.engine
        self._template = text_hash(str(tokenizer.chat_template))
        self._renderer = Renderer(tokenizer, config.agent.template)
        self.decoder = TextDecoder(tokenizer)
        self._sampler = make_sampler(config.engine, model, folder, Use(config.running.concurrency))

    def speak(self, seed: int) -> TokenConversation:
        """Begin the conversation of an episode."""
        engine, context = self._sampler.engine, self._sampler.context
        return TokenConversation(engine, self._renderer, seed=seed, context=context)

    def about(self) -> dict[str, Any]:
        """The hashes of its weights and its chat template, and how it is sampled."""
        return {
            "weights": weights_hash(self._folder),
            "template": self._template,
            "engine": self._engine.model_dump(mode="json"),
        }

    async def begin(self) -> None:
        """It is here."""

    async def end(self) -> None:
        """The engine ends with the process: other evaluations may go on with it."""


def weights_hash(folder: Path) -> str:
    """A hash of a policy's weights, wherever the folder lies."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        if path.name.startswith(("model", "pytorch_model")):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
