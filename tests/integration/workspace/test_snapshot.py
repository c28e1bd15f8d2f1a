"""Uncommitted work is saved as it is, without git opening, filtering or skipping what the agent made."""

from __future__ import annotations

import errno
import mmap
import os
import socket
from pathlib import Path

import pytest

from controller.errors import Terminal, Unavailable
from controller.workspace import seen_files
from controller.workspace.types import Unsaved, WorkspaceRef
from support.git_world import GitWorld


def content(world: GitWorld, commit: str, path: str) -> str:
    return world.user("cat-file", "blob", f"{commit}:{path}")


def saved(world: GitWorld, ref: WorkspaceRef) -> str:
    commit = world.workspaces.snapshot(ref, message="Before a test")
    assert commit is not None
    return commit


def test_clean_worktree_needs_no_snapshot(any_world: GitWorld) -> None:
    ref = any_world.made()
    assert any_world.workspaces.snapshot(ref, message="x") is None
    assert any_world.unsaved(ref) is Unsaved.NONE
    assert any_world.refs("refs/cco/snapshots/") == {}


def test_changed_new_and_removed_files_are_saved_and_nothing_else_is_touched(any_world: GitWorld) -> None:
    world = any_world
    ref = world.made()
    commit = world.agent_commits(ref, "gone.txt")
    world.agent_commits(ref, "run.sh", "#!/bin/sh\n")
    world.collect(ref)
    world.agent_writes(ref, "README.md", "changed\n")
    world.agent_writes(ref, "dïr/new file.txt", "new\n")
    world.agent_writes(ref, "latin-\udce9", b"\xff\xfe\x00")
    (Path(ref.worktree) / "gone.txt").unlink()
    (Path(ref.worktree) / "run.sh").chmod(0o755)
    (Path(ref.worktree) / "link").symlink_to("/etc/passwd")
    before = {path: path.lstat().st_mtime_ns for path in Path(ref.worktree).rglob("*")}
    index = (world.repository / ".git/worktrees/web/index").read_bytes()
    head = world.head(ref)
    assert world.unsaved(ref) is Unsaved.UNSAVED

    snapshot = saved(world, ref)

    files = world.files_of(snapshot)
    assert sorted(files) == ["README.md", "dïr/new file.txt", "latin-\udce9", "link", "run.sh"]
    assert files["run.sh"].startswith("100755")
    assert files["link"].startswith("120000")
    assert content(world, snapshot, "link") == "/etc/passwd"
    assert content(world, snapshot, "README.md") == "changed"
    assert world.user("rev-parse", f"{snapshot}^") == head
    assert "Before a test" in world.user("log", "-1", "--format=%B", snapshot)
    assert [name for name, value in world.refs("refs/cco/snapshots/web/").items() if value == snapshot]
    assert {path: path.lstat().st_mtime_ns for path in Path(ref.worktree).rglob("*")} == before
    assert (world.repository / ".git/worktrees/web/index").read_bytes() == index
    assert (world.head(ref), commit != head) == (head, True)
    assert world.unsaved(ref) is Unsaved.SNAPSHOTTED
    assert world.user("fsck", "--full") == ""


def test_same_state_is_saved_once_and_a_newer_one_again(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "README.md", "one")
    first = saved(world, ref)
    assert saved(world, ref) == first
    world.agent_writes(ref, "README.md", "two")
    second = saved(world, ref)
    assert world.workspaces.inspect(ref).snapshot == second
    assert len(world.refs("refs/cco/snapshots/web/")) == 2
    world.agent_writes(ref, "README.md", "hello\n")
    assert world.unsaved(ref) is Unsaved.NONE


def test_ignored_files_stay_out_unless_they_are_tracked(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, ".gitignore", "build/\n*.log\n")
    world.agent_writes(ref, "build/kept.txt", "kept")
    world.agent(ref, "add", "-f", ".gitignore", "build/kept.txt")
    world.agent(ref, "commit", "-qm", "Keep one")
    world.collect(ref)
    for name in ("build/out.o", "x.log", "sub/y.log"):
        world.agent_writes(ref, name, "ignored")
    assert world.unsaved(ref) is Unsaved.NONE
    world.agent_writes(ref, "build/kept.txt", "changed")
    assert sorted(world.files_of(saved(world, ref))) == [".gitignore", "README.md", "build/kept.txt"]


def test_nested_repositories_are_saved_whole(world: GitWorld) -> None:
    ref = world.made()
    nested = Path(ref.worktree) / "vendor/nested"
    world.agent_writes(ref, "vendor/nested/code.txt", "code")
    world.agent(ref, "-C", str(nested), "--git-dir=.git", "--work-tree=.", "init", "-q", "--template=")
    world.agent_writes(ref, "vendor/nested/.gitignore", "*.o\n")
    world.agent_writes(ref, "vendor/nested/x.o", "ignored there")
    world.agent_writes(ref, "odd/.git/secret.txt", "in a folder that only looks like one")
    files = world.files_of(saved(world, ref))
    assert {"vendor/nested/code.txt", "vendor/nested/.git-saved/HEAD", "odd/.git-saved/secret.txt"} <= set(files)
    assert "vendor/nested/x.o" not in files
    assert world.unsaved(ref) is Unsaved.SNAPSHOTTED


def test_names_that_a_repository_is_saved_under_take_none_away(world: GitWorld) -> None:
    """A snapshot that was brought back has a ``.git-saved``, and the agent may make a repository of it again."""
    ref = world.made()
    for name in (".git/x", ".git-saved/x", ".GIT/x", ".git-saved-3/x", ".git-saved-x"):
        world.agent_writes(ref, f"inner/{name}", f"of {name}")
    world.agent_writes(ref, ".GIT/x", "at the top")
    commit = saved(world, ref)
    expected = {
        ".git-saved/x": "of .git-saved/x",
        ".git-saved-2/x": "of .git/x",
        ".git-saved-3/x": "of .git-saved-3/x",
        ".git-saved-4/x": "of .GIT/x",
        ".git-saved-x": "of .git-saved-x",
    }
    assert content(world, commit, ".git-saved/x") == "at the top"
    assert {path: content(world, commit, f"inner/{path}") for path in expected} == expected
    assert world.unsaved(ref) is Unsaved.SNAPSHOTTED


def test_repository_committed_as_a_link_is_saved_by_its_files(world: GitWorld) -> None:
    ref = world.made()
    world.agent_commits_repository(ref, "inner")
    assert world.agent(ref, "ls-tree", "HEAD", "inner").startswith("160000")
    world.collect(ref)
    assert world.unsaved(ref) is Unsaved.UNSAVED
    assert content(world, saved(world, ref), "inner/code.txt") == "code"
    assert world.unsaved(ref) is Unsaved.SNAPSHOTTED


def test_filters_and_hooks_of_the_user_do_not_run_on_what_the_agent_chose(world: GitWorld) -> None:
    ran = world.base / "ran"
    world.write(world.repository / ".gitattributes", "* filter=odd=name\n", world.owner)
    world.user("add", ".gitattributes")
    world.user("commit", "-qm", "Attributes")
    for key in ("clean", "smudge"):
        world.user("config", f"filter.odd=name.{key}", f"touch '{ran}'; cat")
    world.user("config", "filter.odd=name.required", "true")
    world.user("config", "core.fsmonitor", f"touch '{ran}'")
    world.user("config", "core.hooksPath", str(world.base / "hooks"))
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        world.write(world.base / "hooks" / hook, f"#!/bin/sh\ntouch '{ran}'\n", world.owner)
        (world.base / "hooks" / hook).chmod(0o755)
    ran.unlink(missing_ok=True)
    ref = world.made()
    world.agent_writes(ref, "new.txt", "content")
    world.agent_commits(ref, "two.txt")
    world.agent_writes(ref, "new.txt", "more")
    world.collect(ref)
    assert content(world, saved(world, ref), "new.txt") == "more"
    Path(ref.worktree).rename(world.base / "gone")
    world.create(ref)
    world.workspaces.remove(ref)
    assert not ran.exists()


def test_line_ends_git_would_convert_are_no_work(world: GitWorld) -> None:
    world.write(world.repository / ".gitattributes", "*.bat text eol=crlf\n", world.owner)
    world.write(world.repository / "run.bat", "echo\r\n", world.owner)
    world.user("add", ".")
    world.user("commit", "-qm", "Windows")
    ref = world.made()
    assert (Path(ref.worktree) / "run.bat").read_bytes() == b"echo\r\n"
    assert world.unsaved(ref) is Unsaved.NONE
    world.agent_writes(ref, "README.md", "hello\r\n")
    assert world.unsaved(ref) is Unsaved.UNSAVED


def test_change_by_way_of_memory_is_seen(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """As databases write: the file has none of its times changed."""
    monkeypatch.setattr(seen_files, "_SETTLED_NS", 0)
    ref = world.made()
    path = world.agent_writes(ref, "data.db", bytes(4096))
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 4096) as memory:
        memory[0] = 1
        assert content(world, saved(world, ref), "data.db").startswith("\1\0")
        assert world.unsaved(ref) is Unsaved.SNAPSHOTTED
        memory[1] = 2
        assert world.unsaved(ref) is Unsaved.UNSAVED
        assert content(world, saved(world, ref), "data.db").startswith("\1\2")


def test_sockets_and_pipes_are_passed_over(world: GitWorld) -> None:
    ref = world.made()
    os.mkfifo(Path(ref.worktree) / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(ref.worktree)
        server.bind("socket")
        os.chdir("/")
        assert world.unsaved(ref) is Unsaved.NONE


@pytest.mark.parametrize(("call", "name"), [("readlink", "link"), ("open", "built")])
def test_what_cannot_be_looked_at_is_not_gone(
    world: GitWorld, monkeypatch: pytest.MonkeyPatch, call: str, name: str
) -> None:
    ref = world.made()
    (Path(ref.worktree) / "link").symlink_to("README.md")
    world.agent_writes(ref, ".gitignore", "built/\n")
    world.agent_writes(ref, "built/kept.txt", "tracked all the same")
    world.agent(ref, "add", "-f", "built/kept.txt")
    world.agent_commits(ref)
    world.collect(ref)
    genuine = getattr(os, call)

    def failing(path: object, *arguments: object, **named: object) -> object:
        if path == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return genuine(path, *arguments, **named)

    with monkeypatch.context() as broken:
        broken.setattr(os, call, failing)
        for act in (world.inspect, lambda ref: world.workspaces.snapshot(ref, message="x")):
            with pytest.raises(Unavailable) as caught:
                act(ref)
            assert caught.value.reason == "LookFailed"
    assert world.unsaved(ref) is Unsaved.NONE


def test_names_other_systems_reserve_are_saved(world: GitWorld) -> None:
    ref = world.made()
    names = ["git~1/x", "a/.GIT/x", "CON", ".git-saved", "back\\slash", 'quo"te', "new\nline", "tab\t", " space "]
    for name in names:
        world.agent_writes(ref, name, "x")
    expected = sorted(["README.md", *(name.replace(".GIT/", ".git-saved/") for name in names)])
    assert sorted(world.files_of(saved(world, ref))) == expected


def test_file_that_became_a_folder_and_back(world: GitWorld) -> None:
    ref = world.made()
    world.agent_commits(ref, "thing/one.txt")
    world.collect(ref)
    (Path(ref.worktree) / "thing/one.txt").unlink()
    (Path(ref.worktree) / "thing").rmdir()
    world.agent_writes(ref, "thing", "file now")
    (Path(ref.worktree) / "README.md").unlink()
    world.agent_writes(ref, "README.md/inside.txt", "folder now")
    assert sorted(world.files_of(saved(world, ref))) == ["README.md/inside.txt", "thing"]


def test_large_file_is_saved(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "large.bin", b"0123456789abcdef" * (20 << 16))
    snapshot = saved(world, ref)
    assert world.user("cat-file", "-s", f"{snapshot}:large.bin") == str(20 << 20)
    assert world.unsaved(ref) is Unsaved.SNAPSHOTTED


def test_too_deep_a_tree_is_said_to_be_so(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "d/" * 150 + "deep.txt", "x")
    with pytest.raises(Terminal, match="folders deep"):
        world.workspaces.snapshot(ref, message="x")


def test_snapshot_of_a_worktree_whose_branch_was_deleted(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "README.md", "changed")
    world.user("update-ref", "-d", "refs/heads/web")
    assert content(world, saved(world, ref), "README.md") == "changed"


def test_snapshot_builds_on_what_the_agent_has_checked_out(world: GitWorld) -> None:
    ref = world.made()
    world.agent(ref, "switch", "-qc", "side")
    commit = world.agent_commits(ref)
    world.collect(ref)
    assert world.unsaved(ref) is Unsaved.NONE
    world.agent_writes(ref, "README.md", "changed")
    assert world.user("rev-parse", f"{saved(world, ref)}^") == commit


def test_without_a_worktree_there_is_nothing_to_save(world: GitWorld) -> None:
    assert world.workspaces.snapshot(world.ref(), message="x") is None
    ref = world.made()
    Path(ref.worktree).rename(world.base / "gone")
    assert world.workspaces.snapshot(ref, message="x") is None
    assert world.unsaved(ref) is Unsaved.NONE
