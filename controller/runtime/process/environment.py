"""What a workload is made of on this machine: its record, its order to the shim, its environment, and the ways to it.

Where the controller is root, workloads run as the owner of the repository. The state directory is closed to that
user, so the folders on the way to what belongs to the instance are opened for passing (never for looking); a folder
that is not ours is never changed, only named.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.errors import Retryable, Terminal, Unavailable
from controller.runtime.protocol import Limits, WorkloadSpec
from controller.workspace.safe_files import remove_tree

from .access import closed_folder, let_pass
from .launch import MARK, Order, base_environment
from .programs import agent_argv, find_programs, write_git, write_settings
from .records import Record, now

logger = logging.getLogger(__name__)

RUN_TARGET = "/run/cco"
"""Where a container would see the instance's own folder; here its source is used as it is."""
_SCRATCH = re.compile(r"cco-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Environment:
    """See the module's docstring.

    Attributes:
        image: the one image there is: the programs of this machine.
        claude: Claude Code's program, a name or a path.
        command: what to run in place of the agent; for tests of the runtime itself.
    """

    state_dir: Path
    image: str
    claude: str = "claude"
    command: Sequence[str] = ()

    def image_id(self, image: str) -> str | None:
        """Return what stands for the image's identifier, or ``None`` when it is not there."""
        try:
            return self.require(image)
        except Terminal:
            return None

    def require(self, image: str) -> str:
        """Return the same, and complain where something is missing.

        Raises:
            Terminal: ``ImageNotFound``, ``ProgramMissing``.
        """
        if image != self.image:
            message = f"image: runtime 'process' uses the programs of this machine, not {image!r}: remove spec.image"
            raise Terminal("ImageNotFound", message)
        return f"sha256:{'0' * 64}" if self.command else find_programs(self.claude).identity()

    def record(self, spec: WorkloadSpec, name: str, installation: str, image_id: str) -> Record:
        """Return what is written down of a new workload."""
        targets = {mount.target: mount.source for mount in spec.mounts}
        pointer = targets.get(os.path.join(spec.workdir, ".git"))  # noqa: PTH118  # as the mount has it
        return Record(
            id=uuid.uuid4().hex,
            installation=installation,
            name=name,
            instance=spec.name,
            uid=spec.uid,
            attempt=spec.attempt,
            image_id=image_id,
            spec_hash=spec.spec_hash,
            workdir=spec.workdir,
            user=spec.user,
            created_at=now(),
            sources=tuple(mount.source for mount in spec.mounts),
            run_dir=targets.get(RUN_TARGET),
            git_dir=None if pointer is None else _git_dir(Path(pointer)),
            env=dict(spec.env),
            labels=dict(spec.labels),
        )

    def user(self, record: Record) -> tuple[int, int] | None:
        """Return the user to become for a workload; ``None`` where there is nobody else we could become."""
        return None if os.geteuid() != 0 or record.user[0] == 0 else record.user

    def variables(self, record: Record, home: Path, scratch: str) -> dict[str, str]:
        """Return the environment of a workload's processes.

        Git is told by variables where the instance's private git directory is: nobody covers the worktree's ``.git``
        here, which is the repository's own. A ``git`` before the real one takes them away where they would be wrong.
        """
        git = {"GIT_DIR": record.git_dir, "GIT_WORK_TREE": record.workdir} if record.git_dir else {}
        base = base_environment(self.user(record))
        path = record.env.get("PATH", base.get("PATH", os.defpath))
        return {
            **base,
            **record.env,
            **git,
            "PATH": f"{home / 'bin'}:{path}",
            "HOME": str(home / "home"),
            "CCO_INSTANCE": record.instance,
            "TMUX_TMPDIR": f"{scratch}/tmux",
            MARK: record.id,
        }

    def order(self, record: Record, *, root: Path, home: Path, limits: Limits) -> Order:
        """Return what the shim is told at a start.

        Raises:
            Terminal: ``ProgramMissing``, ``InvalidWorkload``.
            Unavailable: a file of ours cannot be written.
        """
        user = self.user(record)
        scratch = scratch_root(user) / f"cco-{uuid.uuid4().hex[:12]}"
        argv = list(self.command)
        if not argv:
            programs = find_programs(self.claude, user)
            settings = home / "settings.json"
            try:
                write_settings(programs, settings)
                write_git(programs, home / "bin")
            except OSError as error:
                raise Unavailable("RuntimeUnavailable", f"{settings} cannot be written: {error.strerror}") from error
            argv = agent_argv(programs, run=Path(record.run_dir or RUN_TARGET), scratch=scratch, settings=settings)
        return Order(
            root=str(root),
            name=record.name,
            id=record.id,
            run=uuid.uuid4().hex,
            argv=argv,
            env=self.variables(record, home, str(scratch)),
            workdir=record.workdir,
            user=user,
            limits=limits,
            scratch=str(scratch),
        )

    def remove_scratch(self, path: str) -> None:
        """Remove the folder of a run whose shim did not; idempotent. One that stays is logged: no run has it again."""
        if _SCRATCH.fullmatch(Path(path).name):
            try:
                remove_tree(path)
            except Retryable as error:
                extra = {"cco_reason": error.reason, "cco_error": error.message}
                logger.warning("scratch folder stays", extra=extra)

    def open_ways(self, record: Record) -> None:
        """Let the workload's user pass through our folders to its own; idempotent, and nothing where it is us."""
        user = self.user(record)
        if user is None:
            return
        for target in (self.state_dir / "process" / "homes", record.run_dir, record.git_dir):
            if target is None:
                continue
            folder = Path(target)
            while folder.is_relative_to(self.state_dir):
                # What belongs to one instance is for its user's group alone: prompts are in it.
                own = folder.parent == self.state_dir / "instances"
                with contextlib.suppress(OSError):
                    let_pass(folder, user[1] if own else None)
                folder = folder.parent

    def check_ways(self, record: Record, home: Path) -> None:
        """Refuse a workload whose user cannot reach what it needs.

        Raises:
            Terminal: ``InvalidWorkload``, naming the folder in the way.
        """
        user = self.user(record)
        if user is None:
            return
        let_pass(home, user[1])
        needed = [record.workdir, record.git_dir, record.run_dir, str(home / "home")]
        if not self.command:
            programs = find_programs(self.claude, user)
            needed += [programs.claude, programs.python, str(programs.agent)]
        for target in needed:
            closed = None if target is None else closed_folder(target, user)
            if closed is not None:
                message = (
                    f"uid {user[0]}, as which this instance runs, cannot enter {closed} on the way to {target}: "
                    f"allow it with 'chmod o+x {closed}', keep it elsewhere, or start cc-orchestrator as that user"
                )
                raise Terminal("InvalidWorkload", message)


def scratch_root(user: tuple[int, int] | None) -> Path:
    """Return where a run's sockets and secrets go: in memory where there is such a place, and by a short path.

    A unix socket's path is at most 107 bytes.
    """
    own = [os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.geteuid()}"] if user is None else []
    places = [Path(place) for place in (*own, "/run", "/dev/shm", tempfile.gettempdir()) if place]  # noqa: S108
    usable = [place for place in places if os.access(place, os.W_OK | os.X_OK) and len(str(place)) < 40]
    in_memory = [place for place in usable if _is_in_memory(place)]
    return (in_memory or usable or [Path(tempfile.gettempdir())])[0]


def _is_in_memory(place: Path) -> bool:
    """Tell whether a folder is on a tmpfs, by the mount it is on (proc(5), mountinfo)."""
    best, kind = "", ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
            left, _, right = line.partition(" - ")
            mount = left.split()[4]
            if place.is_relative_to(mount) and len(mount) >= len(best):
                best, kind = mount, right.split()[0]
    return kind == "tmpfs"


def _git_dir(pointer: Path) -> str | None:
    """Return what a worktree's ``.git`` file points to.

    Raises:
        Retryable: ``MountSourceMissing``.
    """
    try:
        text = pointer.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        message = f"{str(pointer)!r} cannot be read ({error.strerror}): it is tried again"
        raise Retryable("MountSourceMissing", message) from error
    return text.removeprefix("gitdir: ").rstrip("\n") or None
