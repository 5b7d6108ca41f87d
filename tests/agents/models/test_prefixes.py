import asyncio
from collections.abc import Callable, Sequence

import pytest
from transformers import Qwen3ForCausalLM

from longstep_agents.model import SamplingParams
from longstep_agents.models.engine import EngineConfig
from longstep_agents.models.hf import HFModel
from longstep_agents.models.prefixes import BLOCK, PrefixIndex, common_prefix
from longstep_agents.types import Completion

ModelFactory = Callable[..., Qwen3ForCausalLM]
SHARED = EngineConfig(share_prefixes=True)
PROMPT = [(7 * i) % 30 + 4 for i in range(3 * BLOCK + 5)]
OTHER = [(5 * i) % 30 + 4 for i in range(3 * BLOCK)]


def params(seed: int, **options: object) -> SamplingParams:
    return SamplingParams(**{"max_tokens": 8, "stop_ids": (1,), "seed": seed, **options})  # type: ignore[arg-type]


def play(engine: HFModel, prompts: Sequence[list[int]], turns: int = 3) -> list[list[Completion]]:
    """Episodes of several turns, at once; each prompt is an episode's."""

    async def episode(number: int, prompt: list[int]) -> list[Completion]:
        row, said = list(prompt), []
        for turn in range(turns):
            said.append(await engine.sample(row, params(number, session=number)))
            row += [*said[-1].ids, 9 + turn, 3]
        engine.release(number)
        return said

    async def all_episodes() -> list[list[Completion]]:
        return list(await asyncio.gather(*(episode(*pair) for pair in enumerate(prompts))))

    return asyncio.run(asyncio.wait_for(all_episodes(), 60))


def assert_alike(one: list[list[Completion]], other: list[list[Completion]]) -> None:
    for mine, its in zip(one, other, strict=True):
        assert [c.ids for c in mine] == [c.ids for c in its]
        for a, b in zip(mine, its, strict=True):
            assert a.logprobs == pytest.approx(b.logprobs, abs=1e-5)


def test_the_index_knows_who_was_last_to_hold_the_most_blocks() -> None:
    index = PrefixIndex[str](largest=100)
    index.add(PROMPT, "a")
    index.add([*PROMPT[: 2 * BLOCK], *OTHER], "b")
    assert index.find(PROMPT) == "a"
    assert index.find(PROMPT[: 2 * BLOCK + 3]) == "b"
    assert index.find(OTHER) is None
    assert index.find(PROMPT[1:]) is None
    assert index.find(PROMPT[: BLOCK - 1]) is None
    index.clear()
    assert index.find(PROMPT) is None


def test_the_index_does_not_grow_without_end() -> None:
    index = PrefixIndex[int](largest=8)
    for number in range(50):
        index.add([number, *PROMPT], number)
        assert index.find([number, *PROMPT]) == number
    assert len(index.holders) <= 8 + len(PROMPT) // BLOCK


@pytest.mark.parametrize(
    ("held", "tokens", "length"),
    [([], [1], 0), ([1, 2], [1, 2], 1), ([1, 2], [1, 2, 3], 2), ([1, 5], [1, 2, 3], 1)],
)
def test_the_last_token_of_a_prompt_is_always_left_to_read(
    held: list[int], tokens: list[int], length: int
) -> None:
    assert common_prefix(held, tokens) == length


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("lanes", [8, 3, 1])
def test_siblings_sample_the_same_whether_they_read_their_prompt_or_copy_it(
    make_model: ModelFactory, kv_heads: int, lanes: int
) -> None:
    prompts = [PROMPT] * 5 + [OTHER] * 3
    alone, shared = (HFModel(make_model(kv_heads), c, lanes=lanes) for c in (None, SHARED))
    assert_alike(play(shared, prompts), play(alone, prompts))
    mine, its = shared.statistics, alone.statistics
    assert its.shared == 0
    if lanes == 8:
        assert mine.shared == 4 * (len(PROMPT) - 1) + 2 * (len(OTHER) - 1)
    assert mine.shared + mine.kept + mine.computed == its.kept + its.computed
    assert mine.computed < its.computed


def test_one_more_sibling_costs_one_token_of_the_prompt(make_model: ModelFactory) -> None:
    engine = HFModel(make_model(), SHARED, lanes=8)
    play(engine, [PROMPT], turns=1)
    before = engine.statistics
    play(engine, [PROMPT, PROMPT], turns=1)
    assert (engine.statistics - before).computed == 2


def test_what_a_lane_no_longer_holds_is_not_copied(make_model: ModelFactory) -> None:
    """The lane that read the prompt is cut back and reads something else in the same pass."""
    engine, alone = HFModel(make_model(), SHARED, lanes=2), HFModel(make_model(), lanes=2)

    async def scenario(model: HFModel) -> list[Completion]:
        await model.sample(PROMPT, params(0, session="first"))
        changed = [*PROMPT[: BLOCK + 4], *OTHER]
        first = model.sample(changed, params(0, session="first"))
        return list(await asyncio.gather(first, model.sample(PROMPT, params(1, session="second"))))

    done = [asyncio.run(asyncio.wait_for(scenario(m), 30)) for m in (engine, alone)]
    assert_alike([done[0]], [done[1]])
    assert engine.statistics.shared == BLOCK + 4


def test_a_sibling_whose_leader_gives_up_reads_the_prompt_itself(make_model: ModelFactory) -> None:
    engine, alone = HFModel(make_model(), SHARED, lanes=3), HFModel(make_model(), lanes=1)

    async def scenario() -> Completion:
        leader = asyncio.create_task(engine.sample(PROMPT, params(0, session="leader")))
        sibling = asyncio.create_task(engine.sample(PROMPT, params(1, session="sibling")))
        await asyncio.sleep(0)
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        engine.release("leader")
        return await sibling

    done = asyncio.run(asyncio.wait_for(scenario(), 30))
    wanted = asyncio.run(alone.sample(PROMPT, params(1)))
    assert_alike([[done]], [[wanted]])


def test_fresh_weights_share_nothing_with_the_old_ones(make_model: ModelFactory) -> None:
    model = make_model()
    engine, fresh = HFModel(model, SHARED, lanes=4), HFModel(make_model(seed=5), lanes=4)
    play(engine, [PROMPT], turns=1)
    model.load_state_dict(make_model(seed=5).state_dict())
    engine.refresh(1)
    assert_alike(play(engine, [PROMPT] * 2), play(fresh, [PROMPT] * 2))
