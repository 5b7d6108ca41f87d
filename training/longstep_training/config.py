"""Configs: frozen pydantic models, read from TOML files and `key.path=value` overrides."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from longstep_agents.config import (
    MOST_KEYS,
    Config,
    choice_of,
    key_of,
    one_of,
    parse_toml,
    refusal,
)
from longstep_envs.types import LongstepError
from longstep_training.toml import format_toml

__all__ = [
    "Config",
    "ConfigError",
    "build_config",
    "choice_of",
    "dump_toml",
    "key_of",
    "load_config",
    "one_of",
    "override_tree",
    "parse_override",
    "read_tree",
    "refusal",
]

_SHOWN_CHARACTERS = 60
_WANTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text in quotes",
    "tuple_type": "a list",
    "list_type": "a list",
    "model_type": "a table of settings",
    "dict_type": "a table",
    "path_type": "a path in quotes",
}


class ConfigError(LongstepError, ValueError):
    """A config file or an override does not say something that its model understands."""


ConfigT = TypeVar("ConfigT", bound=Config)


def load_config(model: type[ConfigT], path: Path, overrides: Sequence[str] = ()) -> ConfigT:
    """The config that `path` and the files it extends hold, with `overrides` put on top.

    Raises:
        ConfigError: a file is missing or not TOML, or holds unknown keys or wrong values.
    """
    return build_config(model, read_tree(path, overrides), source=str(path))


def read_tree(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What `path` and the files it extends say, with `overrides` put on top; not yet checked.

    Raises:
        ConfigError: a file is missing or not TOML, or an override is malformed.
    """
    return override_tree(_read_extended(path, chain=()), overrides)


def override_tree(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The tree, with `overrides` put on top.

    Raises:
        ConfigError: an override is malformed.
    """
    # Names first: what they choose decides which other keys there are.
    for override in sorted(overrides, key=lambda text: parse_override(text)[0][-1] != "name"):
        _apply(tree, override)
    return tree


def build_config(model: type[ConfigT], tree: Mapping[str, Any], source: str) -> ConfigT:
    """The config that a tree of TOML values describes; `source` names the tree in errors.

    The values travel as JSON, whose strict mode takes texts for paths and names of choices, but
    neither "3" nor true for 3.

    Raises:
        ConfigError: the tree holds unknown keys or wrong values; one line for each.
    """
    try:
        return model.model_validate_json(json.dumps(tree, default=str), strict=True)
    except ValidationError as error:
        known = list(_key_paths(model))
        details = [one for one in error.errors(include_url=False) if not _follows(one, error)]
        problems = [_describe(detail, tree, known) for detail in details]
        raise ConfigError("\n".join(f"{source}: {problem}" for problem in problems)) from None


def _follows(detail: ErrorDetails, error: ValidationError) -> bool:
    """Whether a list is called too short only because what it holds was refused."""
    place = detail["loc"]
    inside = (one["loc"][: len(place)] == place != one["loc"] for one in error.errors())
    return detail["type"] == "too_short" and any(inside)


def parse_override(override: str) -> tuple[tuple[str, ...], Any]:
    """The key path and the value of `a.b=c`; what is not a TOML value is taken as text.

    Raises:
        ConfigError: there is no `=`, or a part of the key is empty, or it has too many.
    """
    key, equals, text = override.partition("=")
    parts = tuple(part.strip() for part in key.split("."))
    if not equals or not all(parts):
        raise ConfigError(f"an override is written key.path=value, got {_show(override)}")
    if len(parts) > MOST_KEYS:
        raise ConfigError(f"{_show(override)}: a key has at most {MOST_KEYS} parts")
    try:
        table = parse_toml(f"value = {text}")
    except ValueError:
        return parts, text
    return parts, table["value"] if table.keys() == {"value"} else text


def dump_toml(config: Config) -> str:
    """The config as TOML that `load_config` reads back to an equal config.

    Raises:
        ConfigError: a field is None though its default is not, which TOML cannot say.
    """
    _check_expressible(config, prefix="")
    return format_toml(json.loads(config.model_dump_json(exclude_none=True)))


def _read_extended(path: Path, chain: tuple[Path, ...]) -> dict[str, Any]:
    resolved = path.resolve()
    if resolved in chain:
        raise ConfigError(f"{path} extends itself by way of {chain[-1]}; remove one `extends`")
    tree = _read(path)
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str) or "\0" in parent:
        raise ConfigError(f"{path}: extends: wanted a path in quotes, got {_show(parent)}")
    return _merge(_read_extended(path.parent / parent, (*chain, resolved)), tree)


def _read(path: Path) -> dict[str, Any]:
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no config file {path}; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a text file: {error}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        joins = isinstance(old, dict) and isinstance(value, dict) and not _chooses_anew(old, value)
        merged[key] = _merge(old, value) if joins else value  # type: ignore[arg-type]
    return merged


def _chooses_anew(old: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Whether `value` names another choice, which has no use for the options of the old one."""
    return "name" in old and value.get("name", old["name"]) != old["name"]


def _apply(tree: dict[str, Any], override: str) -> None:
    parts, value = parse_override(override)
    table = tree
    for depth, part in enumerate(parts[:-1], start=1):
        child = table.setdefault(part, {})
        if not isinstance(child, dict):
            prefix = ".".join(parts[:depth])
            raise ConfigError(f"{_show(override)}: {prefix} is a value, not a table of settings")
        table = child
    if _chooses_anew(table, {parts[-1]: value}):
        table.clear()
    table[parts[-1]] = value


def _key_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for nested in _models_in(field.annotation):
            yield from _key_paths(nested, f"{prefix}{name}.")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _describe(detail: ErrorDetails, tree: Mapping[str, Any], known: Sequence[str]) -> str:
    path = _dotted(detail["loc"], tree).removesuffix(".[key]")
    kind = detail["type"]
    if kind == "union_tag_invalid":
        context = detail.get("ctx", {})
        names = [name.strip("'") for name in context["expected_tags"].split(", ")]
        return f"{path}.name: wanted {one_of(context['tag'], names)}, got {_show(context['tag'])}"
    if kind == "union_tag_not_found":
        return f"'{path}.name' is required and not set"
    key_path = re.sub(r"\.\d+(?=\.|$)", "", path)  # of a list's items, all have the same keys
    if kind == "extra_forbidden" and key_path in known:  # of another choice by name
        table, _, key = path.rpartition(".")
        return f"{table}: {key!r} is not an option of what {table}.name chooses; remove it"
    if kind == "extra_forbidden":
        return f"unknown key '{path}'{_suggest(key_path, known)}"
    if kind == "missing":
        return f"'{path}' is required and not set"
    wanted = _WANTED.get(kind) or detail.get("ctx", {}).get("expected")
    if wanted is None:
        return f"{path}: {detail['msg']}, got {_show(detail['input'])}"
    if kind == "refused" and isinstance(detail["input"], Mapping):  # parts do not go together
        return f"{path}: wanted {wanted}"
    return f"{path}: wanted {wanted}, got {_show(detail['input'])}"


def _dotted(location: tuple[int | str, ...], tree: Any) -> str:
    """`location` without the tags that pydantic adds for the members of a union."""
    kept = []
    for position, part in enumerate(location):
        known = part in tree if isinstance(tree, Mapping) else isinstance(tree, list)
        if known:
            tree = tree[part]
        if known or position == len(location) - 1:
            kept.append(str(part))
    return ".".join(kept)


def _suggest(path: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.75)
    if not near:  # the right name in the wrong table, or a misspelt one there
        names = difflib.get_close_matches(_name(path), [_name(k) for k in known], n=1)
        same = [k for k in known if _name(k) in names]
        near = difflib.get_close_matches(path, same, n=1, cutoff=0.0)
    return f"; did you mean '{near[0]}'?" if near else ""


def _name(path: str) -> str:
    return path.rpartition(".")[2]


def _check_expressible(config: BaseModel, prefix: str) -> None:
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if value is None and field.get_default(call_default_factory=True) is not None:
            raise ConfigError(f"{prefix}{name} is None, which TOML cannot say; leave its default")
        if isinstance(value, BaseModel):
            _check_expressible(value, f"{prefix}{name}.")


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
