"""The goals of a catalogue, drawn and shuffled as the benchmark does for the same seed.

It draws the prices of products that have two, then the upper price of every goal, from one
generator, and shuffles the goals with seed 233. All of it happens here in a private generator.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from longstep_envs.data import build_once
from longstep_envs.types import DataError, UnknownNameError
from longstep_envs.webshop.catalogue import Catalogue
from longstep_envs.webshop.products import Product
from longstep_envs.webshop.reward import GoalOptions, Verdict, Wish, judge

SHUFFLE_SEED = 233
TEST, DEV = 500, 1000
"""The benchmark tests on its first 500 goals, validates on the next 1,000, trains on the rest."""

_PRICES = [10.0 * number for number in range(1, 100)]
_NO_LIMIT = 1_000_000.0
_MOST_CHOICES = 1_000_000
"""Combinations of one product's options."""


class Goal(NamedTuple):
    """What a session is asked for, and how a purchase is judged."""

    row: int
    instruction: str
    wish: Wish
    weight: float
    """How often the benchmark draws it where no goal is named."""


class _Draft(NamedTuple):
    """A goal as it is stored: a product, which of its goals, and what was drawn for it."""

    row: int
    choice: int
    price_upper: float
    attributes: Sequence[str]


class Goals(Sequence[Goal]):
    """The shuffled goals of a catalogue; each is put together when it is asked for."""

    def __init__(self, catalogue: Catalogue, kind: str, folder: Path) -> None:
        self._catalogue, self._kind = catalogue, kind
        names = ("rows", "choices", "limits", "weights", "prices")
        arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in names]
        self._rows, self._choices, self._limits, self._weights, self._prices = arrays

    def __len__(self) -> int:
        return len(self._rows)

    def price(self, row: int) -> float:
        """The price of a product."""
        return float(self._prices[row])

    def judge(self, goal: Goal, row: int, options: Sequence[tuple[str, str]]) -> Verdict:
        """What the purchase of a product with these options earns."""
        chosen = [value for _, value in options]
        return judge(self._catalogue.product(row), goal.wish, self.price(row), chosen)

    @overload
    def __getitem__(self, index: int) -> Goal: ...
    @overload
    def __getitem__(self, index: slice) -> list[Goal]: ...
    def __getitem__(self, index: int | slice) -> Goal | list[Goal]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        row, limit = int(self._rows[index]), float(self._limits[index])
        product = self._catalogue.product(row)
        choice = int(self._choices[index])
        instruction, attributes, options = _READ[self._kind](product, choice)
        if limit != _NO_LIMIT:
            instruction += f", and price lower than {limit:.2f} dollars"
        wish = Wish(
            product.title, product.query, product.product_category, attributes, options, limit
        )
        return Goal(row, instruction, wish, float(self._weights[index]))


def open_goals(catalogue: Catalogue, kind: str, seed: int) -> Goals:
    """The goals of a kind, "human" or "synthetic", for the prices that a seed draws.

    Raises:
        UnknownNameError: there is no such kind.
        DataError: the data lacks what the goals need.
    """
    if kind not in _DRAW:
        raise UnknownNameError(f"WebShop: unknown goals {kind!r}; there are {', '.join(_DRAW)}")

    return _open(catalogue, kind, seed)


@lru_cache(maxsize=8)
def _open(catalogue: Catalogue, kind: str, seed: int) -> Goals:
    def build(draft: Path) -> None:
        _build(draft, catalogue, kind, seed)

    place = catalogue.folder.with_name(f"{catalogue.folder.name}-{kind}-{seed}")
    return Goals(catalogue, kind, build_once(place, build))


def _build(folder: Path, catalogue: Catalogue, kind: str, seed: int) -> None:
    rng = random.Random(seed)
    prices = catalogue.draw_prices(rng)
    drafts = list(_DRAW[kind](catalogue, prices, rng))
    weights = _weigh(drafts) if kind == "synthetic" else [1.0] * len(drafts)
    order = list(range(len(drafts)))
    random.Random(SHUFFLE_SEED).shuffle(order)
    folder.mkdir()
    columns: dict[str, NDArray[Any]] = {
        "rows": np.array([drafts[k].row for k in order], np.int32),
        "choices": np.array([drafts[k].choice for k in order], np.int32),
        "limits": np.array([drafts[k].price_upper for k in order], np.float64),
        "weights": np.array([weights[k] for k in order], np.float64),
        "prices": np.array(prices, np.float64),
    }
    for name, column in columns.items():
        np.save(folder / f"{name}.npy", column)


def _draw_human(
    catalogue: Catalogue, prices: Sequence[float], rng: random.Random
) -> Iterator[_Draft]:
    for row in catalogue.asked_rows():
        for choice, (_, attributes, _) in enumerate(catalogue.product(row).instructions):
            if attributes:
                yield _Draft(row, choice, _draw_limit(prices[row], rng), attributes)


def _draw_synthetic(
    catalogue: Catalogue, prices: Sequence[float], rng: random.Random
) -> Iterator[_Draft]:
    for row, price in enumerate(prices):
        product = catalogue.product(row)
        if product.instruction is None:
            continue
        if not product.instruction_attributes:
            raise DataError(f"{product.asin}: its instruction has no 'instruction_attributes'")
        limit = _draw_limit(price, rng)
        choices = math.prod(map(len, product.options.values()))
        if choices > _MOST_CHOICES:
            raise DataError(
                f"{product.asin}: 'customization_options' can be combined in {choices:,} ways, "
                f"and each is a goal; at most {_MOST_CHOICES:,}"
            )
        for choice in range(choices):
            yield _Draft(row, choice, limit, product.instruction_attributes)


def _draw_limit(price: float, rng: random.Random) -> float:
    above = [limit for limit in _PRICES if limit > price][:4]
    return max(rng.sample(above, 2)) if len(above) >= 2 else _NO_LIMIT


def _weigh(drafts: Sequence[_Draft]) -> list[float]:
    """Goals weigh less the more often their attributes are wanted."""
    counts = Counter(itertools.chain.from_iterable(draft.attributes for draft in drafts))
    return [
        sum(1.0 / counts[attribute] for attribute in draft.attributes) / len(draft.attributes)
        for draft in drafts
    ]


def _read_human(product: Product, choice: int) -> tuple[str, Sequence[str], GoalOptions]:
    instruction, attributes, options = product.instructions[choice]
    return instruction.strip("."), attributes, options


def _read_synthetic(product: Product, choice: int) -> tuple[str, Sequence[str], GoalOptions]:
    """The combination of options with number `choice`; the last name's values turn fastest."""
    options = {}
    for name in sorted(product.options, reverse=True):
        choice, number = divmod(choice, len(product.options[name]))
        options[name] = product.options[name][number]
    options = dict(reversed(options.items()))
    named = ", and ".join(f"{name}: {value}" for name, value in options.items())
    instruction = f"{product.instruction}{' with ' if named else ''}{named}"
    return instruction, product.instruction_attributes, options


_DRAW: dict[str, Callable[[Catalogue, Sequence[float], random.Random], Iterator[_Draft]]] = {
    "human": _draw_human,
    "synthetic": _draw_synthetic,
}
_READ: dict[str, Callable[[Product, int], tuple[str, Sequence[str], GoalOptions]]] = {
    "human": _read_human,
    "synthetic": _read_synthetic,
}


class GoalIds(Sequence[str]):
    """Task ids such as "test/17", the number being the goal's; nothing is kept per goal.

    The splits are the benchmark's where there are at least twice as many goals as it tests and
    validates on, else the first and the second tenth of the goals.
    """

    def __init__(self, count: int) -> None:
        tests, devs = (TEST, DEV) if count >= 2 * (TEST + DEV) else (count // 10, count // 10)
        self._ranges = {
            "test": range(tests),
            "dev": range(tests, tests + devs),
            "train": range(tests + devs, count),
        }
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __contains__(self, task_id: object) -> bool:
        if not isinstance(task_id, str):
            return False
        split, _, number = task_id.partition("/")
        # The number's own spelling only: "test/07" is another text.
        return (
            number.isdecimal()
            and len(number) < 12
            and str(int(number)) == number
            and int(number) in self._ranges.get(split, ())
        )

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        numbers = range(self._count)[index]
        return self._name(numbers) if isinstance(numbers, int) else list(map(self._name, numbers))

    def _name(self, number: int) -> str:
        split = next(name for name, numbers in self._ranges.items() if number in numbers)
        return f"{split}/{number}"
