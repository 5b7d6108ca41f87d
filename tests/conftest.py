"""For every folder of tests: a cache of their own, and a language model to check by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

TEXTS = (
    "You are in the hall. You see shelf 1, shelf 2 and desk 1.",
    "On shelf 2, you see cup 1.",
    "You carry cup 1. The desk 1 is closed.",
    "go to shelf 1",
    "take cup 1 from shelf 2",
    "open desk 1",
    "Beside desk 20 is cup 4.",
    "look",
)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ModelFactory = Callable[..., "Qwen3ForCausalLM"]

# How long an example takes says more of the machine than of the code.
settings.register_profile("longstep", deadline=None)
settings.load_profile("longstep")


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What environments build is kept for this session; the user's data and cache stay unseen."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGSTEP_CACHE", str(cache))
        for variable in ("LONGSTEP_DATA", "ALFWORLD_DATA"):
            patch.delenv(variable, raising=False)
        yield cache


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of fewer than a hundred tokens, which knows the words of `TEXTS`."""
    from longstep_agents.small_policy import build_tokenizer

    return build_tokenizer(TEXTS)


@pytest.fixture(scope="session")
def chat_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each byte, in the chat format that many public models use."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.WordLevel({c: i for i, c in enumerate(alphabet)}, unk_token=None))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            pre_tokenizers.Split(Regex("."), "isolated"),
        ]
    )
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        extra_special_tokens=["<|im_start|>"],
        chat_template=CHATML,
    )


@pytest.fixture
def make_model(tokenizer: PreTrainedTokenizerFast) -> ModelFactory:
    """Builds a two-layer model with sharp preferences; `kv_heads` makes it share its keys."""
    import torch
    from transformers import Qwen3ForCausalLM

    from longstep_agents.attention import ATTENTION
    from longstep_agents.small_policy import SmallPolicyConfig, build_model

    torch.set_num_threads(1)  # more only wait for each other on models of this size

    def build(kv_heads: int = 4, attention: str = ATTENTION, seed: int = 0) -> Qwen3ForCausalLM:
        config = SmallPolicyConfig(hidden=32, layers=2, heads=4, feed_forward=48)
        model = build_model(tokenizer, config, seed)
        if kv_heads != 4:
            model.config.num_key_value_heads = kv_heads
            torch.manual_seed(seed)
            model = Qwen3ForCausalLM(model.config)
        with torch.no_grad():
            model.model.embed_tokens.weight.mul_(10)
        model.set_attn_implementation(attention)
        model.eval()
        return model

    return build


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """Ray on this machine, with more processors than it has; tests without it are skipped."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'longstep[cluster]'")
    from longstep_envs.cluster import Cluster, connect, disconnect

    yield connect(Cluster("local"), processors=16)
    disconnect()
