"""``make down`` without Docker: whoever would start the instances again ends first, or is named."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from contracts.runtime_world import launch
from controller.leadership import take
from controller.runtime.process import shutdown
from controller.runtime.protocol import WorkloadState
from support.host_system import ROOT
from support.process_world import ProcessWorld
from support.together import Together, together


@pytest.fixture
def system() -> Iterator[Together]:
    with together({"CCO_RUNTIME": "process"}) as made:
        made.environment["DOCKER_HOST"] = f"unix://{made.directory}/nobody.sock"
        yield made


def down(system: Together) -> subprocess.CompletedProcess[str]:
    return system.run_program("sh", str(ROOT / "scripts" / "down.sh"))


def test_one_that_was_started_by_hand_is_ended_first(system: Together) -> None:
    system.up()
    process = system.process
    assert process is not None
    done = down(system)
    assert done.returncode == 0, done.stderr
    assert f"(process {process.pid})" in done.stderr
    assert "==> stopped" in done.stdout
    assert process.wait(10) == 0
    system.process = None
    done = down(system)
    assert (done.returncode, "nothing of ours runs" in done.stdout) == (0, True), done


def test_a_holder_that_cannot_be_ended_is_named(system: Together) -> None:
    system.state_dir.mkdir(mode=0o700)
    lock = take(system.state_dir)
    try:
        (system.state_dir / "controller.lock").write_text("1 on another machine\n")  # not what holds it here
        done = down(system)
    finally:
        lock.release()
    assert done.returncode != 0
    assert "(process 1 on another machine)" in done.stderr
    assert "stopped" not in done.stdout


def test_workloads_are_not_stopped_below_a_controller(world: ProcessWorld, capsys: pytest.CaptureFixture[str]) -> None:
    launch(world, world.spec())
    lock = take(world.state_dir)
    try:
        assert shutdown.main([str(world.state_dir)]) == 1
    finally:
        lock.release()
    assert "ControllerRunning: another controller" in capsys.readouterr().err
    assert [each.state for each in world.restarted().list()] == [WorkloadState.RUNNING]
    assert shutdown.main([str(world.state_dir)]) == 0
    assert world.restarted().list() == ()
