"""Usage, refs, viewers, processes, the session file: read from files as the kernel, git and Claude write them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from agent import process, viewers
from agent.facts import FileStatus
from agent.refs import RefsWatch
from agent.session_file import SessionFile
from agent.usage import Usage, UsageMeter


def write(folder: Path, **contents: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


class TestUsage:
    def v1(self, system: Path, *, cpu: int = 0, limit: int = 1 << 30, group: str = "") -> None:
        memory = system / "memory" / group
        write(
            memory, memory__usage_in_bytes=5000, memory__limit_in_bytes=limit, memory__stat="total_inactive_file 2000"
        )
        write(memory, memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 3")
        write(system / "cpuacct" / group, cpuacct__usage=cpu)
        write(system / "pids" / group, pids__current=12)

    def v2(self, system: Path, *, cpu: int = 0, limit: object = 1 << 30, group: str = "") -> None:
        write(system, cgroup__controllers="cpu memory pids")
        folder = system / group
        write(folder, memory__current=5000, memory__max=limit, memory__stat="anon 1\ninactive_file 2000")
        write(folder, memory__events="low 0\noom 4\noom_kill 3", pids__current=12)
        write(folder, cpu__stat=f"usage_usec {cpu}\nuser_usec 1")

    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_both_versions_of_cgroups(self, tmp_path: Path, version: str) -> None:
        getattr(self, version)(tmp_path)
        assert UsageMeter(tmp_path, tmp_path / "none").measure() == Usage(0.0, 3000, 1 << 30, 12, 3)

    @pytest.mark.parametrize(("version", "unit"), [("v1", 1_000_000_000), ("v2", 1_000_000)])
    def test_processor_time_is_that_since_the_last_look(self, tmp_path: Path, version: str, unit: int) -> None:
        getattr(self, version)(tmp_path, cpu=unit)
        meter = UsageMeter(tmp_path, tmp_path / "none")
        assert meter.measure().cpu_percent == 0.0
        began = time.monotonic()
        time.sleep(0.05)
        getattr(self, version)(tmp_path, cpu=unit + unit // 10)
        percent = meter.measure().cpu_percent
        assert 10 / (time.monotonic() - began) * 0.5 < percent <= 10 / 0.05

    @pytest.mark.parametrize(
        ("version", "line"), [("v1", "9:memory:/a/b\n8:cpu,cpuacct:/a/b\n7:pids:/a/b"), ("v2", "0::/a/b")]
    )
    def test_its_own_group_where_the_mount_shows_all(self, tmp_path: Path, version: str, line: str) -> None:
        system, membership = tmp_path / "system", tmp_path / "membership"
        getattr(self, version)(system, group="a/b")
        membership.write_text(line)
        assert UsageMeter(system, membership).measure().pids == 12

    @pytest.mark.parametrize(("version", "limit"), [("v1", 9223372036854771712), ("v2", "max")])
    def test_no_limit_is_none(self, tmp_path: Path, version: str, limit: object) -> None:
        getattr(self, version)(tmp_path, limit=limit)
        assert UsageMeter(tmp_path, tmp_path / "none").measure().memory_limit_bytes == 0

    def test_without_cgroups_the_processes_are_added_up(self, tmp_path: Path) -> None:
        usage = UsageMeter(tmp_path, tmp_path / "none").measure()
        assert usage.pids >= 1
        assert usage.memory_bytes > 1 << 20

    def test_this_machine(self) -> None:
        usage = UsageMeter(Path("/sys/fs/cgroup")).measure()
        assert usage.memory_bytes > 0


class TestRefs:
    def git(self, repository: Path, *arguments: str) -> None:
        identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid"]
        subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True)

    def test_a_version_for_every_constellation(self, tmp_path: Path) -> None:
        watch = RefsWatch(tmp_path / ".git")
        assert watch.version() is None
        self.git(tmp_path, "init", "-q", "-b", "main")
        versions = [watch.version()]
        for arguments in (
            ["commit", "-q", "--allow-empty", "-m", "one"],
            ["commit", "-q", "--allow-empty", "-m", "two"],
            ["branch", "feature/deep/er"],
            ["checkout", "-q", "feature/deep/er"],
            ["branch", "-D", "main"],
            ["checkout", "-q", "--detach"],
        ):
            self.git(tmp_path, *arguments)
            versions.append(watch.version())
        assert None not in versions
        assert len(set(versions)) == len(versions)

    def test_what_did_not_move_keeps_its_version(self, tmp_path: Path) -> None:
        self.git(tmp_path, "init", "-q", "-b", "main")
        self.git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
        version = RefsWatch(tmp_path / ".git").version()
        os.utime(tmp_path / ".git" / "HEAD")
        (tmp_path / ".git" / "refs" / "heads" / "main.lock").touch()
        assert RefsWatch(tmp_path / ".git").version() == version


class TestSessionFile:
    def test_only_changes_are_told(self, tmp_path: Path) -> None:
        file = SessionFile(tmp_path, 7)
        assert file.changed(1.0) is None
        path = tmp_path / "sessions" / "7.json"
        write(path.parent, **{"7__json": json.dumps({"status": "idle"})})
        assert file.changed(2.0) == FileStatus(2.0, "idle")
        assert file.changed(3.0) is None
        path.write_text("{half")
        assert file.changed(4.0) is None
        path.write_text(json.dumps({"status": "busy", "statusUpdatedAt": 4500}))
        assert file.changed(5.0) == FileStatus(4.5, "working")
        path.write_text(json.dumps({"status": "busy", "statusUpdatedAt": 4500, "more": 1}))
        assert file.changed(6.0) is None
        path.unlink()
        assert file.changed(7.0) is None


def test_connections_to_a_socket_are_counted(tmp_path: Path) -> None:
    path = str(tmp_path / "a socket")
    assert viewers.connections(path) == 0
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
        accepted, _ = server.accept()
        with accepted:
            assert viewers.connections(path) == 1
            assert viewers.connections(path[:-1]) == 0
    assert viewers.connections(path, tmp_path / "missing") == 0


class TestProcess:
    def test_a_death_is_noticed(self) -> None:
        async def end_and_wait(pid: int, *, force: bool = False) -> None:
            died = asyncio.Event()
            stop = process.watch(pid, died.set)
            assert stop is not None
            process.end(pid, force=force)
            await asyncio.wait_for(died.wait(), 5)
            stop()

        with subprocess.Popen(["sleep", "60"]) as child:
            assert process.is_alive(child.pid)
            asyncio.run(end_and_wait(child.pid))
            assert child.wait(5) == -signal.SIGTERM
        assert not process.is_alive(child.pid)
        # One that is gone already is a death as well.
        asyncio.run(end_and_wait(child.pid, force=True))

    def test_where_the_kernel_cannot_watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_: int) -> int:
            raise PermissionError

        monkeypatch.setattr(os, "pidfd_open", refuse)

        async def scenario() -> None:
            assert process.watch(os.getpid(), lambda: None) is None

        asyncio.run(scenario())
