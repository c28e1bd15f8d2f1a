"""What a running installation keeps to itself: the key, the sockets, the files; and who pays for a hostile instance."""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.deadline import eventually
from support.host_system import KEY, System
from support.terminal import Terminal

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

IMAGES = ("cc-orchestrator/instance:0.1.0", "cc-orchestrator/controller:0.1.0")
ENGINE_PORTS = {2375, 2376}
"""Where an engine listens that lets anybody in, and one that asks for a certificate."""


def docker(*arguments: str, check: bool = True, timeout: float = 60) -> str:
    return subprocess.run(
        ["docker", *arguments], check=check, capture_output=True, text=True, timeout=timeout
    ).stdout.strip()


@pytest.fixture
def guarded(system: System, repository: Path) -> Iterator[str]:
    """Name of an idle instance that was given a secret in its environment, too."""
    name = f"guarded-{secrets.token_hex(2)}"
    system.cco("spawn", name, "--repository", repository.name, "--pids", "128", "--prompt", "STEP say ready")
    system.state_becomes(name, "idle")
    yield name
    system.cco("delete", "instance", name, timeout=180)


def command_lines() -> bytes:
    """Return the arguments of every process of this machine, those in containers among them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue  # it has ended
    return b"\n".join(found)


def files_below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


def test_the_key_is_nowhere_but_in_its_one_file(system: System, guarded: str) -> None:
    container = system.container(guarded)
    home = next(mount["Name"] for mount in json.loads(docker("inspect", container))[0]["Mounts"] if "Name" in mount)
    told = {
        "inspect: environment, labels, arguments": docker("inspect", container),
        "its volume": docker("volume", "inspect", home),
        "the history of its image": docker("history", "--no-trunc", IMAGES[0]),
        "its image": docker("image", "inspect", IMAGES[0]),
        "what it printed": docker("logs", container),
        "what our programs logged": system.logs(),
        "instances": system.cco("get", "instances", "-o", "json"),
        "description": system.cco("describe", "instance", guarded),
        "events": system.cco("events", "-o", "json"),
        "configuration": system.cco("config", "show", "-o", "json"),
        "arguments of all processes": command_lines().decode(errors="replace"),
        "environment of a shell inside": system.docker_exec(guarded, "env").stdout,
        "its HOME and /tmp": system.docker_exec(
            guarded,
            "grep",
            "-rlF",
            KEY,
            "/home/agent",
            "/tmp",  # noqa: S108  # in the container
            check=False,
        ).stdout,
    }
    assert [place for place, text in told.items() if KEY in text] == []
    assert told["its HOME and /tmp"] == ""
    holding = [str(path) for path in files_below(system.state_dir) if KEY.encode() in path.read_bytes()]
    assert holding == [], "database, instance.json, manifests, repositories' copies"
    assert system.docker_exec(guarded, "sh", "-c", "cat /run/secrets/*").stdout.count(KEY) == 1


def test_the_one_file_is_its_owners_and_in_memory(system: System, guarded: str) -> None:
    facts = system.docker_exec(
        guarded, "sh", "-c", "stat -c '%a %u' /run/secrets /run/secrets/*; stat -f -c %T /run/secrets"
    )
    assert facts.stdout.split("\n")[:-1] == ["700 1000", "400 1000", "tmpfs"]


def test_no_tmux_of_a_container_can_be_reached_from_this_machine(system: System, guarded: str) -> None:
    """A hostile tmux server can make its client run programs; so no client of this machine ever meets one."""
    sockets = {str(path.relative_to(system.state_dir)) for path in system.state_dir.rglob("*") if path.is_socket()}
    instances = {f"instances/{each.name}/run/controller.sock" for each in (system.state_dir / "instances").iterdir()}
    assert f"instances/{guarded}/run/controller.sock" in sockets
    assert sockets <= {"controller.sock", *instances}
    where = system.docker_exec(guarded, "tmux", "display-message", "-p", "#{socket_path}").stdout.strip()
    kind = system.docker_exec(guarded, "stat", "-f", "-c", "%T", str(Path(where).parent)).stdout.strip()
    assert kind == "tmpfs", "the container's own"
    ours = Path("/proc/self/ns/pid").stat().st_ino
    for process in Path("/proc").glob("[0-9]*"):
        try:
            same, name = (process / "ns/pid").stat().st_ino == ours, (process / "comm").read_text()
            arguments = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if same and name.startswith("tmux"):
            assert str(system.directory).encode() not in arguments


def print_in_a_window(system: System, name: str, what: bytes) -> None:
    """Let a program in the box print this where whoever is attached looks at it."""
    write = f"open('/tmp/hostile', 'wb').write(bytes.fromhex({what.hex()!r}))"
    system.docker_exec(name, "python3", "-c", write)
    session = f"=cc-orchestrator-{name}:"
    system.docker_exec(name, "tmux", "new-window", "-t", session, "cat /tmp/hostile; exec sleep 300")


def test_programs_of_an_instance_cannot_write_to_the_terminal_that_looks_on(system: System, guarded: str) -> None:
    """Neither the clipboard (OSC 52) nor what tmux does not know reaches who is attached, nor does it fall over."""
    stolen = base64.b64encode(secrets.token_bytes(12))
    clipboard = b"\x1b]52;c;" + stolen + b"\x07"
    hostile = clipboard + b"\x1bPtmux;" + clipboard.replace(b"\x1b", b"\x1b\x1b") + b"\x1b\\"
    cco = str(Path(sys.executable).parent / "cco")
    with Terminal([cco, "attach", guarded], system.environment) as terminal:
        eventually(lambda: b"ready" in terminal.seen, timeout=30, what="Claude's window is shown")
        print_in_a_window(system, guarded, hostile + b"first\r\n")
        eventually(lambda: b"first" in terminal.seen, timeout=30, what="what the program printed is shown")
        assert stolen not in terminal.seen
        assert b"\x1b]52" not in terminal.seen
        system.docker_exec(guarded, "tmux", "set-option", "-s", "set-clipboard", "on")
        print_in_a_window(system, guarded, clipboard + b"second\r\n")
        eventually(lambda: stolen in terminal.seen, timeout=30, what="this terminal would have been told")
        long = "head -c 10000000 /dev/zero | tr '\\0' A; printf '\\r\\nthird\\r\\n'; exec sleep 300"
        system.docker_exec(guarded, "tmux", "new-window", "-t", f"=cc-orchestrator-{guarded}:", long)
        eventually(lambda: b"third" in terminal.seen, timeout=60, what="ten million characters in a line are over")
        assert terminal.is_alive


def test_ten_million_characters_in_a_line_of_the_log_harm_nobody(system: System, guarded: str) -> None:
    """Whatever runs in the box as its user can write to what the engine keeps of its first process's output."""
    system.docker_exec(guarded, "sh", "-c", "head -c 10000000 /dev/zero | tr '\\0' A >/proc/1/fd/1; echo >/proc/1/fd/1")
    began = time.monotonic()
    logs = system.cco("logs", guarded)
    assert time.monotonic() - began < 30
    assert len(logs) <= 11_000_000
    assert system.condition(guarded)["status"] == "True"


def test_the_container_runs_the_image_that_is_recorded(system: System, guarded: str) -> None:
    recorded = system.get(guarded)["status"]["workload"]["image_id"]
    assert docker("inspect", "--format", "{{.Image}}", system.container(guarded)) == recorded
    assert recorded.startswith("sha256:")


@pytest.mark.parametrize("image", IMAGES)
def test_no_program_of_an_image_makes_anybody_somebody_else(image: str) -> None:
    run = ("run", "--rm", "--network", "none", "--label", "cco-test=1", "--entrypoint", "find", "--user", "0:0")
    assert docker(*run, image, "/", "-xdev", "-type", "f", "-perm", "/6000", timeout=120) == ""


def test_nobody_else_can_look_into_the_state_directory(system: System, guarded: str) -> None:
    """Everything is the owner's alone, but for what the instance itself must see, below a folder that is closed."""
    assert stat.S_IMODE(system.state_dir.stat().st_mode) == 0o700
    assert (system.state_dir / "instances" / guarded).is_dir()
    folders = (system.state_dir / "instances").iterdir()  # other tests' instances, too, and what is left of them
    shared = {folder / part for folder in folders for part in ("run", "git")}
    open_to_others = [
        path
        for path in system.state_dir.rglob("*")
        if not path.is_symlink()
        and path.stat().st_mode & 0o077
        and not any(each == path or each in path.parents for each in shared)
    ]
    assert open_to_others == []


def test_the_api_cannot_be_reached_from_an_instance(system: System, guarded: str) -> None:
    """It listens on the loopback, so that not even the network's gateway, which is this machine, leads to it."""
    gateway = docker(
        "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}", system.container(guarded)
    )
    model = system.model.url.rpartition("/")[2].replace(":", "/")
    reach = "timeout 5 bash -c '</dev/tcp/{}' && echo open"
    assert system.docker_exec(guarded, "sh", "-c", reach.format(model)).stdout == "open\n", "this one it must reach"
    for target in (f"{gateway}/{system.port}", f"127.0.0.1/{system.port}", f"host.docker.internal/{system.port}"):
        tried = system.docker_exec(guarded, "sh", "-c", reach.format(target), check=False)
        assert tried.stdout == "", target
    for path in (system.state_dir / "controller.sock", Path("/var/run/docker.sock")):
        assert system.docker_exec(guarded, "test", "-e", str(path), check=False).returncode == 1


def test_nobody_listens_where_an_engine_would(guarded: str) -> None:
    del guarded
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A":
                listening.add(int(local.rpartition(":")[2], 16))
    assert listening, "the server, at least"
    assert not listening & ENGINE_PORTS


def test_only_the_controller_has_the_engines_socket(system: System, guarded: str) -> None:
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    assert Path(host.removeprefix("unix://")).stat().st_mode & 0o007 == 0, "nothing for others"
    mounts = json.loads(docker("inspect", "--format", "{{json .Mounts}}", system.container(guarded)))
    assert not [mount for mount in mounts if "docker.sock" in mount.get("Source", "")]


def test_an_instance_is_given_its_own_folders_and_nothing_else(system: System, repository: Path, guarded: str) -> None:
    """Its worktree with the file over ``.git``, its git directory, the objects to read, its socket and HOME."""
    container = json.loads(docker("inspect", system.container(guarded)))[0]
    own, worktree = system.state_dir / "instances" / guarded, Path(system.get(guarded)["status"]["workspace"]["path"])
    assert worktree == repository.with_name(f"{repository.name}.worktrees") / guarded
    binds = {
        (mount["Source"], mount["Destination"], mount["RW"]) for mount in container["Mounts"] if mount["Type"] == "bind"
    }
    assert binds == {
        (str(worktree), str(worktree), True),
        (str(own / "gitfile"), str(worktree / ".git"), False),
        (str(own / "git"), str(own / "git"), True),
        (str(repository / ".git/objects"), str(repository / ".git/objects"), False),
        (str(own / "run"), "/run/cco", False),
    }
    others = [(mount["Type"], mount["Destination"]) for mount in container["Mounts"] if mount["Type"] != "bind"]
    assert others == [("volume", "/home/agent")]
    host = container["HostConfig"]
    assert [host[key] for key in ("Binds", "VolumesFrom", "Devices") if host[key]] == []
    assert set(host["Tmpfs"]) == {"/tmp", "/run/secrets"}  # noqa: S108  # in the container
    # What the kernel says is the same: nothing else of a disk of this machine is in its file system.
    from_disk = system.docker_exec(guarded, "findmnt", "--real", "--noheadings", "--list", "--output", "TARGET").stdout
    engines = {
        "/",
        "/etc/resolv.conf",
        "/etc/hostname",
        "/etc/hosts",
        "/sbin/docker-init",
        "/usr/sbin/docker-init",
        "/home/agent",
    }
    assert set(from_disk.split()) - engines == {target for _, target, _ in binds}


def test_a_fork_bomb_harms_only_its_own_instance(system: System, repository: Path, guarded: str) -> None:
    """While the bomb goes on, a neighbour works and the bomb's instance can be deleted."""
    bomber = f"bomber-{secrets.token_hex(2)}"
    system.cco("spawn", bomber, "--repository", repository.name, "--pids", "64", "--prompt", "STEP say ready")
    system.state_becomes(bomber, "idle")
    before = system.get(guarded)["status"]
    script = "bomb() { bomb | bomb & }; bomb; while :; do bomb; sleep 0.01; done"
    bomb = ["docker", "exec", system.container(bomber), "bash", "-c", script]
    with subprocess.Popen(bomb, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        eventually(
            lambda: running.stderr is not None and "Resource temporarily unavailable" in running.stderr.readline(),
            timeout=60,
            what="the kernel refuses another process",
        )
        system.cco("send", guarded, "STEP say still at work")
        eventually(lambda: "still at work" in system.screen(guarded), timeout=60, what="the neighbour works")
        began = time.monotonic()
        system.cco("delete", "instance", bomber, timeout=120)
        took = time.monotonic() - began
        running.kill()
        running.communicate(timeout=30)
    assert docker("ps", "-aq", "--filter", f"name=^/{system.prefix}-{bomber}-") == ""
    assert took < 40, "2 s on an idle machine"
    after = system.get(guarded)["status"]
    assert (after["started_at"], after["restarts"]) == (before["started_at"], before["restarts"])


def test_a_memory_hog_harms_only_its_own_instance(system: System, repository: Path, guarded: str) -> None:
    hog = f"hog-{secrets.token_hex(2)}"
    system.cco("spawn", hog, "--repository", repository.name, "--memory", "512Mi", "--prompt", "STEP say ready")
    system.state_becomes(hog, "idle")
    before = system.get(guarded)["status"]
    # It offers itself as the first victim, so that its own Claude lives on, too.
    eat = "echo 1000 >/proc/self/oom_score_adj; exec python3 -c \"x = b'x' * 2**31\""
    assert system.docker_exec(hog, "sh", "-c", eat, check=False).returncode in {1, 137}
    system.cco("send", guarded, "STEP say not hungry")
    eventually(lambda: "not hungry" in system.screen(guarded), timeout=60, what="the neighbour works")
    after = system.get(guarded)["status"]
    assert (after["started_at"], after["restarts"]) == (before["started_at"], before["restarts"])
