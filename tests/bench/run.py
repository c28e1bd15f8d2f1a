"""One run of the bench: its options, its folder, and what several measures share: the arms and a fleet of instances."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from support.host_system import ROOT, git, stop_process

from .findings import Arm
from .image import build_image, remove_leftovers
from .processes import cpu_seconds, machine_cpu
from .product import Product, running_product

PREFIX = "ccobench"
OWNER = 1000
FILES = 1000
PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured.

    Attributes:
        pairs: how often each arm is measured.
        fleet: instances that run while idle cost, memory, answers and adoption are measured.
        fakes: sizes of the fleets on the fake runtime; the first one is what the others are compared with.
        posts: instances declared at once on the fake runtime.
        window: seconds for which an idle fleet is looked at, each time.
        seconds: for which one rate of requests is measured.
        memory: a file system without a disk.
    """

    pairs: int = 5
    sizes: tuple[int, ...] = (1, 5, 20)
    fleet: int = 100
    fakes: tuple[int, int, int] = (100, 1000, 5000)
    posts: int = 1000
    window: float = 30.0
    seconds: float = 2.0
    memory: Path = Path("/dev/shm")  # noqa: S108  # on purpose: no disk's noise


class Run:
    """A context manager; whatever happens, nothing is left of it at the end.

    Attributes:
        directory: everything of this run lies below, in memory.
        prefix: first part of all names in Docker.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.prefix = f"{PREFIX}{secrets.token_hex(3)}"
        self._stack = ExitStack()
        self._count = 0

    def __enter__(self) -> Self:
        self._stack.enter_context(_alone(self.options.memory / f"{PREFIX}.lock"))
        for old in self.options.memory.glob(f"{PREFIX}-*"):
            _end_processes_of(old)
            shutil.rmtree(old, ignore_errors=True)
        try:
            self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-", dir=self.options.memory))
            self.directory.chmod(0o755)
            self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def say(self, text: str) -> None:
        """Tell how far it is, beside the result."""
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        sys.stderr.flush()

    def names(self, count: int, what: str) -> list[str]:
        """Return names that were not used in this run."""
        self._count += 1
        return [f"{what}-{self._count}-{number}" for number in range(1, count + 1)]

    # Arms ---------------------------------------------------------------------------------------------------

    @cached_property
    def image(self) -> str:
        """The image of both arms; whatever an earlier run left is removed first, and what this one leaves last."""
        remove_leftovers(PREFIX)
        self._stack.callback(remove_leftovers, PREFIX)
        image = build_image()
        isolated = ["--opt", "com.docker.network.bridge.enable_icc=false"]
        label = ["--label", "cc-orchestrator.network=instances"]
        argv = ["docker", "network", "create", "--driver", "bridge", *isolated, *label, self.prefix]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
        return image

    @cached_property
    def repository(self) -> Path:
        """A repository of a thousand small files, of a user who is not root."""
        path = self.directory / "shop"
        path.mkdir()
        git(path, "init", "--quiet", "--initial-branch", "main")
        git(path, "config", "user.name", "A. Person")
        git(path, "config", "user.email", "person@example.org")
        for number in range(FILES):
            folder = path / f"part{number % 20}"
            folder.mkdir(exist_ok=True)
            (folder / f"file{number}.txt").write_text(f"{number}\n" * 50, encoding="utf-8")
        git(path, "add", ".")
        git(path, "commit", "--quiet", "--message", "Begin")
        if os.geteuid() == 0:
            for each in [path, *path.rglob("*")]:
                os.chown(each, OWNER, OWNER, follow_symlinks=False)
            (self.directory / "shop.raw").mkdir()
            os.chown(self.directory / "shop.raw", OWNER, OWNER)
        return path

    @cached_property
    def product(self) -> Product:
        """The product, on Docker, with measurements at 1 Hz."""
        environment = {"CCO_INSTANCE_IMAGE": self.image, "CCO_HEARTBEAT_SECONDS": "1"}
        product = self._stack.enter_context(running_product(self.directory / "product", self.prefix, environment))
        product.register(self.repository)
        return product

    @cached_property
    def raw(self) -> RawArm:
        """The raw arm."""
        arguments = {
            "directory": self.directory / "raw",
            "repository": self.repository,
            "image": self.image,
            "prefix": f"{self.prefix}-raw",
            "network": self.prefix,
        }
        return self._stack.enter_context(raw_arm({key: str(value) for key, value in arguments.items()}))

    @cached_property
    def fleet(self) -> list[str]:
        """Names of the product's instances that run, idle, for those measures that need many."""
        names = self.names(self.options.fleet, "fleet")
        self.say(f"starting a fleet of {len(names)}")
        self.product.start(names)
        return names

    def settle(self) -> None:
        """Let the machine come to rest between two measurements."""
        time.sleep(PAUSE_SECONDS)


class RawArm:
    """The other process's side of ``bench.raw``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def cpu(self) -> float:
        """Return its CPU seconds so far."""
        return cpu_seconds([self.process.pid])

    def ask(self, verb: str, *arguments: object) -> Any:  # noqa: ANN401  # JSON
        """Let it do something and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "it ended"}')
        if "error" in answer:
            raise RuntimeError(f"raw arm, {verb}: {answer['error']}")
        return answer["result"]

    def start(self, names: Sequence[str], kind: str) -> float:
        """See :meth:`bench.raw.Raw.start`."""
        return float(self.ask("start", names, kind))

    def delete(self, names: Sequence[str]) -> float:
        """See :meth:`bench.raw.Raw.delete`."""
        return float(self.ask("delete", names))


@contextmanager
def raw_arm(arguments: dict[str, str]) -> Iterator[RawArm]:
    """Run the raw arm's process for the length of the block."""
    flags = [part for key, value in arguments.items() for part in (f"--{key}", value)]
    argv = [sys.executable, "-m", "bench.raw", *flags]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    with subprocess.Popen(
        argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        arm = RawArm(process)
        try:
            arm.ask("containers")
            yield arm
        finally:
            with contextlib.suppress(OSError):
                stop_process(process)  # type: ignore[arg-type]  # of text instead of bytes, which is nothing to it


def _end_processes_of(directory: Path) -> None:
    """End controllers and servers that a run left behind that was killed itself."""
    wanted = f"CCO_STATE_DIR={directory}/".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in environ.read_bytes():
                os.kill(int(environ.parent.name), signal.SIGKILL)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from measuring at the same time, and from taking what is there for leftovers."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"another bench is running on this machine (it holds {path})") from None
        yield


def timed(arm: Arm, cpu: Callable[[], float], act: Callable[[], float]) -> float:
    """Do it once and keep its seconds and what it cost; returns the seconds."""
    own, all_ = cpu(), machine_cpu()
    seconds = act()
    arm.samples.append(seconds)
    arm.cpu_seconds.append(cpu() - own)
    arm.machine_cpu_seconds.append(machine_cpu() - all_)
    return seconds
