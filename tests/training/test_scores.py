from collections.abc import Callable

import pytest
import torch
from transformers import Qwen3ForCausalLM

from longstep_agents.types import Completion, Step, Trajectory
from longstep_training.batch import Row, build_row, pack_rows
from longstep_training.reinforcement import ReinforcementConfig, policy_loss
from longstep_training.scores import score

ModelFactory = Callable[..., Qwen3ForCausalLM]
RowSampler = Callable[..., list[Row]]


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
    make_model: ModelFactory, sample_rows: RowSampler, kv_heads: int, context: bool
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
def test_what_was_just_sampled_has_ratio_one(
    make_model: ModelFactory, sample_rows: RowSampler, temperature: float
) -> None:
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
    sample_rows: RowSampler,
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
