"""A Docker engine of a test's own, which may be stopped, killed, hung and robbed of power without anybody noticing.

It lives in network, mount and process namespaces of its own: its bridges and firewall rules are not the machine's, its
mounts go with it, and so does every process in it, however this one ends. Only its socket and its data lie on the disk.
Everything needs root. The images come from the machine's engine.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from docker import APIClient

from .deadline import eventually
from .model_container import Model

TESTS = Path(__file__).parents[1]
MODEL_ADDRESS = "192.0.2.1"  # for documentation (RFC 5737): nobody's
MODEL_PORT = 8089
_API_VERSION = "1.41"
START_SECONDS = 180
"""The first start after a kill can fail on what the killed one left behind; the next one succeeds."""
_TRY_SECONDS = 60
_STOP_SECONDS = 60
_COMMAND_SECONDS = 300
_CGROUPS = Path("/sys/fs/cgroup")
# /run is empty in it, as after a boot. Nothing may come in from here by a mount that is made later.
_BOOT = (
    "mount -t tmpfs tmpfs /run && mkdir -p /run/lock && ip link set lo up && "
    f"ip address add {MODEL_ADDRESS}/32 dev lo && {{mount}} && echo up && "
    "exec docker-init -- cat"
)
_ASK = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


@dataclass(frozen=True, slots=True)
class OwnModel(Model):
    """The scripted model in the engine's network; only from there it can be asked.

    Attributes:
        enter: returns the command that runs another one in there.
    """

    enter: Callable[..., list[str]]

    def requests(self) -> list[dict[str, Any]]:
        """Return what it was asked, oldest first."""
        argv = self.enter(sys.executable, "-c", _ASK, f"{self.url}/_requests")
        done = subprocess.run(argv, capture_output=True, timeout=30, check=True)
        found: list[dict[str, Any]] = json.loads(done.stdout)["requests"]
        return found


class OwnEngine:
    """See the module's docstring.

    Args:
        data_megabytes: its data lies in memory and has no more room than this; the data of a machine that loses its
            power is gone then.

    Attributes:
        url: what ``DOCKER_HOST`` has to be.
        began: when the engine that runs was started.
    """

    def __init__(self, folder: Path, *, data_megabytes: int | None = None) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.url = f"unix://{self.socket}"
        self.began = datetime.now(UTC)
        self._data = folder / "data"
        self._log = folder / "dockerd.log"
        self._group = f"cco-own-{folder.name}"
        self._data_megabytes = data_megabytes
        self._machine = dict(os.environ)  # how the machine's engine is reached
        self._holder: subprocess.Popen[bytes] | None = None
        self._init: int | None = None
        self._outer: subprocess.Popen[bytes] | None = None
        self._model: subprocess.Popen[bytes] | None = None
        self._live_restore = False
        self._data.mkdir()
        (folder / "daemon.json").write_text("{}", encoding="ascii")

    # The machine ----------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Make the namespaces; nothing runs in them yet."""
        size = self._data_megabytes
        mount = "true" if size is None else f"mount -t tmpfs -o size={size}m tmpfs {self._data}"
        names = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        # It ends when its standard input does, which is when this process ends, however that comes about.
        argv = [*names, "sh", "-c", _BOOT.format(mount=mount)]
        with self._log.open("ab") as log:
            self._holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"up\n", f"the namespaces were not made: {self.said()}"
        self._init = _children(self._holder.pid)[0]

    def lose_power(self) -> None:
        """Kill everything at once; what is on the disk stays, ``/run`` and the network go."""
        if self._holder is None:
            return
        if self._init is not None:
            with suppress(ProcessLookupError):
                os.kill(self._init, signal.SIGKILL)
        for end in (self._holder.stdin, self._holder.stdout):
            if end is not None:
                end.close()
        for process in (self._outer, self._model, self._holder):
            if process is not None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                process.wait(_STOP_SECONDS)
        self._holder = self._outer = self._model = self._init = None
        self.socket.unlink(missing_ok=True)
        eventually(self._remove_groups, timeout=30, what="the control groups of the engine are empty")

    def _remove_groups(self) -> bool:
        """Remove what its containers had in the machine's control groups (both versions)."""
        for place in (_CGROUPS, *_CGROUPS.iterdir()):
            top = place / self._group
            if top.is_dir():
                for folder in [*sorted((each for each in top.rglob("*") if each.is_dir()), reverse=True), top]:
                    folder.rmdir()
        return True

    def close(self) -> None:
        """Leave nothing behind; idempotent."""
        if "client" in self.__dict__:
            self.client.close()
        self.lose_power()
        shutil.rmtree(self.folder, ignore_errors=True)

    def enter(self, *argv: str) -> list[str]:
        """Return the command that runs another one in there."""
        assert self._holder is not None, "boot first"
        return ["nsenter", "--target", str(self._init), "--net", "--mount", "--pid", "--", *argv]

    # The engine -----------------------------------------------------------------------------------------------

    def start(self, *, live_restore: bool | None = None) -> None:
        """Start the engine and wait until it answers; it is tried again until it does.

        Args:
            live_restore: whether containers outlive the engine; default: as before.
        """
        self._live_restore = self._live_restore if live_restore is None else live_restore
        end = time.monotonic() + START_SECONDS
        while True:
            self._launch()
            try:
                eventually(self._is_decided, timeout=_TRY_SECONDS, what="the engine answers, or has ended")
            except AssertionError:
                self.kill()
            if self.answers():
                return
            if time.monotonic() >= end:
                raise AssertionError(f"the engine does not start:\n{self.said()}")

    def _launch(self) -> None:
        argv = ["dockerd", "--config-file", str(self.folder / "daemon.json"), "--data-root", str(self._data)]
        argv += ["--exec-root", "/run/docker", "--pidfile", "/run/docker.pid", "--host", self.url]
        argv += ["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{self._group}"]
        argv += ["--storage-driver", "overlay2", *(["--live-restore"] if self._live_restore else [])]
        self.began = datetime.now(UTC)
        with self._log.open("ab") as log:
            self._outer = subprocess.Popen(self.enter(*argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _is_decided(self) -> bool:
        return self.answers() or self._outer is None or self._outer.poll() is not None

    def answers(self) -> bool:
        """Tell whether the engine answers within a moment."""
        argv = ["docker", "version", "--format", "{{.Server.Version}}"]
        try:
            return (
                subprocess.run(argv, env=self.environment, capture_output=True, timeout=5, check=False).returncode == 0
            )
        except subprocess.TimeoutExpired:
            return False

    @property
    def pid(self) -> int:
        """The engine's process, as seen from here."""
        assert self._outer is not None, "the engine was not started"
        return _children(self._outer.pid)[0]

    def stop(self) -> None:
        """Stop it with SIGTERM, as a person or an upgrade does, and wait until it is gone."""
        os.kill(self.pid, signal.SIGTERM)
        self._wait()

    def kill(self) -> None:
        """Kill it with SIGKILL; what it managed lives on."""
        with suppress(IndexError, ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._wait()

    def _wait(self) -> None:
        assert self._outer is not None
        self._outer.wait(_STOP_SECONDS)

    def hang(self) -> None:
        """Stop its process in its tracks: connections are taken, and nothing is ever answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        assert self._outer is not None
        os.kill(self.pid, signal.SIGCONT)
        self._outer.send_signal(signal.SIGCONT)  # whoever entered the namespaces for it stopped with it

    def recover(self) -> None:
        """Make it answer again, whatever was done to it."""
        if self._holder is None:
            self.boot()
        if self._outer is not None and self._outer.poll() is None:
            self.go_on()
            if self.answers():
                return
            self.kill()
        self.start()

    def said(self) -> str:
        """Return the last of what it logged."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])

    # What a test does with it ---------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Environment of a program that is to talk to this engine."""
        return {**self._machine, "DOCKER_HOST": self.url}

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Run the docker client on it; returns its output."""
        argv = ["docker", *arguments]
        done = subprocess.run(
            argv, env=self.environment, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
        assert not check or done.returncode == 0, f"{' '.join(argv[:6])}: {done.stderr}"
        return done.stdout.strip()

    @cached_property
    def client(self) -> APIClient:
        """A connection of the test's own, for what is done many times."""
        return APIClient(base_url=self.url, version=_API_VERSION, timeout=30)

    def rename(self, container: str, name: str) -> None:
        """Give a container another name: an event that changes nothing."""
        self.client.rename(container, name)

    def create_like(self, container: str, name: str, labels: Mapping[str, str]) -> str:
        """Create a container just like another one but for its name and some labels; returns its identifier."""
        old = json.loads(self.docker("inspect", container))[0]
        config = {**old["Config"], "Labels": {**old["Config"]["Labels"], **labels}}
        body = {**config, "HostConfig": old["HostConfig"]}
        url = f"{self.client.base_url}/v{_API_VERSION}/containers/create"
        answer = self.client.post(url, json=body, params={"name": name}, timeout=_TRY_SECONDS)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["Id"])

    def load(self, *images: str) -> None:
        """Copy images over from the machine's engine (5 s for the instances' image, 600 MB)."""
        with subprocess.Popen(["docker", "save", *images], env=self._machine, stdout=subprocess.PIPE) as save:
            subprocess.run(
                ["docker", "load", "--quiet"],
                env=self.environment,
                stdin=save.stdout,
                capture_output=True,
                timeout=_COMMAND_SECONDS,
                check=True,
            )
        assert save.returncode == 0, f"the machine's engine does not give {images}"

    def serve_model(self) -> Model:
        """Run the scripted model where its containers reach it, until the power goes; a new one each time."""
        if self._model is not None:
            for child in _children(self._model.pid):
                os.kill(child, signal.SIGKILL)
            self._model.wait(_STOP_SECONDS)
        argv = [sys.executable, "-m", "scripted_model", "--host", MODEL_ADDRESS, "--port", str(MODEL_PORT)]
        self._model = subprocess.Popen(
            self.enter(*argv),
            env={**self._machine, "PYTHONPATH": str(TESTS)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        model = OwnModel(f"http://{MODEL_ADDRESS}:{MODEL_PORT}", self.enter)
        eventually(lambda: model.requests() == [], timeout=30, what="the model answers")
        return model


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


@contextmanager
def own_engine(
    images: Sequence[str] = (), *, live_restore: bool = False, data_megabytes: int | None = None
) -> Iterator[OwnEngine]:
    """Run an engine with these images for the length of the block; nothing of it is left after that."""
    folder = Path(tempfile.mkdtemp(prefix="cce-"))  # a socket's path is short
    folder.chmod(0o755)
    engine = OwnEngine(folder, data_megabytes=data_megabytes)
    try:
        engine.boot()
        engine.start(live_restore=live_restore)
        if images:
            engine.load(*images)
        yield engine
    finally:
        engine.close()
