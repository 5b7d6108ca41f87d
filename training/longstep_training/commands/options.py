"""Options that several subcommands take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from longstep_training.config import ConfigError, parse_override

EnvId = Annotated[
    str, typer.Argument(metavar="ENV", help="An environment's id; `longstep envs` lists them.")
]
EnvOptions = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An option of the environment; repeatable."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key of the config; repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def keyword_options(assignments: Sequence[str] | None) -> dict[str, Any]:
    """The keyword arguments that `--set games=DIR` and the like give.

    Raises:
        ConfigError: an assignment is malformed, or its key is a path.
    """
    options = {}
    for assignment in assignments or ():
        key, value = parse_override(assignment)
        if len(key) > 1:
            raise ConfigError(f"an option is one name, got {'.'.join(key)!r}")
        options[key[0]] = value
    return options
