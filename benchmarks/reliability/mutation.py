"""A mutation fuzzer: hostile inputs from valid ones, by bytes and by the tree of JSON they hold."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LARGEST = 1_000_000
"""Bytes of an input."""
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**9, 10**30, 0.5, -0.0, 1e308),
    *("", " ", "\0", "\ud800", "\u202e", "\ue0000\ue001", "../../x", "/etc/passwd", "a" * 10_000),
    *("<script>", "</script>", "{{7*7}}", "NaN", "-1", "\x1b]52;c;AA\x07", "\U0001d51e", "\r\n"),
    *([], {}, [[]], {"": {}}, [None] * 50, {"name": "x"}, {"__class__": "os.system"}),
)
_RAW: tuple[str, ...] = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "9" * 5_000,
    "[" * 100_000,
    '{"a":' * 5_000,
)
_RAW += ('{"a": 1, "a": 2}', "tru", '"\\ud800"', "-", "1.")
_MARK = "@RAW@"
_BYTES: tuple[bytes, ...] = (
    b"\0",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\n",
    b"\r",
    b'"',
    b"\\",
    b"{",
    b"[",
    b"<",
)
_BYTES += (b"\xe2\x80\xae", b"../", b"\x1b[2J", b"9" * 5_000, b"-1", b"NaN", b"[" * 5_000)


class Mutator:
    """Draws inputs; the same seeds, tokens and generator draw the same."""

    def __init__(self, seeds: Sequence[bytes], tokens: Sequence[bytes], rng: random.Random) -> None:
        self._seeds, self._tokens, self._rng = seeds, (*tokens, *_BYTES), rng
        whole = [(b"", seed, b"") for seed in seeds if _is_json(seed)]
        self._trees = whole + [part for seed in seeds for part in _lines(seed)]

    def draw(self) -> bytes:
        """The next input."""
        rng = self._rng
        if self._trees and rng.random() < 0.5:
            before, text, after = rng.choice(self._trees)
            data = before + self._in_tree(json.loads(text)) + after
            if rng.random() < 0.8:
                return data[:LARGEST]
        else:
            data = rng.choice(self._seeds)
        for _ in range(1 + rng.getrandbits(2)):
            data = self._in_bytes(data)
        return data[:LARGEST]

    def _in_bytes(self, data: bytes) -> bytes:
        rng = self._rng
        at, end = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
        end = min(end, at + rng.choice((1, 8, 64, len(data) + 1)))
        match rng.randrange(7):
            case 0:
                return data[:at] + bytes([rng.getrandbits(8)]) + data[at + 1 :]
            case 1:
                return data[:at] + data[end:]
            case 2:
                return data[:end] + data[at:]
            case 3:
                return data[:at]
            case 4:
                other = rng.choice(self._seeds)
                return data[:at] + other[rng.randint(0, len(other)) :]
            case _:
                return data[:at] + rng.choice(self._tokens) + data[rng.choice((at, end)) :]

    def _in_tree(self, tree: Any) -> bytes:
        """The tree with one place of it changed, gone, or doubled."""
        rng, raw, root = self._rng, "", [tree]
        place, key = _place(root, rng)
        how = rng.random()
        if how < 0.15 and isinstance(place, dict):
            del place[key]
        elif how < 0.3 and isinstance(place, dict):
            place[str(rng.choice(_VALUES))] = place[key]
        elif how < 0.5:
            place[key], raw = _MARK, rng.choice(_RAW)
        else:
            place[key] = rng.choice(_VALUES)
        text = json.dumps(root[0])
        return (text.replace(f'"{_MARK}"', raw) if raw else text).encode()


def drawn(take: Callable[[bytes], None], count: int) -> None:
    """Hand on about so many inputs that hypothesis draws: bytes, texts and trees of JSON."""
    texts = st.text(st.characters(), max_size=50)
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
    trees = st.recursive(
        leaves, lambda below: st.lists(below) | st.dictionaries(texts, below), max_leaves=20
    )
    encoded = texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
    inputs = st.binary(max_size=200) | encoded | trees.map(lambda tree: json.dumps(tree).encode())
    checks = settings(
        max_examples=max(count, 1),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    checks(given(inputs)(take))()


def _place(root: list[Any], rng: random.Random) -> tuple[Any, Any]:
    """A container in a tree, and a key of it."""
    place: Any = root
    while True:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        below = place[key]
        if not isinstance(below, dict | list) or not below or rng.random() < 0.2:
            return place, key
        place = below


def _lines(seed: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Those lines of a seed that are JSON, each with what stands around it."""
    lines = seed.split(b"\n")
    return [
        (b"".join(one + b"\n" for one in lines[:at]), line, b"\n" + b"\n".join(lines[at + 1 :]))
        for at, line in enumerate(lines)
        if len(lines) > 1 and line.startswith(b"{") and _is_json(line)
    ]


def _is_json(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False
