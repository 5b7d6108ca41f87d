"""Snapshots between the pool and its workers, as JSON can say them."""

from __future__ import annotations

from typing import Any

from longstep_envs.types import ContractError, Snapshot, StopReason

_REASONS = frozenset(StopReason)
_LONGEST = 1e12
"""Seconds; what is more is no time, and might be no finite number."""


def pack(snapshot: Snapshot) -> list[Any]:
    """A snapshot without its native state, which never leaves its process: it will be replayed."""
    return [
        snapshot.env_id,
        snapshot.task_id,
        snapshot.seed,
        list(snapshot.actions),
        snapshot.observation_hash,
        snapshot.provenance,
        None if snapshot.outer is None else list(snapshot.outer),
    ]


def unpack(packed: Any) -> Snapshot:
    """The snapshot that `pack` packed.

    Raises:
        ContractError: it is none.
    """
    match packed:
        case [str(), str(), int() | None, [*actions], str(), str(), outer] if all(
            isinstance(action, str) for action in actions
        ):
            env_id, task_id, seed, _, observation_hash, provenance, _ = packed
        case _:
            raise ContractError(f"a worker sent {packed!r:.200} where a snapshot was wanted")
    return Snapshot(
        env_id, task_id, seed, tuple(actions), observation_hash, provenance, outer=_counters(outer)
    )


def _counters(outer: Any) -> tuple[float, int, StopReason | None] | None:
    """What `Limited` counts: seconds, invalid actions in a row, and why the episode was ended."""
    match outer:
        case None:
            return None
        case [bool() | int() | float() as elapsed, *_] if not abs(elapsed) < _LONGEST:
            pass
        case [int() | float() as elapsed, int(invalid), None]:
            return float(elapsed), invalid, None
        case [int() | float() as elapsed, int(invalid), str(stopped)] if stopped in _REASONS:
            return float(elapsed), invalid, StopReason(stopped)
    raise ContractError(f"a worker sent {outer!r:.200} where the limits' counters were wanted")
