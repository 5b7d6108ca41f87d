"""Sandboxes that are containers, for which a daemon and an image with Python are needed."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longstep_envs.sandbox import docker_daemon
from longstep_envs.sandbox.docker_channel import COMMAND, ContainerChannel, guest_program
from longstep_envs.sandbox.docker_daemon import LABEL, asking, connect, this_run
from longstep_envs.sandbox.supervised import SupervisedSandbox
from longstep_envs.sandbox.supervisor import Supervisor
from longstep_envs.sandbox.trees import Tree
from longstep_envs.sandbox.types import SandboxError, SandboxSpec

if TYPE_CHECKING:
    from docker.models.images import Image

_MEGA = 1024 * 1024
_NAMES_PER_MEGA = 256
"""How many files a file system may hold; each takes about a kilobyte of the host's memory."""


class DockerSandbox(SupervisedSandbox):
    """A container that has no network, no capability and nothing to write to but its tmpfs.

    The workspace of an image is copied into that tmpfs, without its `.git`, whose history may hold
    the solution: so every sandbox has the same bounds, and an image is never written to.
    """

    backend = "docker"

    def __init__(self, spec: SandboxSpec) -> None:
        self._image = _image(spec.image)
        super().__init__(spec)

    @classmethod
    def missing(cls) -> str:
        """Why this backend does not work on this machine; empty where it does."""
        return docker_daemon.missing()

    def _launch(self) -> tuple[Supervisor, int | None]:
        from docker.types import LogConfig

        _check_runtime(self.spec.docker.runtime)
        with asking("start a container"):
            container = connect().containers.create(
                self._image.id,
                entrypoint=list(COMMAND),
                command=[],
                stdin_open=True,
                auto_remove=True,
                labels={LABEL: this_run()},
                log_config=LogConfig(type="none"),
                mounts=self._mounts(),
                tmpfs=self._file_systems(),
                **_SHUT_OFF,
                **self._bounds(),
            )
            program = guest_program(self._image.attrs["Architecture"])
            return Supervisor(ContainerChannel(container, program)), None

    def _bounds(self) -> dict[str, Any]:
        from docker.types import Ulimit

        limits, options = self.spec.limits, self.spec.docker
        # The program inside sees to the memory of processes. The kernel counts what a tmpfs holds
        # too, and must have no reason to kill that program when both are full.
        memory = (limits.memory_mb + 2 * limits.disk_mb) * _MEGA
        ulimits = {"nofile": 1_024, "core": 0, "fsize": limits.file_mb * _MEGA}
        return {
            "user": options.user,
            "runtime": options.runtime or None,
            "nano_cpus": int(options.cpus * 1e9),
            "pids_limit": limits.processes + 1,
            "mem_limit": memory,
            "memswap_limit": memory,
            "ulimits": [Ulimit(name=name, soft=n, hard=n) for name, n in ulimits.items()],
        }

    def _file_systems(self) -> dict[str, str]:
        # Owned by the user, for a folder that the image has keeps its mode when it is mounted over.
        user, _, group = self.spec.docker.user.partition(":")
        size = self.spec.limits.disk_mb
        options = (
            f"rw,exec,nosuid,nodev,size={size}m,nr_inodes={_NAMES_PER_MEGA * size},"
            f"uid={user},gid={group}"
        )
        return {self.spec.workspace: f"{options},mode=755", "/tmp": f"{options},mode=1777"}

    def _mounts(self) -> list[Any]:
        from docker.types import Mount

        return [
            Mount(target=inside, source=str(path.resolve()), type="bind", read_only=True)
            for inside, path in self.spec.mounts.items()
        ]

    def _limits(self) -> dict[str, int]:
        """Without the processes: the users of all containers are one, so they are counted here."""
        return {name: most for name, most in super()._limits().items() if name != "processes"}

    def _counted(self) -> list[str]:
        return ["/dev/shm"]

    def _place(self, path: str) -> str:
        return path

    def _tree(self) -> Tree:
        if self.spec.tree is None and self.spec.image:
            return _tree_of_image(self._image.id, self.spec.workspace)
        return super()._tree()

    def _environment(self) -> dict[str, str]:
        of_image = self._image.attrs["Config"].get("Env") or []
        return {**super()._environment(), **dict(pair.split("=", 1) for pair in of_image)}


_SHUT_OFF: dict[str, Any] = {
    "network_mode": "none",
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "read_only": True,
    "hostname": "sandbox",
    "working_dir": "/",
    "healthcheck": {"test": ["NONE"]},
}


def _check_runtime(name: str) -> None:
    with asking("tell its runtimes"):
        known = connect().info().get("Runtimes", {}) if name else {}
    # A daemon takes the name of a shim of containerd, "io.containerd…", without knowing it.
    if name and name not in known and not name.startswith("io.containerd."):
        raise SandboxError(
            f"the Docker daemon has no runtime {name!r:.80}; it has {', '.join(sorted(known))}. "
            "Install it, and name it in the daemon's settings (`runtimes` in daemon.json)"
        )


def _image(name: str) -> Image:
    """An image by its name, fetched where the daemon does not have it; our own for no name."""
    import docker.errors

    from longstep_envs.sandbox.docker_image import ensure_image

    client = connect()
    with asking(f"have the image {name!r:.200}"):
        try:
            return client.images.get(name or ensure_image(client))
        except docker.errors.ImageNotFound:
            return client.images.pull(name)


@functools.lru_cache(maxsize=4)
def _tree_of_image(image: str, workspace: str) -> Tree:
    """The files of an image's workspace, taken out of a container that never starts."""
    import docker.errors

    labels = {LABEL: this_run()}
    with asking(f"copy {workspace} out of the image {image}"):
        container = connect().containers.create(image, ["none"], labels=labels, **_SHUT_OFF)
        try:
            with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
                for chunk in container.get_archive(workspace)[0]:
                    archive.write(chunk)
                archive.flush()
                return Tree.load(Path(archive.name)).below(Path(workspace).name)
        except docker.errors.NotFound:  # the image has no such folder
            return Tree()
        finally:
            container.remove(force=True)
