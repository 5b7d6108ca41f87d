"""Output that a policy reads: bounded, and free of what steers a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longstep_agents.tools.output import cap, clean, first_line, show


@pytest.mark.case(33)
@given(st.text(alphabet=st.characters(exclude_categories=[]), max_size=600), st.integers(200, 400))
def test_whatever_comes_is_shown_in_bounds_and_can_be_encoded(text: str, limit: int) -> None:
    shown = show(text, limit)
    assert len(shown) <= limit
    shown.encode("utf-8")
    assert not any(ord(one) < 32 and one not in "\n\t" for one in shown)


@pytest.mark.case(33)
def test_the_cut_is_told_and_both_ends_are_kept() -> None:
    text = "".join(f"line {i}\n" for i in range(10_000))
    shown = cap(text, 500)
    head, _, rest = shown.partition("\n[… ")
    count, _, tail = rest.partition(" characters left out …]\n")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(head) + len(tail) + int(count.replace(",", "")) == len(text)
    assert cap("short", 500) == "short"


def test_colours_vanish_and_progress_bars_become_lines() -> None:
    assert clean("\x1b[1;31mred\x1b[0m \x1b]0;title\x07x") == "red x"
    assert clean("10%\r20%\r\ndone\ttab") == "10%\n20%\ndone\ttab"
    assert clean("a\x00b\u202ec\x9b") == "a\ufffdb\ufffdc\ufffd"


def test_a_first_line_is_one_short_line() -> None:
    assert first_line("\n  \n  hello \nworld") == "hello"
    assert len(first_line("x" * 1_000_000, 50)) == 50
