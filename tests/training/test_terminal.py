import pytest

from longstep_training.terminal import clean, print_table


@pytest.mark.case(33)
def test_escape_sequences_and_direction_marks_lose_their_power() -> None:
    assert clean("a\x1b[31mb\x07\x9b\u202ec\r\x00") == "a[31mbc"


def test_ordinary_text_of_any_language_stays() -> None:
    text = "línea\n\t日本語 👩\u200d🚀"
    assert clean(text) == text


@pytest.mark.case(33)
def test_long_text_is_cut_and_says_so() -> None:
    assert clean("x" * 30, limit=10) == "xxxxxxxxxx … (20 more characters)"


def test_off_a_terminal_a_tables_rows_are_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    long = "train/" + "x" * 300
    print_table(("task", "hash", "about"), [(long, "h" * 64, "some words " * 20)])
    _, row = capsys.readouterr().out.splitlines()
    assert row.split() == [long, "h" * 64, *["some", "words"] * 20]
