"""A small language model and a tokenizer made from the environment's own text.

Both are saved in plain Hugging Face format. Nothing else in longstep knows that they are small.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers.utils.logging import disable_progress_bar

PAD, END, UNKNOWN, PROMPT = "<pad>", "<end>", "<unk>", "\n> "
_NUMBERS = 256
TEMPLATE = (
    "{% for message in messages %}{{ message.content }}"
    "{% if message.role == 'assistant' %}" + END + "{% else %}"
    # An expression, because the template engine drops a line break that follows a block.
    "{{ " + repr(PROMPT) + " }}{% endif %}{% endfor %}"
)


class SmallPolicyConfig(BaseModel):
    """The size of the model: a Qwen3 architecture with tied embeddings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int = 64
    layers: int = 3
    heads: int = 4
    feed_forward: int = 128
    context: int = 2048


def build_tokenizer(texts: Iterable[str], spare_numbers: int = 2) -> PreTrainedTokenizerFast:
    """One token for every numbered entity ("cabinet 3") and for every phrase between entities.

    An entity is a word that occurs with a number behind it anywhere in `texts`; it is a token
    without number too, and with numbers up to `spare_numbers` above the highest seen.
    """
    whole = (text.encode("utf-8", "replace").decode() for text in texts)  # no half characters
    texts = sorted(set(whole))
    highest: Counter[str] = Counter()
    for text in texts:
        for word, number in re.findall(r"\b([a-z]+) (\d+)\b", text):
            highest[word] = max(highest[word], int(number))
    words = sorted(highest, key=lambda word: (-len(word), word))
    entity = rf"\b(?:{'|'.join(words)})(?: \d+)?\b" if words else r"\w+"
    splitter = re.compile(f"({entity})")
    vocabulary = dict.fromkeys([PAD, END, UNKNOWN, PROMPT])
    for word in sorted(words):
        numbered = [f"{word} {n}" for n in range(1, highest[word] + spare_numbers + 1)]
        vocabulary |= dict.fromkeys([word, *numbered])
    pieces = Counter(piece for text in texts for piece in splitter.split(text) if piece)
    vocabulary |= dict.fromkeys(sorted(pieces, key=lambda piece: (-pieces[piece], piece)))
    index = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(index, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(entity), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        extra_special_tokens=[PROMPT],
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def build_model(
    tokenizer: PreTrainedTokenizerFast, config: SmallPolicyConfig, seed: int
) -> Qwen3ForCausalLM:
    """Random weights; a numbered entity's embedding starts near its word's and its number's."""
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            head_dim=config.hidden // config.heads,
            intermediate_size=config.feed_forward,
            max_position_embeddings=config.context,
            tie_word_embeddings=True,
            initializer_range=0.02,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )
    _scale_projections(model)
    _compose_entities(model, tokenizer)
    return model


def save_policy(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write both in the format that transformers and vLLM load."""
    disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _scale_projections(model: Qwen3ForCausalLM) -> None:
    """Width-scaled initial projections: 0.02 is meant for models a hundred times wider."""
    depth = (2 * model.config.num_hidden_layers) ** -0.5
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "embed" not in name and "lm_head" not in name:
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                weight.normal_(std=weight.shape[1] ** -0.5 * (depth if residual else 1.0))


def _compose_entities(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    embedding = model.model.embed_tokens.weight
    numbers = torch.randn(_NUMBERS, embedding.shape[1]) * embedding.std()
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    with torch.no_grad():
        for token, index in sorted(vocabulary.items(), key=lambda item: item[1]):
            match = re.fullmatch(r"([a-z]+) (\d+)", token)
            if match and match[1] in vocabulary:
                word = embedding[vocabulary[match[1]]]
                embedding[index] = 0.8 * word + 0.6 * numbers[int(match[2]) % _NUMBERS]
