from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from longstep_envs.types import DataError
from longstep_training.batch import Row, pack_rows
from longstep_training.policy import Precision, compute_in, load_tokenizer
from longstep_training.reinforcement import ReinforcementConfig, policy_loss

ModelFactory = Callable[..., Qwen3ForCausalLM]
RowSampler = Callable[..., list[Row]]


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
    make_model: ModelFactory, sample_rows: RowSampler, share: bool
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


def test_what_samples_has_a_precision_of_its_own(
    make_model: ModelFactory, sample_rows: RowSampler
) -> None:
    exact, rounded = make_model(), compute_in("bfloat16", make_model())
    assert [row.logprobs for row in sample_rows(rounded)] == [
        row.logprobs for row in sample_rows(exact)
    ]
