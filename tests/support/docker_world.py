"""What tests do to a real Docker engine behind the runtime's back, and the small image they do it with."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import docker
from docker.errors import NotFound

from controller.runtime.docker import DockerRuntime
from controller.runtime.protocol import LABEL_ATTEMPT, LABEL_INSTALLATION, LABEL_UID, Runtime, WorkloadSpec

from .engine_proxy import EngineProxy
from .program_world import ProgramWorld, program

ROOT = Path(__file__).parents[2]
IMAGE = "cc-orchestrator-test/workload:1"
LABEL = "cco-test"
_SCRIPT = program("/tmp/end")  # noqa: S108  # a path in the container
_DOCKERFILE = f"""
FROM debian:trixie-slim
LABEL {LABEL}=1
RUN install -d -m 0777 /home/agent
COPY script /script
ENTRYPOINT ["sh", "/script"]
"""


def build_image(client: docker.APIClient) -> None:
    """Build the image unless it is there as it should be; the base is made where no registry gives it."""
    wanted = f"{hash_of(_DOCKERFILE + _SCRIPT)}"
    try:
        if client.inspect_image(IMAGE)["Config"]["Labels"].get("cco-test.source") == wanted:  # type: ignore[no-untyped-call]  # the stubs say nothing
            return
    except NotFound:
        pass
    subprocess.run(["sh", str(ROOT / "scripts/base_image.sh")], check=True, timeout=600, stdout=subprocess.DEVNULL)
    context = io.BytesIO()
    _write_tar(context, {"Dockerfile": _DOCKERFILE, "script": _SCRIPT})
    context.seek(0)
    for line in client.build(
        fileobj=context,
        custom_context=True,
        tag=IMAGE,
        rm=True,
        decode=True,
        labels={LABEL: "1", "cco-test.source": wanted},
    ):
        assert "error" not in line, line["error"]


def hash_of(text: str) -> str:
    """Return a short stable hash."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write_tar(target: io.BytesIO, files: dict[str, str]) -> None:
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))


class DockerWorld(ProgramWorld):
    """The contract's world on the machine's engine, everything under a label and prefix of its own.

    Attributes:
        admin: a connection of its own to the engine, past the proxy.
    """

    def __init__(self, admin: docker.APIClient, proxy: EngineProxy, folder: Path) -> None:
        super().__init__(folder, IMAGE)
        self.admin = admin
        self.proxy = proxy
        self.run = uuid.uuid4().hex[:8]
        self.prefix = f"ccot-{self.run}"
        self.network = f"ccot-{self.run}"
        self._runtimes: list[DockerRuntime] = []
        self.runtime: Runtime = self.restarted()
        self.stranger: Runtime = self._make(f"stranger-{self.run}", f"{self.prefix}-stranger")

    def _make(self, installation: str, prefix: str) -> DockerRuntime:
        client = docker.APIClient(base_url=self.proxy.url, version=self.admin.api_version, timeout=20)
        runtime = DockerRuntime(installation=installation, prefix=prefix, network=self.network, client=client)
        self._runtimes.append(runtime)
        return runtime

    def restarted(self) -> DockerRuntime:
        return self._make(f"ours-{self.run}", self.prefix)

    def clean(self) -> None:
        """Remove everything this world made."""
        for runtime in self._runtimes:
            runtime.close()
        labels = [f"{LABEL}={self.run}", *(f"{LABEL_INSTALLATION}={who}-{self.run}" for who in ("ours", "stranger"))]
        for label in labels:
            for container in self.admin.containers(all=True, filters={"label": label}):
                self.admin.remove_container(container["Id"], force=True, v=True)
        for label in labels:
            for volume in self.admin.volumes(filters={"label": label})["Volumes"] or ():
                self.admin.remove_volume(volume["Name"], force=True)
            for network in self.admin.networks(filters={"label": label}):
                self.admin.remove_network(network["Id"])

    def _names(self, spec: WorkloadSpec) -> tuple[str, str]:
        return f"{self.prefix}-{spec.name}-{spec.attempt}", f"{self.prefix}-{spec.name}-{spec.uid[:8]}-home"

    def container(self, uid: str) -> str:
        """Return the identifier of the newest container of the uid, ours or a stranger's."""
        found = self.admin.containers(all=True, filters={"label": f"{LABEL_UID}={uid}"})
        newest = max(found, key=lambda each: int(each["Labels"][LABEL_ATTEMPT]))
        return str(newest["Id"])

    def occupy(self, spec: WorkloadSpec) -> Callable[[], object]:
        name, _ = self._names(spec)
        self.admin.create_container(IMAGE, name=name, labels={LABEL: self.run})
        return lambda: self.admin.inspect_container(name)

    def occupy_home(self, spec: WorkloadSpec) -> Callable[[], object]:
        _, home = self._names(spec)
        self.admin.create_volume(home, labels={LABEL: self.run})
        return lambda: self.admin.inspect_volume(home)

    def sh(self, uid: str, script: str, *, user: str = "") -> str:
        """Run a script in the container, past the runtime, and return its output."""
        made = self.admin.exec_create(self.container(uid), ["sh", "-c", script], user=user)
        output: bytes = self.admin.exec_start(made["Id"])
        return output.decode()

    def tell(self, uid: str, end: str) -> None:
        self.sh(uid, f"until [ -p /tmp/end ]; do sleep 0.01; done; echo {end} >/tmp/end")

    def kill(self, uid: str) -> None:
        self.admin.kill(self.container(uid))

    def kill_unseen(self, uid: str) -> None:
        self.kill(uid)  # people reach the engine past the proxy

    def pause_by_hand(self, uid: str) -> None:
        self.admin.pause(self.container(uid))

    def remove_by_hand(self, uid: str) -> None:
        self.admin.remove_container(self.container(uid), force=True)

    def remove_network_by_hand(self) -> None:
        self.admin.remove_network(self.network)

    def has_home(self, spec: WorkloadSpec) -> bool:
        try:
            self.admin.inspect_volume(self._names(spec)[1])
        except NotFound:
            return False
        return True

    def cut_connections(self) -> None:
        self.proxy.cut()

    def go_away(self) -> None:
        self.proxy.refuse()

    def come_back(self) -> None:
        self.proxy.serve()

    def argv_printing(self, data: bytes) -> Sequence[str]:
        return ("printf", "".join(f"\\{byte:03o}" for byte in data))


def engine_client() -> docker.APIClient:
    """Return a connection to the machine's engine."""
    return docker.APIClient(version="auto", timeout=30)


def docker_world(folder: Path) -> Iterator[DockerWorld]:
    """Yield a world and clean up after it; the body of a fixture."""
    admin = engine_client()
    try:
        build_image(admin)
        with EngineProxy(folder / "docker.sock") as proxy:
            world = DockerWorld(admin, proxy, folder)
            try:
                yield world
            finally:
                proxy.serve()
                world.clean()
    finally:
        admin.close()
