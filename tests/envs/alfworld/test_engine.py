from pathlib import Path

import pytest

from longstep_envs.alfworld.engine import FastEngine, apply, view
from longstep_envs.alfworld.games import open_games
from longstep_envs.alfworld.problem import Problem, State, parse_problem, shown_names
from longstep_envs.types import DataError


@pytest.fixture
def problem(games: Path) -> Problem:
    found = open_games(games, None)
    return found.problem(next(game for game in found.ids if game.startswith("pick_heat")))


def play(problem: Problem, state: State, *commands: str) -> tuple[State, str]:
    text = ""
    for command in commands:
        state, text, valid = apply(problem, state, command)
        assert valid, command
    return state, text


def test_names_count_downwards_in_the_order_of_ids() -> None:
    sink = "sink_bar_1_bar_sinkbasin"
    ids = ["mug_bar__plus_02", "mug_bar__minus_01", "agent1", sink, "pen_bar_1"]
    assert shown_names(ids) == {
        "mug_bar__minus_01": "mug 2",
        "mug_bar__plus_02": "mug 1",
        "agent1": "agent1 ",
        sink: "sinkbasin 1",
        "pen_bar_1": "pen 1",
    }


def test_a_walk_to_where_one_stands_is_not_offered(problem: Problem) -> None:
    assert "go to fridge 1" in view(problem, problem.start).commands
    state, _ = play(problem, problem.start, "go to fridge 1")
    assert "go to fridge 1" not in view(problem, state).commands
    assert apply(problem, state, "go to fridge 1") == (state, "Nothing happens.", False)


def test_a_closed_fridge_must_be_opened_to_be_seen_into(problem: Problem) -> None:
    state, text = play(problem, problem.start, "go to fridge 1")
    assert text == "You arrive at fridge 1. The fridge 1 is closed."
    assert not any(command.startswith("take") for command in view(problem, state).commands)
    state, text = play(problem, state, "open fridge 1")
    assert text.startswith("You open the fridge 1. The fridge 1 is open. In it, you see ")
    assert "close fridge 1" in view(problem, state).commands


def test_playing_leaves_earlier_states_as_they_were(games: Path) -> None:
    engine = FastEngine(open_games(games, None))
    turn = engine.start(open_games(games, None).ids[0])
    before, commands = engine.state, turn.commands
    for command in commands:
        engine.act(command)
        engine.state = before
    assert engine.act("look").commands == commands
    assert hash(before) == hash(engine.problem.start)


def test_looking_away_from_every_receptacle_sees_nothing(problem: Problem) -> None:
    _, text = play(problem, problem.start, "look")
    assert text.endswith("Looking quickly around you, you see nothing.")


@pytest.mark.parametrize(
    ("pddl", "message"),
    [
        ("(define (problem p) (:init ) (:goal ))", "does not hold together"),
        ("(:goal) (:init)", r"no \(:init, no \(:goal"),
        ("(:init (atLocation agent1 l1)) (:goal (isSliced ?o))", "not among ALFWorld's six"),
    ],
)
def test_what_is_no_game_is_refused(pddl: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_problem(pddl, '"task": [ { "rhs": "Your task is to: rest." } ]')
