"""A slice of `python -m benchmarks.reliability.fuzz`: every target, the same inputs each time."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # benchmarks are scripts, not a package

from benchmarks.reliability.fuzz import attack
from benchmarks.reliability.fuzz_targets import TARGETS, Target, open_target

from longstep_envs.types import DataError

SLOW = ("file/webshop-catalogue", "record/page", "file/textworld")


@pytest.mark.case(41)
@pytest.mark.parametrize("name", [name for name in TARGETS if not name.startswith("server/page")])
def test_what_is_read_is_a_value_or_is_refused(name: str, tmp_path: Path) -> None:
    count = 20 if name in SLOW else min(300, max(40, TARGETS[name].inputs // 300))
    found = attack(open_target(name, tmp_path), count, seed=1)
    assert found.inputs >= count
    assert (found.crashes, found.hangs) == (0, 0), found.examples


@pytest.mark.case(42)
@pytest.mark.parametrize("name", ["server/page", "record/page"])
def test_the_page_and_its_server_take_anything(name: str, tmp_path: Path) -> None:
    found = attack(open_target(name, tmp_path), 40, seed=2)
    assert (found.crashes, found.hangs) == (0, 0), found.examples


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    ("told", "refused", "crashes"),
    [(DataError("no"), 60, 0), (KeyError("k"), 0, 60), (MemoryError(), 0, 60)],
)
def test_the_fuzzer_tells_crashes_from_refusals(
    told: Exception, refused: int, crashes: int
) -> None:
    target = Target(lambda data: None if data == b"ok" else _raise(told), [b"ok"])
    found = attack(target, 60, seed=0)
    assert found.refused >= refused * 0.8
    assert found.crashes >= crashes * 0.8
    assert found.inputs == found.values + found.refused + found.crashes


def test_the_fuzzer_ends_what_hangs() -> None:
    def feed(data: bytes) -> None:
        while data != b"ok":
            pass

    found = attack(Target(feed, [b"ok"]), 1, seed=0)
    assert found.hangs >= 1
