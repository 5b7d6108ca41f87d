"""`longstep data`: what a benchmark is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longstep_training.commands.data_swe import generate_swe
from longstep_training.commands.verify import verify_data
from longstep_training.terminal import progress_bar

data_app = typer.Typer(
    help="Generate the data of environments, or look at what is there.", no_args_is_help=True
)


data_app.command("verify")(verify_data)
data_app.command("swe")(generate_swe)

Seed = Annotated[int, typer.Option(help="Same seed, same data.")]


@data_app.command("alfworld")
def generate_alfworld(  # noqa: PLR0913 - an option each
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    seed: Seed = 0,
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

    wanted = _wanted(train=train, valid_seen=valid_seen, valid_unseen=valid_unseen)
    with progress_bar("games") as progress:
        generate(out, seed=seed, splits=wanted, max_receptacles=max_receptacles, progress=progress)
    typer.echo(f"{sum(wanted.values()):,} games in {out}")


@data_app.command("textworld")
def generate_textworld(  # noqa: PLR0913 - an option each
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="Such as w2-o3-q4; repeatable."),
    ] = None,
    seed: Seed = 0,
    train: Annotated[int, typer.Option(min=0, help="Games to train on.")] = 100,
    valid: Annotated[int, typer.Option(min=0, help="Games to choose by.")] = 20,
    test: Annotated[int, typer.Option(min=0, help="Games to report.")] = 20,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Compilers at a time. Default: one a core.")
    ] = None,
) -> None:
    """Compile text adventures, each won once by its own walkthrough."""
    from longstep_tasks.textworld.generate import KINDS, generate

    splits = _wanted(train=train, valid=valid, test=test)
    with progress_bar("games") as progress:
        generate(
            out,
            kinds=kinds or KINDS,
            seed=seed,
            splits=splits,
            workers=workers,
            progress=progress,
        )
    typer.echo(f"{sum(splits.values()):,} games in {out}")


@data_app.command("webshop")
def generate_webshop(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    products: Annotated[int, typer.Option(min=1, help="How many products.")] = 1_000,
    seed: Seed = 0,
) -> None:
    """Generate a synthetic catalogue of products, in WebShop's own files."""
    from longstep_tasks.webshop.generate import generate

    with progress_bar("products") as progress:
        generate(out, products=products, seed=seed, progress=progress)
    typer.echo(f"{products:,} products in {out}")


@data_app.command("search")
def generate_search(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    passages: Annotated[int, typer.Option(min=1, help="How many passages.")] = 100_000,
    train: Annotated[int, typer.Option(min=0, help="Questions to train on.")] = 8_000,
    dev: Annotated[int, typer.Option(min=0, help="Questions to choose by.")] = 500,
    test: Annotated[int, typer.Option(min=0, help="Questions to report.")] = 500,
    seed: Seed = 0,
) -> None:
    """Generate fictional worlds: a corpus, and questions of one to four hops."""
    from longstep_tasks.search.generate import generate

    questions = _wanted(train=train, dev=dev, test=test)
    with progress_bar("passages") as progress:
        generate(out, passages=passages, questions=questions, seed=seed, progress=progress)
    typer.echo(f"{passages:,} passages and {sum(questions.values()):,} questions in {out}")


def _wanted(**splits: int) -> dict[str, int]:
    return {name: count for name, count in splits.items() if count}
