"""The shapes of language models: how many weights, operations and bytes of cache they take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from longstep_training.config import ConfigError, one_of
from longstep_training.planning.settings import Small

_KINDS = ("llama", "qwen2", "qwen3")
"""`model_type` of what is built as `Shape` counts it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder of the Llama, Qwen2 or Qwen3 family."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocabulary: int
    tied: bool = False
    """Whether embeddings are the head too."""
    biases: bool = False
    """Of queries, keys and values, as in Qwen2."""
    head_norms: bool = False
    """Of queries and keys, as in Qwen3."""
    context: int = 32_768

    @property
    def query_width(self) -> int:
        """Numbers of a token's queries in a layer."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Numbers of a token's keys in a layer; its values are as many."""
        return self.kv_heads * self.head_dim

    @property
    def layer_weights(self) -> int:
        """Weights of a layer's matrices: 2 h (q + k) of attention and 3 h f of the gated MLP."""
        attention = 2 * self.hidden * (self.query_width + self.kv_width)
        return attention + 3 * self.hidden * self.feed_forward

    @property
    def head_weights(self) -> int:
        """Weights of the last matrix, which gives logits."""
        return self.hidden * self.vocabulary

    @property
    def parameters(self) -> int:
        """All weights, norms and biases included."""
        vectors = 2 * self.hidden
        vectors += (self.query_width + 2 * self.kv_width) if self.biases else 0
        vectors += 2 * self.head_dim if self.head_norms else 0
        embeddings = self.head_weights * (1 if self.tied else 2)
        return self.layers * (self.layer_weights + vectors) + self.hidden + embeddings

    def adapter_weights(self, rank: int) -> int:
        """Weights of adapters of every matrix: r (in + out) each."""
        attention = 2 * (2 * self.hidden + self.query_width + self.kv_width)
        return self.layers * rank * (attention + 3 * (self.hidden + self.feed_forward))

    def cache_bytes(self, bytes_each: int) -> int:
        """Of one token's keys and values, in all layers."""
        return 2 * self.layers * self.kv_width * bytes_each

    def read_flops(self, tokens: float, past: float = 0.0) -> float:
        """Operations of a forward pass over `tokens` that follow `past` others, logits left out.

        2 for each weight and token; attention takes 4 q for each pair of a token and one that it
        sees: 4 L q n (past + n / 2).
        """
        matrices = 2 * self.layers * self.layer_weights * tokens
        return matrices + 4 * self.layers * self.query_width * tokens * (past + tokens / 2)

    def logit_flops(self, tokens: float) -> float:
        """Operations that logits of so many tokens take."""
        return 2 * self.head_weights * tokens


def _qwen3(size: str, *shape: int, tied: bool = False) -> Shape:
    h, layers, heads, f = shape
    name = f"Qwen3-{size}"
    return Shape(name, h, layers, heads, 8, 128, f, 151_936, tied, head_norms=True, context=40_960)


def _qwen2(size: str, *shape: int, tied: bool = False) -> Shape:
    h, layers, heads, kv, dim, f, vocabulary = shape
    return Shape(f"Qwen2.5-{size}", h, layers, heads, kv, dim, f, vocabulary, tied, biases=True)


def _llama(size: str, *shape: int, tied: bool = False) -> Shape:
    h, layers, heads, dim, f = shape
    return Shape(f"Llama-{size}", h, layers, heads, 8, dim, f, 128_256, tied, context=131_072)


_ALL = (
    _qwen3("0.6B", 1024, 28, 16, 3072, tied=True),
    _qwen3("1.7B", 2048, 28, 16, 6144, tied=True),
    _qwen3("4B", 2560, 36, 32, 9728, tied=True),
    _qwen3("8B", 4096, 36, 32, 12_288),
    _qwen3("14B", 5120, 40, 40, 17_408),
    _qwen3("32B", 5120, 64, 64, 25_600),
    _qwen2("0.5B", 896, 24, 14, 2, 64, 4864, 151_936, tied=True),
    _qwen2("1.5B", 1536, 28, 12, 2, 128, 8960, 151_936, tied=True),
    _qwen2("3B", 2048, 36, 16, 2, 128, 11_008, 151_936, tied=True),
    _qwen2("7B", 3584, 28, 28, 4, 128, 18_944, 152_064),
    _qwen2("14B", 5120, 48, 40, 8, 128, 13_824, 152_064),
    _qwen2("32B", 5120, 64, 40, 8, 128, 27_648, 152_064),
    _qwen2("72B", 8192, 80, 64, 8, 128, 29_568, 152_064),
    _llama("3.2-1B", 2048, 16, 32, 64, 8192, tied=True),
    _llama("3.2-3B", 3072, 28, 24, 128, 8192, tied=True),
    _llama("3.1-8B", 4096, 32, 32, 128, 14_336),
    _llama("3.3-70B", 8192, 80, 64, 128, 28_672),
)
_BY_NAME = {shape.name: shape for shape in _ALL}
_SHORT = {
    "7B": "Qwen2.5-7B",
    "70B": "Llama-3.3-70B",
    **{size: f"Qwen3-{size}" for size in ("0.6B", "1.7B", "4B", "8B", "14B", "32B")},
}
SHAPES: dict[str, Shape] = {
    **_BY_NAME,
    **{short: _BY_NAME[name] for short, name in _SHORT.items()},
}
"""By name, and by size alone."""


def find_shape(model: str) -> Shape:
    """The shape of a name in `SHAPES`, or of a folder in Hugging Face format.

    Raises:
        ConfigError: it is neither, or the folder's model is of another family.
    """
    folder = Path(model)
    if (folder / "config.json").exists():
        return read_shape(folder)
    found = {name.lower(): shape for name, shape in SHAPES.items()}.get(model.lower())
    if found is None:
        raise ConfigError(
            f"--model: wanted a folder with a config.json, or {one_of(model, list(SHAPES))}; "
            f"got {model!r}"
        )
    return found


def read_shape(folder: Path) -> Shape:
    """The shape that a folder's config.json tells.

    Raises:
        ConfigError: it is of another family, or a number is missing.
    """
    path = folder / "config.json"
    try:
        told = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    if not isinstance(told, Mapping):
        raise ConfigError(f"{path} is not an object; wanted a model's config")
    kind = told.get("model_type")
    if kind not in _KINDS:
        raise ConfigError(f"{path}: model_type: a plan knows {', '.join(_KINDS)}; got {kind!r}")
    try:
        hidden, heads = int(told["hidden_size"]), int(told["num_attention_heads"])
        return Shape(
            folder.name,
            hidden,
            int(told["num_hidden_layers"]),
            heads,
            int(told.get("num_key_value_heads") or heads),
            int(told.get("head_dim") or hidden // heads),
            int(told["intermediate_size"]),
            int(told["vocab_size"]),
            tied=bool(told.get("tie_word_embeddings", False)),
            biases=kind == "qwen2",
            head_norms=kind == "qwen3",
            context=int(told.get("max_position_embeddings", 32_768)),
        )
    except KeyError as error:
        raise ConfigError(f"{path}: {error.args[0]} is missing") from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: a number is not one: {error}") from None


def small_shape(small: Small, vocabulary: int = 2_048) -> Shape:
    """The shape of `policy.small`, whose vocabulary is only known when training has begun."""
    return Shape(
        "the small policy",
        small.hidden,
        small.layers,
        small.heads,
        small.heads,
        small.hidden // small.heads,
        small.feed_forward,
        vocabulary,
        tied=True,
        head_norms=True,
        context=small.context,
    )
