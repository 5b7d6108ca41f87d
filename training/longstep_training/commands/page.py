"""`longstep view` and `longstep export`: the page of runs and evaluations, and other formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longstep_agents.exports import EXPORTS
from longstep_agents.exports import export as export_episodes

_PAGE = "html"
Folders = Annotated[
    list[Path],
    typer.Argument(metavar="DIR", help="Training runs, evaluations, or folders of such."),
]
Title = Annotated[str, typer.Option(help="The title of the page.")]


def export(
    folders: Folders,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="PAGE.html for one file, or a folder for a static host."),
    ],
    title: Title = "",
    form: Annotated[
        str,
        typer.Option("--format", help=f"{_PAGE}; or {', '.join(EXPORTS)}: of one DIR's episodes."),
    ] = _PAGE,
) -> None:
    """Write a page that shows runs and evaluations, and needs nothing outside itself."""
    if form == _PAGE:
        from longstep_agents.page.export import export as write

        typer.echo(write(folders, out, title=title))
        return
    if len(folders) > 1:
        raise typer.BadParameter(f"--format {form} takes one DIR, not {len(folders)}")
    typer.echo(f"episodes: {export_episodes(form, folders[0], out)}, in {out}")


def view(
    folders: Folders,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Default: a free one.")] = 0,
    title: Title = "",
) -> None:
    """Show the page to a browser on this machine; it follows what still runs."""
    from longstep_agents.page.serve import Live, make_server

    server = make_server(Live(folders, title), port)
    typer.echo(f"http://127.0.0.1:{server.server_port}/  (Ctrl-C ends it)")
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
