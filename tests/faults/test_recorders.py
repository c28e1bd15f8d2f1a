"""The recorders and the program on the real thing: a Docker engine, processes, git and SQLite."""

from __future__ import annotations

import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from faults.baseline import Baseline
from faults.crash_world import CrashWorld, crash_world
from faults.facts import INSTALLATION, UID, read_engine, run
from faults.invariants import CPU_SHARE
from faults.recorders import (
    EventRecorder,
    GitLog,
    Quiet,
    Requests,
    cpu_share,
    git_command,
    git_writes,
    load_events,
    overlaps,
    starts,
)
from faults.verify import main
from faults.workload import STEPS
from support.docker_world import IMAGE, build_image

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def image() -> str:
    with closing(docker.APIClient(version="auto")) as client:
        build_image(client)
    return IMAGE


@pytest.fixture
def uid() -> Iterator[str]:
    """An instance's uid; its containers are removed after the test."""
    made = f"test-{secrets.token_hex(6)}"
    yield made
    for container in run(["docker", "ps", "-aq", "--filter", f"label={UID}={made}"]).decode().split():
        run(["docker", "rm", "-f", container])


def start(image: str, uid: str, *labels: str) -> str:
    named = [f"--label={label}" for label in ("cco-test=1", f"{UID}={uid}", *labels)]
    return run(["docker", "run", "--detach", "--network=none", *named, image]).decode().strip()


def test_two_containers_of_one_uid_at_once_are_recorded(image: str, uid: str, tmp_path: Path) -> None:
    with EventRecorder(f"{UID}={uid}", tmp_path / "events") as recorder:
        first = start(image, uid)
        run(["docker", "rm", "-f", first])
        start(image, uid)
        recorder.catch_up()
        assert recorder.overlaps() == []
        start(image, uid)
    (told,) = recorder.overlaps()
    assert uid in told
    assert len(recorder.starts()[uid]) == 3
    running, events = load_events(tmp_path / "events")
    assert overlaps(running, events) == [told]
    assert starts(events)[uid] == recorder.starts()[uid]


def test_a_container_that_ran_before_counts(image: str, uid: str) -> None:
    start(image, uid)
    with EventRecorder(f"{UID}={uid}") as recorder:
        start(image, uid)
    assert len(recorder.overlaps()) == 1


def test_the_cpu_of_a_busy_process_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            assert cpu_share(busy.pid, 1.0) > CPU_SHARE  # far more, where nobody else works
        finally:
            busy.kill()
    with subprocess.Popen(["sleep", "60"]) as idle:
        try:
            assert cpu_share(idle.pid, 0.5) < CPU_SHARE
        finally:
            idle.kill()


def test_requests_that_change_something_are_told_from_looks(image: str, uid: str, tmp_path: Path) -> None:
    container = start(image, uid)
    with Requests(tmp_path) as requests, closing(docker.APIClient(base_url=requests.url, version="auto")) as client:
        client.inspect_container(container)
        client.containers(all=True)
        assert requests.writes() == []
        client.rename(container, f"cco-renamed-{secrets.token_hex(3)}")
        client.remove_container(container, force=True)
    verbs = [each.split(" ")[0] for each in requests.writes()]
    assert verbs == ["POST", "DELETE"]


def test_git_that_changes_something_is_told_from_looks(tmp_path: Path) -> None:
    log = GitLog(tmp_path / "bin")
    environment = {**os.environ, "PATH": f"{log.folder}:{os.environ['PATH']}"}
    arguments = ["git", "-c", "gc.auto=0", f"--git-dir={tmp_path}/r", "--no-pager"]
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "r")], env=environment, check=True)
    subprocess.run([*arguments, "for-each-ref"], env=environment, check=True)
    subprocess.run([*arguments, "worktree", "list"], env=environment, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*arguments, "update-ref", "--stdin"], env=environment, check=True, input=b"")
    assert [git_command(line) for line in log.lines()] == ["init", "for-each-ref", "worktree list", "update-ref"]
    assert git_writes(log.lines()) == ["init", "update-ref"]


@pytest.fixture(scope="module")
def world() -> Iterator[CrashWorld]:
    with crash_world() as made:
        STEPS[0].act(made)
        made.work()
        yield made


def test_rest_is_told_from_writing(world: CrashWorld, tmp_path: Path) -> None:
    with Requests(tmp_path) as requests:
        quiet = Quiet(world.settings.database, requests, GitLog(tmp_path / "bin"))
        with closing(quiet):
            assert quiet.watch(0.1) == []
            with closing(docker.APIClient(base_url=requests.url, version="auto")) as client:
                name = f"cco-quiet-{secrets.token_hex(4)}"
                client.create_volume(name, labels={"cco-test": "1"})
                client.remove_volume(name)
            subprocess.run([str(tmp_path / "bin" / "git"), "init", "-q", str(tmp_path / "r")], check=True)
            world.store.inputs.create("web", world.get().metadata.uid, "Go on")
            told = quiet.writes()
    assert [line.split(":")[0] for line in told] == ["SQL", "SQL", "Docker", "Docker", "git"]


def test_a_measurement_is_no_write(world: CrashWorld) -> None:
    with closing(Quiet(world.settings.database)) as quiet, closing(sqlite3.connect(world.settings.database)) as other:
        quiet.begin()
        with other:
            other.execute("UPDATE instances SET usage = '{\"cpu_percent\": 99.0}', resource_version = 99")
        assert quiet.writes() == []
        with other:
            other.execute("UPDATE instances SET status = replace(status, 'Ready', 'Gone')")
        assert quiet.writes() == ["SQL: table instances was changed"]


def test_the_program_tells_all_eight_and_its_status_says_which_way(
    image: str, uid: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the real engine: what the fake one ran is missing there, and a container of nobody is one too many."""
    state = ["--state-dir", ""]
    with crash_world() as world:
        STEPS[0].act(world)
        world.work()
        world.change(operating_mode="Stopped")
        world.work()
        world.store.close()
        with closing(sqlite3.connect(world.settings.database)) as connection, connection:
            connection.execute("DELETE FROM events")
            (installation,) = connection.execute("SELECT installation_id FROM installation").fetchone()
        state[1] = str(world.settings.state_dir)
        file = str(tmp_path / "baseline.json")
        assert main([*state, "--record", file]) == 0
        recorded = Baseline.load(Path(file))
        # Other tests use the engine at the same time: their things are none of this one's business.
        recorded.foreign = {name: each for name, each in recorded.foreign.items() if name.startswith(("file", "ref"))}
        recorded.save(Path(file))
        assert main([*state, "--baseline", file, "--quiet-for", "0.2", "--pid", str(os.getpid())]) in {0, 1}
        told = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in told if line.startswith("I")] == [f"I{number}" for number in range(1, 9)]
        assert "VIOLATED" not in "".join(line for line in told if not line.startswith("I7")), told
        start(image, uid, f"{INSTALLATION}={installation}")
        assert any(each.uid == uid and each.state == "running" for each in read_engine().containers)
        assert main([*state, "--baseline", file]) == 1
        assert "I4 VIOLATED" in capsys.readouterr().out
        world.store = world.store.open(world.settings.database)
