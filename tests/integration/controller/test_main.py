"""The controller as a process: it comes up without an engine, says so, ends when told, and is the only one."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.controller_link import ControllerLink
from controller import __main__ as program
from controller.errors import Terminal
from controller.reconcile import disk, sources
from controller.resources import (
    Condition,
    InstanceManifest,
    ManifestMetadata,
    RepositoryManifest,
    RepositorySpec,
    find_condition,
)
from controller.resources.instance import InstanceSpec
from controller.runtime.choice import Runtimes, only
from controller.settings import Settings
from controller.space import Space
from controller.store import Store
from support.agent_peer import Peer
from support.deadline import eventually
from support.fake_engine import FakeEngine
from support.fake_runtime import FakeRuntime

LONGEST_SECONDS = 30.0
ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is short enough for a socket, whatever the test is called."""
    with tempfile.TemporaryDirectory(prefix="cco-main-") as made:
        yield Path(made)


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    """The environment of a machine with an engine that is not there and a key that must not be told."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CCO_", "DOCKER_", "ANTHROPIC_"))}
    return {
        **kept,
        "HOME": str(folder),
        "CCO_STATE_DIR": str(folder / "state"),
        "DOCKER_HOST": f"unix://{folder}/no-engine.sock",
        "ANTHROPIC_API_KEY": "sk-ant-secret",
    }


@pytest.fixture
def state(folder: Path) -> Path:
    return folder / "state"


def git(*arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, timeout=LONGEST_SECONDS)


@pytest.fixture
def declared(folder: Path, state: Path) -> Iterator[Store]:
    """A store with a real repository and an instance of it."""
    repository = folder / "shop"
    git("init", "-q", str(repository))
    git("-C", str(repository), "commit", "-q", "--allow-empty", "-m", "first")
    state.mkdir(mode=0o700)
    with Store.open(state / "state.db") as store:
        shop = RepositoryManifest(metadata=ManifestMetadata(name="shop"), spec=RepositorySpec(path=str(repository)))
        store.repositories.create(shop)
        web = InstanceManifest(metadata=ManifestMetadata(name="web"), spec=InstanceSpec(repository="shop"))
        store.instances.create(web)
        yield store


class Process:
    """A running controller."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self.socket = Path(environment["CCO_STATE_DIR"]) / "controller.sock"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "controller", *(arguments or ("run",))],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()[1]
        return is_healthy(self.socket)

    def ends(self, within: float = LONGEST_SECONDS) -> tuple[int, str, str]:
        """Wait for the end; return the exit code and what was printed."""
        out, err = self.process.communicate(timeout=within)
        return self.process.returncode, out, err

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def is_healthy(socket: Path) -> bool:
    return ControllerLink(socket).health().status == "ok"


def until(look: Callable[[], object], what: str) -> None:
    eventually(look, timeout=LONGEST_SECONDS, what=what, pause=0.02)


Run = Callable[..., Process]


@pytest.fixture
def run(environment: dict[str, str]) -> Iterator[Run]:
    started: list[Process] = []

    def made(*arguments: str, **variables: str) -> Process:
        started.append(Process({**environment, **variables}, *arguments))
        return started[-1]

    yield made
    for process in started:
        process.kill()


def ready(store: Store) -> Condition | None:
    return find_condition(store.instances.get("web").status.conditions, "Ready")


def test_without_an_engine_it_comes_up_reports_is_alone_and_ends_in_time(
    run: Run, declared: Store, state: Path
) -> None:
    first = run()
    until(first.is_up, "the controller's socket")

    until(lambda: (seen := ready(declared)) and seen.status == "Unknown", "a report of what cannot be known")
    seen = ready(declared)
    assert seen is not None
    assert seen.reason == "RuntimeUnavailable"
    until(lambda: declared.repositories.get("shop").status.default_branch == "main", "a look at the repository")

    code, out, err = run().ends()
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith("controller: ControllerRunning: another controller (process ")
    assert str(first.process.pid) in line
    assert "CCO_STATE_DIR" in line
    assert line.endswith("or wait for it with '--standby'")
    assert first.is_up()

    began = time.monotonic()
    first.process.send_signal(signal.SIGTERM)
    code, out, err = first.ends()
    assert time.monotonic() - began < 3.0
    assert (code, out) == (0, "")
    assert "controller started" in err
    assert "controller stopped" in err
    assert "Traceback" not in err
    assert "sk-ant" not in err
    assert not first.socket.exists()
    assert state.stat().st_mode & 0o777 == 0o700


WRONG: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "an unknown variable": ({"CCO_PORTS": "1"}, "InvalidConfig", ["CCO_PORTS", "'CCO_PORT'"]),
    "a configuration that is not YAML": ({"CCO_CONFIG": "config.yaml"}, "InvalidConfig", ["is not YAML, line"]),
    "a runtime nobody installed": ({"CCO_RUNTIME": "podman"}, "UnknownRuntime", ["'podman'", "docker"]),
    "a state directory that is a file": ({"CCO_STATE_DIR": "file"}, "StateDirectoryUnusable", ["CCO_STATE_DIR"]),
}


@pytest.fixture
def wrong(folder: Path) -> Callable[[str], dict[str, str]]:
    """Return variables, with files of that name in the folder."""

    def variables(name: str) -> dict[str, str]:
        (folder / "config.yaml").write_text("anthropic_api_key: 'sk-ant-secret\n")
        (folder / "file").touch()
        files = {"config.yaml", "file"}
        return {key: str(folder / value) if value in files else value for key, value in WRONG[name][0].items()}

    return variables


def test_what_is_wrong_is_one_line_and_no_traceback(run: Run, wrong: Callable[[str], dict[str, str]]) -> None:
    code, out, err = run(**wrong("a configuration that is not YAML")).ends()
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith("controller: InvalidConfig: ")
    assert "sk-ant" not in line


# In this process: the same, but faster --------------------------------------------------------------------------


@pytest.fixture
def here(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process be the controller's for a while: its environment, umask, signals and log."""
    for name in list(os.environ):
        if name not in environment:
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sources, "POLL_SECONDS", 0.05)
    root = logging.getLogger()
    handlers, level, umask = root.handlers[:], root.level, os.umask(0o022)
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in signals.items():
        signal.signal(number, handler)
    os.umask(umask)
    root.handlers[:], root.level = handlers, level


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", WRONG)
def test_it_does_not_start_with(
    name: str,
    wrong: Callable[[str], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, reason, words = WRONG[name]
    for key, value in wrong(name).items():
        monkeypatch.setenv(key, value)
    assert program.main(["run"]) == 1
    told = capsys.readouterr()
    *log, line = told.err.splitlines()
    assert told.out == ""
    assert all(" INFO " in before for before in log)
    assert line.startswith(f"controller: {reason}: ")
    assert all(word in line for word in words)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("arguments", [[], ["walk"], ["run", "fast"]])
def test_what_it_does_not_understand_is_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        program.main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m controller" in capsys.readouterr().err


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """An engine that answers, in place of the one that is not there."""
    made = FakeEngine()
    monkeypatch.setattr(Runtimes, "from_settings", lambda *_: only(FakeRuntime(made)))
    return made


def starts(engine: FakeEngine) -> int:
    return engine.changes.count("start web")


@pytest.mark.usefixtures("here")
def test_the_parts_are_put_together(folder: Path, state: Path, declared: Store, engine: FakeEngine) -> None:
    """Nothing but hints drives it here: the next look by the clock would come in an hour."""
    settings = Settings(state_dir=state, root=folder, resync_seconds=3600.0)
    link, stop = ControllerLink(settings.controller_socket), threading.Event()
    before = set(threading.enumerate())
    controller = threading.Thread(target=program.run, args=(settings, stop), daemon=True)
    controller.start()
    try:
        until(lambda: starts(engine) == 1, "the first start, after the repository was looked at")
        assert (folder / "shop.worktrees" / "web" / ".git").exists()
        uid = declared.instances.get("web").metadata.uid
        with Peer(state / "instances" / "web" / "run") as agent:
            assert agent.hears() == {"type": "credentials", "values": {"ANTHROPIC_API_KEY": "sk-ant-secret"}}
            now = datetime.now(UTC)  # of this run, not of an earlier one
            agent.reports(uid=uid, config_hash=told(state)["config_hash"], refs_version=None, sent_at=now)
            until(lambda: (seen := ready(declared)) and seen.status == "True", "Ready, by the agent's report")
            assert link.plan("web").actions == ()
        engine.crash(uid, 1)
        until(lambda: starts(engine) == 2, "another start, by the engine's event")
        stray = replace(engine.of_uid(uid)[0].spec, uid="of nobody")
        engine.make("test", "cco-stray-1", stray)
        declared.instances.request_deletion("web")
        until(lambda: not declared.instances.list(), "the deletion, by the store's change")
    finally:
        stop.set()
        controller.join(3.0)
    assert not controller.is_alive(), "it ends in time"
    assert set(threading.enumerate()) <= before, "and leaves no thread behind"


@pytest.mark.usefixtures("here")
def test_on_a_full_disk_nothing_is_started_not_even_at_first(
    folder: Path, state: Path, declared: Store, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_space", lambda _: Space(100 * 2**30, 2**30))
    settings, stop = Settings(state_dir=state, root=folder), threading.Event()
    controller = threading.Thread(target=program.run, args=(settings, stop), daemon=True)
    controller.start()
    try:
        until(lambda: (seen := ready(declared)) and seen.reason == "DiskPressure", "the word about the disk")
    finally:
        stop.set()
        controller.join(3.0)
    assert starts(engine) == 0


def told(state: Path) -> dict[str, str]:
    """Return what the agent is told before it starts."""
    found: dict[str, str] = json.loads((state / "instances" / "web" / "run" / "instance.json").read_text())
    return found


@pytest.mark.usefixtures("here", "engine", "declared")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at(number: int, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        try:
            until(lambda: is_healthy(state / "controller.sock"), "the controller")
        finally:
            os.kill(os.getpid(), number)

    # The main thread alone gets signals, so the controller has it.
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    assert program.main(["run"]) == 0
    thread.join(LONGEST_SECONDS)
    assert "controller stopped" in capsys.readouterr().err
    assert "ANTHROPIC_API_KEY" not in os.environ, "no child process inherits it"


def test_a_runtime_that_is_installed_is_found_by_its_name(folder: Path) -> None:
    runtimes = Runtimes.from_settings(Settings(state_dir=folder), "an-installation")
    assert type(runtimes.named("docker")).__name__ == "DockerRuntime"


def test_an_unknown_runtime_is_told_with_those_there_are(folder: Path) -> None:
    with pytest.raises(Terminal, match="'podman' is not installed; there is: docker"):
        Runtimes.from_settings(Settings(state_dir=folder, runtime="podman"), "an-installation")


def test_no_runtime_at_all_is_told() -> None:
    with pytest.raises(Terminal, match="there is: none"):
        Runtimes("docker", {}).named("docker")
