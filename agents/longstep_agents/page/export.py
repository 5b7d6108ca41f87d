"""The page as one file, or as a folder for a static host."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from longstep_agents.page.bundle import bundle
from longstep_agents.page.library import Library

INDEX = "index"
"""The name of the data that is loaded at once."""


def export(folders: Sequence[Path], out: Path, *, title: str = "") -> Path:
    """Write the page of the runs in some folders; return where.

    Args:
        folders: Each a training run, an evaluation, or a folder of such.
        out: A file if it ends in `.html`, else a folder.
        title: Of the page.

    Raises:
        DataError: there is no run.
    """
    library = Library(folders)
    if out.suffix.lower() in (".html", ".htm"):
        return _write_file(library, out, title)
    return _write_folder(library, out, title)


def dump(value: object) -> bytes:
    """JSON that every reader takes."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _write_file(library: Library, out: Path, title: str) -> Path:
    before, script, after = bundle(connect="'none'")
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.partial")
    with draft.open("w", encoding="utf-8") as file:
        file.write(before)
        for name, value in _data(library, title):
            packed = base64.b64encode(gzip.compress(dump(value), 6, mtime=0)).decode()
            file.write(f'<script type="text/plain" id="data-{name}">{packed}</script>\n')
            if name == INDEX:
                file.write(script)
        file.write(after)
    return draft.replace(out)


def _write_folder(library: Library, out: Path, title: str) -> Path:
    (out / "data").mkdir(parents=True, exist_ok=True)
    for name, value in _data(library, title):
        (out / "data" / f"{name}.json").write_bytes(dump(value))
    (out / "index.html").write_text("".join(bundle(connect="'self'")), "utf-8")
    return out


def _data(library: Library, title: str) -> Iterator[tuple[str, Any]]:
    """By name. What is written does not grow, so the page need not ask for more."""
    yield INDEX, {**library.index(title), "live": False}
    for name in library.shards():
        yield name, library.shard(name)
