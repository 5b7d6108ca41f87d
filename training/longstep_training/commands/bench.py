"""`longstep bench`: engines compared state by state, and the speed of everything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from longstep_envs.types import DataError
from longstep_training.commands.options import AsJson
from longstep_training.terminal import clean, progress_bar

SCRIPTS = {
    "asynchronous": "Asynchronous training beside synchronous, in a slow environment.",
    "credit": "What each credit method costs.",
    "gpu": "What one GPU does of everything, and how much more it could.",
    "growth": "What a token costs as turns, environments and context grow.",
    "household_trl": "Household tasks until three in four succeed, beside TRL.",
    "layouts": "Packed, merged and tree rows beside padded, stepwise and packed ones.",
    "pool": "Steps a second of the pool, beside Gymnasium's vectors and GEM.",
    "ranks": "Updates on several processes, summed and sharded, beside one.",
    "rollout": "Tokens a second while playing, beside TRL.",
    "update": "Updates and whole steps, beside TRL.",
    "workers": "Environment workers on a Ray cluster, beside worker processes.",
}
"""Benchmarks of a checkout: what they measure. Each prints both sides, the aim and the limit."""

app = typer.Typer(
    help="Measure both sides in one run: speed beside peers, equality of engines.",
    no_args_is_help=True,
)


@app.command("alfworld")
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


def _script(name: str) -> Callable[[typer.Context], None]:
    def run(context: typer.Context) -> None:
        path = Path(__file__).parents[3] / "benchmarks" / f"{name}.py"
        if not path.exists():
            raise DataError(
                f"there is no {path}: this benchmark comes with a checkout of longstep, not with "
                "the installed package"
            )
        done = subprocess.run([sys.executable, path, *context.args], check=False)
        raise typer.Exit(done.returncode)

    return run


for _name, _help in SCRIPTS.items():
    app.command(
        _name,
        help=_help,
        add_help_option=False,  # the script's own help tells its options
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_script(_name))
