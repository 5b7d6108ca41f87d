import json
from pathlib import Path

import pytest

from longstep_training.config import ConfigError
from longstep_training.planning.shapes import SHAPES, find_shape

# As the models' authors tell them, in billions.
PUBLISHED = {
    "Qwen3-0.6B": 0.596,
    "Qwen3-1.7B": 1.72,
    "Qwen3-4B": 4.02,
    "Qwen3-8B": 8.19,
    "Qwen3-14B": 14.77,
    "Qwen3-32B": 32.76,
    "Qwen2.5-0.5B": 0.494,
    "Qwen2.5-7B": 7.62,
    "Qwen2.5-72B": 72.7,
    "Llama-3.2-1B": 1.236,
    "Llama-3.1-8B": 8.03,
    "Llama-3.3-70B": 70.55,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_shape_has_as_many_weights_as_its_model(name: str) -> None:
    assert SHAPES[name].parameters / 1e9 == pytest.approx(PUBLISHED[name], rel=3e-3)


def test_a_size_alone_names_a_model() -> None:
    assert find_shape("7b").name == "Qwen2.5-7B"
    assert find_shape("70B").name == "Llama-3.3-70B"


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'Qwen3-8B'"):
        find_shape("Qwen3-9B")


def test_a_folder_tells_its_shape(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen3Config(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=48,
        tie_word_embeddings=True,
    )
    model = transformers.Qwen3ForCausalLM(config)
    model.save_pretrained(tmp_path)
    assert find_shape(str(tmp_path)).parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"model_type": "gpt2"}, "model_type: a plan knows llama, qwen2, qwen3; got 'gpt2'"),
        ({"model_type": "llama", "hidden_size": 8}, "num_attention_heads is missing"),
        ([], "is not an object"),
    ],
)
def test_a_folder_that_tells_no_shape_is_refused(tmp_path: Path, told: object, said: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(told), "utf-8")
    with pytest.raises(ConfigError, match=said):
        find_shape(str(tmp_path))
