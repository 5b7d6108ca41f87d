"""`longstep train`, and `eval` of a checkpoint: everything about runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from longstep_training.commands.options import Overrides
from longstep_training.config import ConfigError, build_config, dump_toml, read_tree
from longstep_training.terminal import clean
from longstep_training.torchrun import leads


def train(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="A TOML file, as in configs/.")
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder. Default: runs/NAME-DATE-TIME.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Continue this run; CONFIG is then its own.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved config and stop.")
    ] = False,
) -> None:
    """Train an agent: imitation, then reinforcement learning, then a report.

    `torchrun --nproc-per-node N -m longstep_training train CONFIG` trains with N processes.
    """
    if resume is not None and any(not o.strip().startswith("run.") for o in overrides or ()):
        raise typer.BadParameter(
            "a resumed run keeps its own config; only how it uses the machine, run.*, can be set"
        )
    source = _config_path(config, out, resume)
    tree = read_tree(source, overrides or ())  # before torch is loaded, which takes seconds
    from longstep_agents.page.export import export
    from longstep_training.interruption import InterruptedRunError
    from longstep_training.loop import TrainConfig
    from longstep_training.loop import train as run_training
    from longstep_training.storage import writing_to

    settings = build_config(TrainConfig, tree, source=str(source))
    if dry_run:
        if leads():
            typer.echo(dump_toml(settings), nl=False)
        return
    run = resume or out or _fresh_folder(source)
    try:
        run_training(settings, run, resume is not None)
    except (KeyboardInterrupt, InterruptedRunError) as error:
        if leads():
            typer.echo(f"interrupted; continue with: longstep train --resume {run}", err=True)
        raise typer.Exit(getattr(error, "status", 130)) from None
    if leads():
        with writing_to(run, lambda: f"and write the report with: longstep export {run}"):
            typer.echo(f"report: {export([run], run / 'report.html')}")


def evaluate_checkpoint(
    checkpoint: Path, config: Path | None, overrides: Sequence[str], *, as_json: bool
) -> None:
    """Play the evaluation sets of a config, or of the checkpoint's own run; print success rates."""
    source = config or checkpoint.parent.parent / "config.toml"
    tree = read_tree(source, overrides)
    from longstep_training.evaluate import evaluate_checkpoint as play
    from longstep_training.loop import TrainConfig

    rows = play(checkpoint, build_config(TrainConfig, tree, source=str(source)))
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        rate, low, high = (f"{100 * row[key]:.1f}" for key in ("success", "low", "high"))
        setting = f"temperature {row['temperature']:g}, actions: {row['constraint']}"
        typer.echo(
            clean(f"{row['name']}: {rate} % of {row['episodes']} [{low}, {high}]; {setting}")
        )


def _config_path(config: Path | None, out: Path | None, resume: Path | None) -> Path:
    if resume is not None:
        if out is not None or config is not None:
            raise typer.BadParameter("--resume RUN has its own folder and config; name no other")
        return resume / "config.toml"
    if config is None:
        raise typer.BadParameter("name a CONFIG, or a run to --resume")
    if out is not None and leads() and (out / "config.toml").exists():
        raise ConfigError(
            f"{out} holds a run already; name another --out, or continue it with --resume {out}"
        )
    return config


def _fresh_folder(config: Path) -> Path:
    return Path("runs") / f"{config.stem}-{datetime.now():%Y%m%d-%H%M%S}"
