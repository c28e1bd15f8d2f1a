"""The raw arm: a bare script that does with the Docker SDK and git what the product does, and nothing else.

No database, no API, no recovery: four containers at a time, git one at a time for the repository, an event
subscription that starts what died. It is a process of its own, told what to do by lines of JSON, so that its CPU time
can be compared with the product's. Its containers are made from the same request as the product's.

``agent`` containers run the agent, which is told what the product would tell it, until it says that the session is
up; ``tmux`` containers have no agent: a shell starts tmux with the same program and says so through a pipe.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker

from controller.agents import AgentConfig
from controller.runtime.docker.container import container_body, home_name
from controller.runtime.protocol import Limits, Mount, WorkloadSpec

PARALLEL = 4
PATIENCE = 60.0
_TMUX = """
tmux -f /opt/cco/agent/tmux.conf new-session -d -s cc-orchestrator-bench -x 200 -y 50 'exec claude --session-id none'
echo up >/run/cco/up
exec sleep infinity
"""


class Raw:
    """Containers of the raw arm, by name."""

    def __init__(self, directory: Path, repository: Path, image: str, prefix: str, network: str) -> None:
        self._directory, self._repository, self._image = directory, repository, image
        self._prefix, self._network = prefix, network
        self._client = docker.APIClient(version="auto", timeout=60, max_pool_size=32)
        status = repository.stat()
        self._owner = (status.st_uid, status.st_gid)
        self._git_turn = threading.Lock()
        self._uids: dict[str, str] = {}
        self._containers: dict[str, str] = {}
        self._followed: set[str] = set()
        self._listeners: dict[str, socket.socket] = {}
        self._links = _Drain()

    def start(self, names: Sequence[str], kind: str) -> float:
        """Make and start instances; returns the seconds until the last one's session is up."""
        began = time.monotonic()
        self._each(names, lambda name: self._start(name, kind))
        return time.monotonic() - began

    def delete(self, names: Sequence[str]) -> float:
        """Stop and remove them with volume and worktree; branches stay. Returns the seconds it took."""
        began = time.monotonic()
        self._each(names, self._delete)
        return time.monotonic() - began

    def policy(self, names: Sequence[str]) -> None:
        """Let the engine restart them when they end."""
        for name in names:
            self._client.update_container(self._containers[name], restart_policy={"Name": "always"})

    def follow(self, names: Sequence[str]) -> None:
        """Start each of them when the engine says that it died; returns at once."""
        self._followed = {self._containers[name] for name in names}
        events = self._client.events(decode=True, filters={"type": "container", "event": "die"})

        def run() -> None:
            for event in events:
                if event["Actor"]["ID"] in self._followed:
                    self._client.start(event["Actor"]["ID"])

        threading.Thread(target=run, daemon=True).start()

    def containers(self) -> dict[str, str]:
        """Return the identifiers by name."""
        return dict(self._containers)

    def _each(self, names: Sequence[str], act: Callable[[str], None]) -> None:
        with ThreadPoolExecutor(PARALLEL) as pool:
            for done in [pool.submit(act, name) for name in names]:
                done.result()

    def _start(self, name: str, kind: str) -> None:
        worktree = self._worktree(name)
        self._git("worktree", "add", "--quiet", "--no-track", "-b", name, str(worktree), "main")
        run = self._directory / name
        run.mkdir(mode=0o755, parents=True)
        uid = self._uids[name] = str(uuid.uuid4())
        spec = self._spec(name, uid, worktree, run, kind)
        body = container_body(spec, installation=self._prefix, prefix=self._prefix, network=self._network)
        if kind == "tmux":
            body["Entrypoint"], body["Cmd"] = ["sh", "-c", _TMUX], []
            wait = self._pipe(run)
        else:
            self._configure(name, uid, worktree, run)
            wait = self._listen(name, run)
        container = self._client.create_container_from_config(body, f"{self._prefix}-{name}")["Id"]  # type: ignore[no-untyped-call]  # the stubs say nothing
        self._containers[name] = container
        self._client.start(container)
        wait()

    def _spec(self, name: str, uid: str, worktree: Path, run: Path, kind: str) -> WorkloadSpec:
        git = self._repository / ".git"
        return WorkloadSpec(
            name=name,
            uid=uid,
            attempt=1,
            image=self._image,
            spec_hash="",
            limits=Limits(cpus=2.0, memory=4 * 1024**3, pids=512),
            mounts=(
                Mount(str(worktree), str(worktree)),
                Mount(str(git / "worktrees" / name), str(git / "worktrees" / name)),
                Mount(str(git / "objects"), str(git / "objects"), read_only=True),
                Mount(str(run), "/run/cco", read_only=kind == "agent"),
            ),
            user=self._owner,
            workdir=str(worktree),
        )

    def _configure(self, name: str, uid: str, worktree: Path, run: Path) -> None:
        config = AgentConfig(
            name=name,
            uid=uid,
            attempt=1,
            config_hash="none",
            workdir=str(worktree),
            git_dir=str(self._repository / ".git" / "worktrees" / name),
            session_id=uid,
            prompt=None,
            model=None,
            permission_mode="acceptEdits",
            args=(),
            layout="default",
            env={},
            base_url=None,
            heartbeat_seconds=1.0,
        )
        (run / "instance.json").write_text(config.model_dump_json(by_alias=True), encoding="utf-8")
        (run / "instance.json").chmod(0o444)

    def _listen(self, name: str, run: Path) -> Callable[[], None]:
        """Listen for the agent; the answer waits until its session is up."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(run / "controller.sock"))
        (run / "controller.sock").chmod(0o666)
        listener.listen(1)
        listener.settimeout(PATIENCE)
        self._listeners[name] = listener

        def wait() -> None:
            link, _ = listener.accept()
            link.settimeout(PATIENCE)
            link.sendall(b'{"type":"credentials","values":{"ANTHROPIC_API_KEY":"sk-ant-bench"}}\n')
            with link.makefile("rb") as lines:
                up = any(json.loads(line)["session"]["state"] == "idle" for line in lines)
            if not up:
                raise RuntimeError(f"the agent of {name} ended before its session was up")
            self._links.take(name, link)

        return wait

    def _pipe(self, run: Path) -> Callable[[], None]:
        path = run / "up"
        os.mkfifo(path)
        path.chmod(0o666)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

        def wait() -> None:
            with selectors.DefaultSelector() as selector:
                selector.register(reader, selectors.EVENT_READ)
                if not selector.select(PATIENCE):
                    raise TimeoutError(str(path))
            os.close(reader)

        return wait

    def _delete(self, name: str) -> None:
        container = self._containers.pop(name)
        self._followed.discard(container)
        self._client.stop(container, timeout=8)
        self._client.remove_container(container, force=True, v=True)
        self._client.remove_volume(home_name(self._prefix, name, self._uids.pop(name)))
        if (listener := self._listeners.pop(name, None)) is not None:
            listener.close()
            self._links.drop(name)
        self._git("worktree", "remove", "--force", str(self._worktree(name)))
        shutil.rmtree(self._directory / name)

    def _worktree(self, name: str) -> Path:
        return self._repository.with_name(f"{self._repository.name}.raw") / name

    def _git(self, *arguments: str) -> None:
        uid, gid = self._owner
        # Not Python's own `user=`, which copies this process first.
        owner = [] if uid == os.geteuid() else ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        argv = [*owner, "git", "-C", str(self._repository), *arguments]
        with self._git_turn:
            subprocess.run(argv, check=True, capture_output=True, timeout=60)


class _Drain:
    """Reads on what agents say, as nobody here needs it and they would have to wait."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._links: dict[str, socket.socket] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._run, daemon=True).start()

    def take(self, name: str, link: socket.socket) -> None:
        link.setblocking(False)
        with self._lock:
            self._links[name] = link
        self._selector.register(link, selectors.EVENT_READ)

    def drop(self, name: str) -> None:
        with self._lock:
            self._links.pop(name, None)

    def _run(self) -> None:
        while True:
            ready = self._selector.select(0.5)
            for key, _ in ready:
                link = key.fileobj
                assert isinstance(link, socket.socket)
                try:
                    ended = not link.recv(65536)
                except OSError:
                    ended = True
                if ended:
                    self._selector.unregister(link)
                    link.close()
            if not ready:
                threading.Event().wait(0.05)


def main() -> None:
    """Do what the lines of standard input say, one answer for each."""
    parser = argparse.ArgumentParser()
    for name in ("directory", "repository", "image", "prefix", "network"):
        parser.add_argument(f"--{name}", required=True, type=Path if name in {"directory", "repository"} else str)
    raw = Raw(**vars(parser.parse_args()))
    for line in sys.stdin:
        told: list[Any] = json.loads(line)
        verb, *arguments = told
        try:
            answer = {"result": getattr(raw, verb)(*arguments)}
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told to whoever asked
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
