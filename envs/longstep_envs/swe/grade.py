"""Grade a patch: hidden tests, in a fresh sandbox, with nothing of the agent's but the patch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from random import SystemRandom

from longstep_envs.sandbox.registry import open_sandbox
from longstep_envs.sandbox.types import Sandbox, SandboxFileError
from longstep_envs.swe.diffs import PatchError
from longstep_envs.swe.patch import Change, Changes, changes_of, sift, write_changes
from longstep_envs.swe.rules import forbidden
from longstep_envs.swe.testing import Guard, run_tests
from longstep_envs.swe.twins import Twins, make_twins
from longstep_envs.swe.types import Grade, Instance, Repository, TestOutcome, TestReport
from longstep_envs.types import DataError

_GOOD = frozenset((TestOutcome.PASSED, TestOutcome.XFAILED))


def grade(
    instance: Instance,
    repository: Repository,
    patch: str,
    *,
    backend: str = "any",
    timeout: float = 600.0,
) -> Grade:
    """What a patch is worth.

    It is granted nothing, and `Grade.problem` tells why, where it does not apply, adds what only
    tampering with tests needs (`rules.RULES`), does such things while the tests run, or where
    their report does not hold together.

    Args:
        instance: The task.
        repository: The task's repository, made ready.
        patch: From `Sandbox.diff`, or from anywhere else: it is not trusted.
        backend: Which kind of sandbox.
        timeout: Seconds for the tests.

    Raises:
        SandboxError: a sandbox failed; the patch is not to blame.
        DataError: the instance's own patches do not fit its repository.
    """
    with open_sandbox(repository.sandbox, backend) as sandbox:
        try:
            changes, special = changes_of(patch, sandbox)
        except PatchError as error:
            return _nothing(instance, str(error))
        gold = _trusted(instance.gold_patch, instance, sandbox)
        hidden = _trusted(instance.test_patch, instance, sandbox)
        kept, dropped = sift(changes, tests={*test_files(instance), *hidden}, spared=gold)
        graded = replace(_nothing(instance), dropped=(*special, *dropped))
        if not kept:
            return replace(graded, problem="the patch changes nothing that counts")
        if found := forbidden(kept, gold):
            return replace(graded, problem=f"forbidden in a repair: {'; '.join(found):.1000}")
        run = _Run(
            instance,
            repository,
            hidden,
            make_twins(_sources(instance, hidden, sandbox), instance.fail_to_pass, SystemRandom()),
            tuple(path for path in kept if path.endswith(".py")),
            timeout,
        )
        report = run.test(kept, sandbox)
    if not report.problem and (suspicions := run.suspicions(report)):
        # The gold patch is above suspicion: what it comes to is the way of these tests.
        with open_sandbox(repository.sandbox, backend) as sandbox:
            usual = run.suspicions(run.test(gold, sandbox))
        odd = [one for one in suspicions if one not in usual]
        report = replace(report, problem=f"{'; '.join(odd):.1000}" if odd else "")
    return replace(_verdict(instance, report), dropped=graded.dropped)


def test_files(instance: Instance) -> tuple[str, ...]:
    """The files that hold the instance's tests."""
    ids = (*instance.fail_to_pass, *instance.pass_to_pass)
    return tuple(dict.fromkeys(test.partition("::")[0] for test in ids))


test_files.__test__ = False  # type: ignore[attr-defined] # not for pytest to collect


@dataclass(frozen=True, slots=True)
class _Run:
    """How an instance's tests are run, on a patch and on the gold patch."""

    instance: Instance
    repository: Repository
    hidden: Changes
    twins: Twins
    watched: tuple[str, ...]
    timeout: float

    def test(self, changes: Changes, sandbox: Sandbox) -> TestReport:
        beside = {path: Change(None, source) for path, source in self.twins.files.items()}
        write_changes({**changes, **self.hidden, **beside}, sandbox)
        files = test_files(self.instance)
        guard = Guard(watched=self.watched, private=(*files, *self.twins.files))
        tests = (*files, *self.twins.tests)
        return run_tests(sandbox, self.repository, tests, timeout=self.timeout, guard=guard)

    def suspicions(self, report: TestReport) -> list[str]:
        """What speaks against the tests' outcomes."""
        doubtful = [pair.test for pair in self.twins.pairs if pair.is_doubtful(report.outcomes)]
        told = [f"{test} passes whatever it expects, or only by its name" for test in doubtful]
        return [*(f"while tests ran: {note}" for note in report.notes), *told]


def _sources(instance: Instance, hidden: Changes, sandbox: Sandbox) -> dict[str, bytes]:
    """The files of the tests that the patch has to make pass."""
    sources = {}
    for path in dict.fromkeys(test.partition("::")[0] for test in instance.fail_to_pass):
        with suppress(SandboxFileError):  # then its tests will not pass
            after = hidden[path].after if path in hidden else sandbox.read(path)
            sources[path] = after or b""
    return sources


def _trusted(patch: str, instance: Instance, sandbox: Sandbox) -> Changes:
    """What one of the instance's own patches changes."""
    try:
        return changes_of(patch, sandbox)[0]
    except PatchError as error:
        raise DataError(f"instance {instance.instance_id}: {error}") from error


def _nothing(instance: Instance, problem: str = "") -> Grade:
    return Grade(
        False,
        dict.fromkeys(instance.fail_to_pass, False),
        dict.fromkeys(instance.pass_to_pass, False),
        problem,
    )


def _verdict(instance: Instance, report: TestReport) -> Grade:
    if report.problem:
        return replace(_nothing(instance, report.problem), report=report)
    outcomes = _by_name(report.outcomes)
    fixed, kept = (
        {test: set(outcomes.get(test, ("",))) <= _GOOD for test in tests}
        for tests in (instance.fail_to_pass, instance.pass_to_pass)
    )
    resolved = bool(fixed) and all((*fixed.values(), *kept.values()))
    return Grade(resolved, fixed, kept, report=report)


def _by_name(outcomes: Mapping[str, TestOutcome]) -> dict[str, list[TestOutcome]]:
    """The outcomes of tests by their node ids, and by what stands before the first space of them.

    Rows of SWE-bench were read from logs word by word: `t.py::test[a b]` is `t.py::test[a` there,
    and stands for every test that begins so.
    """
    named: dict[str, list[TestOutcome]] = {}
    for node_id, outcome in outcomes.items():
        for name in {node_id: None, node_id.partition(" ")[0]: None}:
            named.setdefault(name, []).append(outcome)
    return named
