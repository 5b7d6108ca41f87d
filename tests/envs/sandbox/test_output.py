"""Output of which both ends are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longstep_envs.sandbox.guest.output import Output


@pytest.mark.case(33)
@given(st.lists(st.binary(max_size=40)), st.integers(1, 30))
def test_both_ends_are_kept_and_the_rest_is_counted(parts: list[bytes], most: int) -> None:
    output = Output(most)
    for part in parts:
        output.add(part)
    whole = b"".join(parts)
    half = max(most // 2, 1)
    left_out = len(whole) - 2 * half
    assert output.bytes == len(whole)
    if left_out <= 0:
        assert output.kept() == whole
    else:
        marker = f"\n[... {left_out} bytes left out ...]\n".encode()
        assert output.kept() == whole[:half] + marker + whole[-half:]
