"""Limits in cgroups, on plain files that look like the kernel's; the real ones are in ``tests/integration/process``."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from controller.errors import Terminal
from controller.runtime.process.cgroups import UNIFIED, Cgroup, Hierarchy, find_hierarchies, make
from controller.runtime.process.refusals import apply_limits
from controller.runtime.protocol import Limits

LIMITS = Limits(cpus=1.5, memory=64 * 1024**2, pids=99)


def proc(folder: Path, cgroup: str, *mounts: str) -> Path:
    folder.mkdir()
    (folder / "cgroup").write_text(cgroup)
    (folder / "mountinfo").write_text("".join(f"{line}\n" for line in mounts))
    return folder


def v2(folder: Path, *, controllers: str = "cpu memory pids", handed_on: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.controllers").write_text(controllers)
    (folder / "cgroup.subtree_control").write_text(handed_on)
    return folder


def test_version_2_is_found(tmp_path: Path) -> None:
    own = tmp_path / "fs/user.slice/mine"
    own.mkdir(parents=True)
    mount = f"30 23 0:26 / {tmp_path}/fs rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
    folder = proc(tmp_path / "proc", "0::/user.slice/mine\n", "22 1 8:1 / / rw - ext4 /dev/sda1 rw", mount)
    assert find_hierarchies(folder) == [Hierarchy(frozenset({UNIFIED}), tmp_path / "fs", own)]


def test_version_1_is_found_with_controllers_that_share_a_mount(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "memory/job").mkdir(parents=True)
    folder = proc(
        tmp_path / "proc",
        "4:memory:/job\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/\n",
        f"31 23 0:27 / {tmp_path}/memory rw - cgroup cgroup rw,memory",
        f"32 23 0:28 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu,cpuacct",
    )
    found = {each.controllers: each.own for each in find_hierarchies(folder)}
    assert found == {
        frozenset({"memory"}): tmp_path / "memory/job",
        frozenset({"cpu", "cpuacct"}): tmp_path / "cpu",
    }


def test_in_a_container_the_mount_is_the_own_one(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    mount = f"31 23 0:27 /docker/abc {tmp_path}/memory ro - cgroup cgroup rw,memory"
    folder = proc(tmp_path / "proc", "4:memory:/docker/abc\n", mount)
    assert [each.own for each in find_hierarchies(folder)] == [tmp_path / "memory"]
    elsewhere = proc(tmp_path / "other", "4:memory:/somewhere/else\n", mount)
    assert [each.own for each in find_hierarchies(elsewhere)] == [tmp_path / "memory"]


def test_without_proc_there_are_none(tmp_path: Path) -> None:
    assert find_hierarchies(tmp_path / "nothing") == []


def test_without_cgroups_every_limit_is_said_not_to_be_enforced() -> None:
    cgroup = make("cco-1", LIMITS, [])
    assert cgroup.folders == {}
    assert (
        cgroup.notice() == "not enforced: spec.resources memory, cpus, pids (cgroups: this machine has no such cgroups)"
    )
    assert not cgroup.counts()
    assert (cgroup.pids(), cgroup.oom_kills()) == (set(), 0)


def test_version_1_limits_what_it_can(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    cgroup = make("cco-1", LIMITS, [Hierarchy(frozenset({"memory"}), memory, memory)])
    assert (memory / "cco-1/memory.limit_in_bytes").exists() is False, "this kernel would have made it"
    assert cgroup.folders == {"memory": str(memory / "cco-1")}
    assert cgroup.notice() == "not enforced: spec.resources cpus, pids (cgroups: this machine has no such cgroups)"


def test_version_2_goes_below_the_nearest_one_that_hands_controllers_on(tmp_path: Path) -> None:
    v2(tmp_path / "fs", handed_on="cpu memory pids")
    slice_ = v2(tmp_path / "fs/user.slice", controllers="memory pids", handed_on="memory pids")
    own = v2(slice_ / "mine")
    (own / "cgroup.subtree_control").unlink()
    (own / "cgroup.subtree_control").mkdir()  # processes are in it: the kernel refuses to be written to
    cgroup = make("cco-1", LIMITS, [Hierarchy(frozenset({UNIFIED}), tmp_path / "fs", own)])
    assert cgroup.folders == {UNIFIED: str(slice_ / "cco-1")}
    assert cgroup.notice() == "not enforced: spec.resources cpus (this controller is not handed on to us)"
    assert cgroup.counts()


def test_version_2_that_hands_nothing_on_is_told(tmp_path: Path) -> None:
    own = v2(tmp_path / "fs", controllers="")
    cgroup = make("cco-1", LIMITS, [Hierarchy(frozenset({UNIFIED}), tmp_path / "fs", own)])
    assert cgroup.folders == {}
    assert cgroup.notice() == "not enforced: spec.resources memory, cpus, pids (cgroups cannot be written here)"


def test_version_2_writes_its_files_live(tmp_path: Path) -> None:
    for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max", "memory.current", "memory.events"):
        (tmp_path / name).write_text("0\n")
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    (tmp_path / "cgroup.procs").write_text("12\n7\n")
    cgroup = Cgroup({UNIFIED: str(tmp_path)})
    cgroup.set_limits(LIMITS)
    written = [(tmp_path / name).read_text() for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max")]
    assert written == [str(LIMITS.memory), "0", "150000 100000", "99"]
    assert cgroup.oom_kills() == 2
    assert cgroup.pids() == {12, 7}
    cgroup.kill()
    assert (tmp_path / "cgroup.kill").read_text() == "1"


def test_less_than_is_in_use_is_refused_and_not_killed_for(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max")
    (tmp_path / "memory.current").write_text(str(LIMITS.memory + 1))
    cgroup = Cgroup({UNIFIED: str(tmp_path)})
    with pytest.raises(OSError, match="busy") as caught:
        cgroup.set_limits(LIMITS)
    assert caught.value.errno == errno.EBUSY
    with pytest.raises(Terminal) as refused:
        apply_limits(cgroup, LIMITS)
    assert refused.value.reason == "InvalidLimits"
    assert (tmp_path / "memory.max").read_text() == "max"


def test_removing_one_that_is_gone_is_done(tmp_path: Path) -> None:
    Cgroup({"memory": str(tmp_path / "gone")}).remove()
    (tmp_path / "there").mkdir()
    Cgroup({"memory": str(tmp_path / "there")}).remove()
    assert not (tmp_path / "there").exists()
