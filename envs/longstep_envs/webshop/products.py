"""The benchmark's own files, as published: products, cleaned as the benchmark cleans them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from longstep_envs.types import DataError
from longstep_envs.untrusted import parse_json

SYNTHETIC_IMAGES = "https://images.example/"
"""Where the images of generated products would lie: it marks them, whoever copies them."""

_CHUNK = 1 << 24
_SPACE = re.compile(r"\s*")
_NOT_PRICE = re.compile(r"[^\d.]")
_NO_ATTRIBUTES = ["DUMMY_ATTR"]
_NO_PRICE = 100.0


class Product(NamedTuple):
    """One product as the pages show it and the reward reads it."""

    asin: str
    title: str
    category: str
    query: str
    product_category: str
    description: str
    bullets: list[str]
    attributes: list[str]
    prices: list[float]
    """One price, or two between which the true one is drawn."""
    price_tag: str
    image: str
    options: dict[str, list[str]]
    """Option name -> its values, all lower case."""
    option_images: dict[str, str | None]
    instructions: list[tuple[str, list[str], list[str]]]
    """What people asked for: instruction, attributes, options."""
    instruction: str | None
    """What a template asks for; None where there is none."""
    instruction_attributes: list[str]


def read_products(
    products: Path, attributes: Path, instructions: Path, limit: int | None
) -> Iterator[Product | None]:
    """The products among the first `limit` records; None for one that the benchmark skips.

    It skips an asin that was there before, is longer than ten characters, or is "nan".

    Raises:
        DataError: a file is truncated, is not UTF-8 or lacks a key; it names file, record, key.
    """
    templates, asked = _read_object(attributes), _read_object(instructions)
    seen: set[str] = set()
    for number, record in enumerate(_read_array(products), start=1):
        if limit is not None and number > limit:
            return
        fields = _Fields(record, f"{products}: record {number}")
        asin = fields.text("asin")
        if asin == "nan" or len(asin) > 10 or asin in seen:
            yield None
            continue
        seen.add(asin)
        yield _product(
            fields,
            _Fields(templates.get(asin, {}), f"{attributes}: {asin}"),
            _asked(asked.get(asin, []), f"{instructions}: {asin}"),
        )


class _Fields:
    """A JSON object whose keys are asked for by their type."""

    def __init__(self, record: Any, where: str) -> None:
        if not isinstance(record, dict):
            raise DataError(f"{where}: wanted an object, found {type(record).__name__}")
        self.record, self.where = record, where

    def lacks(self, key: str) -> bool:
        return self.record.get(key) is None

    def text(self, key: str) -> str:
        value = self._value(key)
        if isinstance(value, str):
            return value
        raise self.problem(key, "a text", value)

    def texts(self, key: str) -> list[str]:
        value = self._value(key)
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            return value
        raise self.problem(key, "a list of texts", value)

    def _value(self, key: str) -> Any:
        if key not in self.record:
            raise DataError(f"{self.where}: the key {key!r} is missing")
        return self.record[key]

    def problem(self, key: str, wanted: str, value: Any) -> DataError:
        return DataError(f"{self.where}: {key!r} should be {wanted}, found {value!r:.80}")


def _asked(rows: Any, where: str) -> list[_Fields]:
    if not isinstance(rows, list):
        raise DataError(f"{where}: wanted a list of instructions, found {rows!r:.80}")
    return [_Fields(row, where) for row in rows]


def _product(fields: _Fields, template: _Fields, asked: list[_Fields]) -> Product:
    title, record = fields.text("name"), fields.record
    bullets = record.get("small_description")
    prices, tag = _prices(fields)
    options, images = _options(fields)
    pictures = record.get("images")
    if not (isinstance(pictures, list) and pictures):
        raise fields.problem("images", "a list with at least one address", pictures)
    return Product(
        asin=fields.text("asin"),
        title=title,
        category=fields.text("category"),
        query=fields.text("query").lower().strip(),
        product_category=fields.text("product_category"),
        description=fields.text("full_description"),
        bullets=[bullets] if isinstance(bullets, str) else fields.texts("small_description"),
        attributes=template.texts("attributes")
        if "attributes" in template.record
        else _NO_ATTRIBUTES,
        prices=prices,
        price_tag=tag,
        image=str(pictures[0]),
        options=options,
        option_images=images,
        instructions=[
            (
                row.text("instruction"),
                row.texts("instruction_attributes"),
                row.texts("instruction_options"),
            )
            for row in asked
        ],
        instruction=None if template.lacks("instruction") else template.text("instruction"),
        instruction_attributes=[]
        if template.lacks("instruction_attributes")
        else template.texts("instruction_attributes"),
    )


def _prices(fields: _Fields) -> tuple[list[float], str]:
    text = fields.record.get("pricing")
    if not text:
        return [_NO_PRICE], f"${_NO_PRICE}"
    try:
        prices = [float(Decimal(_NOT_PRICE.sub("", price))) for price in text.split("$")[1:]]
        if len(prices) == 1:
            return prices, f"${prices[0]}"
        return prices[:2], f"${prices[0]} to ${prices[1]}"
    except (AttributeError, InvalidOperation, IndexError) as error:
        raise fields.problem("pricing", "like '$9.99' or '$5.00$9.99'", text) from error


def _options(fields: _Fields) -> tuple[dict[str, list[str]], dict[str, str | None]]:
    options: dict[str, list[str]] = {}
    images: dict[str, str | None] = {}
    given = fields.record.get("customization_options")
    if given is not None and not isinstance(given, dict):
        raise fields.problem("customization_options", "an object", given)
    for name, contents in (given or {}).items():
        if contents is None:
            continue
        if not isinstance(contents, list):
            raise fields.problem(f"customization_options.{name}", "a list", contents)
        values = []
        for content in contents:
            if not (isinstance(content, dict) and isinstance(content.get("value"), str)):
                raise fields.problem(
                    f"customization_options.{name}", "a list of {value, image}", content
                )
            value = content["value"].strip().replace("/", " | ").lower()
            values.append(value)
            images[value] = content.get("image")
        options[name.lower()] = values
    return options, images


def _read_array(path: Path) -> Iterator[Any]:
    """The elements of a JSON array, one at a time: the full file holds over a million."""
    with path.open(encoding="utf-8") as file:
        reader = _Reader(file, path)
        found = reader.take()
        if found != "[":
            raise DataError(f"{path}: wanted a JSON array of products, found {found!r}")
        if reader.look() == "]":
            found = reader.take()
        while found != "]":
            yield reader.read()
            found = reader.take()
            if found not in (",", "]"):
                raise reader.problem(f"wanted ',' or ']' after it, found {found!r}")
        if reader.look():
            raise reader.problem(f"wanted nothing after the ']', found {reader.look()!r}")


class _Reader:
    """JSON values of a file, read in chunks."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file, self._path = file, path
        self._text, self._at, self._number = "", 0, 0
        self._decode = json.JSONDecoder().raw_decode

    def look(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._grow():
                return ""

    def take(self) -> str:
        """The same, and go past it."""
        found = self.look()
        self._at += len(found)
        return found

    def read(self) -> Any:
        """The next value."""
        self._number += 1
        self.look()
        while True:
            try:
                value, self._at = self._decode(self._text, self._at)
                return value
            except ValueError as error:
                if len(self._text) - self._at > 2 * _CHUNK or not self._grow():
                    raise self.problem(str(error)) from error
            except RecursionError as error:
                raise self.problem(str(error)) from error

    def problem(self, told: str) -> DataError:
        """What is wrong at the last value."""
        where = f"{self._path}: record {self._number}"
        return DataError(f"{where}: the file is truncated or malformed: {told}")

    def _grow(self) -> bool:
        try:
            more = self._file.read(_CHUNK)
        except UnicodeDecodeError as error:
            where = f"{self._path}: not UTF-8, at or after record {self._number}"
            raise DataError(f"{where}: {error}") from error
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error}") from error
    except ValueError as error:
        raise DataError(f"{path}: truncated or malformed JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: wanted a JSON object by asin, found {type(content).__name__}")
    return content
