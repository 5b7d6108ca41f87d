import string

import pytest
from gymnasium.utils.env_checker import data_equivalence

from longstep_envs.spaces import Unicode


@pytest.mark.parametrize("text", ["", "You open the door.", "猫\n\x00\ud800", "a" * 100_000])
def test_every_string_is_contained(text: str) -> None:
    assert text in Unicode()
    assert Unicode().from_jsonable(Unicode().to_jsonable([text])) == [text]


def test_nothing_else_is_contained() -> None:
    assert not any(thing in Unicode() for thing in (b"x", None, 3, ["a"]))


def test_samples_follow_the_seed() -> None:
    one, two = Unicode(seed=1), Unicode(seed=1)
    samples = [one.sample() for _ in range(20)]
    assert data_equivalence(samples, [two.sample() for _ in range(20)])
    assert set("".join(samples)) <= set(string.ascii_lowercase + string.digits + " ")
    assert Unicode() == one
