"""Every test ends the servers that it has mounted."""

import sys
from collections.abc import Callable, Iterator

import pytest

from longstep_agents.tools.mcp import McpConfig, McpServer, mount, unmount_all

pytest.importorskip("mcp")
RAW = (sys.executable, "-m", "longstep_agents.faulty.mcp_server")


@pytest.fixture(autouse=True)
def _no_server_is_left() -> Iterator[None]:
    yield
    unmount_all()


@pytest.fixture
def mount_raw() -> Callable[..., McpServer]:
    """Mounts the server of `longstep_agents.faulty` that behaves as the arguments say."""

    def mount_it(*arguments: str, **options: object) -> McpServer:
        options = {"start_seconds": 20, "call_seconds": 20} | options
        return mount(McpConfig(command=(*RAW, *arguments), **options))  # type: ignore[arg-type]

    return mount_it
