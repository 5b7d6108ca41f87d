"""Case 41: games whose grammar is code, on the engine that would evaluate it."""

import json
from pathlib import Path

import pytest

from longstep_envs import make
from longstep_envs.alfworld.games import BUNDLED, GAME_FILE, TRAJECTORY_FILE, ZipSource
from longstep_envs.types import DataError

INTRO = "-= Welcome to TextWorld, ALFRED! =-"


def write_game(folder: Path, intro: str) -> Path:
    source = ZipSource(BUNDLED)
    game = json.loads(source.read(source.ids()[0]))
    assert INTRO in game["grammar"]
    game["grammar"] = game["grammar"].replace(INTRO, intro)
    place = folder / "train" / "game"
    place.mkdir(parents=True)
    (place / GAME_FILE).write_text(json.dumps(game))
    (place / TRAJECTORY_FILE).write_text("{}")
    return folder / "train"


@pytest.mark.alfworld
@pytest.mark.case(41)
@pytest.mark.parametrize(
    "code", ["__import__('pathlib').Path('{}').touch()", "(lambda: open('{}', 'w'))()"]
)
@pytest.mark.parametrize("escaped", [False, True])
def test_code_in_a_grammar_is_refused_and_never_run(
    tmp_path: Path, code: str, escaped: bool
) -> None:
    marker = tmp_path / "run"
    left, right = (r"\u007b", r"\u007d") if escaped else ("{", "}")
    games = write_game(tmp_path, f"{left}{code.format(marker)}{right}")
    env = make("longstep/ALFWorld-v0", games=str(games), engine="textworld")
    with pytest.raises(DataError, match="the game's grammar holds code"):
        env.reset(options={"task": "game"})
    assert not marker.exists()


@pytest.mark.alfworld
def test_names_in_a_grammar_are_filled_in(tmp_path: Path) -> None:
    games = write_game(tmp_path, INTRO)
    env = make("longstep/ALFWorld-v0", games=str(games), engine="textworld")
    observation, info = env.reset(options={"task": "game"})
    assert "Your task is to" in observation
    assert info["admissible_commands"]
