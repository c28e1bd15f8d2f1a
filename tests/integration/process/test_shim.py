"""What the shim promises: it outlives the controller, leaves nothing behind, and is nobody's way to a secret."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from contracts.runtime_world import eventually, launch, look, watching
from controller.errors import Terminal, Unavailable
from controller.runtime.process import runs, shim
from controller.runtime.process.cgroups import UNIFIED
from controller.runtime.process.launch import mark_of
from controller.runtime.process.processes import Identity, marked
from controller.runtime.process.records import Records, Run
from controller.runtime.process.runtime import NOT_ISOLATED
from controller.runtime.protocol import Limits, WorkloadState
from support.process_world import ProcessWorld
from support.program_world import MIB
from support.trees import nest

# Leaves its ancestors, its session and its environment, as a daemon that wants to be forgotten would.
_STRAY = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        os.execve("/bin/sleep", ["sleep", "300"], {})
    os._exit(0)
os.wait()
print("started", flush=True)
time.sleep(300)
"""


# A shim on a machine where no SIGKILL has any effect before a file is there, as where a disk does not answer.
_SLOW_SHIM = """
import sys
from pathlib import Path
sys.path.insert(0, REPOSITORY)
from controller.runtime.process import processes, shim
send = processes.Identity.send
processes.Identity.send = lambda who, number: Path(LET_GO).exists() and send(who, number)
sys.exit(shim.main())
"""


# A shim on a machine that has no cgroups, or lets nobody write to them.
_POOR_SHIM = """
import sys
sys.path.insert(0, REPOSITORY)
from controller.runtime.process import cgroups, shim
cgroups.find_hierarchies = lambda: []
sys.exit(shim.main())
"""


def stray_world(folder: Path) -> tuple[ProcessWorld, Path]:
    note = folder / "stray.pid"
    return ProcessWorld(folder, command=(sys.executable, "-c", _STRAY, str(note))), note


def test_it_outlives_a_controller_that_is_killed(world: ProcessWorld) -> None:
    spec = world.spec()
    world.runtime.create(spec)
    program = f"""
        import os, signal
        from pathlib import Path
        from controller.runtime.process.environment import Environment
        from controller.runtime.process.runtime import ProcessRuntime
        environment = Environment(state_dir=Path({str(world.state_dir)!r}), image="", command={tuple(world.command)!r})
        runtime = ProcessRuntime(
            root=Path({str(world.root)!r}), installation="ours", prefix="cco", environment=environment
        )
        runtime.start({spec.uid!r}, 1)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=False,
        timeout=60,
        env={**os.environ, "ANTHROPIC_API_KEY": "of the controller"},
    )
    assert done.returncode == -signal.SIGKILL
    assert look(world, spec).state is WorkloadState.RUNNING
    run = world.run(spec.uid)
    for who in (run.shim, run.agent):
        for file in ("environ", "cmdline"):
            assert b"of the controller" not in Path(f"/proc/{who.pid}/{file}").read_bytes()
    assert os.getsid(run.agent.pid) != os.getsid(run.shim.pid)
    world.runtime.stop(spec.uid, grace=5)
    assert look(world, spec).state is WorkloadState.EXITED


def test_a_stray_does_not_outlive_its_workload(tmp_path: Path) -> None:
    world, note = stray_world(tmp_path)
    try:
        spec = world.spec()
        launch(world, spec)
        eventually(note.exists)
        stray = Identity.of(int(eventually(note.read_text)))
        assert stray is not None
        assert stray.is_alive()
        world.runtime.stop(spec.uid, grace=1)
        assert not stray.is_alive()
        assert not marked(mark_of(world.record(spec.uid).id))
    finally:
        world.clean()


@pytest.fixture
def let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file before which a shim's signals do nothing."""
    note, program = tmp_path / "let go", tmp_path / "slow_shim.py"
    repository = str(Path(__file__).parents[3])
    program.write_text(_SLOW_SHIM.replace("REPOSITORY", repr(repository)).replace("LET_GO", repr(str(note))))
    monkeypatch.setattr(runs, "_START_SHIM", program)
    return note


def test_it_says_that_all_ended_only_when_it_did(tmp_path: Path, let_go: Path) -> None:
    world, note = stray_world(tmp_path)
    try:
        spec = world.spec()
        launch(world, spec)
        stray = Identity.of(int(eventually(lambda: note.exists() and note.read_text())))
        assert stray is not None
        before = world.run(spec.uid)
        before.agent.send(signal.SIGTERM)
        assert before.agent.wait(10)
        assert not before.shim.wait(shim.SWEEP_SECONDS + 2), "it goes on as long as anything is left"
        assert look(world, spec).state is WorkloadState.RUNNING
        world.runtime.start(spec.uid, 1)
        assert world.run(spec.uid).id == before.id, "no second run beside what is left of the first"
        assert stray.is_alive()
        let_go.touch()
        eventually(lambda: look(world, spec).state is WorkloadState.EXITED)
        assert not stray.is_alive()
        assert look(world, spec).exit_code == 143
    finally:
        let_go.touch()
        world.clean()


def test_while_anything_is_left_the_shim_stays_and_nothing_begins(
    tmp_path: Path, let_go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_SHIM_SECONDS", 0.5)
    monkeypatch.setattr(runs, "sweep", partial(shim.sweep, seconds=0.5))
    world, note = stray_world(tmp_path)
    send = Identity.send
    try:
        spec = world.spec()
        launch(world, spec)
        eventually(note.exists)
        before = world.run(spec.uid)
        before.agent.send(signal.SIGTERM)
        assert before.agent.wait(10)
        with monkeypatch.context() as patch:
            patch.setattr(Identity, "send", lambda who, number: let_go.exists() and send(who, number))
            for verb in (partial(world.runtime.stop, grace=0), world.runtime.remove):
                with pytest.raises(Unavailable) as caught:
                    verb(spec.uid)
                assert caught.value.reason == "ProcessesLeft"
                assert before.shim.is_alive(), "it alone knows of every orphan"
            let_go.touch()
            world.runtime.stop(spec.uid, grace=0)
        assert (look(world, spec).state, look(world, spec).exit_code) == (WorkloadState.EXITED, 143)
        assert not Path(before.scratch).exists()
    finally:
        let_go.touch()
        world.clean()


@pytest.mark.parametrize("verb", ["start", "stop", "remove"])
def test_a_shim_that_is_killed(world: ProcessWorld, verb: str) -> None:
    spec = world.spec(stubborn=True)
    launch(world, spec)
    first = world.run(spec.uid)
    with watching(world.runtime) as watcher:
        watcher.drain()
        first.shim.send(signal.SIGKILL)
        watcher.expect(spec.uid)
    seen = look(world, spec)
    assert (seen.state, seen.exit_code, seen.oom_killed) == (WorkloadState.EXITED, 137, False)
    assert seen.finished_at is not None
    assert seen.error is not None
    assert look(world, spec) == seen, "told alike at every look"
    if verb == "start":
        world.runtime.start(spec.uid, 1)
        assert look(world, spec).state is WorkloadState.RUNNING
    elif verb == "stop":
        world.runtime.stop(spec.uid, grace=1)
    else:
        world.runtime.remove(spec.uid)
    assert not first.agent.is_alive(), "never two for one uid, and nothing that nobody watches"
    assert not Path(first.scratch).exists()


@pytest.mark.parametrize("remover", ["the shim", "the controller"])
def test_a_scratch_folder_goes_however_deep_it_nests(world: ProcessWorld, remover: str) -> None:
    spec = world.spec()
    launch(world, spec)
    run = world.run(spec.uid)
    nest(Path(run.scratch), 1500)
    if remover == "the controller":
        run.shim.send(signal.SIGKILL)
    world.runtime.stop(spec.uid, grace=1)
    world.runtime.remove(spec.uid)
    eventually(lambda: not Path(run.scratch).exists())


def test_after_a_reboot_nothing_runs(world: ProcessWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    run = world.run(spec.uid)
    path = Records(world.root).path("cco-web-1", "run")
    world.runtime.stop(spec.uid, grace=5)
    Records(world.root).path("cco-web-1", "exit").unlink()
    # The pids of before belong to others now: here, to us.
    me = Identity.of(os.getpid())
    assert me is not None
    earlier = {"boot": "before", "pid": me.pid, "started": me.started}
    path.write_text(json.dumps({**json.loads(path.read_text()), "shim": earlier, "agent": earlier}))
    assert look(world, spec).state is WorkloadState.EXITED
    world.runtime.start(spec.uid, 1)
    assert look(world, spec).state is WorkloadState.RUNNING
    assert world.run(spec.uid).id != run.id


def test_many_starts_at_once_are_one(world: ProcessWorld) -> None:
    spec = world.spec()
    world.runtime.create(spec)
    runtimes = [world.restarted() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda runtime: runtime.start(spec.uid, 1), runtimes))
    assert world.runtime.logs(spec.uid, tail=10) in (b"", b"started\n")
    eventually(lambda: world.runtime.logs(spec.uid, tail=10) == b"started\n")


def test_a_machine_that_shuts_down_ends_it_gracefully(world: ProcessWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    world.run(spec.uid).shim.send(signal.SIGTERM)
    eventually(lambda: look(world, spec).state is WorkloadState.EXITED)
    seen = look(world, spec)
    assert (seen.exit_code, seen.error) == (143, None)


def test_what_it_prints_is_bounded(tmp_path: Path) -> None:
    world = ProcessWorld(tmp_path, command=("/bin/sh", "-c", "yes | head -c 20000000; echo end; exec sleep 300"))
    try:
        spec = world.spec()
        launch(world, spec)
        eventually(lambda: world.runtime.logs(spec.uid, tail=1) == b"end\n", seconds=60)
        assert sum(path.stat().st_size for path in world.root.glob("workloads/*.log*")) < 11 * MIB
    finally:
        world.clean()


def test_a_program_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    world = ProcessWorld(tmp_path, command=("/no/such/program",))
    spec = world.spec()
    world.runtime.create(spec)
    with pytest.raises(Terminal) as caught:
        world.runtime.start(spec.uid, 1)
    assert caught.value.reason == "InvalidWorkload"
    assert "/no/such/program" in caught.value.message
    assert look(world, spec).state is WorkloadState.CREATED
    world.runtime.remove(spec.uid)


def test_a_working_directory_that_went_away_is_named(world: ProcessWorld) -> None:
    gone = world.make_source()
    spec = world.spec(workdir=gone)
    world.runtime.create(spec)
    world.remove_source(gone)
    with pytest.raises(Terminal, match=gone):
        world.runtime.start(spec.uid, 1)


LIMITS = {
    "memory": ("memory", ("memory.limit_in_bytes", "memory.max")),
    "cpus": ("cpu", ("cpu.cfs_quota_us", "cpu.max")),
    "pids": ("pids", ("pids.max", "pids.max")),
}
"""Names of limits, the controller of each, and where the kernel has it: version 1 and version 2 of cgroups."""


def limits_in_force(run: Run) -> dict[str, int]:
    """Return the limits that are in force in a cgroup that the workload's first process is in."""
    found = {}
    for name, (controller, files) in LIMITS.items():
        for folder, file in zip((run.cgroups.get(controller), run.cgroups.get(UNIFIED)), files, strict=True):
            if folder is not None and (Path(folder) / file).exists():
                assert str(run.agent.pid) in (Path(folder) / "cgroup.procs").read_text().split()
                found[name] = int((Path(folder) / file).read_text().split()[0])
    return found


def test_limits_are_the_kernels_or_said_to_be_none(world: ProcessWorld) -> None:
    """As far as this machine lets us; the next test is about one that does not at all."""
    spec = world.spec()
    seen = launch(world, spec)
    run = world.run(spec.uid)
    notice = seen.notice or ""
    for limits in (spec.limits, Limits(cpus=0.5, memory=128 * MIB, pids=50)):
        world.runtime.update(spec.uid, limits)
        wanted = {"memory": limits.memory, "cpus": round(limits.cpus * 100_000), "pids": limits.pids}
        found = limits_in_force(run)
        assert found == {name: wanted[name] for name in found}
        missing = ", ".join(name for name in wanted if name not in found)
        assert (f"not enforced: spec.resources {missing} (" in notice) if missing else (notice == NOT_ISOLATED)
    world.runtime.remove(spec.uid)
    assert not any(Path(folder).exists() for folder in run.cgroups.values())


@pytest.fixture
def no_cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start shims as on a machine where none can be made."""
    program = tmp_path / "poor_shim.py"
    program.write_text(_POOR_SHIM.replace("REPOSITORY", repr(str(Path(__file__).parents[3]))))
    monkeypatch.setattr(runs, "_START_SHIM", program)


@pytest.mark.usefixtures("no_cgroups")
def test_where_nobody_enforces_limits_that_is_said_and_true(world: ProcessWorld) -> None:
    spec = world.spec()
    said = "not enforced: spec.resources memory, cpus, pids (cgroups: this machine has no such cgroups)"
    assert launch(world, spec).notice == f"{NOT_ISOLATED}; {said}"
    assert world.run(spec.uid).cgroups == {}
    world.runtime.update(spec.uid, Limits(cpus=0.5, memory=128 * MIB, pids=50))
    world.exhaust_memory(spec.uid)
    eventually(lambda: look(world, spec).state is WorkloadState.EXITED)
    seen = look(world, spec)
    assert (seen.exit_code, seen.oom_killed) == (0, False), "it took a gigabyte and nobody minded"


def test_files_and_core_dumps_are_limited(world: ProcessWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    limits = Path(f"/proc/{world.run(spec.uid).agent.pid}/limits").read_text()
    rows = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()[1:]}
    assert rows["Max core file size"] == ["0", "0"]
    assert int(rows["Max open files"][1]) <= 16_384
    assert rows["Max address space"] == ["unlimited", "unlimited"]


def test_commands_run_in_the_workloads_environment(world: ProcessWorld) -> None:
    spec = world.spec(env={"GREETING": "hello"})
    launch(world, spec)
    done = world.runtime.exec(spec.uid, ["sh", "-c", 'pwd; echo "$GREETING $CCO_INSTANCE"; ls -d "$HOME"'], timeout=10)
    assert done.exit_code == 0
    lines = done.output.decode().splitlines()
    assert lines[:2] == [spec.workdir, "hello web"]
    assert lines[2].endswith("-home/home")


def test_a_terminal_ends_with_its_workload(world: ProcessWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    with world.runtime.attach(spec.uid, world.argv_echoing(), columns=80, rows=24) as terminal:
        assert terminal.read() != b""
        world.runtime.stop(spec.uid, grace=5)
        while terminal.read():
            pass


def test_a_command_is_ended_in_time(world: ProcessWorld) -> None:
    spec = world.spec()
    launch(world, spec)
    with pytest.raises(Exception, match="did not end within") as caught:
        world.runtime.exec(spec.uid, ["sleep", "300"], timeout=0.5)
    assert getattr(caught.value, "reason", "") == "ExecTimeout"
