"""One line of JSON an episode, with every field in every line."""

from __future__ import annotations

from pathlib import Path

from longstep_agents.exports.episodes import read_source
from longstep_agents.exports.files import dump, new_file


def export(run: Path, out: Path) -> int:
    """Write the file; how many episodes it has."""
    source = read_source(run)
    with new_file(out) as draft, draft.open("w", encoding="utf-8") as file:
        for episode in source:
            file.write(dump(episode.model_dump()) + "\n")
    return len(source.places)
