"""What is taken away from a container, seen from inside a real one and in what the engine says of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from contracts.runtime_world import launch
from controller.runtime.protocol import Mount, WorkloadSpec
from support.docker_world import DockerWorld

pytestmark = pytest.mark.docker

OWNER = (4242, 4343)


@pytest.fixture
def spec(world: DockerWorld) -> WorkloadSpec:
    source = Path(world.make_source())
    source.chmod(0o777)
    spec = world.spec(user=OWNER, mounts=(Mount(str(source), "/work"), Mount(str(source), "/read", read_only=True)))
    launch(world, spec)
    return spec


def host(world: DockerWorld, spec: WorkloadSpec) -> dict[str, Any]:
    found: dict[str, Any] = world.admin.inspect_container(world.container(spec.uid))
    return found


def test_it_runs_as_the_owner_without_any_privilege(world: DockerWorld, spec: WorkloadSpec) -> None:
    status = world.sh(spec.uid, "id -u; id -g; id -G; cat /proc/1/status")
    assert status.splitlines()[:3] == ["4242", "4343", "4343"]
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{name}:\t0000000000000000\n" in status
    assert "NoNewPrivs:\t1\n" in status
    assert "Seccomp:\t2\n" in status
    assert host(world, spec)["Config"]["User"] == "4242:4343"


def test_even_root_inside_has_no_privilege(world: DockerWorld, spec: WorkloadSpec) -> None:
    output = world.sh(spec.uid, "id -u; grep CapEff /proc/self/status; chown 1 /home/agent && echo owned", user="0:0")
    assert "0\nCapEff:\t0000000000000000\n" in output
    assert "owned" not in output


def test_the_root_file_system_is_read_only(world: DockerWorld, spec: WorkloadSpec) -> None:
    output = world.sh(spec.uid, "for d in / /etc /usr/bin /var/tmp /root /run; do touch $d/x; done", user="0:0")
    assert output.count("Read-only file system") == 6
    assert "Read-only file system" in world.sh(spec.uid, "touch /read/x")
    assert world.sh(spec.uid, "touch x /home/agent/x /tmp/x /run/secrets/x && echo all") == "all\n"


def test_temporary_file_systems_are_bounded(world: DockerWorld, spec: WorkloadSpec) -> None:
    mounts = world.sh(spec.uid, "cat /proc/mounts")
    tmp = re.search(r"^tmpfs /tmp tmpfs (\S+)", mounts, re.MULTILINE)
    secrets = re.search(r"^tmpfs /run/secrets tmpfs (\S+)", mounts, re.MULTILINE)
    assert tmp is not None
    assert secrets is not None
    assert {"nosuid", "nodev", "size=32768k"} <= set(tmp[1].split(","))
    assert "noexec" not in tmp[1]
    assert {"nosuid", "nodev", "noexec", "size=1024k", "mode=700", "uid=4242", "gid=4343"} <= set(secrets[1].split(","))
    full = world.sh(
        spec.uid, "exec 2>&1; head -c 40000000 /dev/zero >/tmp/big || echo refused; stat -c %a /tmp /run/secrets"
    )
    assert "No space left on device" in full
    assert full.endswith("refused\n1777\n700\n")


def test_forbidden_system_calls(world: DockerWorld, spec: WorkloadSpec) -> None:
    for command in ("mount -t tmpfs x /work", "unshare -Ur true"):
        output = world.sh(spec.uid, f"LC_ALL=C {command} && echo done")
        assert "done" not in output, command
        assert re.search("permission denied|Operation not permitted|must be superuser", output), output


def test_nothing_of_the_host_is_in_it(world: DockerWorld, spec: WorkloadSpec) -> None:
    container = host(world, spec)
    sources = {(each["Type"], each["Destination"]) for each in container["Mounts"]}
    assert sources == {("bind", "/work"), ("bind", "/read"), ("volume", "/home/agent")}
    assert world.sh(spec.uid, "find / -xdev -name docker.sock 2>/dev/null") == ""
    config = container["HostConfig"]
    assert not config["Binds"]
    assert not config["Devices"]
    assert not config["PortBindings"]
    assert not config["Privileged"]
    assert config["NetworkMode"] == world.network
    assert config["IpcMode"] == "private"
    assert config["PidMode"] == config["UTSMode"] == config["UsernsMode"] == ""
    assert all("unconfined" not in option for option in config["SecurityOpt"])


def test_what_the_engine_was_told(world: DockerWorld, spec: WorkloadSpec) -> None:
    container = host(world, spec)
    config = container["HostConfig"]
    assert config["Memory"] == config["MemorySwap"] == spec.limits.memory
    assert config["NanoCpus"] == 1_000_000_000
    assert config["PidsLimit"] == spec.limits.pids
    assert config["RestartPolicy"]["Name"] == "no"
    assert config["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert {limit["Name"] for limit in config["Ulimits"]} == {"nofile", "core"}
    assert config["Init"]
    assert container["Config"]["Healthcheck"]["Test"] == ["NONE"]
    assert container["Config"]["Hostname"] == spec.name


def test_open_files_are_limited_and_nothing_is_dumped(world: DockerWorld, spec: WorkloadSpec) -> None:
    told = world.sh(spec.uid, "grep -E '^Max (open files|core file size)' /proc/self/limits")
    assert sorted(line.split()[-3:-1] for line in told.splitlines()) == [["0", "0"], ["16384", "16384"]]
    limits = {limit["Name"]: (limit["Soft"], limit["Hard"]) for limit in host(world, spec)["HostConfig"]["Ulimits"]}
    assert limits == {"nofile": (16384, 16384), "core": (0, 0)}
    assert not host(world, spec)["NetworkSettings"]["Ports"]


def test_home_is_its_own_and_survives_the_container(world: DockerWorld, spec: WorkloadSpec) -> None:
    world.sh(spec.uid, "echo memory >/home/agent/note; chmod 600 /home/agent/note; echo key >/run/secrets/key")
    world.runtime.remove(spec.uid)
    again = world.spec(uid=spec.uid, attempt=2, user=OWNER)
    world.runtime.create(again)
    world.runtime.start(spec.uid, 2)
    assert world.sh(spec.uid, "cat /home/agent/note; ls /run/secrets") == "memory\n"
    other = world.spec("other", user=OWNER)
    launch(world, other)
    assert world.sh(other.uid, "ls /home/agent") == ""
