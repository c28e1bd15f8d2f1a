"""The real arm: the controller as a process, real Docker, git and SQLite; only agent and Claude are stand-ins.

The workload's acts are those of a person: through the store, as the API writes, and through ``docker exec``, as an
agent works. When the controller dies it is started again, as a supervisor would.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.errors import NotFound
from controller.resources import (
    Instance,
    InstanceManifest,
    InstanceSpec,
    ManifestMetadata,
    RepositoryManifest,
    RepositorySpec,
    find_condition,
)
from controller.store import Store
from support.deadline import eventually
from support.host_system import KEY, ROOT, git, make_repository

from .facts import INSTALLATION, run
from .injector import Call, Seam

BASE_IMAGE = "cc-orchestrator/instance:0.1.0"
IMAGES = ("cc-orchestrator-test/light:1", "cc-orchestrator-test/light:2")
PATIENCE = 60.0
KILLED = 137


def build_images() -> None:
    """Build the two light images over the instance's, unless they are as they should be."""
    agent = (Path(__file__).parent / "light_agent.py").read_bytes()
    for number, image in enumerate(IMAGES):
        lines = f'FROM {BASE_IMAGE}\nCOPY --chmod=755 agent.py /agent.py\nENTRYPOINT ["python3", "/agent.py"]\nCMD []\n'
        text = f"{lines}LABEL cco-test=1 number={number}\n"
        base = run(["docker", "image", "inspect", "--format", "{{.Id}}", BASE_IMAGE]).strip()
        source = hashlib.sha256(agent + text.encode() + base).hexdigest()[:16]
        label = '{{index .Config.Labels "cco-test.source"}}'
        if run(["docker", "image", "inspect", "--format", label, image], check=False).decode().strip() == source:
            continue
        with tempfile.TemporaryDirectory(prefix="cco-light-") as folder:
            (Path(folder) / "agent.py").write_bytes(agent)
            (Path(folder) / "Dockerfile").write_text(text, encoding="utf-8")
            run(["docker", "build", "--quiet", "--label", f"cco-test.source={source}", "--tag", image, folder])


@dataclass
class RealWorld:
    """One installation with its controller.

    Attributes:
        fault: ``MODE:K`` for the next controller; the one after it is healthy.
        deaths: exit statuses of controllers that ended by themselves.
    """

    base: Path
    prefix: str
    fault: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    deaths: list[int] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.repository = make_repository(self.base / "repository", owner=1000 if os.geteuid() == 0 else None)
        self.state_dir.mkdir(mode=0o700)
        self.store = Store.open(self.state_dir / "state.db")
        self.log = self.base.parent / f"{self.base.name}.calls"
        self._ended = threading.Event()
        self._supervisor: threading.Thread | None = None

    @property
    def state_dir(self) -> Path:
        return self.base / "state"

    # The controller -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the controller and whoever starts it again."""
        self._launch()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._supervisor.start()

    def stop(self) -> None:
        """End both."""
        self._ended.set()
        if self._supervisor is not None:
            self._supervisor.join(PATIENCE)
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)

    def _launch(self) -> None:
        environment = {
            **{key: os.environ[key] for key in ("PATH", "HOME", "DOCKER_HOST") if key in os.environ},
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))),
            "ANTHROPIC_API_KEY": KEY,
            "CCO_STATE_DIR": str(self.state_dir),
            "CCO_CONTAINER_PREFIX": self.prefix,
            "CCO_NETWORK": self.prefix,
            "CCO_INSTANCE_IMAGE": IMAGES[0],
            "CCO_HEARTBEAT_SECONDS": "1",
            "CCO_RESYNC_SECONDS": "2",
            "CCO_WORKERS": "1",
            "TEST_FAULT": self.fault,
            "TEST_FAULT_ROOT": str(self.base),
            "TEST_FAULT_LOG": str(self.log) if not self.deaths else os.devnull,
            **self.environment,
        }
        with (self.base.parent / f"{self.base.name}.log").open("ab") as said:
            argv = [sys.executable, "-m", "faults.child", "run"]
            self.process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def _supervise(self) -> None:
        while not self._ended.wait(0.02):
            if self.process is not None and (status := self.process.poll()) is not None:
                self.deaths.append(status)
                self.fault = ""
                self._launch()

    def said(self) -> str:
        return (self.base.parent / f"{self.base.name}.log").read_text(errors="replace")

    def calls(self) -> list[Call]:
        """Return what the first controller asked of the seams."""
        lines = [line.split("\t") for line in self.log.read_text(encoding="utf-8").splitlines()]
        return [Call(Seam(seam), what, writes == "1") for seam, what, writes in lines]

    # Acts -----------------------------------------------------------------------------------------------------

    def register(self) -> None:
        spec = RepositorySpec(path=str(self.repository))
        self.store.repositories.create(RepositoryManifest(metadata=ManifestMetadata(name="shop"), spec=spec))

    def declare(self) -> None:
        spec = InstanceSpec.model_validate({"repository": "shop", "prompt": "Begin"})
        self.store.instances.create(InstanceManifest(metadata=ManifestMetadata(name="web"), spec=spec))

    def change(self, **fields: object) -> None:
        old = self.get().spec.model_dump(exclude_unset=True)
        self.store.instances.update_spec("web", InstanceSpec.model_validate({**old, **fields}))

    def get(self) -> Instance:
        return self.store.instances.get("web")

    def gone(self) -> bool:
        try:
            self.get()
        except NotFound:
            return True
        return False

    def container(self) -> str:
        workload = self.get().status.workload
        assert workload is not None
        return workload.name

    def in_box(self, script: str) -> None:
        """Do something as the agent, in its container."""
        run(["docker", "exec", "--workdir", self.worktree(), self.container(), "sh", "-ec", script])

    def worktree(self) -> str:
        workspace = self.get().status.workspace
        assert workspace is not None
        return workspace.path

    # Looks ----------------------------------------------------------------------------------------------------

    def until(self, look: Callable[[], Any], what: str) -> None:
        """Wait until it is true; tells what the controller said when that does not come."""
        try:
            eventually(look, timeout=PATIENCE, what=what, pause=0.03)
        except AssertionError as error:
            status = "" if self.gone() else self.get().status.model_dump_json()
            raise AssertionError(f"{error}\n{status}\n{self.said()[-4000:]}") from error

    def is_ready(self) -> bool:
        return self._is("Ready")

    def is_suspended(self) -> bool:
        return self._is("Suspended")

    def _is(self, type_: str) -> bool:
        instance = self.get()
        condition = find_condition(instance.status.conditions, type_)
        current = instance.status.observed_generation == instance.metadata.generation
        return current and condition is not None and condition.status == "True"

    def subject(self) -> str:
        return git(self.repository, "log", "-1", "--format=%s", "refs/heads/web", check=False)

    def clean(self) -> None:
        """Remove what this installation has on the engine, and its folder."""
        label = f"label={INSTALLATION}={self.store.installation_id}"
        self.store.close()
        for kind, listing in (
            ("container", ["ps", "-aq"]),
            ("volume", ["volume", "ls", "-q"]),
            ("network", ["network", "ls", "-q"]),
        ):
            names = run(["docker", *listing, "--filter", label]).decode().split()
            if names:
                run(["docker", kind, "rm", *(["-f"] if kind != "network" else []), *names], check=False)
        shutil.rmtree(self.base.parent)


@contextmanager
def real_world(fault: str = "", environment: dict[str, str] | None = None) -> Iterator[RealWorld]:
    """Yield an installation whose controller runs, in a folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="cco-real-"))
    folder.chmod(0o755)
    base = folder / "world"
    base.mkdir()
    world = RealWorld(base, f"ccof{secrets.token_hex(3)}", fault, environment or {})
    try:
        world.register()
        world.start()
        yield world
    finally:
        world.stop()
        world.clean()
