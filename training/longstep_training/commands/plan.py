"""`longstep plan`: what a run would take on other machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longstep_training.commands.options import AsJson, Overrides
from longstep_training.terminal import clean

if TYPE_CHECKING:
    from longstep_training.planning.settings import Recipe
    from longstep_training.planning.shapes import Shape


def plan(  # noqa: PLR0913 - options of a command
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file of a run.")],
    gpus: Annotated[int, typer.Option(min=1, help="Accelerators, or processes on CPUs.")] = 1,
    gpu: Annotated[
        str, typer.Option(help="a100, h100, h200, b200, l40s; cpu; or a .json file of ceilings.")
    ] = "h100",
    model: Annotated[
        str | None,
        typer.Option(help="A size such as 7B, a name, or a folder. Default: the config's policy."),
    ] = None,
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Take what this run has measured; repeatable."),
    ] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="What is not known, such as latency=0.5."),
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Plan a run: memory, time of an iteration, balance, bound and limit. Nothing is measured."""
    from longstep_training.config import build_config
    from longstep_training.planning import calibration, machines, report, settings
    from longstep_training.planning import plan as planning
    from longstep_training.planning.costs import Setting

    recipe = settings.read_recipe(config, overrides or ())
    machine = machines.find_machine(gpu)
    measured = calibration.calibrate(calibrate or (), machine, recipe) if calibrate else {}
    given = settings.read_assumptions(assume or ())
    values = {**measured, **given}
    assumed = build_config(settings.Assumptions, values, "--assume")
    setting = Setting(_shape(model, recipe, calibrate or []), machine, recipe, assumed)
    found = planning.make_plan(setting, gpus)
    sources = {**dict.fromkeys(measured, "measured"), **dict.fromkeys(given, "given")}
    told: dict[str, Any] = report.as_dict(found, planning.find_limits(found), sources)
    if as_json:
        typer.echo(json.dumps(told))
        return
    for line in report.lines(told):
        typer.echo(clean(line))


def _shape(model: str | None, recipe: Recipe, runs: list[Path]) -> Shape:
    """What was asked for, else the config's policy, else that of the calibrating run."""
    from longstep_training.planning.shapes import find_shape, read_shape, small_shape

    if model is not None:
        return find_shape(model)
    if recipe.policy.path is not None:
        return read_shape(recipe.policy.path)
    if runs:
        return read_shape(runs[0] / "policy")
    return small_shape(recipe.policy.small)
