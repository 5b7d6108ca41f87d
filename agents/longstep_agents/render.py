"""From conversation to tokens: token in, token out; what was sampled is never tokenised again."""

from __future__ import annotations

from functools import lru_cache

from transformers import PreTrainedTokenizerBase

_MARK = "\u241fobservation\u241f"
_REPLY = "\u241freply\u241f"


class Renderer:
    """Wraps observations in the chat template's own pieces.

    The template is rendered once around a placeholder. Its pieces are tokenised with special
    tokens on; observations are tokenised with special tokens off, so that no text of the
    environment can ever produce a control token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, system: str | None = None) -> None:
        self.tokenizer = tokenizer
        self.end_id = int(tokenizer.eos_token_id)
        self._control = frozenset(tokenizer.all_special_ids)
        self._plain = tokenizer.unk_token_id
        head = [{"role": "system", "content": system}] if system else []
        user = {"role": "user", "content": _MARK}
        opening = self._template([*head, user])
        reply = [{"role": "assistant", "content": _REPLY}, user]
        bridge = self._template([*head, {"role": "user", "content": "x"}, *reply])
        bridge = bridge.split(_REPLY, 1)[1].removeprefix(str(tokenizer.eos_token))
        self._opening = self._pieces(opening)
        self._bridge = self._pieces(bridge)
        self.encode = lru_cache(maxsize=65536)(self._encode)
        self.completion = lru_cache(maxsize=65536)(self._completion)

    def opening(self, observation: str) -> tuple[int, ...]:
        """The tokens of the first prompt."""
        before, after = self._opening
        return (*before, *self.encode(observation), *after)

    def bridge(self, observation: str, *, ended: bool = True) -> tuple[int, ...]:
        """The tokens between one completion and the next.

        `ended` tells whether the completion closed itself with the end token.
        """
        before, after = self._bridge
        closing = () if ended else (self.end_id,)
        return (*closing, *before, *self.encode(observation), *after)

    def decode(self, ids: tuple[int, ...]) -> str:
        """The text of a completion, without its end token."""
        if ids and ids[-1] == self.end_id:
            ids = ids[:-1]
        return str(self.tokenizer.decode(list(ids)))

    def _completion(self, text: str) -> tuple[int, ...]:
        """A whole completion: the text and the end token."""
        return (*self.encode(text), self.end_id)

    def _encode(self, text: str) -> tuple[int, ...]:
        ids = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        # A word-level vocabulary holds the control tokens as words: they are not to be spelt.
        return tuple(self._plain if i in self._control else i for i in ids)

    def _template(self, messages: list[dict[str, str]]) -> str:
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return str(text)

    def _pieces(self, rendered: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        before, _, after = rendered.partition(_MARK)
        encode = self.tokenizer.encode
        return (
            tuple(encode(before, add_special_tokens=False)) if before else (),
            tuple(encode(after, add_special_tokens=False)) if after else (),
        )
