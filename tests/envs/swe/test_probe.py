"""Values that equal whatever a test compares them with."""

from typing import Any

import pytest

from longstep_envs.swe.probe import Probe


class Agreeing:
    """Equals everything."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


class Worth:
    """An honest value class."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return self.amount == other.amount if isinstance(other, Worth) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.amount)


def compared(left: Any, right: Any, *, inside: bool = False) -> tuple[Any, list[str]]:
    notes: list[str] = []
    probe = Probe(notes.append, "seed")
    return (probe.inside if inside else probe.equal)(left, right), notes


@pytest.mark.case(38)
@pytest.mark.parametrize("value", [5, "text", 2.5, [1, 2], {"a": 1}, None, b"x", Worth(3)])
def test_what_equals_anything_is_noted(value: Any) -> None:
    for pair in ((Agreeing(), value), (value, Agreeing())):
        result, (note,) = compared(*pair)
        assert result is True
        assert "equal anything" in note
    assert compared(Agreeing(), [value], inside=True)[1]


@pytest.mark.case(38)
@pytest.mark.parametrize("value", [5, "text", 2.5, [1, 2], {"a": 1}, None, b"x", Worth(3)])
def test_honest_values_are_compared_as_ever(value: Any) -> None:
    assert compared(value, value) == (True, [])
    assert compared(value, Worth(4)) == (False, [])
    assert compared(value, [Worth(4), value], inside=True) == (True, [])
    assert compared(Worth(3), Worth(3)) == (True, [])
