"""Commands and terminals in a real container: time, size, and that nothing is left running."""

from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest

from contracts.runtime_streams import read_until
from contracts.runtime_world import eventually, launch
from controller.errors import Retryable
from controller.runtime.protocol import MAX_OUTPUT, AttachStream, WorkloadSpec
from support.docker_world import DockerWorld

pytestmark = pytest.mark.docker


@pytest.fixture
def spec(world: DockerWorld) -> WorkloadSpec:
    spec = world.spec()
    launch(world, spec)
    return spec


def sleeping(world: DockerWorld, spec: WorkloadSpec, seconds: str) -> bool:
    """Tell whether a ``sleep`` of so many seconds runs in the container."""
    return f"sleep\0{seconds}\0" in world.sh(spec.uid, "cat /proc/[0-9]*/cmdline")


def read_line(terminal: AttachStream) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += read_until(terminal, 1)
    return line.strip()


def test_a_command_that_takes_too_long_is_killed(world: DockerWorld, spec: WorkloadSpec) -> None:
    begin = time.monotonic()
    with pytest.raises(Retryable) as caught:
        world.runtime.exec(spec.uid, ["sh", "-c", "sleep 1234; true"], timeout=0.5)
    assert caught.value.reason == "ExecTimeout"
    assert time.monotonic() - begin < 3
    assert not sleeping(world, spec, "1234")


def test_a_flood_of_output_is_cut(world: DockerWorld, spec: WorkloadSpec) -> None:
    result = world.runtime.exec(spec.uid, ["head", "-c", str(3 * MAX_OUTPUT), "/dev/zero"], timeout=20)
    assert result.exit_code == 0
    assert result.output == bytes(MAX_OUTPUT)


def test_both_streams_are_returned(world: DockerWorld, spec: WorkloadSpec) -> None:
    result = world.runtime.exec(spec.uid, ["sh", "-c", "echo out; sleep 0.1; echo err >&2"], timeout=10)
    assert result.output == b"out\nerr\n"


def test_a_terminal_has_the_size_it_was_given(world: DockerWorld, spec: WorkloadSpec) -> None:
    script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done"
    with world.runtime.attach(spec.uid, ["sh", "-c", script], columns=91, rows=33) as terminal:
        line = read_line(terminal)
        while line != b"33 91":
            line = read_line(terminal)
        terminal.resize(120, 40)
        while line != b"40 120":
            line = read_line(terminal)


def test_leaving_a_terminal_ends_its_program(world: DockerWorld, spec: WorkloadSpec) -> None:
    with world.runtime.attach(spec.uid, ["sh", "-c", "echo on; sleep 4321; true"], columns=80, rows=24) as terminal:
        assert read_line(terminal) == b"on"
        assert sleeping(world, spec, "4321")
    eventually(lambda: not sleeping(world, spec, "4321"))


def test_leaving_a_terminal_wakes_its_reader(world: DockerWorld, spec: WorkloadSpec) -> None:
    heard: list[bytes] = []
    with world.runtime.attach(spec.uid, ["sleep", "100"], columns=80, rows=24) as terminal:
        reader = threading.Thread(target=lambda: heard.append(terminal.read()))
        reader.start()
    reader.join(5)
    assert heard == [b""]


def test_a_program_that_ends_ends_its_terminal(world: DockerWorld, spec: WorkloadSpec) -> None:
    with world.runtime.attach(spec.uid, ["echo", "bye"], columns=80, rows=24) as terminal:
        assert read_line(terminal) == b"bye"
        assert terminal.read() == b""
        terminal.resize(100, 30)


def test_the_attach_command_works_in_a_persons_terminal(world: DockerWorld, spec: WorkloadSpec) -> None:
    ours, theirs = os.openpty()
    argv = world.runtime.attach_argv(spec.uid, ["sh", "-c", "test -t 0 && echo terminal $CCO_INSTANCE"])
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs)
    try:
        assert process.wait(20) == 0
        assert os.read(ours, 1000) == b"terminal web\r\n"
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)


def test_a_terminal_on_a_container_that_goes_away_ends(world: DockerWorld, spec: WorkloadSpec) -> None:
    with world.runtime.attach(spec.uid, world.argv_echoing(), columns=80, rows=24) as terminal:
        assert read_until(terminal, 5) == b"ready"
        world.runtime.remove(spec.uid)
        assert terminal.read() == b""


def test_keys_that_begin_the_detach_sequence_arrive(world: DockerWorld, spec: WorkloadSpec) -> None:
    with world.runtime.attach(spec.uid, world.argv_echoing(), columns=80, rows=24) as terminal:
        assert read_until(terminal, 5) == b"ready"
        for key in (b"\x1e", b"d", b"e", b"x"):
            terminal.write(key)
            threading.Event().wait(0.05)
        assert read_until(terminal, 4) == b"\x1edex"
