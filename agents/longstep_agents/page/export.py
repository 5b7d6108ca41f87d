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
from longstep_envs.types import BadValueError

INDEX = "index"
"""The name of the data that is loaded at once."""
_FILES = (".html", ".htm")


def export(folders: Sequence[Path], out: Path, *, title: str = "") -> Path:
    """Write the page of the runs in some folders; return where.

    Args:
        folders: Each a training run, an evaluation, or a folder of such.
        out: A file if it ends in `.html`, else a folder.
        title: Of the page.

    Raises:
        DataError: there is no run.
        BadValueError: `out` is a file of another kind, or a folder that holds something else.
    """
    if out.suffix.lower() not in _FILES:
        _demand_own(out)
    library = Library(folders)
    if out.suffix.lower() in _FILES:
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
    for old in (out / "data").glob("*.json"):
        old.unlink()  # of a run that is no longer among them, nothing must stay
    for name, value in _data(library, title):
        (out / "data" / f"{name}.json").write_bytes(dump(value))
    (out / "index.html").write_text("".join(bundle(connect="'self'")), "utf-8")
    return out


def _demand_own(out: Path) -> None:
    """Refuse to write into what is not an earlier page."""
    if out.exists() and not out.is_dir():
        raise BadValueError(f"{out} is a file; name one that ends in .html, or a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / "data" / f"{INDEX}.json").exists():
        raise BadValueError(
            f"{out} is a folder that holds something else than a page; name another -o, "
            "or PAGE.html for one file"
        )


def _data(library: Library, title: str) -> Iterator[tuple[str, Any]]:
    """By name. What is written does not grow, so the page need not ask for more."""
    yield INDEX, {**library.index(title), "live": False}
    for name in library.shards():
        yield name, library.shard(name)
