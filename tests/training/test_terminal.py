from longstep_training.terminal import clean


def test_escape_sequences_and_direction_marks_lose_their_power() -> None:
    assert clean("a\x1b[31mb\x07\x9b\u202ec\r\x00") == "a[31mbc"


def test_ordinary_text_of_any_language_stays() -> None:
    text = "línea\n\t日本語 👩\u200d🚀"
    assert clean(text) == text


def test_long_text_is_cut_and_says_so() -> None:
    assert clean("x" * 30, limit=10) == "xxxxxxxxxx … (20 more characters)"
