"""What configs are made of: a base that refuses what it does not know, and choices by name."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Union, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

MOST_KEYS = 64
"""Parts of one key path: tables within tables."""
_MOST_CHARACTERS = 2**20
# The parser of the standard library takes time by the square of the parts.
_LONG_KEY = re.compile(rf"(?<![\w.-])(?:[\"'\w-]+\s*\.\s*){{{MOST_KEYS},}}")


class Config(BaseModel):
    """Base of every config: immutable; unknown keys and numbers that are not finite are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants"
    )


def parse_toml(text: str) -> dict[str, Any]:
    """What TOML says that anything may have written.

    Raises:
        ValueError: it is none, or larger or nested deeper than anybody would write it.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters; at most {_MOST_CHARACTERS:,}")
    if _LONG_KEY.search(text):
        raise ValueError(f"a key has more than {MOST_KEYS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def key_of(registry: Callable[[], Iterable[str]]) -> AfterValidator:
    """Annotates a text that must be a name in `registry`, which is looked up when it is needed."""

    def check(name: str) -> str:
        names = sorted(registry())
        if name not in names:
            raise refusal(one_of(name, names))
        return name

    return AfterValidator(check)


def choice_of(registry: Mapping[str, Callable[..., Any]]) -> Any:
    """The type of a config that chooses one of `registry` by its `name`.

    Each entry is a function, or a class, whose argument `config` is annotated with the model of
    its options.
    """
    models = tuple(_hints(entry)["config"] for entry in registry.values())
    if len(models) == 1:
        return models[0]
    return Annotated[Union[models], Field(discriminator="name")]  # noqa: UP007 - made at run time


def _hints(entry: Callable[..., Any]) -> dict[str, Any]:
    function = entry.__init__ if isinstance(entry, type) else entry  # type: ignore[misc]
    return get_type_hints(function)


def one_of(name: str, names: Sequence[str]) -> str:
    """What is wanted in place of `name`: the names there are, and the nearest."""
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    return f"one of {', '.join(names)}{hint}"


def refusal(wanted: str) -> PydanticCustomError:
    """What a validator raises; `ConfigError` then tells the key, what was wanted and what came."""
    return PydanticCustomError("refused", "wanted {expected}", {"expected": wanted})
