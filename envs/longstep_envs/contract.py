"""What an environment may return: checked where values cross a process, and by `check_env`."""

from __future__ import annotations

import math
from typing import Any, cast

from longstep_envs.types import ContractError, ErrorInfo, Info

_INFO_TYPES: dict[str, type | tuple[type, ...]] = {
    "task_id": str,
    "split": str,
    "turn": int,
    "score": (int, float),
    "score_raw": (int, float),
    "max_score": (int, float),
    "success": bool,
    "admissible_commands": list,
    "action_valid": bool,
    "reward_parts": dict,
    "stop_reason": str,
    "error": dict,
    "expert_plan": list,
    "state_key": str,
    "extra": dict,
}
_ERROR_TYPES: dict[str, type] = {"type": str, "message": str, "retryable": bool}


def checked_reset(result: Any) -> tuple[str, Info]:
    """`result` if it is what `reset` may return.

    Raises:
        ContractError: it is not; the text names the part at fault.
    """
    if not (isinstance(result, tuple) and len(result) == 2):
        raise ContractError(f"reset() returned {_shown(result)}; wanted (observation, info)")
    observation, info = result
    _want(observation, str, "the observation")
    return observation, checked_info(info)


def checked_step(result: Any) -> tuple[str, float, bool, bool, Info]:
    """`result` if it is what `step` may return.

    Raises:
        ContractError: it is not; the text names the part at fault.
    """
    if not (isinstance(result, tuple) and len(result) == 5):
        raise ContractError(
            f"step() returned {_shown(result)}; "
            "wanted (observation, reward, terminated, truncated, info)"
        )
    observation, reward, terminated, truncated, info = result
    _want(observation, str, "the observation")
    _want_number(reward, "the reward")
    _want(terminated, bool, "terminated")
    _want(truncated, bool, "truncated")
    if terminated and truncated:
        raise ContractError("terminated and truncated are both set; an episode ends in one way")
    return observation, float(reward), terminated, truncated, checked_info(info)


def checked_info(info: Any) -> Info:
    """`info` if it holds reserved keys only, each of its type.

    Raises:
        ContractError: it does not; the text names the key.
    """
    _want(info, dict, "info")
    for key, value in info.items():
        wanted = _INFO_TYPES.get(key)
        if wanted is None:
            raise ContractError(
                f"info[{key!r}] is not a reserved key; put it under info['extra'][{key!r}]"
            )
        if type(value) is not wanted:  # it mostly is, and this is on the way of every step
            _want(value, wanted, f"info[{key!r}]")
        if isinstance(value, float):
            _want_number(value, f"info[{key!r}]")
    _check_inside(info)
    return cast("Info", info)


def _check_inside(info: dict[str, Any]) -> None:
    if not 0.0 <= info.get("score", 0.0) <= 1.0:
        raise ContractError(f"info['score'] is {info['score']}; wanted 0..1 (see score_raw)")
    for key in ("admissible_commands", "expert_plan"):
        if not all(isinstance(text, str) for text in info.get(key, ())):
            raise ContractError(f"info[{key!r}] holds something that is not a str")
    for name, part in info.get("reward_parts", {}).items():
        _want_number(part, f"info['reward_parts'][{name!r}]")
    if "error" in info:
        checked_error(info["error"], "info['error']")


def checked_error(error: Any, what: str = "the error") -> ErrorInfo:
    """`error` if it tells what went wrong as `ErrorInfo` does.

    Raises:
        ContractError: it does not; the text names the key.
    """
    _want(error, dict, what)
    for key, wanted in _ERROR_TYPES.items():
        _want(error.get(key), wanted, f"{what}[{key!r}]")
    return cast("ErrorInfo", error)


def _want(value: Any, wanted: type | tuple[type, ...], what: str) -> None:
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        names = wanted if isinstance(wanted, tuple) else (wanted,)
        raise ContractError(
            f"{what} is {_shown(value)}; wanted {' or '.join(name.__name__ for name in names)}"
        )


def _want_number(value: Any, what: str) -> None:
    if isinstance(value, bool):
        raise ContractError(f"{what} is {value}; wanted a finite number")
    _want(value, (int, float), what)
    if not math.isfinite(value):
        raise ContractError(f"{what} is {value}; wanted a finite number")


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {value!r:.80}"
