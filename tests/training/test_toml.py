import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from longstep_training.toml import format_toml

_texts = st.text(st.characters(codec="utf-8"))
_values = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(_texts, _values, max_size=5))
def test_what_is_written_reads_back_the_same(tree: dict[str, Any]) -> None:
    assert tomllib.loads(format_toml(tree)) == tree


def test_tables_come_after_the_values_of_their_parent() -> None:
    tree = {"loss": {"clip": 0.2, "deep": {"on": True}}, "seed": 1}
    assert format_toml(tree) == "seed = 1\n\n[loss]\nclip = 0.2\n\n[loss.deep]\non = true\n"
