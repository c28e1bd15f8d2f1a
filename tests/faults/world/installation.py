"""A running installation on the machine's engine, broken from outside and judged by ``verify``.

Controller, server, Docker, git and SQLite are real. Instances run the real client with the scripted model where the
scenario is about it (``CLIENT``), and else ``LIGHT``: a stand-in for agent and Claude that starts at once. The tests
of this folder share one installation, each with a repository of its own; ``conftest.py`` makes both.
"""

from __future__ import annotations

import difflib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.client import ApiError, Client
from controller.resources import (
    Condition,
    ConditionStatus,
    Instance,
    InstanceManifest,
    InstanceSpec,
    ManifestMetadata,
    RepositoryManifest,
    RepositorySpec,
    find_condition,
)
from faults.baseline import Baseline, record
from faults.facts import INSTALLATION, UID, read_facts, run
from faults.real_world import BASE_IMAGE, IMAGES
from faults.recorders import EventRecorder, GitLog, Quiet, Requests, cpu_share, overlaps, starts
from faults.verify import Measured, check
from support.deadline import eventually
from support.host_system import KEY, System, environment_for
from support.model_container import Model, free_port

LIGHT, CLIENT = IMAGES[0], BASE_IMAGE
PATIENCE = 90.0
RESYNC_SECONDS = 1.0
REST_SECONDS = 2.5
"""Longer than two resyncs."""
SETTLE_SECONDS = 1.2
"""Longer than a resync: what comes of the last act, such as Claude's last sign of activity, has been written."""
PERSON = 1000 if os.geteuid() == 0 else os.geteuid()


def as_person(*argv: str, cwd: Path | str = "/", check: bool = True) -> str:
    """Run something as the owner of the repositories."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    owner = {"user": PERSON, "group": PERSON} if os.geteuid() == 0 else {}
    done = subprocess.run(
        argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False, **owner
    )
    assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout.strip()


def git(place: Path | str, *arguments: str, check: bool = True) -> str:
    """Run git as the person."""
    return as_person("git", *arguments, cwd=place, check=check)


@dataclass
class Installation:
    """Controller and server with what watches them.

    Attributes:
        environment: more variables for both.
        strangers: names, in a baseline, of what is on the engine and not ours.
    """

    system: System
    requests: Requests
    log: GitLog
    events: EventRecorder
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    strangers: tuple[str, ...] = ()
    installation: str = ""

    def start(self, *modules: str) -> None:
        """Start both, or one of them, and wait until both answer."""
        for module in modules or ("controller", "ui.server"):
            self.processes[module] = self.system.start(module, *(["run"] if module == "controller" else []))
        self.until(lambda: self.health()["controller"]["status"] == "ok", "the system answers")
        self.installation = read_facts(self.system.state_dir).installation

    def kill(self, *modules: str) -> None:
        """Kill -9."""
        for module in modules or tuple(self.processes):
            process = self.processes.pop(module)
            process.kill()
            process.wait(30)

    def stop(self) -> None:
        """End both politely."""
        for process in reversed(self.processes.values()):
            with suppress(ProcessLookupError):
                process.terminate()
            process.wait(60)
        self.processes.clear()

    @property
    def controller(self) -> int:
        """The controller's process."""
        process = self.processes["controller"]
        assert process.poll() is None, f"the controller ended with {process.returncode}\n{self.system.logs()[-4000:]}"
        return process.pid

    def client(self, timeout: float = 30.0) -> Client:
        token = (self.system.state_dir / "token").read_text().strip()
        return Client(self.system.address, token, timeout=timeout)

    def health(self) -> dict[str, Any]:
        with self.client() as client:
            found: dict[str, Any] = client.health().model_dump(mode="json")
        return found

    def until(self, look: Callable[[], Any], what: str, *, timeout: float = PATIENCE) -> Any:  # noqa: ANN401  # as the look
        """Wait until it is true; tells what our processes said when that does not come."""
        try:
            return eventually(look, timeout=timeout, what=what, pause=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.system.logs()[-6000:]}") from error

    def containers(self) -> list[dict[str, Any]]:
        """Return what the engine says of every container of this installation."""
        label = f"label={INSTALLATION}={self.installation}"
        names = run(["docker", "ps", "-aq", "--no-trunc", "--filter", label]).decode().split()
        found: list[dict[str, Any]] = json.loads(run(["docker", "container", "inspect", *names])) if names else []
        return found

    def happened(self, *actions: str) -> list[tuple[str, str]]:
        """Return container events of this installation so far, as (action, instance's uid), in order."""
        self.events.catch_up()
        return [
            (each["Action"], each["Actor"]["Attributes"][UID])
            for each in self._ours()
            if not actions or each["Action"] in actions
        ]

    def measured(self, *, rest: bool, seconds: float = REST_SECONDS) -> Measured:
        """Return what the recorders know; with ``rest``, also what happens while nothing is to be done for so long."""
        cpu, writes = None, None
        if rest:
            with closing(Quiet(self.system.state_dir / "state.db", self.requests, self.log)) as quiet:
                eventually(lambda: not quiet.watch(SETTLE_SECONDS), timeout=PATIENCE, what="nothing is written")
                quiet.begin()
                before = self._told()
                cpu = cpu_share(self.controller, seconds)
                writes = quiet.writes()
                if writes:
                    writes += difflib.unified_diff(before, self._told(), "before", "after", n=0, lineterm="")
        self.events.catch_up()
        ours = self._ours()
        watched = "SQL, Docker and git watched over two resyncs"
        return Measured(overlaps({}, ours), starts(ours), cpu=cpu, writes=writes, watched=watched)

    def _told(self) -> list[str]:
        """Return all statuses, a line for each field, so that a write at rest can be named."""
        rows = read_facts(self.system.state_dir).instances()
        return json.dumps([[row.name, row.status] for row in rows], indent=1, sort_keys=True).splitlines()

    def _ours(self) -> list[dict[str, Any]]:
        """Return the events of our containers: others use this engine, too."""
        return [
            each
            for each in list(self.events.events)
            if each["Type"] == "container" and each["Actor"]["Attributes"].get(INSTALLATION) == self.installation
        ]

    def clean(self) -> None:
        """Remove what this installation has on the engine."""
        label = f"label={INSTALLATION}={self.installation}"
        for kind, listing in (("container", ["ps", "-aq"]), ("volume", ["volume", "ls", "-q"])):
            found = run(["docker", *listing, "--filter", label]).decode().split()
            if found:
                run(["docker", kind, "rm", "-f", *found], check=False)
        run(["docker", "rm", "-f", f"stranger-{self.system.prefix}"], check=False)
        run(["docker", "volume", "rm", "-f", f"stranger-{self.system.prefix}"], check=False)
        self.system.remove_everything()


@contextmanager
def installation(model: Model, settings: Mapping[str, str] | None = None) -> Iterator[Installation]:
    """Run an installation for the length of the block, in a folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="cco-world-"))
    folder.chmod(0o755)
    prefix, port = f"ccow{secrets.token_hex(3)}", free_port("127.0.0.1")
    log = GitLog(folder / "bin")
    stranger = f"stranger-{prefix}"
    run(["docker", "create", "--label", "cco-test=1", "--name", stranger, LIGHT])
    run(["docker", "volume", "create", "--label", "cco-test=1", stranger])
    with Requests(folder) as requests, EventRecorder("cco-test=nobody") as events:
        environment = {
            **environment_for(folder, prefix, model, port),
            "PATH": f"{log.folder}:{os.environ['PATH']}",
            "DOCKER_HOST": requests.url,
            "ANTHROPIC_API_KEY": KEY,
            "CCO_HEARTBEAT_SECONDS": "1",
            "CCO_RESYNC_SECONDS": f"{RESYNC_SECONDS:g}",
            "CCO_INSTANCE_IMAGE": LIGHT,
            **(settings or {}),
        }
        made = Installation(System(folder, prefix, port, model, environment), requests, log, events)
        made.strangers = (f"volume {stranger}", stranger)
        try:
            made.start()
            yield made
        finally:
            made.stop()
            made.clean()
    shutil.rmtree(folder)


@dataclass
class World:
    """What one test has: the installation, and a repository of its own that a person works in.

    Attributes:
        baseline: what :meth:`remember` recorded.
    """

    place: Installation
    repository: Path
    baseline: Baseline = field(default_factory=Baseline)

    @property
    def system(self) -> System:
        return self.place.system

    def register(self) -> None:
        with self.place.client() as client:
            spec = RepositorySpec(path=str(self.repository))
            client.create_repository(
                RepositoryManifest(metadata=ManifestMetadata(name=self.repository.name), spec=spec)
            )

    # The fleet ------------------------------------------------------------------------------------------------

    def spawn(self, *names: str, **spec: object) -> None:
        """Declare instances; they run ``LIGHT`` unless the spec says otherwise."""
        with self.place.client() as client:
            for name in names:
                client.create_instance(self.manifest(name, **spec))

    def manifest(self, name: str, **spec: object) -> InstanceManifest:
        wanted = {"repository": self.repository.name, "permission_mode": "bypassPermissions", **spec}
        wanted.setdefault("resources", {"cpus": 1.0, "memory": "1Gi"})
        return InstanceManifest(metadata=ManifestMetadata(name=name), spec=InstanceSpec.model_validate(wanted))

    def talk(self, name: str, word: str = "hello", **spec: object) -> None:
        """Declare an instance with the real client and wait until its first turn is over."""
        self.spawn(name, image=CLIENT, prompt=f"STEP say {word}", **spec)
        self.until_state(name, "idle", "working")
        self.until(lambda: self.screen(name).count(word) >= 2, f"{name} has said {word}")
        self.until_state(name, "idle")

    def get(self, name: str) -> Instance:
        with self.place.client() as client:
            return client.get_instance(name)

    def patch(self, name: str, **spec: object) -> None:
        with self.place.client() as client:
            client.patch_instance(name, {"spec": spec})

    def send(self, name: str, text: str) -> None:
        with self.place.client() as client:
            client.create_input(name, text)

    def delete(self, *names: str) -> None:
        with self.place.client() as client:
            for name in names:
                client.delete_instance(name)

    def names(self) -> list[str]:
        with self.place.client() as client:
            return [each.metadata.name for each in client.list_instances(repository=self.repository.name)]

    def is_gone(self, name: str) -> bool:
        try:
            self.get(name)
        except ApiError as error:
            return error.status == 404
        return False

    def ready(self, name: str) -> Condition:
        """Return the condition ``Ready`` of what was declared last."""
        instance = self.get(name)
        found = find_condition(instance.status.conditions, "Ready")
        assert found is not None, f"{name} was not looked at yet"
        assert instance.status.observed_generation == instance.metadata.generation, f"{name}: an older generation"
        return found

    def condition(self, name: str, type_: str) -> Condition:
        found = find_condition(self.get(name).status.conditions, type_)
        assert found is not None
        return found

    def until(self, look: Callable[[], Any], what: str, *, timeout: float = PATIENCE) -> Any:  # noqa: ANN401  # as the look
        return self.place.until(look, what, timeout=timeout)

    def until_ready(self, *names: str, timeout: float = PATIENCE) -> None:
        def up(name: str) -> bool:
            ready = self.ready(name)
            assert ready.status is ConditionStatus.TRUE, ready
            return True

        for name in names:
            self.until(lambda name=name: up(name), f"{name} is ready", timeout=timeout)

    def until_reason(
        self, name: str, *reasons: str, timeout: float = PATIENCE, status: ConditionStatus = ConditionStatus.FALSE
    ) -> Condition:
        """Wait until ``Ready`` has this status for one of these reasons."""

        def look() -> Condition:
            ready = self.ready(name)
            assert (ready.status, ready.reason in reasons) == (status, True), ready
            return ready

        found: Condition = self.until(look, f"{name} is {' or '.join(reasons)}", timeout=timeout)
        return found

    def until_state(self, name: str, *states: str, timeout: float = PATIENCE) -> None:
        """Wait until Claude's session is in one of the states."""

        def look() -> bool:
            session = self.get(name).status.session
            return session is not None and str(session.state) in states

        self.until(look, f"session of {name} is {' or '.join(states)}", timeout=timeout)

    def until_gone(self, *names: str, timeout: float = PATIENCE) -> None:
        for name in names:
            self.until(lambda name=name: self.is_gone(name), f"{name} is gone", timeout=timeout)

    def reasons(self, name: str) -> list[str]:
        """Return the reasons of all events of an instance."""
        with self.place.client() as client:
            return [each.reason for each in client.instance_events(name)]

    # One instance ---------------------------------------------------------------------------------------------

    def container(self, name: str) -> str:
        workload = self.get(name).status.workload
        assert workload is not None, f"{name} has no container"
        return workload.name

    def life(self, name: str) -> tuple[str, int, str]:
        """Return container, first process and time of the start: what a restart would change."""
        found = json.loads(run(["docker", "container", "inspect", self.container(name)]))[0]
        return found["Id"], found["State"]["Pid"], found["State"]["StartedAt"]

    def worktree(self, name: str) -> Path:
        workspace = self.get(name).status.workspace
        assert workspace is not None, f"{name} has no workspace"
        return Path(workspace.path)

    def in_box(self, name: str, script: str, *, check: bool = True) -> str:
        """Do something as the agent, in its container and its worktree."""
        argv = ["docker", "exec", "--workdir", str(self.worktree(name)), self.container(name), "sh", "-ec", script]
        return run(argv, check=check).decode(errors="replace").strip()

    def commit(self, name: str, subject: str) -> str:
        """Commit something in an instance, leave something uncommitted, wait until the commit is home; returns it."""
        script = f"echo {subject} >>work.txt; git add work.txt; git commit -qm '{subject}'; echo half >draft.txt"
        self.in_box(name, script)
        commit = self.in_box(name, "git rev-parse HEAD")
        branch = self.get(name).branch
        self.until(lambda: self.head(branch) == commit, f"the commit of {name} is at home")
        return commit

    def head(self, branch: str) -> str:
        return git(self.repository, "rev-parse", "--verify", "-q", f"refs/heads/{branch}", check=False)

    def screen(self, name: str) -> str:
        """Return what a person sees in Claude's window."""
        target = f"=cc-orchestrator-{name}:claude"
        return run(["docker", "exec", self.container(name), "tmux", "capture-pane", "-p", "-t", target]).decode()

    # What must hold -------------------------------------------------------------------------------------------

    def remember(self) -> None:
        """Record what must survive; of the engine only our own strangers, because others use it, too."""
        self.baseline = record(read_facts(self.system.state_dir))
        here = str(self.repository)
        self.baseline.foreign = {
            name: digest
            for name, digest in self.baseline.foreign.items()
            if here in name or name.endswith(self.place.strangers)
        }

    def verify(self, *, within: float = PATIENCE, rest: bool = True, seconds: float = REST_SECONDS) -> None:
        """Judge the eight invariants; the last of them by watching the system at rest."""
        try:
            check(self.system.state_dir, self.baseline, within=within)
            measured = self.place.measured(rest=rest, seconds=seconds)
            verdicts = check(self.system.state_dir, self.baseline, measured, within=5.0)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.system.logs()[-6000:]}") from error
        assert not rest or all(verdict.measured for verdict in verdicts), verdicts

    def close(self) -> None:
        """Delete everything of this test, through the product; its work must outlive that."""
        self.baseline.acknowledged = [each for each in self.baseline.acknowledged if each.kind == "Repository"]
        names = self.names()
        self.delete(*names)
        self.until_gone(*names)
        self.verify(rest=False)
        assert git(self.repository, "fsck", "--no-dangling") == "", "the person's repository is sound"
        with self.place.client() as client:
            client.delete_repository(self.repository.name)
