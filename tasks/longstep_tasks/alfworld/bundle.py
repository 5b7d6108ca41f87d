"""Pack a few games into one zip file: how `longstep_envs`'s bundled mini games were made."""

from __future__ import annotations

import zipfile
from pathlib import Path

from longstep_tasks.alfworld.generate import draw_games

GAMES = 12
MAX_RECEPTACLES = 12
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_bundle(path: Path, games: int = GAMES, seed: int = 0) -> None:
    """Write a zip file of games of all task types in small rooms; the same bytes every time."""
    with zipfile.ZipFile(path, "w") as archive:
        for game in draw_games("train", games, seed, MAX_RECEPTACLES):
            for name in ("traj_data.json", "game.tw-pddl"):
                entry = zipfile.ZipInfo(f"{game.folder}/{name}", _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, game.files[name])
