"""Unusual repositories work, or say clearly why not before anything is made."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import Terminal
from controller.workspace import git as git_module
from controller.workspace.types import Presence, Unsaved, WorkspaceRef
from support.git_world import OWNERS, GitWorld, git_world


def whole_story(world: GitWorld, ref: WorkspaceRef) -> None:
    """Create, commit, collect, save and remove."""
    world.create(ref)
    assert world.unsaved(ref) is Unsaved.NONE
    commit = world.agent_commits(ref)
    assert world.collect(ref).head == commit
    world.agent_writes(ref, "new.txt", "x")
    assert world.workspaces.snapshot(ref, message="x") is not None
    world.workspaces.remove(ref)
    assert world.workspaces.inspect(ref).presence is Presence.ABSENT
    assert world.user("rev-parse", ref.branch, cwd=ref.repository) == commit


def copied(world: GitWorld, name: str, *arguments: str) -> str:
    """Clone the repository beside itself, as its owner."""
    target = world.base / name
    world.user("clone", "-q", "--template=", *arguments, f"file://{world.repository}", str(target))
    return str(target)


def test_look_at_an_ordinary_repository(any_world: GitWorld) -> None:
    world = any_world
    world.user("branch", "feature/ü")
    state = world.workspaces.inspect_repository(str(world.repository))
    assert state.git_dir == str(world.repository / ".git")
    assert (state.default_branch, state.head) == ("main", world.user("rev-parse", "main"))
    assert state.branches == ("feature/ü", "main")
    assert state.owner == (world.owner, world.owner)
    assert not state.bare
    assert [warning for warning in state.warnings if "safe.directory" not in warning] == []
    assert bool(state.warnings) is (world.owner == 0)


def test_look_changes_nothing(world: GitWorld) -> None:
    before = {path: path.lstat().st_mtime_ns for path in world.repository.rglob("*")}
    world.workspaces.inspect_repository(str(world.repository))
    world.workspaces.inspect(world.ref(), deep=True)
    assert {path: path.lstat().st_mtime_ns for path in world.repository.rglob("*")} == before


@pytest.mark.parametrize(
    ("path", "reason", "words"),
    [
        ("nowhere", "RepositoryNotFound", "does not exist"),
        ("plain", "NotARepository", "git init"),
        ("file", "NotARepository", "not a folder"),
        ("repository/sub", "NotARepository", "lies inside the repository"),
    ],
)
def test_what_is_no_repository(world: GitWorld, path: str, reason: str, words: str) -> None:
    world.write(world.base / "plain/x", "", world.owner)
    world.write(world.base / "file", "", world.owner)
    world.write(world.repository / "sub/x", "", world.owner)
    with pytest.raises(Terminal, match=words) as caught:
        world.workspaces.inspect_repository(str(world.base / path))
    assert caught.value.reason == reason
    assert str(world.base / path) in caught.value.message


def test_relative_path_is_refused(world: GitWorld) -> None:
    with pytest.raises(Terminal, match="not absolute"):
        world.workspaces.inspect_repository("repository")


def test_empty_repository(world: GitWorld) -> None:
    empty = world.base / "empty"
    world.write(empty / "x", "", world.owner)
    world.user("init", "-q", "-b", "main", "--template=", cwd=empty)
    state = world.workspaces.inspect_repository(str(empty))
    assert (state.default_branch, state.head, state.branches) == ("main", None, ())
    with pytest.raises(Terminal, match="no commit yet") as caught:
        world.workspaces.create(world.ref(repository=str(empty)))
    assert caught.value.reason == "EmptyRepository"
    assert not (empty / ".git/worktrees").exists()


def test_detached_head_needs_a_base_branch(world: GitWorld) -> None:
    world.user("checkout", "-q", "--detach")
    assert world.workspaces.inspect_repository(str(world.repository)).default_branch is None
    with pytest.raises(Terminal, match="base_branch") as caught:
        world.workspaces.create(world.ref())
    assert caught.value.reason == "DetachedHead"
    whole_story(world, world.ref(base_branch="main"))


def test_bare_repository(world: GitWorld) -> None:
    bare = copied(world, "bare.git", "--bare")
    assert world.workspaces.inspect_repository(bare).bare
    whole_story(world, world.ref(repository=bare, worktree=str(world.base / "bare.worktrees/web")))


def test_shallow_clone(world: GitWorld) -> None:
    world.user_commits()
    shallow = copied(world, "shallow", "--depth=1")
    assert any("shallow" in warning for warning in world.workspaces.inspect_repository(shallow).warnings)
    ref = world.ref(repository=shallow, worktree=str(world.base / "shallow.worktrees/web"))
    world.create(ref)
    assert world.agent(ref, "rev-list", "--count", "HEAD") == "1"
    world.agent(ref, "gc", "-q")
    whole_story(world, world.ref("two", repository=shallow, worktree=str(world.base / "shallow.worktrees/two")))
    assert world.user("fsck", "--full", cwd=shallow) == ""


def test_sha256_repository() -> None:
    with git_world(OWNERS[-1]) as world:
        modern = world.base / "modern"
        world.write(modern / "README.md", "x", world.owner)
        world.user("init", "-q", "-b", "main", "--object-format=sha256", "--template=", cwd=modern)
        world.user("add", ".", cwd=modern)
        world.user("commit", "-qm", "Start", cwd=modern)
        whole_story(world, world.ref(repository=str(modern), worktree=str(world.base / "modern.worktrees/web")))


def test_partial_clone_that_lacks_files(world: GitWorld) -> None:
    world.user("config", "uploadpack.allowFilter", "true")
    partial = copied(world, "partial", "--filter=blob:none", "--no-checkout")
    assert any("partial clone" in warning for warning in world.workspaces.inspect_repository(partial).warnings)
    ref = world.ref(repository=partial, worktree=str(world.base / "partial.worktrees/web"))
    with pytest.raises(Terminal, match="lacks files") as caught:
        world.workspaces.create(ref)
    assert caught.value.reason == "PartialClone"
    assert not Path(ref.worktree).exists()
    world.user("-c", "protocol.file.allow=always", "checkout", "-q", "main", cwd=partial)
    whole_story(world, ref)


def test_submodules_stay_empty_and_are_no_work(world: GitWorld) -> None:
    inner = copied(world, "inner")
    world.user("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner, "libs/inner")
    world.user("commit", "-qm", "Add a submodule")
    assert any(
        "submodules" in warning for warning in world.workspaces.inspect_repository(str(world.repository)).warnings
    )
    ref = world.made()
    assert list((Path(ref.worktree) / "libs/inner").iterdir()) == []
    assert world.unsaved(ref) is Unsaved.NONE
    world.agent_writes(ref, "libs/inner/file.txt", "inside")
    assert world.unsaved(ref) is Unsaved.NONE
    world.agent_writes(ref, "README.md", "changed")
    snapshot = world.workspaces.snapshot(ref, message="x")
    assert snapshot is not None
    assert world.files_of(snapshot)["libs/inner"].startswith("160000")


def test_lfs_files_stay_pointers_and_nothing_is_fetched(world: GitWorld) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"
    world.write(world.repository / ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n", world.owner)
    world.write(world.repository / "large.bin", pointer, world.owner)
    world.user("add", ".")
    world.user("commit", "-qm", "Large")
    for key in ("smudge", "clean", "process"):
        world.user("config", f"filter.lfs.{key}", "false")
    world.user("config", "filter.lfs.required", "true")
    assert any("LFS" in warning for warning in world.workspaces.inspect_repository(str(world.repository)).warnings)
    ref = world.made()
    assert (Path(ref.worktree) / "large.bin").read_text() == pointer
    assert world.unsaved(ref) is Unsaved.NONE


def test_sparse_checkout_of_the_user_is_not_inherited(world: GitWorld) -> None:
    world.write(world.repository / "deep/file.txt", "x", world.owner)
    world.user("add", ".")
    world.user("commit", "-qm", "Deep")
    world.user("sparse-checkout", "set", "--cone", "nothing")
    assert not (world.repository / "deep").exists()
    assert any("sparse" in warning for warning in world.workspaces.inspect_repository(str(world.repository)).warnings)
    ref = world.made()
    assert (Path(ref.worktree) / "deep/file.txt").exists()
    assert world.user("config", "core.sparseCheckout", cwd=ref.worktree) == "false"
    assert world.user("config", "core.sparseCheckout") == "true"
    assert world.unsaved(ref) is Unsaved.NONE


def test_linked_worktree_registered_as_a_repository_means_its_repository(world: GitWorld) -> None:
    world.user("worktree", "add", "-q", "-b", "desk", str(world.base / "desk"))
    desk = str(world.base / "desk")
    assert world.workspaces.inspect_repository(desk).git_dir == str(world.repository / ".git")
    whole_story(world, world.ref(repository=desk, base_branch="main"))


def test_path_through_a_link(world: GitWorld) -> None:
    (world.base / "link").symlink_to(world.repository)
    whole_story(world, world.ref(repository=str(world.base / "link"), worktree=str(world.base / "link.worktrees/web")))


def test_repository_that_borrows_from_a_lost_one(world: GitWorld) -> None:
    clone = world.base / "clone"
    world.user("clone", "-q", "--shared", "--template=", str(world.repository), str(clone))
    world.repository.rename(world.base / "elsewhere")
    with pytest.raises(Terminal) as caught:
        world.workspaces.create(world.ref(repository=str(clone)))
    assert caught.value.reason == "AlternateMissing"


def test_objects_the_instance_could_not_read(world: GitWorld) -> None:
    ref = replace(world.ref(), owner=(world.agent_owner + 1, world.agent_owner + 1))
    (world.repository / ".git/objects").chmod(0o700)
    with pytest.raises(Terminal, match="may not read") as caught:
        world.workspaces.create(ref)
    assert caught.value.reason == "ObjectsNotReadable"


def test_repository_moved_away_is_not_taken_for_an_absent_workspace(world: GitWorld) -> None:
    ref = world.made()
    world.repository.rename(world.base / "elsewhere")
    with pytest.raises(Terminal) as caught:
        world.workspaces.inspect(ref)
    assert caught.value.reason == "RepositoryNotFound"


def test_old_git_is_refused(monkeypatch: pytest.MonkeyPatch, world: GitWorld) -> None:
    monkeypatch.setattr(git_module, "OLDEST_GIT", (99, 0))
    git_module.check_version.cache_clear()
    with pytest.raises(Terminal, match="install git") as caught:
        world.workspaces.create(world.ref())
    assert caught.value.reason == "GitTooOld"


def test_missing_git_is_said(monkeypatch: pytest.MonkeyPatch, world: GitWorld) -> None:
    (world.base / "bin").mkdir()
    (world.base / "bin/env").symlink_to("/usr/bin/env")
    monkeypatch.setenv("PATH", str(world.base / "bin"))
    git_module.check_version.cache_clear()
    with pytest.raises(Terminal) as caught:
        world.workspaces.create(world.ref())
    assert caught.value.reason == "GitNotFound"


def test_environment_of_the_controller_does_not_reach_git(monkeypatch: pytest.MonkeyPatch, world: GitWorld) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    whole_story(world, world.ref())
    git = git_module.Git(str(world.repository / ".git"), (world.owner, world.owner))
    shown = git.run("-c", "alias.show-env=!env", "show-env").text
    assert "secret" not in shown
    assert "/nonexistent/" not in shown.replace("HOME=/nonexistent", "")


def test_repository_of_another_user_is_refused_without_root() -> None:
    with git_world(OWNERS[-1]) as world:
        world.workspaces.inspect_repository(str(world.repository))
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:
                    os.setgid(world.owner + 1)
                    os.setuid(world.owner + 1)
                world.workspaces.inspect_repository(str(world.repository))
            except Terminal as error:
                os.write(writer, error.reason.encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writer)
        with open(reader) as answers:  # noqa: PTH123  # a descriptor
            assert answers.read() == ("RepositoryNotOwned" if os.geteuid() == 0 else "")
