"""The database is gone while instances run: nothing starts on a guess, and put together again it finds all of them."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.deadline import eventually
from support.host_system import KEY, System, environment_for, git, make_repository, stop_process
from support.model_container import Model, free_port

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


class Processes:
    """Controller and server of one installation."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self._running = [self._system.start("controller", "run"), self._system.start("ui.server")]

    def are_up(self) -> None:
        status = "controller:  ok"
        eventually(lambda: status in self._system.cco("status", check=False), timeout=60, what="the system answers")

    def refuse(self) -> None:
        """Both end by themselves."""
        assert [process.wait(60) for process in self._running] == [1, 1]

    def kill(self) -> None:
        for process in self._running:
            process.kill()
            process.wait(30)

    def stop(self) -> None:
        for process in self._running:
            if process.poll() is None:
                stop_process(process)


@pytest.fixture
def lonely(model: Model, tmp_path: Path) -> Iterator[System]:
    """An installation whose processes the test starts itself."""
    prefix, port = f"ccot{secrets.token_hex(3)}", free_port("127.0.0.1")
    variables = {"ANTHROPIC_API_KEY": KEY, "CCO_HEARTBEAT_SECONDS": "1", "CCO_RESYNC_SECONDS": "2"}
    system = System(tmp_path, prefix, port, model, {**environment_for(tmp_path, prefix, model, port), **variables})
    yield system
    system.remove_everything()


@pytest.fixture
def processes(lonely: System) -> Iterator[Processes]:
    made = Processes(lonely)
    yield made
    made.stop()


def containers(system: System) -> dict[str, object]:
    """Return of every container what a restart or a removal would change."""
    listed = ["docker", "ps", "-aq", "--no-trunc", "--filter", f"name=^/{system.prefix}-"]
    ids = subprocess.run(listed, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    told = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, timeout=60, check=True).stdout
    return {
        each["Name"]: (each["Id"], each["State"]["StartedAt"], each["State"]["Status"], each["State"]["Pid"])
        for each in json.loads(told)
    }


def rebuild(system: System, *arguments: str) -> str:
    process = system.start("controller", "rebuild", *arguments)
    log = system.directory / "controller.log"
    assert process.wait(60) == 0, log.read_text()
    return log.read_text()


def lose_database(system: System) -> None:
    for part in system.state_dir.glob("state.db*"):
        part.unlink()


def test_a_lost_database_is_rebuilt_and_no_container_notices(
    lonely: System, processes: Processes, tmp_path: Path
) -> None:
    repository = make_repository(tmp_path / "shop")
    processes.start()
    processes.are_up()
    lonely.cco("init", str(repository))
    lonely.cco("spawn", "web", "--repository", "shop", "--prompt", "STEP say hello")
    lonely.cco("spawn", "resting", "--repository", "shop")
    lonely.state_becomes("web", "idle")
    lonely.wait("resting", "condition=Ready")
    lonely.cco("instance", "suspend", "resting")
    lonely.wait("resting", "condition=Suspended")
    draft = Path(lonely.get("web")["status"]["workspace"]["path"]) / "draft.txt"
    draft.write_text("unfinished\n", encoding="utf-8")
    before = {name: lonely.get(name) for name in ("web", "resting")}
    world, refs = containers(lonely), git(repository, "show-ref")

    processes.kill()
    lose_database(lonely)
    processes.start()
    processes.refuse()
    assert "DatabaseMissing" in lonely.logs()
    assert containers(lonely) == world

    assert "instance web" in rebuild(lonely)
    assert not (lonely.state_dir / "state.db").exists()
    rebuild(lonely, "--yes")
    processes.start()
    processes.are_up()
    for name, former in before.items():
        assert lonely.get(name)["metadata"]["uid"] == former["metadata"]["uid"]
        assert lonely.get(name)["spec"] == former["spec"]
    lonely.wait("web", "condition=Ready")
    lonely.wait("resting", "condition=Suspended")
    assert containers(lonely) == world
    assert git(repository, "show-ref") == refs

    # Once more, and the files that were written for this day are gone, too.
    processes.kill()
    lose_database(lonely)
    for file in [*lonely.state_dir.glob("instances/*/manifest.json"), *lonely.state_dir.glob("repositories/*")]:
        file.unlink()
    rebuild(lonely, "--yes")
    processes.start()
    processes.are_up()
    lonely.wait("web", "condition=Ready")
    lonely.wait("resting", "condition=Suspended")
    assert {name: lonely.get(name)["metadata"]["uid"] for name in before} == {
        name: former["metadata"]["uid"] for name, former in before.items()
    }
    assert containers(lonely) == world
    assert draft.read_text() == "unfinished\n"
    lonely.cco("send", "web", "STEP say still here")
    lonely.state_becomes("web", "idle")
