"""Two controllers as processes: one works, the other one waits; whoever was overtaken does nothing more."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from api.controller_link import ControllerLink
from controller import __main__ as program
from controller.resources import InstanceManifest, ManifestMetadata, RepositoryManifest, RepositorySpec
from controller.resources.instance import InstanceSpec
from controller.settings import Settings
from controller.store import Store, database
from support.deadline import eventually

LONGEST_SECONDS = 60.0
ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / "tests" / "support" / "fake_world_controller.py"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="cco-two-") as made:
        yield Path(made)


def git(*arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, timeout=LONGEST_SECONDS)


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """The API's store, with a real repository and an instance of it."""
    repository = folder / "shop"
    git("init", "-q", str(repository))
    git("-C", str(repository), "commit", "-q", "--allow-empty", "-m", "first")
    with Store.open(folder / "state" / "state.db") as opened:
        shop = RepositoryManifest(metadata=ManifestMetadata(name="shop"), spec=RepositorySpec(path=str(repository)))
        opened.repositories.create(shop)
        declare(opened, "web")
        yield opened


def declare(store: Store, name: str) -> None:
    spec = InstanceSpec(repository="shop")
    store.instances.create(InstanceManifest(metadata=ManifestMetadata(name=name), spec=spec))


class Controller:
    """A controller's process and what it did."""

    def __init__(self, folder: Path, number: int, *arguments: str) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("CCO_", "ANTHROPIC_"))}
        self.changes_file = folder / f"changes-{number}"
        self.changes_file.touch()
        self.errors_file = folder / f"errors-{number}"
        self.socket = folder / "state" / "controller.sock"
        variables = {"CCO_STATE_DIR": str(folder / "state"), "CCO_LEASE_SECONDS": "2", "ANTHROPIC_API_KEY": "sk-ant-x"}
        with self.errors_file.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(self.changes_file), "run", *arguments],
                env={**kept, "HOME": str(folder), "CCO_RESYNC_SECONDS": "0.5", **variables},
                cwd=folder,
                stderr=errors,
            )

    @property
    def changes(self) -> list[str]:
        return self.changes_file.read_text().splitlines()

    @property
    def errors(self) -> str:
        return self.errors_file.read_text()

    def said(self, words: str) -> bool:
        if self.process.poll() is not None:
            pytest.fail(self.errors)
        return words in self.errors

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        return self.process.wait(LONGEST_SECONDS)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LONGEST_SECONDS)


Start = Callable[..., Controller]


@pytest.fixture
def start(folder: Path, store: Store) -> Iterator[Start]:
    assert store.installation_id
    started: list[Controller] = []

    def made(*arguments: str) -> Controller:
        started.append(Controller(folder, len(started), *arguments))
        return started[-1]

    yield made
    for controller in started:
        controller.kill()


def until(look: Callable[[], object], what: str) -> None:
    eventually(look, timeout=LONGEST_SECONDS, what=what, pause=0.01)


def working(start: Start) -> Controller:
    first = start()
    until(lambda: first.said("controller started"), "the first controller")
    until(lambda: "start web" in first.changes, "its first start")
    return first


def waiting(start: Start) -> Controller:
    other = start("--standby")
    until(lambda: other.said("standing by"), "a standby")
    return other


def test_a_standby_is_up_within_a_second_of_the_other_one_s_death(start: Start) -> None:
    first, second = working(start), waiting(start)
    began = time.monotonic()
    first.send(signal.SIGKILL)
    link = ControllerLink(second.socket)
    until(lambda: second.said("controller started") and link.health().status == "ok", "the second controller")
    took = time.monotonic() - began
    assert took <= 1.0, f"{took:.2f} s"
    assert first.ends() == -signal.SIGKILL


def test_a_standby_that_is_told_to_stop_ends_well(start: Start) -> None:
    first, second = working(start), waiting(start)
    second.send(signal.SIGTERM)
    assert second.ends() == 0
    assert first.said("controller started")


def world(folder: Path) -> dict[str, str]:
    """Return every file below the folder but the controllers' own words, with what is in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        ours = path.name.startswith(("changes-", "errors-", "state.db"))
        if path.is_socket():
            found[str(path)] = f"socket {path.stat().st_ino}"
        elif path.is_file() and not ours:
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def settled(folder: Path) -> dict[str, str]:
    """Return the files once they stay as they are: a git that a paused controller had started goes on to its end."""
    before: dict[str, str] = {}

    def is_still() -> bool:
        nonlocal before
        last, before = before, world(folder)
        threading.Event().wait(0.3)
        return last == before

    until(is_still, "the end of what was under way")
    return before


def test_a_paused_controller_does_nothing_when_it_wakes(start: Start, store: Store, folder: Path) -> None:
    first = working(start)
    standbys = [waiting(start), waiting(start)]
    first.send(signal.SIGSTOP)
    before = first.changes
    declare(store, "late")  # what the old one would act on when it wakes

    until(lambda: any(each.said("controller started") for each in standbys), "one of the standbys")
    (second,) = [each for each in standbys if each.said("controller started")]
    (third,) = [each for each in standbys if each is not second]
    until(lambda: "start late" in second.changes, "the new one's work")
    declare(store, "later")
    until(lambda: "start later" in second.changes, "more work")
    third.send(signal.SIGSTOP)  # it would follow the second one, and changes nothing so far
    second.send(signal.SIGSTOP)  # from now on, whatever changes was changed by the one that wakes
    files = settled(folder)
    revision, claim = store.revision(), store.integrity().claim

    first.send(signal.SIGCONT)
    assert first.ends() == 1
    last = first.errors.splitlines()[-1]
    assert last.startswith(f"controller: Fenced: another controller (process {second.process.pid} on ")
    assert "Traceback" not in first.errors
    assert first.errors.count("controller: ") == 1
    assert first.changes == before
    assert set(world(folder).items()) ^ set(files.items()) == set()
    assert store.revision() == revision
    assert store.integrity().claim == claim
    assert claim.holder is not None
    assert claim.holder.startswith(f"{second.process.pid} on")

    third.send(signal.SIGCONT)
    second.send(signal.SIGCONT)
    assert not third.said("controller started") or second.ends() == 1, "never two"


def test_a_database_that_another_program_has_is_waited_for(start: Start, store: Store, folder: Path) -> None:
    assert store.revision()
    with closing(sqlite3.connect(folder / "state" / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        first = start()
        until(lambda: first.said("database not ready"), "a word about it")
        second = start()
        assert second.ends() == 1
        assert "ControllerRunning" in second.errors
        other.execute("ROLLBACK")
    until(lambda: first.said("controller started"), "the controller")


def test_whoever_waits_for_a_database_can_be_told_to_stop(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    stop = threading.Event()
    with closing(sqlite3.connect(folder / "state" / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=program.run, args=(Settings(state_dir=folder / "state"), stop), daemon=True)
        thread.start()
        until(lambda: "database not ready" in caplog.text, "a word about it")
        stop.set()
        thread.join(LONGEST_SECONDS)
        assert not thread.is_alive()
    assert store.integrity().claim.holder is None


def test_a_controller_whose_database_is_replaced_ends(start: Start, folder: Path) -> None:
    first = working(start)
    path = folder / "state" / "state.db"
    path.rename(path.with_name("moved"))
    before = first.changes
    assert first.ends() == 1
    assert "controller: DatabaseReplaced: " in first.errors.splitlines()[-1]
    assert first.changes == before
    second = start()
    assert second.ends() == 1
    assert "DatabaseMissing" in second.errors
    assert not second.changes
    path.with_name("moved").rename(path)
    third = start()
    until(lambda: third.said("controller started"), "the controller")
