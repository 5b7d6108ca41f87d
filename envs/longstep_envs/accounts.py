"""The books of a pool: every episode that is dispatched is reported exactly once, or given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from longstep_envs.types import LongstepError


class AccountsError(LongstepError, RuntimeError):
    """An episode was lost, or reported twice: a bug of longstep."""


class Account:
    """One episode's page."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._closed = False

    def close(self, outcome: str, tries: int) -> None:
        """Tell how the episode ended.

        Raises:
            AccountsError: that was told already.
        """
        if self._closed:
            raise AccountsError("an episode was reported twice; this is a bug")
        self._closed = True
        self._accounts.reported[str(outcome)] += 1
        self._accounts.retried += tries - 1


@dataclass
class Accounts:
    """How many episodes were begun, and what became of them."""

    dispatched: int = 0
    reported: Counter[str] = field(default_factory=Counter)
    """By how they ended: `played`, or whose fault it was."""
    retried: int = 0
    """Tries beyond the first."""
    given_up: int = 0
    """By whoever asked for them, before they had ended."""
    running: int = 0

    @contextmanager
    def episode(self) -> Iterator[Account]:
        """An episode from here to the end of the block, by which it is reported or given up."""
        account = Account(self)
        self.dispatched += 1
        self.running += 1
        try:
            yield account
        except BaseException:
            self.given_up += 1
            raise
        finally:
            self.running -= 1

    def add(self, other: Accounts) -> None:
        """Take in what another pool tells."""
        self.dispatched += other.dispatched
        self.reported.update(other.reported)
        self.retried += other.retried
        self.given_up += other.given_up
        self.running += other.running

    def check(self) -> None:
        """See that no episode is missing.

        Raises:
            AccountsError: one is.
        """
        if self.dispatched != sum(self.reported.values()) + self.given_up + self.running:
            raise AccountsError(f"the books do not balance, which is a bug: {self}")

    def __str__(self) -> str:
        """One line for people."""
        ends = ", ".join(f"{count:,} {name}" for name, count in sorted(self.reported.items()))
        more = {"given up": self.given_up, "still running": self.running}
        told = "".join(f", {count:,} {name}" for name, count in more.items() if count)
        reported = sum(self.reported.values())
        return (
            f"episodes: {self.dispatched:,} dispatched, {reported:,} reported"
            f"{f' ({ends})' if ends else ''}{told}; {self.retried:,} tries again"
        )
