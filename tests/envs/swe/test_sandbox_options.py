from typing import Any

import gymnasium
import pytest
from tests.envs.swe.money import INSTANCE

from longstep_envs.sandbox.docker import DockerSandbox
from longstep_envs.swe.tasks import Tasks, make_tasks
from longstep_envs.swe.types import Instance, Repository
from longstep_envs.types import BadValueError, EnvFaultError


class One:
    """A repository for every instance."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def prepare(self, instance: Instance) -> Repository:
        return self._repository


@pytest.fixture
def tasks(repository: Repository) -> Tasks:
    return make_tasks("money", [INSTANCE], One(repository))


def _needs_docker() -> None:
    if reason := DockerSandbox.missing():
        pytest.skip(f"docker: {reason}")


@pytest.mark.parametrize(
    ("sandbox", "options", "told"),
    [
        ("docker", {"runtim": "runsc"}, "'runtim'; there are runtime, user, cpus"),
        ("docker", {"network": "bridge"}, "no option of docker sandboxes: 'network'"),
        ("docker", {"user": 0}, "user is 0"),
        ("docker", {"cpus": "two"}, "cpus is 'two'"),
        ("docker", {"runtime": None}, "runtime is None"),
        ("any", {"runtime": "runsc"}, "sandbox is 'any'"),
        ("bubblewrap", {"cpus": 2}, "sandbox is 'bubblewrap'"),
    ],
)
def test_what_is_wrong_with_options_is_told_at_once(
    tasks: Tasks, sandbox: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadValueError, match=told):
        gymnasium.make("longstep/SWE-v0", tasks=tasks, sandbox=sandbox, sandbox_options=options)


@pytest.mark.docker
def test_a_runtime_that_the_daemon_does_not_have_is_told(tasks: Tasks) -> None:
    _needs_docker()
    options = {"runtime": "no-such-runtime"}
    env = gymnasium.make("longstep/SWE-v0", tasks=tasks, sandbox="docker", sandbox_options=options)
    with pytest.raises(EnvFaultError, match=r"no runtime 'no-such-runtime'; it has .*runc"):
        env.reset(seed=0)
    env.close()


@pytest.mark.docker
def test_options_hold_for_the_agent_and_for_the_grader(tasks: Tasks) -> None:
    _needs_docker()
    options = {"runtime": "runc", "user": "2000:2000", "cpus": 0.5}
    env = gymnasium.make(
        "longstep/SWE-v0", tasks=tasks, sandbox="docker", sandbox_options=options, protocol="text"
    )
    _, info = env.reset(seed=0, options={"expert": True})
    observation, *_ = env.step("bash id -u; tail -n +3 /proc/net/dev | cut -d: -f1")
    assert observation.split()[:2] == ["2000", "lo"]
    for action in info["expert_plan"]:
        *_, info = env.step(action)
    assert info["success"]
    env.close()
