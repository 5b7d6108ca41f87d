"""Every registered environment keeps the contract."""

from typing import Any

import pytest

from longstep_envs import ENVS, check_env

KWARGS: dict[str, dict[str, Any]] = {}
"""Options for environments that need some to be made."""

OURS = sorted(env_id for env_id in ENVS if env_id.startswith("longstep/"))


@pytest.mark.parametrize("env_id", OURS)
def test_every_registered_environment_keeps_the_contract(env_id: str) -> None:
    report = check_env(env_id, **KWARGS.get(env_id, {}))
    report.raise_if_failed()
    skipped = [result.name for result in report.results if result.status == "skipped"]
    assert skipped == []
