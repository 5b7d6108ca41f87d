"""Engines in actors of a Ray cluster of this machine, beside the engine of this process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from longstep_agents.constraint import TokenTrie
from longstep_agents.model import ContextError, Model, SamplingParams
from longstep_agents.models.engine import EngineConfig
from longstep_agents.models.hf import HFModel
from longstep_agents.small_policy import SmallPolicyConfig, build_model
from longstep_agents.types import Completion
from longstep_training.config import ConfigError, build_config
from longstep_training.loop import train
from longstep_training.recipe import TrainConfig

pytestmark = pytest.mark.ray
ModelFactory = Callable[..., Qwen3ForCausalLM]
PROMPTS = [[5, 9, 11, 3], [7, 3], [20, 21, 22, 23, 24, 25, 26, 3], [8, 8, 8, 3, 9]]
TRIE = TokenTrie([(10, 11, 12, 1), (10, 11, 13, 1), (14, 1), (15, 16, 1)])
TINY: dict[str, Any] = {
    "train": {"env_id": "longstep/Treasure-v0", "split": "train", "turns": 6},
    "policy": {
        "vocabulary_episodes": 8,
        "small": {"hidden": 64, "layers": 1, "heads": 2, "feed_forward": 64},
    },
    "agent": {"max_tokens": 6},
    "imitation": {"iterations": 1, "demonstrations": 4},
    "rl": {"iterations": 2, "tasks": 4, "siblings": 4},
}


@pytest.fixture(scope="module")
def engines(ray_cluster: Any, tokenizer: PreTrainedTokenizerFast) -> Iterator[Any]:
    """Two engines, which take seconds to start, with a model like those of `make_model`."""
    from longstep_agents.models.replica import HFReplica
    from longstep_agents.models.replicas import Demand, Replicas

    model = build_model(
        tokenizer, SmallPolicyConfig(hidden=32, layers=2, heads=4, feed_forward=48), 0
    )
    make = partial(HFReplica, model.config, EngineConfig(share_prefixes=True), 8)
    replicas = Replicas(make, 2, model.state_dict(), Demand(silent_seconds=3.0))
    yield replicas
    asyncio.run(replicas.close())


@pytest.fixture
def two(engines: Any, make_model: ModelFactory) -> Any:
    """The engines, with the weights of the model of seed 0."""
    asyncio.run(engines.load(make_model().state_dict(), 0))
    engines._sessions.clear()
    return engines


async def talk(
    engine: Model, session: int, turns: int = 4, after: Callable[[int, int], object] = lambda *_: 0
) -> list[Completion]:
    """A session over turns, some of them constrained; `after` hears of each turn."""
    context, said = list[int](), list[Completion]()
    for turn in range(turns):
        context += PROMPTS[(session + turn) % 4]
        constraint = TRIE if turn % 2 else None
        params = SamplingParams(
            max_tokens=8, stop_ids=(1,), seed=session, session=session, constraint=constraint
        )
        said.append(await engine.sample(context, params))
        context += said[-1].ids
        after(session, turn)
    engine.release(session)
    return said


def everyone(engine: Model, **options: Any) -> list[list[Completion]]:
    async def all_talks() -> list[list[Completion]]:
        return list(await asyncio.gather(*(talk(engine, s, **options) for s in range(8))))

    return asyncio.run(asyncio.wait_for(all_talks(), 120))


def assert_same(found: list[list[Completion]], expected: list[list[Completion]]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert [c.ids for c in ours] == [c.ids for c in theirs]
        assert [c.versions or c.policy_version for c in ours] == [
            c.versions or c.policy_version for c in theirs
        ]
        for one, other in zip(ours, theirs, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
            assert one.allowed == other.allowed


def test_tokens_are_those_of_the_engine_in_this_process_with_each_policy(
    two: Any, make_model: ModelFactory
) -> None:
    here, before = HFModel(make_model(), lanes=8), two.statistics
    assert_same(everyone(two), everyone(here))
    assert (two.statistics - before).sampled == here.statistics.sampled
    assert all(seat.statistics.useful for seat in two._seats)  # both had a part in it
    assert two.statistics.kept > 0  # since sessions stay with their engine

    new = make_model(seed=1)
    asyncio.run(two.load(new.state_dict(), 7))
    there = HFModel(new, lanes=8)
    there.refresh(7)
    assert_same(everyone(two), everyone(there))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_engine_costs_only_what_it_was_asked(
    two: Any, ray_cluster: Any, make_model: ModelFactory, how: signal.Signals
) -> None:
    asyncio.run(two.load(make_model(seed=1).state_dict(), 7))  # it comes back with these
    expected = HFModel(make_model(seed=1), lanes=8)
    expected.refresh(7)
    lost: list[int] = []
    first, other = two._seats
    pid = ray_cluster.get(first.actor.pid.remote())
    before, replaced = other.statistics, two.replaced

    def lose(session: int, turn: int) -> None:
        if turn == 1 and not lost:
            lost.append(session)
            os.kill(pid, how)

    assert_same(everyone(two, after=lose), everyone(expected))
    assert lost
    assert two.replaced == replaced + 1
    drawn = other.statistics - before
    assert 0 < drawn.sampled == drawn.useful < expected.statistics.useful  # nothing twice


def test_siblings_go_where_their_prompt_was_read_and_others_to_the_idlest(two: Any) -> None:
    def place(session: int, prompt: list[int]) -> int:
        params = SamplingParams(session=session)
        return int(two._seats.index(two._session(prompt, params).seat))

    assert [place(number, PROMPTS[0]) for number in range(4)] == [0] * 4
    assert [place(4 + number, PROMPTS[1]) for number in range(4)] == [1] * 4
    assert [place(8 + number, PROMPTS[0]) for number in range(6)] == [0] * 4 + [1, 0]
    assert place(0, PROMPTS[3]) == 0  # a session stays


def test_errors_of_an_engine_are_the_callers(two: Any) -> None:
    with pytest.raises(ContextError, match="do not fit"):
        asyncio.run(two.sample([3] * two.context, SamplingParams(max_tokens=8)))


def test_a_session_that_is_given_up_leaves_its_engine_as_it_was(
    two: Any, make_model: ModelFactory
) -> None:
    async def give_up() -> None:
        params = SamplingParams(max_tokens=400, seed=3, session="long")
        task = asyncio.create_task(two.sample(PROMPTS[0], params))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        two.release("long")

    asyncio.run(give_up())
    assert_same(everyone(two), everyone(HFModel(make_model(), lanes=8)))


def test_engines_on_ray_want_a_cluster() -> None:
    with pytest.raises(ConfigError, match=r"cluster.address = auto, local or HOST:PORT"):
        build_config(TrainConfig, {**TINY, "engine": {"name": "ray"}}, "test")
    with pytest.raises(ConfigError, match=r"cluster.address: wanted auto, local or HOST:PORT"):
        build_config(TrainConfig, {**TINY, "cluster": {"address": "over there"}}, "test")


@pytest.mark.slow
def test_a_run_on_a_cluster_plays_the_episodes_that_it_plays_without(
    ray_cluster: Any, tmp_path: Path
) -> None:
    on_ray = {
        "cluster": {"address": "local", "workers": 2},
        "engine": {"name": "ray", "replicas": 2},
    }
    plain, found = (_played(tmp_path / str(n), one) for n, one in enumerate(({}, on_ray)))
    assert found["episodes"] == plain["episodes"]
    assert len(found["episodes"]) == 2 * 4
    for row, expected in zip(found["rows"], plain["rows"], strict=True):
        assert row["success"] == expected["success"]
        assert row["loss"] == pytest.approx(expected["loss"], abs=1e-4)
        assert row["sync_bytes"] > 0
        assert row["timing"]["sync"] > 0
    assert ray_cluster.is_initialized()  # it was there before the run


def _played(out: Path, options: dict[str, Any]) -> dict[str, Any]:
    """What a run's episodes said and did, and its rows of metrics."""
    train(build_config(TrainConfig, {**TINY, **options}, "test"), out)
    told = [json.loads(line) for line in _lines(out / "episodes" / "rl.jsonl")]
    rows = [row for row in map(json.loads, _lines(out / "metrics.jsonl")) if row["phase"] == "rl"]
    episodes = [
        (e["task_id"], e["outcome"], [(s["observation"], s["action"]) for s in e["steps"]])
        for e in told
    ]
    return {"episodes": episodes, "rows": rows}


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()
