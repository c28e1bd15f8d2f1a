"""What every world of the runtime contract has in common whose workloads are real programs.

``docker_world.py`` runs the program in containers, ``process_world.py`` as processes of this machine.
"""

from __future__ import annotations

import dataclasses
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from controller.runtime.protocol import Limits, WorkloadSpec

MIB = 1024**2
CONTAINER_USER = (1000, 1000)
CONTAINER_FOLDER = "/tmp"  # noqa: S108  # a path in the container

# Perl is in Debian's base system; its C compiler is not.
_PROGRAM = """
[ -z "$STUBBORN" ] || trap '' TERM
mkfifo -m 0600 PIPE
echo started
read -r end <PIPE
[ "$end" = memory ] && exec perl -e '$x = "a" x (1 << 30)'
exit "$end"
"""
_ECHO = "stty raw -echo; printf ready; exec cat"
_MEASURE = 'stty -echo; printf ready; while read -r line; do printf %s "$(stty size)"; done'


def program(pipe: str) -> str:
    """Return a shell script that says that it started, then waits to be told how to end.

    Args:
        pipe: the named pipe that it makes and is told by, as a word of the shell.
    """
    return _PROGRAM.replace("PIPE", pipe)


def workload_spec(
    name: str, image: str, *, user: tuple[int, int] = CONTAINER_USER, workdir: str = CONTAINER_FOLDER
) -> WorkloadSpec:
    """Return a small workload of a new uid."""
    return WorkloadSpec(
        name=name,
        uid=str(uuid.uuid4()),
        attempt=1,
        image=image,
        spec_hash="hash",
        limits=Limits(cpus=1.0, memory=64 * MIB, pids=64),
        mounts=(),
        user=user,
        workdir=workdir,
    )


class ProgramWorld(ABC):
    """A world whose workloads run :func:`program`.

    Args:
        folder: everything that lies on the host is below it.
        image: of the workloads; they run as ``user`` in ``workdir``.
    """

    def __init__(
        self, folder: Path, image: str, *, user: tuple[int, int] = CONTAINER_USER, workdir: str = CONTAINER_FOLDER
    ) -> None:
        self.folder = folder
        self._image = image
        self._user = user
        self._workdir = workdir

    def spec(self, name: str = "web", *, stubborn: bool = False, **changes: object) -> WorkloadSpec:
        spec = workload_spec(name, self._image, user=self._user, workdir=self._workdir)
        if stubborn:
            spec = dataclasses.replace(spec, env={"STUBBORN": "1"})
        return dataclasses.replace(spec, **changes)  # type: ignore[arg-type]  # checked by replace

    @abstractmethod
    def tell(self, uid: str, end: str) -> None:
        """Tell the first process how to end: an exit code, or ``memory``."""

    def crash(self, uid: str, exit_code: int) -> None:
        self.tell(uid, str(exit_code))

    def exhaust_memory(self, uid: str) -> None:
        self.tell(uid, "memory")

    def make_source(self) -> str:
        path = self.folder / uuid.uuid4().hex
        path.mkdir()
        return str(path)

    def remove_source(self, path: str) -> None:
        shutil.rmtree(path)

    def argv_exiting(self, code: int) -> Sequence[str]:
        return ("sh", "-c", f"exit {code}")

    def argv_echoing(self) -> Sequence[str]:
        return ("sh", "-c", _ECHO)

    def argv_measuring(self) -> Sequence[str]:
        return ("sh", "-c", _MEASURE)
