from collections.abc import Iterator
from dataclasses import replace

import pytest

from longstep_envs.sandbox import Sandbox, open_sandbox
from longstep_envs.swe.testing import Guard, run_tests
from longstep_envs.swe.types import Repository, TestOutcome

P, F, E, S, X = (
    TestOutcome.PASSED,
    TestOutcome.FAILED,
    TestOutcome.ERROR,
    TestOutcome.SKIPPED,
    TestOutcome.XFAILED,
)
KINDS = """
import time, unittest
import pytest


@pytest.fixture
def broken():
    raise ValueError


@pytest.fixture
def breaks_later():
    yield
    raise ValueError


@pytest.mark.parametrize("x", ["a\\tb", "é", "a b::c"])
def test_names(x): pass
def test_fails(): assert 0
def test_errs(broken): pass
def test_errs_later(breaks_later): pass
def test_skips(): pytest.skip("no")
@pytest.mark.xfail
def test_expected(): assert 0
@pytest.mark.xfail
def test_unexpected(): pass
def test_claims_to_be_expected(): pytest.xfail("so it says")
class TestUnit(unittest.TestCase):
    @unittest.expectedFailure
    def test_expected(self): self.assertEqual(1, 2)
    def test_unit(self): self.assertEqual(1, 1)
    def test_subtests(self):
        for k in range(2):
            with self.subTest(k=k):
                self.assertEqual(k, 0)
"""
OUTCOMES = {
    "test_names[a\\tb]": P,
    "test_names[\\xe9]": P,
    "test_names[a b::c]": P,
    "test_fails": F,
    "test_errs": E,
    "test_errs_later": E,
    "test_skips": S,
    "test_expected": X,
    "test_unexpected": TestOutcome.XPASSED,
    "test_claims_to_be_expected": S,
    "TestUnit::test_expected": X,
    "TestUnit::test_unit": P,
    "TestUnit::test_subtests": F,
}


@pytest.fixture(scope="module")
def sandbox(repository: Repository, backend: str) -> Iterator[Sandbox]:
    with open_sandbox(repository.sandbox, backend) as opened:
        opened.write("tests/test_kinds.py", KINDS.encode())
        opened.write("tests/test_slow.py", b"import time\ndef test_slow(): time.sleep(60)\n")
        opened.write("tests/test_bad.py", b"import nowhere\n")
        opened.write("tests/test_none.py", b"")
        yield opened


@pytest.mark.case(38)
@pytest.mark.parametrize("guard", [None, Guard(watched=("money/core.py",))])
def test_every_outcome_is_told(
    sandbox: Sandbox, repository: Repository, guard: Guard | None
) -> None:
    report = run_tests(sandbox, repository, ["tests/test_kinds.py"], timeout=60, guard=guard)
    assert report.problem == ""
    assert report.exit_code == 1
    assert report.notes == ()
    wanted = {f"tests/test_kinds.py::{name}": outcome for name, outcome in OUTCOMES.items()}
    assert report.outcomes == wanted


def test_single_tests_can_be_run(sandbox: Sandbox, repository: Repository) -> None:
    chosen = ["tests/test_kinds.py::test_names[a b::c]", "tests/test_core.py::test_purse"]
    report = run_tests(sandbox, repository, chosen, timeout=60)
    assert report.outcomes == dict.fromkeys(chosen, P)
    assert report.exit_code == 0


@pytest.mark.case(38)
def test_the_plugin_leaves_nothing_for_the_code_under_test(
    sandbox: Sandbox, repository: Repository
) -> None:
    look = b"""
import os, sys
def test_look():
    seen = [*map(str, os.environ.items()), *sys.argv, *sys.path, *sys.modules]
    print("SEEN", seen)
    temporary = os.environ["TMPDIR"]
    for folder, _, files in os.walk(temporary):
        print("FILES", folder, files)
    assert 0
"""
    sandbox.write("tests/test_look.py", look)
    guard = Guard(canaries=False)
    report = run_tests(sandbox, repository, ["tests/test_look.py"], timeout=60, guard=guard)
    assert "SEEN" in report.output
    assert guard.key not in report.output
    assert "PYTEST_ADDOPTS" not in report.output
    assert f"m{guard.nonce}.py" not in report.output


def test_a_file_that_cannot_be_imported_is_an_error(
    sandbox: Sandbox, repository: Repository
) -> None:
    report = run_tests(sandbox, repository, ["tests/test_bad.py"], timeout=60, guard=Guard())
    assert report.outcomes == {"tests/test_bad.py": E}
    assert report.exit_code == 2


@pytest.mark.parametrize(("tests", "code"), [("tests/test_none.py", 5), ("tests/nowhere.py", 4)])
def test_where_there_are_no_tests_none_has_passed(
    sandbox: Sandbox, repository: Repository, tests: str, code: int
) -> None:
    report = run_tests(sandbox, repository, [tests], timeout=60)
    assert report.outcomes == {}
    assert report.exit_code == code


def test_a_slow_test_fails_alone(sandbox: Sandbox, repository: Repository) -> None:
    tests = ["tests/test_slow.py", "tests/test_core.py::test_purse"]
    report = run_tests(sandbox, repository, tests, timeout=60, test_seconds=0.3)
    assert report.problem == ""
    assert list(report.outcomes.values()) == [F, P]


def test_tests_that_take_too_long_are_ended(sandbox: Sandbox, repository: Repository) -> None:
    report = run_tests(sandbox, repository, ["tests/test_slow.py"], timeout=1.5)
    assert report.outcomes == {}
    assert "did not end" in report.problem


@pytest.mark.parametrize("command", ["echo '5 passed' # {tests}", "exit 0", "nowhere {tests}"])
def test_a_command_that_runs_no_tests_is_a_problem(
    sandbox: Sandbox, repository: Repository, command: str
) -> None:
    other = replace(repository, test_command=command)
    report = run_tests(sandbox, other, ["tests/test_core.py"], timeout=60)
    assert report.outcomes == {}
    assert "before it told" in report.problem


@pytest.mark.case(38)
def test_a_report_that_nobody_signed_is_forged(sandbox: Sandbox, repository: Repository) -> None:
    body = "collected\\t1\\nexit\\t0\\npassed\\ttests/test_core.py::test_purse"
    guard = Guard(canaries=False)
    writing = f"printf '%s\\n{body}' $(seq -s '' 99) > $TMPDIR/{guard.nonce}/report # {{tests}}"
    other = replace(repository, test_command=writing)
    report = run_tests(sandbox, other, ["tests/test_core.py"], timeout=60, guard=guard)
    assert report.outcomes == {}
    assert "forged" in report.problem
