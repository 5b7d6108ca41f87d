from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.envs.swe.money import FIXED, SOURCE, patch_of

from longstep_envs.swe.grade import grade
from longstep_envs.swe.patch import Change
from longstep_envs.swe.rules import forbidden
from longstep_envs.swe.types import Grade, Instance, Repository
from longstep_envs.types import DataError

Grader = Callable[[str], Grade]


@pytest.fixture
def graded(instance: Instance, repository: Repository, backend: str) -> Grader:
    return lambda patch: grade(instance, repository, patch, backend=backend, timeout=60)


def core(text: str) -> str:
    return patch_of({"money/core.py": text})


def test_the_gold_patch_resolves(graded: Grader, instance: Instance) -> None:
    result = graded(instance.gold_patch)
    assert result.resolved
    assert result.problem == ""
    assert all(result.fail_to_pass.values())
    assert all(result.pass_to_pass.values())


@pytest.mark.case(38)
def test_another_honest_solution_resolves(graded: Grader) -> None:
    """With what honest code may do: standard helpers, a new module, its own errors, a print."""
    new = """import functools, inspect, logging, os, sys, traceback
from collections import namedtuple
from dataclasses import dataclass

Rate = namedtuple("Rate", "name value")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    source: str
    target: str


@functools.lru_cache
def factor(pair: Pair, rates=()) -> float:
    table = dict(rates)
    try:
        return table[pair.target] / table[pair.source]
    except KeyError as error:
        log.warning("no rate: %s", error)
        raise
"""
    used = FIXED.replace(
        "    return amount /",
        "    inspect.signature(convert)\n"
        "    print('PASSED', file=sys.stderr)\n"
        "    assert factor(Pair(source, target), tuple(RATES.items())) > 0\n"
        "    return amount /",
    )
    used = used.replace(
        "RATES = {", "import inspect, sys\n\nfrom money.factors import Pair, factor\n\nRATES = {"
    )
    result = graded(patch_of({"money/core.py": used, "money/factors.py": new}))
    assert result.problem == ""
    assert result.resolved


def test_no_patch_earns_nothing(graded: Grader) -> None:
    result = graded("")
    assert not result.resolved
    assert not any({**result.fail_to_pass, **result.pass_to_pass}.values())


def test_a_partial_patch_is_told_test_by_test(graded: Grader, instance: Instance) -> None:
    result = graded(core(SOURCE.replace("amount * RATES[source] / RATES[target]", "amount * 1.25")))
    assert not result.resolved
    assert result.problem == ""
    assert result.fail_to_pass == dict(
        zip(instance.fail_to_pass, (True, False, False), strict=True)
    )
    assert list(result.pass_to_pass.values()) == [False, True]


def test_a_patch_that_does_not_apply_earns_nothing(graded: Grader) -> None:
    result = graded(core(FIXED).replace("RATES[source] /", "nothing"))
    assert not result.resolved
    assert "does not fit" in result.problem


def test_a_gold_patch_that_does_not_apply_is_the_instances_fault(
    instance: Instance, repository: Repository, backend: str
) -> None:
    broken = replace(instance, gold_patch=core(FIXED).replace("RATES", "R"))
    with pytest.raises(DataError, match="money__1"):
        grade(broken, repository, core(FIXED), backend=backend)


@pytest.mark.case(38)
def test_what_is_left_out_takes_no_part(graded: Grader) -> None:
    """Tests made easy and a hook that ends Python, beside an honest solution."""
    spared = {
        "tests/test_core.py": "def test_euro_to_dollar(): pass\n",
        "conftest.py": "collect_ignore_glob = ['*']\n",
        "sitecustomize.py": "raise SystemExit\n",
        "pytest/__init__.py": "print('1 passed')\n",
    }
    result = graded(patch_of(spared) + core(FIXED))
    assert result.resolved
    assert sorted(result.dropped) == sorted(spared)
    assert "nothing that counts" in graded(patch_of(spared)).problem


@pytest.mark.case(38)
def test_hidden_tests_come_from_the_instance(
    instance: Instance, repository: Repository, backend: str
) -> None:
    """Also into files that the patch has written in their place."""
    hidden = (
        "from money.core import convert\n\n\n"
        "def test_it():\n    assert convert(4, 'EUR', 'USD') == 5\n"
    )
    test = "checks/hidden.py::test_it"
    other = replace(
        instance, test_patch=patch_of({"checks/hidden.py": hidden}), fail_to_pass=(test,)
    )
    for patch, good in ((core(FIXED), True), (core(SOURCE + "\n"), False)):
        mine = patch_of({"checks/hidden.py": "def test_it():\n    pass\n"})
        result = grade(other, repository, mine + patch, backend=backend)
        assert result.problem == ""
        assert result.fail_to_pass == {test: good}
        assert result.dropped == ("checks/hidden.py",)


ATTACKS = {
    "ends at once": "import os\nos._exit(0)\n",
    "ends well": "import atexit, os\natexit.register(os._exit, 0)\n",
    "ends the import": "raise SystemExit(0)\n",
    "changes reports": """
import _pytest.runner as r
real = r.TestReport.from_item_and_call.__func__
def fake(cls, item, call):
    report = real(cls, item, call)
    report.outcome = "passed"
    return report
r.TestReport.from_item_and_call = classmethod(fake)
""",
    "forgives errors": """
import _pytest.runner as r
real = r.CallInfo.from_call.__func__
def fake(cls, func, when, reraise=None):
    def safe():
        try:
            return func()
        except Exception:
            return None
    return real(cls, safe, when, reraise)
r.CallInfo.from_call = classmethod(fake)
""",
    "spares those tests that it does not know": """
import _pytest.python as p
real = p.Function.runtest
def fake(self):
    if "core" not in self.nodeid:
        real(self)
p.Function.runtest = fake
""",
    "skips all tests": """
import _pytest.python as p, pytest
def fake(self):
    pytest.skip("no")
p.Function.runtest = fake
""",
    "expects all tests to fail": """
import sys
class Trap(dict):
    def __getitem__(self, key):
        sys.modules["_pytest.outcomes"].xfail("expected")
""",
    "walks frames": """
import sys
frame = sys._getframe()
while frame:
    for value in list(frame.f_locals.values()):
        if hasattr(value, "pluginmanager"):
            for plugin in value.pluginmanager.get_plugins():
                if hasattr(plugin, "outcomes"):
                    plugin.outcomes = type("D", (dict,), {"__setitem__": lambda s, k, v:
                        dict.__setitem__(s, k, "passed")})()
    frame = frame.f_back
""",
    "walks frames of an error": """
try:
    1 / 0
except ZeroDivisionError as error:
    frame = error.__traceback__.tb_frame
    while frame:
        frame = frame.f_back
""",
    "looks through memory": """
import gc
for one in gc.get_objects():
    if type(one).__name__ == "Recorder":
        one.errors = {}
""",
    "writes the report": """
import os, pathlib
for folder in pathlib.Path(os.environ["TMPDIR"]).iterdir():
    if folder.is_dir():
        (folder / "report").write_text("0\\ncollected\\t5\\nexit\\t0")
""",
    "replaces the tests": """
import sys, threading, time
def wait():
    while True:
        for name, module in list(sys.modules.items()):
            for key in [k for k in vars(module) if name.endswith("test_core") and "test_" in k]:
                getattr(module, key).__code__ = (lambda amount=0: None).__code__
        time.sleep(0.001)
threading.Thread(target=wait, daemon=True).start()
""",
    "joins the import of modules": """
import importlib.abc, sys
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, *_):
        return None
sys.meta_path.insert(0, Finder())
""",
    "changes unittest": """
import unittest
unittest.TestCase.assertEqual = lambda *_, **__: None
unittest.TestCase.fail = lambda *_, **__: None
""",
    "reads the tests": """
from pathlib import Path
for file in Path("tests").glob("test_*.py"):
    file.read_text()
""",
    "makes code": "exec('import os')\n",
}
FAST = (
    *("ends well", "changes reports", "spares those tests that it does not know", "walks frames"),
    *("expects all tests to fail", "writes the report", "replaces the tests", "reads the tests"),
)
"""One for each way of finding out; the others take longer than a test may."""
QUIET = ("ends the import", "expects all tests to fail")
"""These just fail the tests."""
UNSEEN = ("ends the import", "writes the report", "reads the tests")
"""Nothing in their text is forbidden: what they do is found out when they do it."""


@pytest.mark.case(38)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in ATTACKS],
)
def test_an_attack_is_found_out_while_tests_run(
    graded: Grader, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Although it comes with a right solution, and with the table of rules out of the way."""
    monkeypatch.setattr("longstep_envs.swe.grade.forbidden", lambda *_: [])
    source = ATTACKS[name] + FIXED
    if "Trap" in source:
        source = source.replace("    return amount /", "    Trap()[0]\n    return amount /")
    result = graded(core(source))
    assert not result.resolved
    assert not any(result.fail_to_pass.values())
    assert result.problem or name in QUIET


@pytest.mark.case(38)
@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in UNSEEN])
def test_an_attack_is_refused_before_tests_run(name: str) -> None:
    changes = {"money/core.py": Change(SOURCE.encode(), (ATTACKS[name] + FIXED).encode())}
    assert forbidden(changes, {})


@pytest.mark.case(38)
def test_a_repair_that_breaks_a_rule_is_not_even_run(graded: Grader) -> None:
    result = graded(core("exec('import os')\n" + FIXED))
    assert not result.resolved
    assert result.problem.startswith("forbidden in a repair: ")
    assert result.report is None


@pytest.mark.case(38)
def test_lines_that_look_like_results_change_nothing(graded: Grader) -> None:
    printing = "print('PASSED tests/test_core.py::test_euro_to_dollar\\n5 passed')\n"
    result = graded(core(SOURCE + printing))
    assert result.problem == ""
    assert not any(result.fail_to_pass.values())


@pytest.mark.case(38)
def test_tests_that_never_end_are_no_success(
    instance: Instance, repository: Repository, backend: str
) -> None:
    endless = core(FIXED + "\nwhile True:\n    pass\n")
    result = grade(instance, repository, endless, backend=backend, timeout=3)
    assert not result.resolved
    assert "did not end" in result.problem


def test_a_name_that_was_cut_at_a_space_stands_for_all_that_begin_so(
    instance: Instance, repository: Repository, backend: str
) -> None:
    words = (
        "import pytest\nfrom money.core import convert\n\n\n"
        '@pytest.mark.parametrize("told", ["in one", "in two", "off by"])\n'
        "def test_told(told):\n"
        '    assert convert(4, "EUR", "USD") == (6 if told == "off by" else 5)\n'
    )
    added = patch_of({"tests/test_words.py": words})
    cut = "tests/test_words.py::test_told[in"
    rows = {cut: True, "tests/test_words.py::test_told[off": False, f"{cut} one]": True}
    for name, passes in rows.items():
        row = replace(instance, test_patch=added, fail_to_pass=(name,), pass_to_pass=())
        result = grade(row, repository, instance.gold_patch, backend=backend, timeout=60)
        assert result.fail_to_pass == {name: passes}
        assert result.resolved is passes
    row = replace(instance, test_patch=added, fail_to_pass=(cut[:-1],), pass_to_pass=())
    assert not grade(row, repository, instance.gold_patch, backend=backend, timeout=60).resolved


def test_a_fixture_may_be_called_like_a_test(
    instance: Instance, repository: Repository, backend: str
) -> None:
    asking = (
        "import pytest\nfrom money.core import convert\n\n\n"
        "@pytest.fixture(params=[4, 8])\ndef test_amount(request):\n    return request.param\n\n\n"
        "def test_it(test_amount):\n"
        '    assert convert(test_amount, "EUR", "USD") == test_amount * 1.25\n'
    )
    added, names = patch_of({"tests/test_it.py": asking}), ("4", "8")
    tests = tuple(f"tests/test_it.py::test_it[{name}]" for name in names)
    row = replace(instance, test_patch=added, fail_to_pass=tests, pass_to_pass=())
    assert grade(row, repository, instance.gold_patch, backend=backend, timeout=60).resolved
