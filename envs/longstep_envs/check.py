"""Does an environment keep the contract? `longstep check ENV`, for our own and for others'."""

from __future__ import annotations

import time
import traceback
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from longstep_envs.checks import CHECKS, FIRST, Check
from longstep_envs.registry import check_id
from longstep_envs.subject import CheckFailed, CheckSkipped, Subject
from longstep_envs.types import LongstepError


class Status(StrEnum):
    """What became of one check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class CheckError(LongstepError, AssertionError):
    """An environment does not keep the contract."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check: what it found and, where it failed, what to mend."""

    name: str
    status: Status
    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All checks of one environment."""

    env_id: str
    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The checks that failed."""
        return tuple(r for r in self.results if r.status is Status.FAILED)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"passed": self.passed, **asdict(self)}

    def raise_if_failed(self) -> None:
        """Raise `CheckError` that lists what failed; for a test of your own."""
        if self.failed:
            lines = [f"  {result.name}: {result.message}" for result in self.failed]
            raise CheckError("\n".join([f"{self.env_id} breaks its contract:", *lines]))


def check_env(env_id: str, **kwargs: Any) -> CheckReport:
    """Run every check on the environment that `make(env_id, **kwargs)` makes.

    Raises:
        UnknownNameError: no environment has this id.
    """
    check_id(env_id)
    subject, results, blocked = Subject(env_id, kwargs), [], ""
    for name in CHECKS:
        if blocked:
            result = CheckResult(name, Status.SKIPPED, blocked, 0.0)
        else:
            result = run_check(name, subject)
        if result.status is Status.FAILED and (name == FIRST or subject.unplayable):
            blocked = f"not run, because {name!r} failed"
        results.append(result)
    return CheckReport(env_id, tuple(results))


def run_check(name: str, subject: Subject) -> CheckResult:
    """Run one check; whatever the environment raises becomes a failure with a message."""
    started = time.perf_counter()
    status, message = _verdict(CHECKS[name], subject)
    return CheckResult(name, status, message, time.perf_counter() - started)


def _verdict(check: Check, subject: Subject) -> tuple[Status, str]:
    try:
        return Status.PASSED, check(subject) or ""
    except CheckSkipped as reason:
        return Status.SKIPPED, str(reason)
    except CheckFailed as reason:
        return Status.FAILED, str(reason)
    except (Exception, SystemExit) as error:  # the environment is foreign code
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error}"[:1000]
        return Status.FAILED, f"{text} (at {where.filename}:{where.lineno} in {where.name})"
