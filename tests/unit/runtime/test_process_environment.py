"""What a workload of the process runtime is made of: programs, variables, and the ways to them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from controller.errors import Terminal
from controller.runtime.process.access import closed_folder, let_pass
from controller.runtime.process.environment import Environment, scratch_root
from controller.runtime.process.launch import MARK, Order, base_environment
from controller.runtime.process.programs import find_programs, write_git, write_settings
from controller.runtime.process.refusals import check_limits
from controller.runtime.protocol import Limits, Mount, WorkloadSpec
from controller.state_directory import private_mode

LIMITS = Limits(cpus=1, memory=64 * 1024**2, pids=9)
USER = (os.getuid(), os.getgid())


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("claude", "tmux", "git"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def spec(tmp_path: Path, **mounts: str) -> WorkloadSpec:
    return WorkloadSpec(
        name="web",
        uid=str(uuid.uuid4()),
        attempt=1,
        image="tools",
        spec_hash="h",
        limits=LIMITS,
        mounts=tuple(Mount(source, target) for target, source in mounts.items()),
        user=USER,
        workdir=str(tmp_path / "work"),
        env={"GREETING": "hello", "HOME": "/elsewhere"},
    )


def environment(tmp_path: Path) -> Environment:
    return Environment(state_dir=tmp_path / "state", image="tools")


@pytest.mark.parametrize(
    ("name", "way_out"), [("claude", "npm install"), ("tmux", "package tmux"), ("git", "package git")]
)
def test_a_missing_program_is_named_with_the_way_to_get_it(tools: Path, name: str, way_out: str) -> None:
    (tools / name).unlink()
    with pytest.raises(Terminal) as caught:
        find_programs("claude")
    assert caught.value.reason == "ProgramMissing"
    assert name in caught.value.message
    assert way_out in caught.value.message


def test_a_kernel_that_is_too_old_is_named(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del tools
    monkeypatch.setattr("controller.runtime.process.programs.has_pidfds", lambda: False)
    with pytest.raises(Terminal, match=r"Linux 5\.3"):
        find_programs("claude")


def test_the_client_stands_for_the_image(tools: Path, tmp_path: Path) -> None:
    before = environment(tmp_path).image_id("tools")
    assert before is not None
    assert environment(tmp_path).image_id("another:1") is None
    (tools / "claude").write_text("#!/bin/sh\n# newer\n")
    assert environment(tmp_path).image_id("tools") not in (before, None)
    (tools / "claude").unlink()
    assert environment(tmp_path).image_id("tools") is None


def test_hooks_go_to_the_agent_of_this_machine(tools: Path, tmp_path: Path) -> None:
    del tools
    path = tmp_path / "settings.json"
    programs = find_programs("claude")
    write_settings(programs, path)
    write_settings(programs, path)
    commands = {hook["command"] for each in json.loads(path.read_text())["hooks"].values() for hook in each[0]["hooks"]}
    (command,) = commands
    assert "/opt/cco" not in command
    assert Path(command.split()[-1]).is_file()
    assert path.stat().st_mode & 0o222 == 0


def test_git_is_told_where_the_private_directory_is(tmp_path: Path) -> None:
    (tmp_path / "pointer").write_text("gitdir: /state/instances/web/git\n")
    work = str(tmp_path / "work")
    made = spec(tmp_path, **{f"{work}/.git": str(tmp_path / "pointer"), "/run/cco": "/state/run"})
    record = environment(tmp_path).record(made, "cco-web-1", "ours", "sha256:0")
    variables = environment(tmp_path).variables(record, tmp_path / "homes/web", "/scratch")
    assert (variables["GIT_DIR"], variables["GIT_WORK_TREE"]) == ("/state/instances/web/git", work)
    assert variables["HOME"] == str(tmp_path / "homes/web/home"), "which a spec cannot change"
    assert variables["TMUX_TMPDIR"] == "/scratch/tmux"
    assert variables["GREETING"] == "hello"
    assert variables[MARK] == record.id
    assert record.run_dir == "/state/run"


def test_nothing_of_our_environment_is_passed_on_but_a_few_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy")
    assert set(base_environment(None)) <= {"PATH", "TZ", "TMPDIR", "USER", "LOGNAME", "LANG", "TERM"}


def test_an_order_reads_as_it_was_written(tools: Path, tmp_path: Path) -> None:
    del tools
    made = environment(tmp_path)
    record = made.record(spec(tmp_path), "cco-web-1", "ours", "sha256:0")
    home = tmp_path / "home"
    home.mkdir()
    order = made.order(record, root=tmp_path, home=home, limits=LIMITS)
    assert Order.load(order.dump()) == Order.load(Order.load(order.dump()).dump())
    assert Order.load(order.dump()).limits == LIMITS
    assert "run" in order.argv
    assert len(f"{order.scratch}/tmux/tmux-{os.getuid()}/default") <= 107, "a socket's path"


@pytest.mark.parametrize(
    ("limits", "field"),
    [(Limits(1000, LIMITS.memory, 9), "cpus"), (Limits(1, 1, 9), "memory"), (Limits(1, LIMITS.memory, 0), "pids")],
)
def test_impossible_limits_name_the_field(limits: Limits, field: str) -> None:
    with pytest.raises(Terminal, match=field):
        check_limits(limits)


def test_a_closed_folder_on_the_way_is_found(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "file"
    file.parent.mkdir(parents=True)
    stranger = (54321, 54321)
    (tmp_path / "a").chmod(0o700)
    top = closed_folder(file, stranger)
    assert top is not None
    assert closed_folder(tmp_path / "nothing" / "x", USER) is None
    assert closed_folder(file, (tmp_path.stat().st_uid, 54321)) in (None, *file.parents)


def test_passing_is_not_looking(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir(mode=0o700)
    let_pass(folder)
    assert folder.stat().st_mode & 0o777 == (0o701 if os.getuid() == 0 else 0o700)
    other = tmp_path / "b"
    other.mkdir(mode=0o700)
    let_pass(other, os.getgid())
    assert other.stat().st_mode & 0o777 == (0o710 if os.getuid() == 0 else 0o700)


def test_a_state_directory_that_others_pass_through_stays_passable(tmp_path: Path) -> None:
    homes = tmp_path / "state" / "process" / "homes"
    homes.mkdir(mode=0o700, parents=True)
    made = environment(tmp_path)
    record = dataclasses.replace(made.record(spec(tmp_path), "cco-web-1", "ours", "sha256:0"), user=(54321, 54321))
    assert private_mode(tmp_path / "state") == 0o700
    made.open_ways(record)
    assert private_mode(tmp_path / "state") == (0o711 if os.getuid() == 0 else 0o700)


def test_the_scratch_folder_is_short_and_writable() -> None:
    for user in (None, (1000, 1000)):
        root = scratch_root(user)
        assert os.access(root, os.W_OK)
        assert len(str(root)) < 40


def in_git(*argv: str, cwd: Path, env: dict[str, str]) -> str:
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=30, check=False)
    return (done.stdout or done.stderr).strip()


def test_git_is_private_in_the_worktree_and_itself_anywhere_else(tmp_path: Path) -> None:
    programs = dataclasses.replace(find_programs("true"), git=str(shutil.which("git")))
    write_git(programs, tmp_path / "bin")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    plain = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    work, private, other = tmp_path / "work", tmp_path / "private", tmp_path / "other"
    for repository in (work, other, work / "vendored"):
        in_git("git", "init", "-q", str(repository), cwd=tmp_path, env=plain)
    (work / ".git").rename(private)  # as the repository's own, which git would find without the variables
    (work / "folder").mkdir()
    env = {"PATH": path, "HOME": str(tmp_path), "GIT_DIR": str(private), "GIT_WORK_TREE": str(work)}
    ask = ("git", "rev-parse", "--absolute-git-dir")
    assert in_git(*ask, cwd=work, env=env) == str(private)
    assert in_git(*ask, cwd=work / "folder", env=env) == str(private)
    assert in_git("git", "-c", "a.b=c", "-C", str(work), *ask[1:], cwd=tmp_path, env=env) == str(private)
    assert in_git(*ask, cwd=other, env=env) == str(other / ".git")
    assert in_git("git", "-C", str(other), *ask[1:], cwd=work, env=env) == str(other / ".git")
    assert in_git(*ask, cwd=work / "vendored", env=env) == str(work / "vendored" / ".git")
    assert "not a git repository" in in_git(*ask, cwd=tmp_path, env=env)
    in_git("git", "clone", "-q", str(other), str(tmp_path / "cloned"), cwd=work, env=env)
    assert (tmp_path / "cloned" / ".git").is_dir()
