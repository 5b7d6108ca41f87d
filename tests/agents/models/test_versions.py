"""Weights that change while episodes go on: which sampled which token, and from what."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
import torch
from transformers import Qwen3ForCausalLM

from longstep_agents.constraint import TokenTrie
from longstep_agents.model import SamplingParams
from longstep_agents.models.engine import EngineConfig
from longstep_agents.models.gate import Gate
from longstep_agents.models.hf import HFModel
from longstep_agents.types import Completion

ModelFactory = Callable[..., Qwen3ForCausalLM]
PROMPTS = [[5, 9, 11, 3], [7, 3], [20, 21, 22, 23, 24, 25, 26, 3]]
TOKENS = 12


def asked(session: int = 0, max_tokens: int = TOKENS) -> SamplingParams:
    return SamplingParams(max_tokens=max_tokens, seed=session, session=session)


def logprobs_of(model: Qwen3ForCausalLM, ids: Sequence[int], after: int) -> list[float]:
    """Of the tokens `after` the prompt, by transformers alone."""
    with torch.no_grad():
        table = model(torch.tensor([list(ids)])).logits[0].log_softmax(-1)
    return [float(table[i - 1, ids[i]]) for i in range(after, len(ids))]


async def interrupt(engine: HFModel, passes: int, version: int) -> None:
    """Change the weights when the engine has run so often."""
    while engine.statistics.passes < passes:
        await asyncio.sleep(0)
    engine.refresh(version)


def sample_over_a_change(
    policy: Qwen3ForCausalLM, later: Qwen3ForCausalLM, config: EngineConfig
) -> list[Completion]:
    """Completions whose last tokens are sampled with the later weights."""
    engine = HFModel(policy, config, lanes=4, own_weights=True)

    async def scenario() -> list[Completion]:
        calls = [engine.sample(prompt, asked(i)) for i, prompt in enumerate(PROMPTS)]
        waiting = asyncio.gather(*calls)
        policy.load_state_dict(later.state_dict())
        await interrupt(engine, 5, version=3)
        return await waiting

    return asyncio.run(scenario())


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("lean", [False, True])
def test_every_token_is_what_the_weights_of_its_version_make_of_all_before_it(
    make_model: ModelFactory, lean: bool, share: bool
) -> None:
    config = EngineConfig(lean=lean, share_prefixes=share)
    done = sample_over_a_change(make_model(), make_model(seed=5), config)
    plain = {0: make_model(attention="sdpa"), 3: make_model(attention="sdpa", seed=5)}
    for prompt, completion in zip(PROMPTS, done, strict=True):
        assert completion.policy_version == 0
        assert completion.versions == tuple([0] * 5 + [3] * (TOKENS - 5))
        by = {v: logprobs_of(m, [*prompt, *completion.ids], len(prompt)) for v, m in plain.items()}
        expected = [by[version][j] for j, version in enumerate(completion.versions)]
        assert completion.logprobs == pytest.approx(expected, abs=1e-5)


def test_a_kept_cache_mixes_old_keys_and_new_weights(make_model: ModelFactory) -> None:
    config = EngineConfig(keep_cache=True)
    first, *_ = sample_over_a_change(make_model(), make_model(seed=5), config)
    later = make_model(attention="sdpa", seed=5)
    mixed, pure = first.logprobs[5:], logprobs_of(later, [*PROMPTS[0], *first.ids], 9)
    assert first.versions[5:] == (3,) * 7
    assert mixed != pytest.approx(pure, abs=1e-3)


def test_a_kept_cache_is_of_no_use_to_another_session(make_model: ModelFactory) -> None:
    policy, later = make_model(), make_model(seed=5)
    engine = HFModel(policy, EngineConfig(keep_cache=True, share_prefixes=True), lanes=3)
    prompt = PROMPTS[2] * 8

    async def scenario() -> Completion:
        await engine.sample(prompt, asked(0))
        policy.load_state_dict(later.state_dict())
        engine.refresh(1)
        return await engine.sample(prompt, asked(1))

    done = asyncio.run(scenario())
    assert engine.statistics.shared == 0
    plain = make_model(attention="sdpa", seed=5)
    expected = logprobs_of(plain, [*prompt, *done.ids], len(prompt))
    assert done.logprobs == pytest.approx(expected, abs=1e-5)


def test_an_engine_with_its_own_weights_takes_the_policys_when_told(
    make_model: ModelFactory,
) -> None:
    policy = make_model()
    engine = HFModel(policy, lanes=1, own_weights=True)
    before = asyncio.run(engine.sample(PROMPTS[0], asked()))
    engine.release(0)
    policy.load_state_dict(make_model(seed=5).state_dict())
    assert asyncio.run(engine.sample(PROMPTS[0], asked())) == before
    engine.release(0)
    engine.refresh(1)
    after = asyncio.run(engine.sample(PROMPTS[0], asked()))
    assert (after.policy_version, after.versions) == (1, ())
    assert after.logprobs != before.logprobs
    assert engine.copied_bytes == sum(p.nbytes for p in policy.parameters())


def test_a_forward_pass_that_was_put_in_place_is_not_taken_over(make_model: ModelFactory) -> None:
    policy = make_model()
    policy.forward = torch.autocast("cpu", torch.bfloat16)(policy.forward)
    engine = HFModel(policy, EngineConfig(lean=False), lanes=1, own_weights=True)
    before = asyncio.run(engine.sample(PROMPTS[0], asked()))
    engine.release(0)
    policy.load_state_dict(make_model(seed=5).state_dict())
    assert asyncio.run(engine.sample(PROMPTS[0], asked())) == before


def test_forced_tokens_are_of_the_version_that_was_there(make_model: ModelFactory) -> None:
    engine = HFModel(make_model(), lanes=1)
    forced = SamplingParams(constraint=TokenTrie([(10, 11, 1)]))
    engine.refresh(4)
    done = asyncio.run(engine.sample(PROMPTS[1], forced))
    assert (done.ids, done.policy_version, done.versions) == ((10, 11, 1), 4, ())


class Slow:
    """Takes as long as its prompt's first token says; tells what it was doing."""

    def __init__(self) -> None:
        self.under_way = 0

    async def sample(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        self.under_way += 1
        await asyncio.sleep(prompt_ids[0] / 100)
        self.under_way -= 1
        return Completion(tuple(prompt_ids))

    def release(self, session: object) -> None:
        """Nothing is held."""


def test_a_gate_waits_for_what_is_under_way_and_holds_back_the_rest() -> None:
    async def scenario() -> None:
        model = Slow()
        gate = Gate(model)
        before = [asyncio.create_task(gate.sample([n], asked())) for n in (1, 3)]
        await asyncio.sleep(0)
        async with gate.shut():
            assert all(task.done() for task in before)
            after = asyncio.create_task(gate.sample([2], asked()))
            await asyncio.sleep(0.03)
            assert not model.under_way
        assert (await after).ids == (2,)
        async with gate.shut():  # nothing is under way: no wait
            pass

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_gate_opens_when_the_change_fails() -> None:
    async def scenario() -> Completion:
        gate = Gate(Slow())
        with pytest.raises(OSError, match="full"):
            async with gate.shut():
                raise OSError("the disk is full")
        return await gate.sample([1], asked())

    assert asyncio.run(asyncio.wait_for(scenario(), 20)).ids == (1,)
