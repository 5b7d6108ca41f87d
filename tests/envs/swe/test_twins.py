import random
import re

import pytest

from longstep_envs.swe.twins import Pair, Twins, make_twins
from longstep_envs.swe.types import TestOutcome

PATH = "tests/deep/test_it.py"
TESTS = '''
import unittest
import pytest

LIMIT = 3

def helper(x):
    return [x, "a"]

def test_literal():
    """Says what it does."""
    assert helper(1) == [1, "a"]
    assert helper("x")[0] == "x"

def test_boolean():
    assert (len(helper(1)) == 2) is True

def test_negative():
    assert not helper(0) == []

def test_float():
    assert -1.5 == min(helper(-1.5)[:1])

def test_bytes_and_none():
    assert (helper(b"ab")[0], None) == (b"ab", None)

def test_other():
    assert helper(1)[0] == LIMIT - 2

def test_empty():
    assert "".join([]) == ""

def test_dict():
    assert {"a": helper(1)} == {"a": [1, "a"]}

def test_errors():
    with pytest.raises(KeyError):
        {}["x"]

@pytest.mark.parametrize("x", range(9))
def test_many(x):
    assert helper(x)[0] == x

class TestUnit(unittest.TestCase):
    def test_equal(self):
        self.assertEqual(helper(1), [1, "a"])
        self.assertTrue(helper(1))
        self.assertNotIn(2, helper(1))

    def other(self):
        pass

class TestMore(TestUnit):
    def test_more(self):
        assert helper(2)[0] == 2

def test_nothing():
    helper(1)
'''
NAMES = [
    *("test_literal", "test_boolean", "test_negative", "test_float", "test_bytes_and_none"),
    *("test_other", "test_empty", "test_dict", "test_errors", "TestUnit::test_equal"),
    *("TestMore::test_equal", "TestMore::test_more"),
]


def twins_of(*names: str, seed: int = 0) -> Twins:
    nodes = [f"{PATH}::{name}" for name in names]
    return make_twins({PATH: TESTS.encode()}, nodes, random.Random(seed))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", NAMES)
def test_a_copy_passes_and_twins_fail_on_a_right_solution(name: str, seed: int) -> None:
    twins = twins_of(name, seed=seed)
    (pair,) = twins.pairs
    (source,) = twins.files.values()
    made: dict[str, object] = {"__name__": "made"}
    exec(source, made)

    def run(node: str) -> None:
        name = node.partition("::")[2]
        if "::" in name:
            unit, _, method = name.partition("::")
            getattr(made[unit](method), method)()  # type: ignore[operator]
        else:
            made[name]()  # type: ignore[operator]

    run(pair.copy)
    assert pair.twins
    for twin in pair.twins:
        with pytest.raises((AssertionError, KeyError)):
            run(twin)


def test_names_and_order_tell_nothing() -> None:
    orders = set()
    for seed in range(20):
        twins = twins_of("test_literal", seed=seed)
        (source,) = twins.files.values()
        (pair,) = twins.pairs
        found = re.findall(r"def (test_\w+)", source.decode())
        assert len(found) == 1 + len(pair.twins) == 3
        assert all(re.fullmatch(r"test_[0-9a-f]{10}", name) for name in found)
        orders.add(found.index(pair.copy.rpartition("::")[2]))
    assert orders == {0, 1, 2}


def test_the_file_stands_beside_the_tests_and_holds_no_other() -> None:
    twins = twins_of("test_literal")
    ((path, source),) = twins.files.items()
    assert re.fullmatch(r"tests/deep/test_[0-9a-f]{10}\.py", path)
    assert b"def helper" in source
    assert source.count(b"def test_") == 3
    assert twins.tests == sorted([twins.pairs[0].copy, *twins.pairs[0].twins])


def test_parameters_are_kept_and_some_are_taken() -> None:
    twins = twins_of(*(f"test_many[{x}]" for x in range(9)))
    assert [pair.test.rpartition("[")[2] for pair in twins.pairs] == ["0]", "1]", "2]", "3]"]
    assert all(pair.copy.endswith(pair.test[-3:]) for pair in twins.pairs)
    assert all(node.endswith(pair.test[-3:]) for pair in twins.pairs for node in pair.twins)


def test_they_are_asked_for_with_all_parameters() -> None:
    """pytest runs no test at all where one that is asked for is not there."""
    twins = twins_of(*(f"test_many[{x}]" for x in range(9)))
    (family,) = {(pair.copy.partition("[")[0], len(pair.twins)) for pair in twins.pairs}
    assert len(twins.tests) == 1 + family[1] == 2
    assert family[0] in twins.tests


def test_a_fixture_that_is_called_like_a_test_stays() -> None:
    source = TESTS + "@pytest.fixture(params=[1])\ndef test_value(request):\n    return 1\n"
    twins = make_twins({PATH: source.encode()}, [f"{PATH}::test_literal"], random.Random(0))
    (made,) = twins.files.values()
    assert b"def test_value(request)" in made
    assert b"def test_boolean" not in made


@pytest.mark.parametrize("source", [b"def test_it(:\n", b"\xff", b"", b"test_it = 1\n"])
def test_where_no_twin_can_be_made_there_is_none(source: bytes) -> None:
    twins = make_twins({PATH: source}, [f"{PATH}::test_it"], random.Random(0))
    assert twins == Twins({}, ())
    assert twins_of("test_nothing", "test_nowhere") == Twins({}, ())
    assert make_twins({}, [f"{PATH}::test_it"], random.Random(0)) == Twins({}, ())


P, F = TestOutcome.PASSED, TestOutcome.FAILED


@pytest.mark.case(38)
@pytest.mark.parametrize(
    ("outcomes", "doubtful"),
    [
        ({"test": P, "copy": P, "one": F, "two": F}, False),
        ({"test": P, "copy": P, "one": P, "two": F}, True),
        ({"test": P, "copy": F, "one": F, "two": F}, True),
        ({"test": P}, True),
        ({"test": P, "copy": P}, False),
        ({"test": F, "copy": F, "one": P, "two": P}, False),
    ],
)
def test_a_test_that_passes_with_its_twin_is_doubtful(
    outcomes: dict[str, TestOutcome], doubtful: bool
) -> None:
    assert Pair("test", "copy", ("one", "two")).is_doubtful(outcomes) is doubtful
