"""What tests do to workloads of the process runtime behind its back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from controller.runtime.process.cgroups import Cgroup
from controller.runtime.process.environment import Environment
from controller.runtime.process.processes import Identity
from controller.runtime.process.records import Record, Run
from controller.runtime.process.runtime import ProcessRuntime
from controller.runtime.protocol import Runtime, WorkloadSpec

from .deadline import eventually
from .program_world import ProgramWorld, program

IMAGE = "cc-orchestrator-test/programs:1"
_SCRIPT = program('"$TMUX_TMPDIR/end"')


class ProcessWorld(ProgramWorld):
    """The contract's world on this machine, everything in a folder of its own."""

    def __init__(self, folder: Path, *, command: Sequence[str] = ("/bin/sh", "-c", _SCRIPT)) -> None:
        super().__init__(folder, IMAGE, user=(os.getuid(), os.getgid()), workdir=str(folder))
        self.state_dir = folder / "state"
        self.state_dir.mkdir(mode=0o700)
        self.root = self.state_dir / "process"
        self.command = command
        self._away = self.state_dir / "away"
        self._agents: dict[str, Identity] = {}
        self.runtime: Runtime = self.restarted()
        self.stranger: Runtime = self._make("stranger", "strange")

    def _make(self, installation: str, prefix: str) -> ProcessRuntime:
        environment = Environment(state_dir=self.state_dir, image=IMAGE, command=self.command)
        return ProcessRuntime(root=self.root, installation=installation, prefix=prefix, environment=environment)

    def restarted(self) -> ProcessRuntime:
        return self._make("ours", "cco")

    def clean(self) -> None:
        """End everything this world made."""
        self.come_back()
        for runtime in (self.restarted(), self._make("stranger", "strange")):
            for workload in runtime.list():
                runtime.remove(workload.uid)

    def record(self, uid: str) -> Record:
        """Return the newest record of the uid, ours or a stranger's."""
        found = [Record(**json.loads(path.read_text())) for path in self.root.glob("workloads/*.workload")]
        return max((each for each in found if each.uid == uid), key=lambda each: each.attempt)

    def run(self, uid: str) -> Run:
        """Return the newest run of the uid."""
        run = self.restarted()._records.run(self.record(uid).name)  # noqa: SLF001  # the tests' look inside
        assert run is not None
        return run

    def occupy(self, spec: WorkloadSpec) -> Callable[[], object]:
        return _occupy(self.root / "workloads" / f"cco-{spec.name}-{spec.attempt}.workload")

    def occupy_home(self, spec: WorkloadSpec) -> Callable[[], object]:
        folder = self.root / "homes" / f"cco-{spec.name}-{spec.uid[:8]}-home"
        folder.mkdir(parents=True)
        return _occupy(folder / "precious")

    def tell(self, uid: str, end: str) -> None:
        fifo = Path(self.run(uid).scratch) / "tmux" / "end"
        eventually(fifo.exists, timeout=15, what="the program listens")
        fifo.write_text(f"{end}\n")

    def kill(self, uid: str) -> None:
        self.run(uid).agent.send(signal.SIGKILL)

    def kill_unseen(self, uid: str) -> None:
        self._agents[uid].send(signal.SIGKILL)
        eventually(lambda: not self._agents[uid].is_alive(), timeout=15, what="the program is dead")

    def pause_by_hand(self, uid: str) -> None:
        agent = self.run(uid).agent
        agent.send(signal.SIGSTOP)
        eventually(agent.is_stopped, timeout=15, what="the program is stopped")

    def remove_by_hand(self, uid: str) -> None:
        name = self.record(uid).name
        run = self.run(uid)
        run.shim.send(signal.SIGKILL)
        run.agent.send(signal.SIGKILL)
        run.agent.wait(10)
        Cgroup(run.cgroups).remove()
        shutil.rmtree(run.scratch)
        for path in self.root.glob(f"workloads/{name}.*"):
            path.unlink()

    def remove_network_by_hand(self) -> None:
        """Processes have none of their own."""

    def has_home(self, spec: WorkloadSpec) -> bool:
        return (self.root / "homes" / f"cco-{spec.name}-{spec.uid[:8]}-home" / "home").is_dir()

    def cut_connections(self) -> None:
        """A folder that was moved is another one to those who watch it."""
        self.go_away()
        self.come_back()

    def go_away(self) -> None:
        self._agents = {each.uid: self.run(each.uid).agent for each in self.runtime.list() if each.started_at}
        self.root.rename(self._away)
        self.root.write_text("not a folder")

    def come_back(self) -> None:
        if self._away.exists():
            self.root.unlink()
            self._away.rename(self.root)

    def argv_printing(self, data: bytes) -> Sequence[str]:
        return (sys.executable, "-c", f"import sys; sys.stdout.buffer.write({data!r})")


def _occupy(path: Path) -> Callable[[], object]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("somebody else's")
    return lambda: (path.read_text(), path.stat().st_mtime_ns, sorted(each.name for each in path.parent.iterdir()))


def process_world(folder: Path) -> Iterator[ProcessWorld]:
    """Yield a world and clean up after it; the body of a fixture."""
    world = ProcessWorld(folder)
    try:
        yield world
    finally:
        world.clean()
