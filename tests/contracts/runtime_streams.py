"""Commands, terminals, logs, and the watch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from controller.errors import Retryable
from controller.runtime.protocol import AttachStream, ExecResult, Limits

from .runtime_world import EVERY_BYTE, Watcher, World, eventually, launch, watching

WITHIN_A_SECOND = 1.0


def read_until(stream: AttachStream, length: int) -> bytes:
    """Return the next ``length`` bytes."""
    received = b""
    while len(received) < length:
        data = stream.read(length - len(received))
        assert data, f"the terminal ended after {received!r}"
        received += data
    return received


class StreamContract:
    def test_exec_returns_exit_code_and_every_byte(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        assert world.runtime.exec(spec.uid, world.argv_printing(EVERY_BYTE), timeout=10) == ExecResult(0, EVERY_BYTE)
        assert world.runtime.exec(spec.uid, world.argv_exiting(7), timeout=10).exit_code == 7
        assert world.runtime.exec(spec.uid, ["no-such-program"], timeout=10).exit_code in (126, 127)

    def test_nothing_can_be_run_where_nothing_runs(self, world: World) -> None:
        spec = world.spec()
        world.runtime.create(spec)
        verbs: list[Callable[[], object]] = [
            lambda: world.runtime.exec(spec.uid, world.argv_exiting(0), timeout=5),
            lambda: world.runtime.attach(spec.uid, world.argv_echoing(), columns=80, rows=24).__enter__(),
            lambda: world.runtime.attach_argv(spec.uid, ["sh"]),
        ]
        for verb in verbs:
            with pytest.raises(Retryable) as caught:
                verb()
            assert caught.value.reason == "WorkloadNotRunning"

    def test_attach_is_binary_clean_and_resizes(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        with world.runtime.attach(spec.uid, world.argv_echoing(), columns=91, rows=33) as terminal:
            assert read_until(terminal, 5) == b"ready"
            terminal.write(EVERY_BYTE)
            assert read_until(terminal, 256) == EVERY_BYTE
            terminal.resize(120, 40)
            for byte in b"\x10\x11\x03\x04\x1a\r\n\xff":
                terminal.write(bytes([byte]))
            assert read_until(terminal, 8) == b"\x10\x11\x03\x04\x1a\r\n\xff"

    def test_the_program_sees_each_new_size(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        with world.runtime.attach(spec.uid, world.argv_measuring(), columns=91, rows=33) as terminal:
            assert read_until(terminal, 5) == b"ready"
            for columns, rows in ((91, 33), (120, 40), (20, 5)):
                terminal.resize(columns, rows)
                terminal.write(b"\n")
                told = f"{rows} {columns}".encode()
                assert read_until(terminal, len(told)) == told

    def test_two_terminals_do_not_mix(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        runtime, argv = world.runtime, world.argv_echoing()
        with (
            runtime.attach(spec.uid, argv, columns=80, rows=24) as one,
            runtime.attach(spec.uid, argv, columns=80, rows=24) as two,
        ):
            for terminal in (one, two):
                assert read_until(terminal, 5) == b"ready"
            one.write(b"\x00one\xff")
            two.write(b"\x00two\xff")
            assert read_until(two, 5) == b"\x00two\xff"
            assert read_until(one, 5) == b"\x00one\xff"

    def test_much_output_arrives_whole(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        data = EVERY_BYTE * 100
        assert world.runtime.exec(spec.uid, world.argv_printing(data), timeout=20) == ExecResult(0, data)

    def test_attach_command_carries_the_argv_as_it_is(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        argv = world.runtime.attach_argv(spec.uid, ["tmux", "attach", "-t", "a b"])
        assert "tmux" in argv
        assert argv[-3:] == ("attach", "-t", "a b")
        assert len(argv) > 4

    def test_logs(self, world: World) -> None:
        spec = world.spec()
        assert world.runtime.logs(spec.uid, tail=10) == b""
        launch(world, spec)
        eventually(lambda: world.runtime.logs(spec.uid, tail=10) == b"started\n")
        world.runtime.stop(spec.uid, grace=5)
        assert world.runtime.logs(spec.uid, tail=10) == b"started\n"


class WatchContract:
    def test_every_change_is_told(self, world: World) -> None:
        spec = world.spec()
        runtime = world.runtime
        with watching(runtime) as watcher:
            changes: list[Callable[[], object]] = [
                lambda: runtime.create(spec),
                lambda: runtime.start(spec.uid, 1),
                lambda: runtime.update(spec.uid, Limits(cpus=0.5, memory=spec.limits.memory, pids=77)),
                lambda: world.pause_by_hand(spec.uid),
                lambda: runtime.start(spec.uid, 1),
                lambda: world.kill(spec.uid),
                lambda: runtime.remove(spec.uid),
            ]
            for change in changes:
                watcher.drain()
                change()
                watcher.expect(spec.uid)

    def test_other_installations_are_not_told(self, world: World) -> None:
        ours, theirs = world.spec("ours"), world.spec("theirs")
        with watching(world.runtime) as watcher:
            world.stranger.create(theirs)
            world.stranger.start(theirs.uid, 1)
            world.runtime.create(ours)
            watcher.expect(ours.uid, but_never=theirs.uid)

    def test_a_cut_connection_is_a_resync(self, world: World) -> None:
        spec = world.spec()
        with watching(world.runtime) as watcher:
            world.cut_connections()
            watcher.expect_resync()
            world.runtime.create(spec)
            watcher.expect(spec.uid)

    def test_an_engine_that_was_away_is_a_resync(self, world: World) -> None:
        spec = world.spec()
        with watching(world.runtime) as watcher:
            world.go_away()
            watcher.drain()
            world.come_back()
            watcher.expect_resync()
            world.runtime.create(spec)
            watcher.expect(spec.uid)

    def test_a_watch_begun_without_an_engine_waits_for_it(self, world: World) -> None:
        world.go_away()
        watcher = Watcher(world.restarted())
        watcher.drain()
        world.come_back()
        watcher.expect_resync()
        watcher.finish()

    def test_a_watch_ends_within_a_second(self, world: World) -> None:
        connected = Watcher(world.runtime)
        connected.expect_resync()
        assert connected.finish() < WITHIN_A_SECOND
        world.go_away()
        waiting = Watcher(world.runtime)
        waiting.drain()
        assert waiting.finish() < WITHIN_A_SECOND
