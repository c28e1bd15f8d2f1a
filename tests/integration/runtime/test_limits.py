"""The limits are the kernel's: memory, processes, processor time, and their change while it runs."""

from __future__ import annotations

import dataclasses
import time

import pytest

from contracts.runtime_world import eventually, launch, look, watching
from controller.errors import Terminal
from controller.runtime.protocol import Limits, WorkloadState
from support.docker_world import DockerWorld
from support.program_world import MIB

pytestmark = pytest.mark.docker

# cgroup v1 | v2
_THROTTLED = "cat /sys/fs/cgroup/cpu/cpu.stat /sys/fs/cgroup/cpu.stat 2>/dev/null | grep nr_throttled"
_MEMORY = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"
_SWAP = "cat /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes /sys/fs/cgroup/memory.swap.max 2>/dev/null"
_TAKE = """perl -e '$x = "a" x ({mib} << 20); print "took it"'"""
_FORK = """perl -e '$n = 0; while ($n < 500) { my $p = fork; last unless defined $p; if (!$p) { sleep 30; exit } $n++ }
print $n'"""
_SPIN = """perl -e '$end = time + 2; 1 while time < $end; ($user, $system) = times;
print $user + $system'"""


def test_a_process_over_the_memory_is_killed_and_said_so(world: DockerWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    with watching(world.runtime) as watcher:
        watcher.drain()
        assert "took it" not in world.sh(spec.uid, _TAKE.format(mib=128))
        watcher.expect(spec.uid)
    # It was not the first process: the container lives on, and is not called killed.
    seen = look(world, spec)
    assert (seen.state, seen.oom_killed) == (WorkloadState.RUNNING, False)


def test_there_is_no_swap_to_flee_to(world: DockerWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    assert world.sh(spec.uid, _MEMORY).split() == [str(64 * MIB)]
    assert world.sh(spec.uid, _SWAP).split() in ([str(64 * MIB)], ["0"], [])


def test_a_fork_bomb_is_stopped_and_can_be_removed(world: DockerWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    assert 20 < int(world.sh(spec.uid, _FORK)) < 64
    begin = time.monotonic()
    world.runtime.remove(spec.uid)
    assert time.monotonic() - begin < 5
    assert world.runtime.list() == ()


def test_processor_time_is_throttled(world: DockerWorld) -> None:
    spec = world.spec(limits=Limits(cpus=0.2, memory=64 * MIB, pids=64))
    launch(world, spec)
    assert float(world.sh(spec.uid, _SPIN)) < 0.6  # unthrottled it is more than 1
    assert int(world.sh(spec.uid, _THROTTLED).split()[1]) > 0


def test_new_limits_take_effect_in_the_running_container(world: DockerWorld) -> None:
    spec = world.spec()
    before = launch(world, spec)
    world.runtime.update(spec.uid, Limits(cpus=0.5, memory=256 * MIB, pids=24))
    assert "took it" in world.sh(spec.uid, _TAKE.format(mib=80))
    assert int(world.sh(spec.uid, _FORK)) < 24
    assert world.sh(spec.uid, _MEMORY).split() == [str(256 * MIB)]
    assert dataclasses.replace(look(world, spec), limits=before.limits) == before


def test_less_memory_than_is_in_use_is_refused_with_the_number(world: DockerWorld) -> None:
    spec = world.spec()
    before = launch(world, spec)
    world.sh(spec.uid, "head -c 30000000 /dev/zero >/tmp/held")
    with pytest.raises(Terminal) as caught:
        world.runtime.update(spec.uid, Limits(cpus=1, memory=16 * MIB, pids=64))
    assert caught.value.reason == "InvalidLimits"
    assert "16Mi" in caught.value.message
    assert look(world, spec) == before


def test_limits_changed_while_stopped_hold_after_the_start(world: DockerWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    world.runtime.stop(spec.uid, grace=1)
    world.runtime.update(spec.uid, Limits(cpus=1, memory=96 * MIB, pids=64))
    world.runtime.start(spec.uid, 1)
    assert world.sh(spec.uid, _MEMORY).split() == [str(96 * MIB)]


def test_the_end_of_the_first_process_for_want_of_memory_is_its_own_word(world: DockerWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    world.exhaust_memory(spec.uid)
    eventually(lambda: look(world, spec).oom_killed)
