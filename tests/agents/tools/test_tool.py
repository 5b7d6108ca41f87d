"""Typed functions as tools: the schema that is told, and what is checked before a call."""

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from longstep_agents.tools import Tool, ToolError, ToolFault, tool
from longstep_envs.types import BadValueError


class Place(BaseModel):
    x: int
    y: int = 0


def book(
    city: str,
    nights: int = 1,
    kind: Literal["inn", "tent"] = "inn",
    when: date | None = None,
    place: Place | None = None,
    schema: float = 0.5,
) -> dict[str, Any]:
    """Book a bed.

    It cannot be undone.

    Args:
        city: Where to sleep; it may
            be a village: any one.
        nights (int): How many.

    Returns:
        What was booked.
    """
    return {"city": city, "nights": nights, "when": when, "place": place, "schema": schema}


def run(made: Tool, **arguments: Any) -> str:
    return asyncio.run(made.run(arguments))  # type: ignore[arg-type]


def refusal(made: Tool, **arguments: Any) -> str:
    with pytest.raises(ToolError) as caught:
        run(made, **arguments)
    assert caught.value.fault is ToolFault.ARGUMENTS
    return str(caught.value)


def test_the_schema_and_the_manual_come_from_the_function() -> None:
    spec = tool(book).spec
    assert spec.name == "book"
    assert spec.description == "Book a bed.\n\nIt cannot be undone."
    assert spec.parameters["required"] == ["city"]
    assert spec.parameters["additionalProperties"] is False
    properties = spec.parameters["properties"]
    assert properties["city"] == {
        "type": "string",
        "description": "Where to sleep; it may be a village: any one.",
    }
    assert properties["nights"] == {"type": "integer", "default": 1, "description": "How many."}
    assert properties["kind"]["enum"] == ["inn", "tent"]
    assert properties["schema"] == {"type": "number", "default": 0.5}
    assert spec.parameters["$defs"]["Place"]["required"] == ["x"]


def test_arguments_arrive_as_the_types_that_were_declared() -> None:
    made = run(tool(book), city="Ub", when="2026-01-02", place={"x": 3}, schema=2)
    assert made == (
        '{"city":"Ub","nights":1,"when":"2026-01-02","place":{"x":3,"y":0},"schema":2.0}'
    )


@pytest.mark.case(20)
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "argument 'city' is missing"),
        ({"city": 3}, "argument 'city': input should be a valid string; got 3"),
        (
            {"city": "Ub", "nights": "2"},
            "argument 'nights': input should be a valid integer; got \"2\"",
        ),
        ({"city": "Ub", "nights": float("nan")}, "argument 'nights'"),
        ({"city": "Ub", "kind": "cave"}, "argument 'kind': input should be 'inn' or 'tent'"),
        ({"city": "Ub", "citty": 1}, "there is no argument 'citty'; did you mean 'city'?"),
        ({"city": "Ub", "zzz": 1}, "there is no argument 'zzz'; there are city, nights"),
        ({"city": "Ub", "place": {"x": "1"}}, "argument 'place.x': input should be a valid int"),
        ({"city": "\ud800"}, "arguments: invalid JSON"),
        ({"city": object()}, "not JSON"),
    ],
)
def test_a_refusal_tells_which_argument_and_what_was_wanted(
    arguments: dict[str, Any], told: str
) -> None:
    assert told in refusal(tool(book), **arguments)


@pytest.mark.case(20)
def test_a_wrong_call_does_not_fill_the_prompt() -> None:
    many = {f"x{i}": "y" * 10_000 for i in range(1_000)}
    assert len(refusal(tool(book), city="Ub", **many)) < 2_000


def test_an_async_function_and_a_method_are_tools_too() -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        async def add(self, number: int) -> int:
            """Count."""
            self.count += number
            return self.count

    one, other = Counter(), Counter()
    first, second = tool(one.add), tool(other.add)
    assert [run(first, number=2), run(first, number=3), run(second, number=1)] == ["2", "5", "1"]
    assert list(first.spec.parameters["properties"]) == ["number"]


def test_what_returns_nothing_says_done_and_text_stays_text() -> None:
    def quiet() -> None:
        """Do it."""

    def loud(text: str) -> str:
        """Say it."""
        return text

    assert run(tool(quiet)) == "Done."
    assert run(tool(loud), text='a "b"') == 'a "b"'


def _no_hint(x) -> str:  # type: ignore[no-untyped-def]
    """Say."""
    return str(x)


def _starred(*words: str) -> str:
    """Say."""
    return str(words)


def _wrong_docstring(x: int) -> str:
    """Say.

    Args:
        y: What to say.
    """
    return str(x)


def _no_docstring(x: int) -> str:
    return str(x)


def _no_schema(x: Callable[[], int]) -> str:
    """Say."""
    return str(x)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (_no_hint, "parameter 'x' has no type hint"),
        (_starred, "'*words: str' cannot be given by name"),
        (_wrong_docstring, "describes 'y', which is no parameter"),
        (_no_docstring, "say what it does"),
        (_no_schema, "has no JSON Schema"),
        (lambda: "", "'<lambda>': a name is"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused(
    function: Callable[..., Any], told: str
) -> None:
    with pytest.raises(BadValueError, match=r".") as caught:
        tool(function)
    assert told in str(caught.value)
