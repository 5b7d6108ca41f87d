"""Episodes that are left in the middle of a reply go on elsewhere as if nothing had been."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from longstep_agents.conversation import TokenConversation
from longstep_agents.language_agent import AgentKit, LanguageAgent, LanguageAgentConfig
from longstep_agents.model import PausedError, SamplingParams
from longstep_agents.models.engine import EngineConfig
from longstep_agents.models.gate import Gate
from longstep_agents.models.hf import HFModel
from longstep_agents.models.lanes import CacheState
from longstep_agents.render import Renderer
from longstep_agents.rollout import EpisodeRequest
from longstep_agents.suspension import Flight, Suspended, fly, session_of
from longstep_agents.types import Completion, Trajectory
from longstep_envs import EnvPool, Limits

TREASURE = "longstep/Treasure-v0"
REQUESTS = [EpisodeRequest(f"train/{i // 4}", i // 4, 100 + i) for i in range(12)]
KINDS: dict[str, dict[str, Any]] = {
    "free": {},
    "constrained": {"action": {"constraint": "admissible"}},
    "stepwise": {"context": "stepwise", "memory": {"name": "window", "turns": 1}},
    "summary": {"memory": {"name": "summary", "tokens": 60, "max_tokens": 6}},
}
Stage = Callable[..., list[Flight]]


@pytest.fixture
def stage(make_model: Any, tokenizer: Any) -> Stage:
    """Plays flights on an engine that is paused after so many passes; gives the engine back."""
    model, renderer = make_model(), Renderer(tokenizer)

    def play(  # noqa: PLR0913
        flights: list[Flight],
        passes: int,
        engines: list[HFModel],
        kind: str = "free",
        shares: bool = False,
        state: CacheState | None = None,
        env_kwargs: dict[str, Any] | None = None,
    ) -> list[Flight]:
        engine = HFModel(model, EngineConfig(share_prefixes=shares), lanes=6)
        engines.append(engine)
        if state is not None:
            engine.load(state, session_of)
        config = LanguageAgentConfig.model_validate({"max_tokens": 8, **KINDS[kind]})
        plain, kit = engine._advance, AgentKit(config)

        def advance() -> None:
            plain()
            if engine.statistics.passes == passes:
                engine.pause()

        engine._advance = advance  # type: ignore[method-assign]

        def make(request: EpisodeRequest) -> LanguageAgent:
            return LanguageAgent(
                TokenConversation(engine, renderer, seed=request.agent_seed, context=2048), kit
            )

        with EnvPool(TREASURE, env_kwargs or {}, limits=Limits(turns=5)) as pool:
            leaving = lambda: engine._paused  # noqa: E731
            asyncio.run(fly(pool, flights, make, concurrency=6, leaving=leaving))
        return flights

    return play


def fresh() -> list[Flight]:
    return [Flight(Suspended(request)) for request in REQUESTS]


def again(flights: list[Flight]) -> list[Flight]:
    """The same, as another process would have them."""
    found = []
    for flight in flights:
        new = Flight(flight.start if flight.trajectory else flight.left())
        new.trajectory = flight.trajectory
        found.append(new)
    return found


def records(flights: list[Flight]) -> list[Trajectory | None]:
    return [f.trajectory and replace(f.trajectory, seconds=0.0) for f in flights]


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_with_what_the_engine_had_read_they_go_on_bit_for_bit(
    stage: Stage, kind: str, shares: bool
) -> None:
    engines: list[HFModel] = []
    whole = stage(fresh(), 10**9, engines, kind, shares)
    passes = engines[0].statistics.passes
    for part in (1, passes // 3, passes - 2):
        engines.clear()
        left = stage(fresh(), part, engines, kind, shares)
        assert any(flight.trajectory is None for flight in left)
        state = engines[0].state(10**9)
        assert state is not None
        gone_on = stage(again(left), 10**9, engines, kind, shares, state)
        assert records(gone_on) == records(whole)
        assert not any(flight.again for flight in gone_on)
        counted = engines[1].statistics
        assert (counted.passes, counted.useful) == (passes, tokens(whole))


def tokens(flights: list[Flight]) -> int:
    completions = [s.completion for f in flights if f.trajectory for s in f.trajectory.steps]
    return sum(len(completion.choices) for completion in completions)


def test_without_it_they_go_on_up_to_rounding(stage: Stage) -> None:
    engines: list[HFModel] = []
    whole = stage(fresh(), 10**9, engines)
    left = stage(fresh(), 25, engines)
    assert engines[1].state(most_bytes=10) is None
    gone_on = stage(again(left), 10**9, engines)
    for one, other in zip(records(gone_on), records(whole), strict=True):
        assert one is not None
        assert other is not None
        for step, same in zip(one.steps, other.steps, strict=True):
            assert step.completion.ids == same.completion.ids
            assert step.completion.logprobs == pytest.approx(same.completion.logprobs, abs=1e-4)


def test_what_does_not_arrive_where_it_was_is_played_from_its_beginning(stage: Stage) -> None:
    """The rooms are others by now: a replay sees it where that shows, and no lane is lost."""
    engines: list[HFModel] = []
    rooms = {"rooms": 4, "locks": 1}
    whole = stage(fresh(), 10**9, engines, env_kwargs=rooms)
    left = stage(fresh(), 25, engines)
    state = engines[1].state(10**9)
    gone_on = stage(again(left), 10**9, engines, state=state, env_kwargs=rooms)
    assert all(flight.trajectory is not None for flight in gone_on)
    assert any(flight.again for flight in gone_on)
    for flight, one, other in zip(gone_on, records(gone_on), records(whole), strict=True):
        if flight.again:
            assert one is not None
            assert other is not None
            assert [s.action for s in one.steps] == [s.action for s in other.steps]


def test_a_gate_lets_pass_what_is_under_way_and_nothing_after_it() -> None:
    class Slow:
        async def sample(self, prompt_ids: Any, params: SamplingParams) -> Completion:
            await asyncio.sleep(0.01)
            return Completion((1,), (-1.0,))

        def release(self, session: object) -> None: ...

    async def ask() -> None:
        gate = Gate(Slow())
        under_way = asyncio.create_task(gate.sample([1], SamplingParams()))
        await asyncio.sleep(0)
        gate.pause()
        with pytest.raises(PausedError):
            await gate.sample([1], SamplingParams())
        assert (await under_way).ids == (1,)

    asyncio.run(ask())
