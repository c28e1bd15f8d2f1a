"""What an instance cannot do, tried from inside its container; and that its limits are the kernel's, not ours."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.deadline import eventually
from support.host_system import System, git

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180)]


@pytest.fixture
def boxed(system: System, repository: Path) -> Iterator[str]:
    """Name of an idle instance."""
    git(repository, "branch", "treasure")
    options = ("--repository", repository.name, "--permission-mode", "bypassPermissions", "--pids", "128")
    system.cco("spawn", "boxed", *options, "--prompt", "STEP say ready")
    system.state_becomes("boxed", "idle")
    yield "boxed"
    system.cco("delete", "instance", "boxed", timeout=180)


def shell(system: System, name: str, script: str) -> subprocess.CompletedProcess[str]:
    return system.docker_exec(name, "sh", "-c", script, check=False)


def test_the_users_git_is_out_of_reach(system: System, repository: Path, boxed: str) -> None:
    worktree = system.get(boxed)["status"]["workspace"]["path"]
    before = {path: path.read_bytes() for path in (repository / ".git").rglob("*") if path.is_file()}
    attempts = [
        f"touch {repository}/.git/planted",
        f"echo x > {repository}/.git/hooks/post-checkout",
        f"echo x >> {repository}/.git/config",
        f"rm {repository}/.git/refs/heads/treasure",
        f"touch {repository}/.git/objects/planted",
        f"rm {worktree}/.git",
        f"mv {worktree}/.git {worktree}/moved",
        f"git -C {repository} branch -D treasure",
        f"cd {worktree} && git push {repository} HEAD:refs/heads/treasure",
    ]
    for attempt in attempts:
        assert shell(system, boxed, attempt).returncode != 0, attempt
    after = {path: path.read_bytes() for path in (repository / ".git").rglob("*") if path.is_file()}
    assert before == after
    assert git(repository, "rev-parse", "treasure") == git(repository, "rev-parse", "main")


def test_its_own_git_has_everything_and_harms_nobody(system: System, repository: Path, boxed: str) -> None:
    worktree = system.get(boxed)["status"]["workspace"]["path"]
    script = f"""
    set -e
    cd {worktree}
    git config core.fsmonitor 'touch /tmp/ran; false'
    mkdir -p "$(git rev-parse --git-dir)/hooks"
    printf '#!/bin/sh\\ntouch /tmp/hook-ran\\n' > "$(git rev-parse --git-dir)/hooks/post-checkout"
    chmod +x "$(git rev-parse --git-dir)/hooks/post-checkout"
    git branch -D main; git tag mine; echo x > x.txt; git add x.txt; git commit -qm X; git stash list; git gc -q
    """
    done = shell(system, boxed, script)
    assert done.returncode == 0, done.stderr
    eventually(
        lambda: git(repository, "log", "-1", "--format=%s", "boxed") == "X", timeout=30, what="the commit came home"
    )
    assert git(repository, "branch", "--list", "main") != "", "the branch it deleted was its own copy"
    assert git(repository, "tag") == "", "its tags stay its own"
    assert not Path("/tmp/ran").exists()  # noqa: S108  # where the planted program would have left its mark
    assert not Path("/tmp/hook-ran").exists()  # noqa: S108  # same


def test_the_machine_is_out_of_reach(system: System, boxed: str) -> None:
    attempts = [
        "touch /planted",
        "test -e /var/run/docker.sock",
        "mount -t tmpfs x /mnt",
        "unshare -Ur true",
        "test -w /etc/claude-code/managed-settings.json",
        "rm /run/cco/instance.json",
        f"ls {system.state_dir}/state.db",
        f"ls {system.state_dir}/token",
        f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{system.port}'",
    ]
    for attempt in attempts:
        # 126, 127: there is no such program, and nothing was tried
        assert shell(system, boxed, f"timeout 5 {attempt}").returncode not in {0, 126, 127}, attempt
    status = shell(system, boxed, "cat /proc/1/status; id -u").stdout
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert status.splitlines()[-1] == "1000"
    inspected = json.loads(
        subprocess.run(
            ["docker", "inspect", system.container(boxed)], check=True, capture_output=True, timeout=30
        ).stdout
    )[0]
    assert not inspected["HostConfig"]["Binds"]
    assert inspected["HostConfig"]["Memory"] == inspected["HostConfig"]["MemorySwap"] > 0
    assert inspected["HostConfig"]["RestartPolicy"]["Name"] in {"", "no"}


TRACE = """
import ctypes, errno, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
child = subprocess.Popen(["sleep", "60"])
for pid in (child.pid, int(sys.argv[1])):
    done = libc.ptrace(PTRACE_ATTACH, pid, None, None)
    print(errno.errorcode[ctypes.get_errno()] if done else "traced")
    if not done:
        os.waitpid(pid, 0)
        libc.ptrace(PTRACE_DETACH, pid, None, None)
child.kill()
"""
"""Tries to trace a child of its own, which shows that it can, and then the process that it is given."""


@pytest.mark.parametrize(("victim", "attacker"), [("4711", "1000"), ("1000", "0")])
def test_processes_of_another_user_cannot_be_traced(system: System, boxed: str, victim: str, attacker: str) -> None:
    """Not even by root in the box: there is no capability for it."""
    docker_exec = ["docker", "exec", "--user", victim]
    sleeping = f"2{victim}"
    subprocess.run([*docker_exec, "--detach", system.container(boxed), "sleep", sleeping], check=True, timeout=30)
    find = f"pgrep -u {victim} -fx 'sleep {sleeping}'"
    eventually(lambda: shell(system, boxed, find).returncode == 0, timeout=20, what="somebody sleeps there")
    pid = shell(system, boxed, find).stdout.strip()
    trace = ["docker", "exec", "--user", attacker, system.container(boxed), "python3", "-c", TRACE, pid]
    done = subprocess.run(trace, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["traced", "EPERM"], done.stderr


def test_another_instance_is_out_of_reach(system: System, repository: Path, boxed: str) -> None:
    system.cco("spawn", "neighbour", "--repository", repository.name, "--prompt", "STEP say hello")
    system.state_becomes("neighbour", "idle")
    found = [
        "docker",
        "inspect",
        "--format",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        system.container("neighbour"),
    ]
    address = subprocess.run(found, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    listener = ["docker", "exec", "-d", system.container("neighbour"), "python3", "-m", "http.server", "8000"]
    subprocess.run(listener, check=True, timeout=30)
    eventually(
        lambda: (
            system.docker_exec("neighbour", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8000", check=False).returncode
            == 0
        ),
        timeout=20,
        what="the neighbour listens",
    )
    assert shell(system, boxed, f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/8000'").returncode != 0
    home = system.state_dir / "instances" / "neighbour"
    assert shell(system, boxed, f"ls {home} {system.get('neighbour')['status']['workspace']['path']}").returncode != 0
    assert "neighbour" not in shell(system, boxed, "cat /proc/self/mountinfo").stdout


def test_a_fork_bomb_stays_in_the_box(system: System, boxed: str) -> None:
    """The kernel refuses processes beyond the limit; a Claude that dies of that comes back with its conversation."""
    bomb = ["docker", "exec", system.container(boxed), "bash", "-c", "bomb() { bomb | bomb & }; bomb; sleep 20"]
    with subprocess.Popen(bomb, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        refused = eventually(
            lambda: running.stderr is not None and "Resource temporarily unavailable" in running.stderr.readline(),
            timeout=30,
            what="the kernel refuses another process",
        )
        assert refused
        system.docker_exec(boxed, "pkill", "-9", "bash", check=False)
        subprocess.run(["docker", "kill", system.container(boxed)], check=False, capture_output=True, timeout=30)
        running.communicate(timeout=30)
    eventually(lambda: system.get(boxed)["status"]["restarts"] > 0, timeout=30, what="the loop saw it end")
    system.wait(boxed, "condition=Ready", timeout=90)


def test_running_out_of_memory_is_told_as_such(system: System, repository: Path) -> None:
    options = ("--repository", repository.name, "--memory", "512Mi", "--permission-mode", "bypassPermissions")
    system.cco("spawn", "hungry", *options, "--prompt", "STEP say ready")
    system.state_becomes("hungry", "idle")
    # The hog makes Claude the better victim: the kernel kills the process with the highest score.
    hog = "echo 1000 > /proc/$(pgrep -o -x claude)/oom_score_adj; python3 -c \"x = b'x' * 2**30\""
    system.docker_exec("hungry", "sh", "-c", hog, check=False)
    eventually(
        lambda: (system.get("hungry")["status"]["last_exit"] or {}).get("reason") == "OOMKilled",
        timeout=60,
        what="the reason is OOMKilled",
    )
    assert "spec.resources.memory" in system.cco("describe", "instance", "hungry")
    system.wait("hungry", "condition=Ready")


def test_cpu_is_throttled_and_limits_change_while_it_runs(system: System, boxed: str) -> None:
    def throttled() -> int:
        text = shell(system, boxed, "cat /sys/fs/cgroup/cpu.stat /sys/fs/cgroup/cpu/cpu.stat 2>/dev/null").stdout
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith("nr_throttled")))

    started = system.get(boxed)["status"]["started_at"]
    patch = json.dumps(
        {
            "kind": "Instance",
            "metadata": {"name": boxed},
            "spec": {**_spec(system, boxed), "resources": {"cpus": 0.2, "memory": "1Gi", "pids": 128}},
        }
    )
    system.cco("apply", "-f", "-", stdin=patch)
    limits = [
        "docker",
        "inspect",
        "--format",
        "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}}",
        system.container(boxed),
    ]
    eventually(
        lambda: (
            subprocess.run(limits, check=True, capture_output=True, text=True, timeout=30).stdout.split()
            == ["200000000", str(2**30)]
        ),
        timeout=20,
        what="the limits are the kernel's",
    )
    before = throttled()

    def wants_more() -> bool:  # on a busy machine, a moment of wanting is too short
        shell(system, boxed, "timeout 2 sh -c 'while :; do :; done'")
        return throttled() > before

    eventually(wants_more, timeout=60, what="it is throttled")
    assert system.get(boxed)["status"]["started_at"] == started, "no restart for a limit"


def _spec(system: System, name: str) -> dict[str, object]:
    return {key: value for key, value in system.get(name)["spec"].items() if value is not None}
