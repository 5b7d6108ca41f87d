"""Text to tokens such that no text can ever spell a control token, and tokens to text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from longstep_envs.types import LongstepError

_MARKUP = re.compile(r"[<\[{|].*[>\]}|]", re.DOTALL)
_CUT = "\ufffd"
"""What stands for a character of which bytes are missing."""
_CHARACTER_BYTES = 4
_SHORT = 512
"""Longer texts are rarely seen again, and would fill the memory."""


class EncodingError(LongstepError, ValueError):
    """A text cannot be said in a policy's vocabulary."""


class TextEncoder:
    """Encodes what environments, tools and people say.

    Not only what the tokenizer calls special is a control token here, but every added token in
    brackets: `<tool_call>` and `<think>` steer a policy as much as an end token does. Where a text
    spells one, it is cut within the spelling and its parts are encoded one by one. Other added
    tokens, such as a run of spaces, are plain text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._plain = tokenizer.unk_token_id
        special = set(tokenizer.all_special_ids)
        added = {
            i: token.content
            for i, token in tokenizer.added_tokens_decoder.items()
            if token.special or i in special or _MARKUP.fullmatch(token.content)
        }
        self.control = frozenset({*added, *special})
        spelt = sorted((text for text in added.values() if len(text) > 1), key=len, reverse=True)
        # Looked for at every place, since a spelling may begin within another.
        self._spelling = re.compile(f"(?=({'|'.join(map(re.escape, spelt))}))") if spelt else None
        self._short = lru_cache(maxsize=65536)(self._encode)

    def encode(self, text: str) -> tuple[int, ...]:
        """The tokens of a text.

        Raises:
            EncodingError: it cannot be said without a control token.
        """
        return self._short(text) if len(text) <= _SHORT else self._encode(text)

    def spelt(self, text: str) -> list[str]:
        """The control tokens that a text spells."""
        return [m[1] for m in self._spelling.finditer(text)] if self._spelling else []

    def _encode(self, text: str) -> tuple[int, ...]:
        text = text.encode("utf-8", "replace").decode()  # half of a surrogate pair is no text
        cuts = [m.start() + 1 for m in self._spelling.finditer(text)] if self._spelling else []
        ids: list[int] = []
        for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            ids += self._tokenizer.encode(
                text[begin:end], add_special_tokens=False, split_special_tokens=True
            )
        # A word-level vocabulary holds the control tokens as words, and knows no way to spell them.
        return tuple(self._spell(i) if i in self.control else i for i in ids)

    def _spell(self, control: int) -> int:
        if self._plain is None:
            token = self._tokenizer.convert_ids_to_tokens(control)
            raise EncodingError(
                f"a text spells the control token {token!r}, and the tokenizer has neither another "
                "way to say it nor a token for what is unknown"
            )
        return int(self._plain)


class TextDecoder:
    """Tells what tokens say, control tokens included."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._short = lru_cache(maxsize=65536)(self._pieces)

    def decode(self, ids: Sequence[int]) -> str:
        """Their text."""
        # Cleaned up, it would be another text than was fed or sampled.
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """What each adds to the text of those before it.

        Tokens that are parts of one character add nothing but the last of them, which adds it.
        """
        return list(self._short(tuple(ids)) if len(ids) <= _SHORT else self._pieces(ids))

    def _pieces(self, ids: Sequence[int]) -> tuple[str, ...]:
        pieces: list[str] = []
        begin = told = 0  # a token's text can depend on the one before it: a space, say
        for end in range(1, len(ids) + 1):
            before, after = self.decode(ids[begin:told]), self.decode(ids[begin:end])
            whole = not after.endswith(_CUT) or end - told == _CHARACTER_BYTES or end == len(ids)
            pieces.append(after[len(before) :] if whole else "")
            if whole:
                begin, told = told, end
        return tuple(pieces)
