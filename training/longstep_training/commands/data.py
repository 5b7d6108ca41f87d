"""`longstep data` and `longstep bench`: what a benchmark is made of, and how fast it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from longstep_training.commands.options import AsJson
from longstep_training.terminal import clean, progress_bar

data_app = typer.Typer(help="Generate the data of environments.", no_args_is_help=True)
bench_app = typer.Typer(help="Compare engines: equality and speed.", no_args_is_help=True)


@data_app.callback()
@bench_app.callback()
def _group() -> None:
    """Keep the name of a group's only command."""


@data_app.command("alfworld")
def generate_alfworld(  # noqa: PLR0913 - an option each
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    seed: Annotated[int, typer.Option(help="Same seed, same games.")] = 0,
    train: Annotated[int, typer.Option(min=0, help="Games to train on.")] = 3553,
    valid_seen: Annotated[int, typer.Option(min=0, help="Held out, rooms of training.")] = 140,
    valid_unseen: Annotated[int, typer.Option(min=0, help="Held out, rooms never seen.")] = 134,
    max_receptacles: Annotated[
        int | None, typer.Option(min=1, help="Only rooms of at most this many receptacles.")
    ] = None,
    partial_rooms: Annotated[
        bool, typer.Option(help="Train in random parts of rooms: more layouts than rooms.")
    ] = False,
) -> None:
    """Generate household games in ALFWorld's own format."""
    from longstep_tasks.alfworld.generate import generate

    splits = {"train": train, "valid_seen": valid_seen, "valid_unseen": valid_unseen}
    wanted = {name: games for name, games in splits.items() if games}
    with progress_bar("games") as progress:
        generate(out, seed=seed, splits=wanted, max_receptacles=max_receptacles, progress=progress)
    typer.echo(f"{sum(wanted.values()):,} games in {out}")


@bench_app.command("alfworld")
def bench_alfworld(
    games: Annotated[Path, typer.Option(metavar="DIR", help="A folder of games.")],
    states: Annotated[int, typer.Option(min=1, help="How many states to compare.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the walk through the games.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare the fast ALFWorld engine with the official one, state by state; exit 1 if unequal."""
    from longstep_envs.alfworld.bench import bench

    with progress_bar("states") as progress:
        report = bench(games, states, seed, progress=progress)
    result = report.as_dict()
    if as_json:
        typer.echo(json.dumps(result))
    else:
        for name, value in result.items():
            typer.echo(clean(f"{name.replace('_', ' ')}: {value}"))
    if report.mismatches:
        raise typer.Exit(1)
