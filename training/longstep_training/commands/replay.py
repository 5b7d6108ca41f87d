"""`longstep replay`: play recorded episodes again, and prove that the environment says the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ValidationError

from longstep_agents.config import parse_toml
from longstep_agents.page.values import table
from longstep_envs.types import DataError
from longstep_training.commands.options import AsJson
from longstep_training.terminal import clean, progress_bar

if TYPE_CHECKING:
    from longstep_agents.evaluation.replay import Row, Verification, World, Worlds
    from longstep_agents.page.lines import Place

_CONFIG = "config.toml"


class _Source(BaseModel):
    env_id: str
    env_kwargs: dict[str, Any] = {}


class _Set(BaseModel):
    name: str
    tasks: _Source


class _Played(BaseModel):
    """What of a training run's config tells of the environments that were played."""

    train: _Source
    evaluation: list[_Set] = []
    rl: dict[str, Any] = {}


def replay(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of an evaluation or a training run.")
    ],
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare what is said now with what was recorded.")
    ] = False,
    episode: Annotated[
        int | None, typer.Option(min=0, help="One of them, numbered from 0 as on the page.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give the recorded actions to fresh environments, and show what those say.

    Exit 1 where --verify finds a difference, or nothing to compare.
    """
    if episode is None and not verify:
        raise typer.BadParameter("name an --episode to be shown, or say --verify")
    places, worlds = _find(run)
    if episode is not None and episode >= len(places):
        raise typer.BadParameter(f"--episode {episode}: there are {len(places)}, counted from 0")
    numbers = range(len(places)) if episode is None else (episode,)
    chosen = [(number, places[number].read() or {}) for number in numbers]
    if verify:
        _verify(chosen, worlds, as_json=as_json)
    else:
        _show(*chosen[0], worlds, as_json=as_json)


def _find(folder: Path) -> tuple[list[Place], Worlds]:
    """Where the episodes stand, in the page's order, and what each was played in."""
    from longstep_agents.evaluation.log import HEADER, read_header
    from longstep_agents.evaluation.replay import evaluation_worlds
    from longstep_agents.page.library import Library

    runs = list(Library([folder]).runs.values())
    if len(runs) > 1:
        raise typer.BadParameter(f"{folder} holds {len(runs)} runs; name the folder of one")
    places = [entry["place"] for entry in runs[0].episodes]
    header = folder / HEADER
    if header.exists():
        return places, evaluation_worlds(read_header(header))
    return places, _training_worlds(_read_config(folder / _CONFIG))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = parse_toml(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read, which tells what was played: {error}") from None
    try:
        return _Played.model_validate(config).model_dump()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: wanted the key {place!r}: {first['msg']}") from None


def _training_worlds(config: Mapping[str, Any]) -> Worlds:
    """The worlds of a training run's episodes, from its config."""
    from longstep_agents.evaluation.replay import World

    rl = config["rl"]
    hints = "strategy" in rl
    training = World(**config["train"], reward=_own_reward(rl), hints=hints)
    sets = {one["name"]: World(**one["tasks"]) for one in config["evaluation"]}

    def world(row: Row) -> World:
        if row.get("phase") != "eval":
            return training
        name = str(row.get("part"))
        if name not in sets:
            raise DataError(f"the config has no evaluation set {name!r:.200}")
        return sets[name]

    return world


def _own_reward(rl: Mapping[str, Any]) -> str | None:
    """The part of the trainer's rewards that is the environment's reward, unless it is changed."""
    rewards = table(rl.get("rewards"))
    term = table(rewards.get("terms")).get("environment")
    shaped = isinstance(term, Mapping) and term.get("shape")
    return None if term is None or shaped or rewards.get("gates") else "environment"


def _verify(chosen: Sequence[tuple[int, Row]], worlds: Worlds, *, as_json: bool) -> None:
    from longstep_agents.evaluation.replay import verify

    with progress_bar("episodes") as show:
        numbers = iter(range(1, len(chosen) + 1))
        found = verify(chosen, worlds, on_end=lambda: show(next(numbers), len(chosen)))
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        _print(found)
    if found.differences or not found.episodes:
        raise typer.Exit(1)


def _print(found: Verification) -> None:
    for one in found.differences:
        where = f"episode {one.episode}, step {one.step}, {one.what}"
        typer.echo(clean(f"{where} ({one.task_id})\n  recorded  {one.recorded}"))
        typer.echo(clean(f"  replayed  {one.replayed}"))
    same = found.episodes - len(found.differences)
    told = f"{same:,} of {found.episodes:,} episodes went the same way, {found.steps:,} steps"
    if found.rewards < found.steps:
        told += f" (rewards compared at {found.rewards:,})"
    left = ", ".join(f"{count:,} {why}" for why, count in found.left_out.items())
    typer.echo(told + (f"; left out: {left}" if left else ""))


def _show(number: int, row: Row, worlds: Worlds, *, as_json: bool) -> None:
    """What the environment says to one episode's actions."""
    from longstep_agents.evaluation.replay import acted, replay

    played = replay(row, worlds)
    if as_json:
        typer.echo(json.dumps(asdict(played)))
        return
    actions = ["", *(step["action"] for step in acted(row))]
    rewards = [0.0, *played.rewards]
    for (observation, _), action, reward in zip(played.said, actions, rewards, strict=False):
        told = f"\n> {action}" + (f"  [{reward:+g}]" if reward else "")
        typer.echo(clean(f"{told}\n{observation}" if action else observation))
    typer.echo(f"\nepisode {number}: score {played.score:g}, success {played.success}")
