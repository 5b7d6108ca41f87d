"""`longstep eval` and `longstep compare`: what an agent can do, and which of two is better."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longstep_training.commands.options import AsJson, Overrides
from longstep_training.commands.runs import evaluate_checkpoint
from longstep_training.config import ConfigError, build_config, dump_toml, override_tree, read_tree
from longstep_training.terminal import clean, print_table

if TYPE_CHECKING:
    from longstep_training.contest import ContestConfig

_RUN_CONFIG = "config.toml"


def evaluate(  # noqa: PLR0913 - each is an option of the command
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUITE|ENV|CONFIG...",
            help="Suites, environments, a TOML file; or a checkpoint, to play its run's own sets.",
        ),
    ] = None,
    player: Annotated[
        str | None, typer.Option("--agent", help="expert, random, noop or scripted, not a model.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A policy's folder, or the name of a hosted model.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="hf, vllm, vllm_server or openai.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Where a hosted model answers.")] = None,
    attempts: Annotated[int | None, typer.Option("-n", "--attempts", help="A task.")] = None,
    tasks: Annotated[int | None, typer.Option(help="Of each part; default: all.")] = None,
    concurrency: Annotated[
        int | None, typer.Option("--max-concurrency", help="Episodes at a time.")
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder. Default: evaluations/DATE-TIME.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Play what is missing in --out, and faults again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved config and stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate an agent on suites, with intervals; every episode is kept."""
    folders = [Path(target) for target in targets or () if Path(target).is_dir()]
    if folders:
        files = [Path(target) for target in targets or () if target.endswith(".toml")]
        evaluate_checkpoint(folders[0], next(iter(files), None), overrides or (), as_json=as_json)
        return
    if resume and out is None:
        raise typer.BadParameter("--resume goes on with a folder: name it with --out")
    flags = {
        "player": player,
        "model": model,
        "engine.name": engine,
        "engine.base_url": base_url,
        "settings.attempts": attempts,
        "settings.tasks": tasks,
        "running.concurrency": concurrency,
    }
    given = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    tree = _tree(targets or (), model, [*given, *(overrides or ())])
    from longstep_training.contest import ContestConfig

    config = build_config(ContestConfig, tree, source="the command line")
    if dry_run:
        typer.echo(dump_toml(config), nl=False)
        return
    folder = out or Path("evaluations") / f"{datetime.now():%Y%m%d-%H%M%S}"
    try:
        _play(config, folder, resume=resume, as_json=as_json)
    except KeyboardInterrupt:
        typer.echo(f"interrupted; go on with --resume --out {folder}", err=True)
        raise typer.Exit(130) from None


def _play(config: ContestConfig, folder: Path, *, resume: bool, as_json: bool) -> None:
    """Play, keep the results beside the episodes, and print them."""
    from rich.console import Console

    from longstep_agents.evaluation.log import read_evaluation
    from longstep_agents.evaluation.summary import summarise
    from longstep_training.contest import make_evaluation
    from longstep_training.sealed import write_file
    from longstep_training.storage import writing_to

    evaluation = make_evaluation(config)
    with writing_to(folder, lambda: f"and go on with --resume --out {folder}"):
        with Console(stderr=True).status("starting") as status:

            def show(_: object, ended: int, total: int) -> None:
                status.update(f"{ended:,} of {total:,} episodes")

            rows = evaluation.play(folder, resume=resume, progress=show)
        header, _ = read_evaluation(folder)
        attempts = config.settings.attempts
        k = config.k or ((attempts,) if attempts > 1 else ())
        parts = [part.as_row() for part in summarise(header, rows, k=k)]
        write_file(folder / "results.json", json.dumps(parts, indent=1) + "\n")
    if as_json:
        typer.echo(json.dumps(parts))
        return
    _print(parts, k)
    typer.echo(str(evaluation.accounts))
    typer.echo(f"episodes and results: {folder}")


def compare(
    first: Annotated[Path, typer.Argument(metavar="FIRST", help="An evaluation's folder.")],
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="Another one's.")],
    value: Annotated[str, typer.Option(help="success or score.")] = "success",
    as_json: AsJson = False,
) -> None:
    """Compare two evaluations task by task: is the second better, and how sure is that?"""
    from dataclasses import asdict

    from longstep_agents.evaluation.log import read_evaluation
    from longstep_agents.evaluation.summary import compare_parts

    if value not in ("success", "score"):
        raise typer.BadParameter(f"--value is success or score, not {value!r}")
    sides = [read_evaluation(folder)[1] for folder in (first, second)]
    found = compare_parts(sides[0], sides[1], value=value)
    if as_json:
        typer.echo(json.dumps({part: asdict(one) for part, one in found.items()}))
        return
    print_table(
        (
            "part",
            f"{_name(second)} less {_name(first)}, in points",
            "95 %",
            "p",
            "test",
            "won",
            "lost",
            "tied",
        ),
        [
            (
                part,
                f"{100 * one.difference:+.1f}",
                f"[{100 * one.low:+.1f}, {100 * one.high:+.1f}]",
                f"{one.p:.3g}",
                one.test,
                str(one.won),
                str(one.lost),
                str(one.tied),
            )
            for part, one in found.items()
        ],
    )


def _name(folder: Path) -> str:
    return clean(folder.resolve().name)


def _tree(targets: Sequence[str], model: str | None, assignments: Sequence[str]) -> dict[str, Any]:
    """The config's tree: a file's, or that of the model's own run, then what the flags say."""
    files = [Path(target) for target in targets if target.endswith(".toml")]
    if len(files) > 1:
        raise ConfigError(f"one config file, not {len(files)}; files can extend each other")
    suites = [target for target in targets if not target.endswith(".toml")]
    if suites:
        assignments = [f"suite={json.dumps(suites)}", *assignments]
    if files:
        return read_tree(files[0], assignments)
    return override_tree(_of_run(model), assignments)


def _of_run(model: str | None) -> dict[str, Any]:
    """How the agent of the run acts whose checkpoint the model is."""
    run = Path(model).parent.parent / _RUN_CONFIG if model else None
    if run is None or not run.exists():
        return {}
    agent = read_tree(run).get("agent", {})
    return {"agent": agent} if agent else {}


def _print(parts: Sequence[dict[str, Any]], k: Sequence[int]) -> None:
    columns = ("part", "success", "score", "tasks", "episodes", "turns", "faults", "retried")
    more = [f"pass@{n}" for n in k] + [f"pass^{n}" for n in k]
    print_table(
        (*columns, *more),
        [
            (
                clean(part["name"]),
                _rate(part["success"]),
                _rate(part["score"]),
                str(part["success"]["tasks"]),
                str(part["success"]["episodes"]),
                f"{part['turns']:.1f}",
                str(part["faults"]),
                str(part["retried"]),
                *(_rate(part["pass_at"][n]) for n in k),
                *(_rate(part["pass_hat"][n]) for n in k),
            )
            for part in parts
        ],
    )
    for part in parts:
        if part["faults"]:
            typer.echo(
                f"{clean(part['name'])}: {part['faults']} episodes ended in faults and count as "
                f"failures; success without them: {_rate(part['without_faults'])}"
            )
        if part["flagged"]:
            typer.echo(
                f"{clean(part['name'])}: {part['flagged']} episodes are flagged as suspicious and "
                "count as they are; `longstep view` shows where to look"
            )


def _rate(estimate: dict[str, Any]) -> str:
    mean, low, high = (100 * estimate[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} % [{low:.1f}, {high:.1f}]"
