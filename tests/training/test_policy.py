import asyncio
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from longstep_agents.constraint import TokenTrie
from longstep_agents.model import SamplingParams
from longstep_agents.models.hf import HFModel
from longstep_agents.types import Completion, Step, Trajectory
from longstep_envs.types import DataError
from longstep_training.batch import Batch, Row, build_row, pack_rows
from longstep_training.distributed import World
from longstep_training.policy import Precision, compute_in, load_tokenizer
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.scores import score
from longstep_training.updater import DivergedError, OptimizerConfig, Updater

ModelFactory = Callable[..., Qwen3ForCausalLM]
TRIE = TokenTrie([(10, 11, 12, 1), (10, 11, 13, 1), (14, 1), (15, 16, 1)])


def sample_rows(model: Qwen3ForCausalLM, temperature: float = 1.0, count: int = 6) -> list[Row]:
    """Episodes of three turns, every other turn of them under a constraint."""
    engine = HFModel(model, lanes=count)

    async def episode(seed: int) -> Row:
        rng = random.Random(seed)
        context: list[int] = []
        steps = []
        for turn in range(3):
            bridge = tuple(rng.randrange(4, 40) for _ in range(rng.randrange(1, 5)))
            context += bridge
            constraint = TRIE if (turn + seed) % 2 else None
            params = SamplingParams(temperature, 5, (1,), constraint, session=seed, seed=seed)
            completion = await engine.sample(context, params)
            context += completion.ids
            steps.append(Step(bridge_ids=bridge, completion=completion))
        return build_row(Trajectory(tuple(steps)), [rng.uniform(-1, 1) for _ in steps])

    async def everyone() -> list[Row]:
        return list(await asyncio.gather(*map(episode, range(count))))

    return asyncio.run(everyone())


def direct(model: Qwen3ForCausalLM, row: Row) -> tuple[list[float], list[float]]:
    """Log-probability and entropy of the row's choices, token by token, by transformers alone."""
    with torch.no_grad():
        logits = model(torch.tensor([row.ids])).logits[0]
    logprobs, entropies = [], []
    for position, ids in zip(row.positions, row.admitted, strict=True):
        among = list(range(logits.shape[1])) if ids is None else list(ids)
        distribution = torch.distributions.Categorical(logits=logits[position - 1, among])
        chosen = torch.tensor(among.index(row.ids[position]))
        logprobs.append(float(distribution.log_prob(chosen)))
        entropies.append(float(distribution.entropy()))
    return logprobs, entropies


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("context", [False, True])
def test_packed_scores_are_those_of_each_row_alone(
    make_model: ModelFactory, kv_heads: int, context: bool
) -> None:
    model, plain = make_model(kv_heads), make_model(kv_heads, attention="sdpa")
    rows = sample_rows(model)
    scores = score(model, pack_rows(rows), context=context)
    expected = [direct(plain, row) for row in rows]
    assert scores.logprobs_T.tolist() == pytest.approx(
        [value for logprobs, _ in expected for value in logprobs], abs=1e-5
    )
    assert scores.entropy_T.tolist() == pytest.approx(
        [value for _, entropies in expected for value in entropies], abs=1e-5
    )


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_what_was_just_sampled_has_ratio_one(make_model: ModelFactory, temperature: float) -> None:
    model = make_model(2)
    batch = pack_rows(sample_rows(model, temperature))
    assert 0 < int(batch.free_T.sum()) < len(batch.free_T)
    scores = score(model, batch, temperature=temperature)
    ratio = (scores.logprobs_T - batch.old_logprobs_T).exp()
    assert torch.allclose(ratio, torch.ones_like(ratio), atol=1e-5)
    loss, statistics = policy_loss(model, batch, ReinforcementConfig(), temperature)
    assert float(loss.detach()) == pytest.approx(-float(batch.advantages_T.sum()), abs=1e-3)
    assert statistics["clip_fraction"] == 0.0


def test_the_context_loss_is_that_of_every_token_that_was_not_chosen(
    make_model: ModelFactory,
) -> None:
    model, plain = make_model(), make_model(attention="sdpa")
    rows = sample_rows(model)
    expected, tokens = 0.0, 0
    for row in rows:
        with torch.no_grad():
            table = plain(torch.tensor([row.ids])).logits[0].log_softmax(-1)
        for position in range(1, len(row.ids)):
            if position not in row.positions:
                expected -= float(table[position - 1, row.ids[position]])
                tokens += 1
    scores = score(model, pack_rows(rows), context=True)
    assert float(scores.context_loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert scores.context_tokens == tokens


def gradient(model: Qwen3ForCausalLM, rows: list[Row], token_budget: int) -> torch.Tensor:
    """What one update gives to the optimiser."""
    config = OptimizerConfig(token_budget=token_budget, learning_rate=1e-9, clip_norm=1e9)
    seen: list[torch.Tensor] = []
    updater = Updater(model, config, World())
    updater.optimizer.register_step_pre_hook(
        lambda *_: seen.extend(p.grad.flatten().clone() for p in model.parameters())  # type: ignore[union-attr]
    )
    updater.step(rows, partial(policy_loss, model, config=ReinforcementConfig()))
    return torch.cat(seen)


def test_the_gradient_does_not_depend_on_how_rows_are_packed(make_model: ModelFactory) -> None:
    rows = sample_rows(make_model())
    expected = gradient(make_model(), rows, token_budget=10_000)
    for order, budget in ((rows, 1), (rows, 40), (rows[::-1], 40)):
        other = gradient(make_model(), order, budget)
        assert float((other - expected).norm() / expected.norm()) < 1e-5


def test_a_step_makes_what_was_rewarded_more_likely(make_model: ModelFactory) -> None:
    model = make_model()
    rows = sample_rows(model)
    batch = pack_rows(rows)
    objective = partial(policy_loss, model, config=ReinforcementConfig())
    updater = Updater(model, OptimizerConfig(learning_rate=1e-3), World())
    before = score(model, batch).logprobs_T.detach()
    updater.step(rows, objective)
    change = score(model, batch).logprobs_T.detach() - before
    assert float((change * batch.advantages_T).sum()) > 0


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(
    make_model: ModelFactory,
) -> None:
    model = make_model()
    rows = sample_rows(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def broken(batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        return score(model, batch).logprobs_T.sum() * float("nan"), {}

    with pytest.raises(DivergedError, match="optimiser step 1 has norm nan; lower learning_rate"):
        Updater(model, OptimizerConfig(), World()).step(rows, broken)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_without_any_row_nothing_moves(make_model: ModelFactory) -> None:
    model = make_model()
    updater = Updater(model, OptimizerConfig(), World())
    row = Row([1, 2], [2], [1], [0.0], [None], [0.0], [0], [1.0], 1.0)
    updater.step([row], lambda batch: (next(model.parameters()).sum(), {}))
    before = [parameter.clone() for parameter in model.parameters()]
    assert updater.step([], lambda batch: (torch.zeros(()), {}))["grad_norm"] == 0.0
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert updater.steps == 1


def test_the_learning_rate_warms_up_and_falls_along_a_cosine(make_model: ModelFactory) -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=4, decay_steps=10, final_fraction=0.1)
    model = make_model()
    updater = Updater(model, config, World())
    row = Row([1, 2], [2], [1], [0.0], [None], [0.0], [0], [1.0], 1.0)
    rates = []
    for _ in range(12):
        updater.step([row], lambda batch: (0.0 * next(model.parameters()).sum(), {}))
        rates.append(updater.optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(0.25)
    assert max(rates) == rates[3]
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] == pytest.approx(0.1)


def test_texts_of_a_trajectory_do_not_see_each_other(make_model: ModelFactory) -> None:
    model = make_model()
    steps = [
        Step(
            bridge_ids=(5, 6, 7 + n),
            begins_row=n != 1,
            completion=Completion((8, 9 + n), (-1.0, -1.0)),
        )
        for n in range(4)
    ]
    whole = build_row(Trajectory(tuple(steps)), [1.0] * 4)
    assert whole.lengths == [10, 5, 5]
    alone = [
        build_row(Trajectory(tuple(part)), [1.0] * len(part))
        for part in (steps[:2], steps[2:3], steps[3:])
    ]
    together, apart = (score(model, pack_rows(rows)) for rows in ([whole], alone))
    assert torch.equal(together.logprobs_T, apart.logprobs_T)
    assert pack_rows([whole]).rows_T.tolist() == [0] * 8  # and are still one trajectory


def test_a_tokenizer_is_loaded_only_with_weights_that_it_fits(
    tokenizer: PreTrainedTokenizerFast, make_model: ModelFactory, tmp_path: Path
) -> None:
    model = make_model()
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path, model).get_vocab() == tokenizer.get_vocab()
    model.resize_token_embeddings(len(tokenizer) - 1)
    with pytest.raises(DataError, match=f"{len(tokenizer)} tokens and the model"):
        load_tokenizer(tmp_path, model)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(DataError, match="no chat template"):
        load_tokenizer(tmp_path, make_model())


@pytest.mark.parametrize("share", [False, True])
def test_in_bfloat16_weights_stay_and_the_gradient_is_almost_the_same(
    make_model: ModelFactory, share: bool
) -> None:
    def gradient(precision: Precision) -> torch.Tensor:
        model = make_model()
        rows = sample_rows(model)
        compute_in(precision, model)
        loss, told = policy_loss(model, pack_rows(rows, share=share), ReinforcementConfig())
        loss.backward()
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert told["fresh_tokens"] > 0
        return torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]

    exact, rough = gradient("float32"), gradient("bfloat16")
    assert not torch.equal(exact, rough)
    assert float(torch.cosine_similarity(exact, rough, dim=0)) > 0.99


def test_what_samples_has_a_precision_of_its_own(make_model: ModelFactory) -> None:
    exact, rounded = make_model(), compute_in("bfloat16", make_model())
    assert [row.logprobs for row in sample_rows(rounded)] == [
        row.logprobs for row in sample_rows(exact)
    ]
