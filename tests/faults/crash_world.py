"""The in-process arm: real SQLite, real git and real files; the fake engine and fake agents; one thread.

A crash throws the whole controller away (locks, sockets, connections) and a new one goes on with the same files,
engine and agents. The engine and the agents' programs live on, as they do on a machine.
"""

from __future__ import annotations

import dataclasses
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from controller.agents import AgentConfig, AgentLinks, Heard
from controller.errors import CcoError, Retryable
from controller.reconcile.loop import Request
from controller.resources import ManifestMetadata, RepositoryManifest, RepositorySpec
from controller.runtime.protocol import Runtime, Workload
from controller.store import Store
from controller.workspace import GitWorkspaces, refs
from controller.workspace.types import WorkspaceRef, Workspaces
from support.fake_agents import FakeAgent, FakeAgents
from support.fake_belongings import FakeMark
from support.fake_engine import FakeContainer, FakeEngine, unavailable
from support.fake_runtime import FakeRuntime
from support.git_world import OWNERS, GitWorld
from support.world import World

from .facts import INSTALLATION, INSTANCE, UID, Container, Engine, Thing
from .injector import Call, Crash, Injector, Mode, Seam
from .seams import installed

PASSES = 60
LIVES = 6
Looks = tuple[tuple[Workload, ...], tuple[Workload, ...]]
"""What was there before the last change that was seen, and after it."""
_LOOKS = frozenset({"inspect", "list", "image_id"})


class StaleRuntime(FakeRuntime):
    """A runtime whose look can be told to answer what was there before the last change."""

    def __init__(self, engine: FakeEngine, installation: str, world: CrashWorld) -> None:
        super().__init__(engine, installation=installation)
        self._world = world

    def inspect(self, uid: str) -> tuple[Workload, ...]:
        self._world.stale = False
        answer = super().inspect(uid)
        before, latest = self._world.looks.get(uid, ((), ()))
        if answer != latest:
            before, latest = latest, answer
            self._world.looks[uid] = (before, latest)
        return before if self._world.stale else answer


class FiledAgents(FakeAgents):
    """Fake agents behind the real :class:`AgentLinks`: its sockets and files are real, what agents say is not."""

    def __init__(self, world: CrashWorld) -> None:
        super().__init__(world.engine, lambda: world.now)
        self._world = world
        self._links = self._make()

    def _make(self) -> AgentLinks:
        return AgentLinks(lambda name: self._world.settings.instance_dir(name) / "run", dict, lambda _: None)

    def restart(self) -> None:
        """Let another controller listen: sockets of the dead one stay as files, and agents connect anew."""
        left = sorted((self._world.settings.state_dir / "instances").glob("*/run/controller.sock"))
        self.close()
        for path in left:
            path.unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(path))
        self.opened.clear()
        for agent in self.agents.values():
            agent.handed_over.clear()
        self._links = self._make()

    def close(self) -> None:
        self._links.close()

    def open(self, name: str, uid: str) -> None:
        self._links.open(name, uid)
        super().open(name, uid)

    def forget(self, uid: str) -> None:
        self._links.forget(uid)
        super().forget(uid)

    def configure(self, config: AgentConfig) -> None:
        self._links.configure(config)

    def heard(self, uid: str) -> Heard | None:
        """Return the report; an agent that starts anew reads the file that is there at that moment."""
        for container in self.engine.of_uid(uid):
            path = self._world.settings.instance_dir(container.spec.name) / "run" / "instance.json"
            if path.is_file():
                self.configs[uid] = AgentConfig.model_validate_json(path.read_text(encoding="utf-8"))
        return super().heard(uid)

    def send_input(self, uid: str, input_id: str, text: str) -> bool:
        mode = self._world.injector.before(Call(Seam.AGENT, "send_input", writes=True), unreachable)
        sent = super().send_input(uid, input_id, text)
        self._world.injector.after(mode, unreachable)
        return sent


def unreachable() -> CcoError:
    return Retryable("AgentUnreachable", "the connection broke: a test cut it", delay=1.0)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Everything as it was at one moment; the files are a copy below ``folder``."""

    folder: Path
    now: datetime
    containers: dict[str, FakeContainer]
    homes: dict[str, str]
    networks: set[str]
    marks: dict[str, FakeMark]
    agents: dict[str, FakeAgent]
    looks: dict[str, Looks]


class CrashWorld(World):
    """See the module's docstring; everything of it lies below ``base``."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.user = GitWorld(base, OWNERS[0])
        self.injector = Injector()
        self.injector.active = False
        self.looks: dict[str, Looks] = {}
        self.stale = False
        self.most_running = 0
        super().__init__(self.user.state_dir)
        self._filed = FiledAgents(self)
        self.agents = self._filed
        self.engine.interrupt = self._docker

    def close(self) -> None:
        self._filed.close()
        super().close()

    def runtime(self) -> Runtime:
        return StaleRuntime(self.engine, self.store.installation_id, self)

    def workspaces(self) -> Workspaces:
        return GitWorkspaces(self.settings.state_dir)

    def _docker(self, verb: str, moment: str) -> None:
        """Stand at the engine's seam: count who runs, and let the injector have its way."""
        if moment == "before":
            call = Call(Seam.DOCKER, verb, writes=verb not in _LOOKS)
            self._mode = self.injector.before(call, unavailable)
            self.stale = self._mode is Mode.STALE
            return
        alive = [each.spec.uid for each in self.engine.containers.values() if each.seen.state == "running"]
        self.most_running = max([self.most_running, *(alive.count(uid) for uid in alive)])
        self.injector.after(self._mode, unavailable)

    # Controllers come and go ----------------------------------------------------------------------------------

    def restart(self) -> None:
        """Throw the controller away and start another one."""
        self.injector.active = False
        self.store.close()
        self._filed.restart()
        _forget()
        self.injector.revive()
        self.store = Store.open(self.settings.database)

    def work(self) -> int:
        """Let controllers work until nothing is left to do; returns how many died.

        Raises:
            AssertionError: it does not come to rest.
        """
        for deaths in range(LIVES):
            self.injector.active = True
            try:
                self._come_to_rest()
            except Crash:
                self.restart()
            else:
                return deaths
            finally:
                self.injector.active = False
        raise AssertionError("the controller dies again and again")

    def _come_to_rest(self) -> None:
        """Do passes as the loop would, until none is wanted, and then the one that an agent's next report causes."""
        quiet = 0
        for _ in range(PASSES):
            wanted = self.one_pass_of_all()
            quiet = quiet + 1 if wanted is None else 0
            if quiet == 2:
                return
            self.tick(wanted or 0.0)
        raise AssertionError(f"no rest after {PASSES} passes; {self._told()}")

    def resync(self) -> None:
        """Let the time of a resync come; agents said something since, as they do with every heartbeat."""
        self.tick(self.settings.resync_seconds)

    def one_pass_of_all(self) -> float | None:
        """Do one pass of everything; returns the soonest wish for another one that work or a failure has."""
        wishes = [self._pass(self.repository_reconciler().reconcile, each) for each in self._names("repositories")]
        wishes += [self._pass(self.reconciler().reconcile, each) for each in self._names("instances")]
        return min((wish for wish in wishes if wish is not None), default=None)

    def _names(self, kind: str) -> list[str]:
        self.injector.active, was = False, self.injector.active
        objects = self.store.repositories.list() if kind == "repositories" else self.store.instances.list()
        self.injector.active = was
        return [each.metadata.name for each in objects]

    def _pass(self, reconcile: object, name: str) -> float | None:
        try:
            wanted = reconcile(Request(name)).requeue_after  # type: ignore[operator]  # either kind's
        except Retryable as error:
            return error.delay if error.delay is not None else 1.0
        except CcoError:
            return None
        return 0.0 if wanted == 0.0 else None

    def _told(self) -> str:
        return "; ".join(
            f"{each.metadata.name}: {[c.reason for c in each.status.conditions if c.type == 'Ready']}"
            for each in self.store.instances.list()
        )

    @contextmanager
    def watched(self, injector: Injector) -> Iterator[None]:
        """Let every call of a seam pass through the injector."""
        self.injector = injector
        injector.active = False
        self.most_running = 0
        with installed(injector, str(self.base)):
            yield

    # What verify looks at -------------------------------------------------------------------------------------

    def facts_of_engine(self) -> Engine:
        """Return the fake engine's things as ``facts.read_engine`` returns the real one's."""
        containers = tuple(
            Container(
                id=each.seen.id,
                name=each.seen.name,
                state=str(each.seen.state),
                labels={INSTALLATION: each.installation, UID: each.spec.uid, INSTANCE: each.spec.name},
            )
            for each in self.engine.containers.values()
        )
        homes = tuple(
            Thing(name, {INSTALLATION: self.store.installation_id, UID: uid}) for name, uid in self.engine.homes.items()
        )
        return Engine(containers, homes)

    # Going back -----------------------------------------------------------------------------------------------

    def checkpoint(self, folder: Path) -> Checkpoint:
        """Keep everything as it is now."""
        self.restart()  # a database is copied closed
        self.store.close()
        _copy(self.base, folder)
        self.store = Store.open(self.settings.database)
        return Checkpoint(
            folder,
            self.now,
            {name: dataclasses.replace(each, logs=[*each.logs]) for name, each in self.engine.containers.items()},
            dict(self.engine.homes),
            set(self.engine.networks),
            dict(self.engine.marks),
            {uid: _twin(agent) for uid, agent in self._filed.agents.items()},
            dict(self.looks),
        )

    def go_back(self, checkpoint: Checkpoint) -> None:
        """Put everything back to where it was kept."""
        self.injector.active = False
        self.injector.revive()
        self.store.close()
        self._filed.close()
        for each in self.base.iterdir():
            shutil.rmtree(each)
        _copy(checkpoint.folder, self.base)
        self.engine.containers = {name: dataclasses.replace(each) for name, each in checkpoint.containers.items()}
        self.engine.homes = dict(checkpoint.homes)
        self.engine.networks = set(checkpoint.networks)
        self.engine.marks = dict(checkpoint.marks)
        self._filed.agents.clear()
        self._filed.agents.update({uid: _twin(agent) for uid, agent in checkpoint.agents.items()})
        self._filed.configs.clear()
        self._filed.restart()
        self.looks = dict(checkpoint.looks)
        self.now = checkpoint.now
        _forget()
        self.store = Store.open(self.settings.database)

    def repository_manifest(self) -> RepositoryManifest:
        """Return the declaration of the user's repository."""
        spec = RepositorySpec(path=str(self.user.repository))
        return RepositoryManifest(metadata=ManifestMetadata(name="shop"), spec=spec)

    def ref(self, name: str = "web") -> WorkspaceRef:
        """Return the workspace of an instance, for what its agent does."""
        workspace = self.get(name).status.workspace
        assert workspace is not None
        return self.user.ref(name, worktree=workspace.path, private=workspace.git_dir, branch=workspace.branch)

    def let_agent_in(self, name: str = "web") -> None:
        """Open the folders above the private git directory, as a mount would."""
        for folder in (self.settings.state_dir / "instances", self.settings.instance_dir(name)):
            folder.chmod(0o711)


def _forget() -> None:
    """Empty what a process remembers for itself."""
    for remembered in (refs._is_ancestor, refs._count):  # noqa: SLF001  # a new process begins without them
        remembered.cache_clear()


def _twin(agent: FakeAgent) -> FakeAgent:
    return dataclasses.replace(agent, handed_over=[*agent.handed_over], answers=dict(agent.answers))


def _copy(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", f"{source}/.", str(target)], check=True, timeout=60)


@contextmanager
def crash_world() -> Iterator[CrashWorld]:
    """Yield a world in a folder that every user may enter."""
    base = Path(tempfile.mkdtemp(prefix="cco-crash-"))
    base.chmod(0o755)
    try:
        world = CrashWorld(base)
        try:
            yield world
        finally:
            world.close()
    finally:
        shutil.rmtree(base)
