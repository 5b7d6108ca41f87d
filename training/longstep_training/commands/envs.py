"""`longstep envs`, `tasks` and `check`: what there is, and whether it keeps the contract."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from longstep_training.commands.options import AsJson, EnvId, EnvOptions, keyword_options
from longstep_training.config import ConfigError
from longstep_training.terminal import clean

if TYPE_CHECKING:
    from longstep_envs import EnvEntry


def list_environments() -> None:
    """List the registered environments, broken plug-ins included."""
    from rich.console import Console
    from rich.table import Table

    from longstep_envs import list_envs

    entries = list_envs()
    table = Table("environment", "concurrency", "snapshot", "what it is", box=None)
    for entry in entries:
        if entry.error is None:
            table.add_row(entry.id, entry.concurrency, entry.snapshot, clean(entry.summary))
    Console(highlight=False, markup=False).print(table)
    _list_broken([entry for entry in entries if entry.error is not None])


def list_tasks(
    name: Annotated[str | None, typer.Argument(metavar="[TASKS]", help="A task set.")] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the task set; repeatable."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many to show; 0 shows all.")] = 20,
) -> None:
    """List the task sets, or the tasks of one."""
    from longstep_tasks.registry import TASKS, load_tasks

    if name is None:
        for known, target in sorted(TASKS.items()):
            typer.echo(f"{known}  {target}")
        return
    try:
        tasks = load_tasks(name, **keyword_options(options))
    except TypeError as error:
        raise ConfigError(f"task set {name!r} does not take these options: {error}") from error
    for task in islice(tasks, limit or None):
        typer.echo(clean(f"{task.split}  {task.task_type}  {task.id}"))
    typer.echo(f"{len(tasks):,} tasks, hash {tasks.content_hash}", err=True)


def check(env_id: EnvId, options: EnvOptions = None, as_json: AsJson = False) -> None:
    """Check that an environment keeps the contract; exit 1 where it does not."""
    from longstep_envs.check import check_env

    report = check_env(env_id, **keyword_options(options))
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        for result in report.results:
            typer.echo(clean(f"{result.status:<8} {result.name}  {result.message}".rstrip()))
    if not report.passed:
        raise typer.Exit(1)


def _list_broken(entries: list[EnvEntry]) -> None:
    for entry in entries:
        typer.echo(f"broken: {clean(entry.id)}: {clean(entry.error or '')}", err=True)
