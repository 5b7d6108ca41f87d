import random

import pytest

from longstep_agents.actions import ActionConfig, choices, read, write
from longstep_envs import make

NOUN_FIRST = ActionConfig(order="noun_first", second_noun=("move", "clean", "heat", "cool"))


def admissible_in_every_game() -> list[list[str]]:
    """What the environment lists along a random walk of each bundled game."""
    env, rng, lists = make("longstep/ALFWorld-v0"), random.Random(0), []
    for task in env.task_ids:
        _, info = env.reset(seed=0, options={"task": task})
        for _ in range(15):
            lists.append(info["admissible_commands"])
            _, _, over, _, info = env.step(rng.choice(info["admissible_commands"]))
            if over:
                break
    return lists


def test_every_command_of_the_bundled_games_is_read_back_as_it_was_meant() -> None:
    lists = admissible_in_every_game()
    assert len({command for commands in lists for command in commands}) > 150
    for commands in lists:
        written = choices(commands, NOUN_FIRST)
        assert sorted(written.values()) == sorted(commands)
        for text, command in written.items():
            assert read(text, commands, NOUN_FIRST).command == command


@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("take cup 2 from shelf 1", "cup 2 take"),
        ("move cup 2 to shelf 1", "shelf 1 move"),
        ("go to side table 3", "table 3 go to side"),
        ("go to sidetable 3", "sidetable 3 go to"),
        ("inventory", "inventory"),
    ],
)
def test_the_telling_noun_comes_first(command: str, written: str) -> None:
    assert write(command, NOUN_FIRST) == written


def test_of_two_commands_that_are_written_alike_the_later_keeps_its_plain_form() -> None:
    commands = ["take cup 1 from shelf 1", "take cup 1 from shelf 2"]
    assert choices(commands, NOUN_FIRST) == {
        "cup 1 take": "take cup 1 from shelf 1",
        "take cup 1 from shelf 2": "take cup 1 from shelf 2",
    }


def test_hidden_verbs_are_no_choice() -> None:
    config = ActionConfig(hidden_verbs=("examine",))
    assert list(choices(["examine cup 1", "look"], config)) == ["look"]


@pytest.mark.parametrize(
    ("text", "command", "valid"),
    [
        ("it is dark <act> look </act>", "look", True),
        ("look", "look", False),
        ("<act>look</act><act>wait</act>", "<act>look</act><act>wait</act>", False),
        ("<act>look", "<act>look", False),
        ("<act>look\nhere</act>", "look\nhere", True),
        ("<act></act>", "", True),
    ],
)
def test_the_action_is_what_stands_in_the_only_tag(text: str, command: str, valid: bool) -> None:
    parsed = read(text, ["look"], ActionConfig(tag="act"))
    assert (parsed.command, parsed.valid) == (command, valid)


def test_text_that_is_no_choice_goes_to_the_environment_as_it_is() -> None:
    assert read(" fly away\n", ["look"], NOUN_FIRST).command == "fly away"
