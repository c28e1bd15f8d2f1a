"""A workspace is made after everything was checked, and made again from whatever a crash left."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import Conflict, Retryable, Terminal, Unavailable
from controller.workspace import worktree
from controller.workspace.record import StatePaths
from controller.workspace.types import Presence, WorkspaceRef
from support.git_world import OWNERS, GitWorld, everything, git_world
from support.power_cut import watching_the_disk


def presence(world: GitWorld, ref: WorkspaceRef) -> Presence:
    return world.workspaces.inspect(ref).presence


def test_worktree_is_real_and_clean_for_people_and_for_the_agent(any_world: GitWorld) -> None:
    world = any_world
    ref = world.made()
    state = world.workspaces.inspect(ref)
    assert (state.presence, state.detail) == (Presence.READY, "")
    assert state.head == state.base_commit == world.user("rev-parse", "main")
    assert ref.worktree in world.user("worktree", "list")
    assert world.agent(ref, "status", "--porcelain=v2", "--branch").splitlines()[1] == "# branch.head web"
    assert world.agent(ref, "status", "--porcelain") == ""
    assert world.user("-c", f"safe.directory={ref.worktree}", "-C", ref.worktree, "status", "--porcelain") == ""
    assert (Path(ref.worktree) / "README.md").read_text() == "hello\n"


def test_everything_the_agent_writes_belongs_to_it_and_nothing_else_does(any_world: GitWorld) -> None:
    world = any_world
    ref = world.made()
    for folder in (Path(ref.worktree), Path(ref.private)):
        assert {path.lstat().st_uid for path in (folder, *folder.rglob("*"))} == {world.agent_owner}
    git_dir = world.repository / ".git"
    assert {path.lstat().st_uid for path in git_dir.rglob("*")} == {world.owner}


def test_what_links_point_to_does_not_change_hands(any_world: GitWorld) -> None:
    world = any_world
    world.write(world.base / "mine.txt", "x", world.owner)
    (world.repository / "link").symlink_to(world.base / "mine.txt")
    world.user("add", "link")
    world.user("commit", "-qm", "Link")
    ref = world.made()
    assert (Path(ref.worktree) / "link").lstat().st_uid == world.agent_owner
    assert (world.base / "mine.txt").stat().st_uid == world.owner


def test_agent_can_use_all_of_git(any_world: GitWorld) -> None:
    world = any_world
    ref = world.made()
    first = world.agent_commits(ref)
    world.agent(ref, "tag", "v1")
    world.agent(ref, "switch", "-qc", "other")
    world.agent_writes(ref, "stashed.txt", "x")
    world.agent(ref, "stash", "-u")
    world.agent(ref, "switch", "-q", "web")
    world.agent(ref, "rebase", "-q", "main")
    world.agent(ref, "gc", "-q")
    assert world.agent(ref, "rev-parse", "HEAD") == first
    assert world.agent(ref, "fsck", "--connectivity-only") == ""


def test_creating_again_changes_nothing(any_world: GitWorld) -> None:
    ref = any_world.made()
    before = everything(any_world.base)
    any_world.create(ref)
    assert everything(any_world.base) == before


def test_identity_of_the_user_signs_the_agents_commits(world: GitWorld) -> None:
    world.user("config", "user.name", 'Ädä "the" \\ Countess')
    world.user("config", "user.email", "ada@example.org")
    ref = world.made()
    assert world.agent(ref, "config", "user.name") == 'Ädä "the" \\ Countess'
    assert world.agent(ref, "config", "user.email") == "ada@example.org"


def test_without_an_identity_commits_work_all_the_same(world: GitWorld) -> None:
    ref = world.made()
    assert world.agent(ref, "config", "user.email") != ""


def test_mounts_are_worktree_pointer_git_directory_and_objects(world: GitWorld) -> None:
    ref = world.made()
    worktree, pointer, private, objects = world.workspaces.mounts(ref)
    assert (worktree.source, worktree.target, worktree.read_only) == (ref.worktree, ref.worktree, False)
    assert (pointer.target, pointer.read_only) == (f"{ref.worktree}/.git", True)
    assert Path(pointer.source).read_text() == f"gitdir: {ref.private}\n"
    assert stat.S_IMODE(Path(pointer.source).stat().st_mode) == 0o400
    assert Path(pointer.source).stat().st_uid == world.agent_owner
    assert (private.source, private.target, private.read_only) == (ref.private, ref.private, False)
    assert objects.source == objects.target == str(world.repository / ".git/objects")
    assert objects.read_only


def test_mounts_include_the_stores_a_repository_borrows_from(world: GitWorld) -> None:
    clone = world.base / "clone"
    world.write(clone / "x", "", world.owner)
    (clone / "x").unlink()
    world.user("clone", "-q", "--shared", str(world.repository), str(clone), cwd=clone)
    ref = world.made(repository=str(clone), worktree=str(world.base / "clone.worktrees/web"))
    sources = [mount.source for mount in world.workspaces.mounts(ref)]
    assert sources[3:] == [str(clone / ".git/objects"), str(world.repository / ".git/objects")]
    world.agent_commits(ref)
    assert world.collect(ref).moved


@pytest.mark.parametrize(
    ("folder", "branch"),
    [("with space", "feature/with-slash"), ("ünï cödé", "grüße/日本語"), ("quo'te\"s", "a'b\"c"), ("-dash", "x/-y")],
)
def test_odd_names_of_paths_and_branches(folder: str, branch: str) -> None:
    with git_world(OWNERS[-1], directory=folder) as world:
        ref = world.made(branch=branch)
        commit = world.agent_commits(ref, "dïr/fïle nämé.txt")
        assert world.collect(ref).head == commit == world.head(ref)
        world.agent_writes(ref, 'new "file"\n.txt', "x")
        assert world.workspaces.snapshot(ref, message="odd") is not None
        world.workspaces.remove(ref)
        assert not Path(ref.worktree).exists()


def test_existing_branch_is_used_as_it_is(world: GitWorld) -> None:
    commit = world.user("commit-tree", "-p", "main", "-m", "Mine", "main^{tree}")
    world.user("branch", "web", commit)
    ref = world.made()
    state = world.workspaces.inspect(ref)
    assert (state.head, state.base_commit, state.ahead) == (commit, commit, 0)


def test_new_branch_starts_where_it_was_told(world: GitWorld) -> None:
    other = world.user("commit-tree", "-p", "main", "-m", "Other", "main^{tree}")
    world.user("branch", "develop", other)
    ref = world.made(base_branch="develop")
    assert world.head(ref) == other
    assert world.agent(ref, "rev-parse", "develop") == other


def test_remote_tracking_branch_can_be_the_base(world: GitWorld) -> None:
    commit = world.user("commit-tree", "-p", "main", "-m", "Upstream", "main^{tree}")
    world.user("update-ref", "refs/remotes/origin/topic", commit)
    assert world.head(world.made(base_branch="origin/topic")) == commit


def test_base_commit_is_remembered_when_the_base_branch_moves_on(world: GitWorld) -> None:
    ref = world.made()
    start = world.user("rev-parse", "main")
    world.user_commits("main")
    world.agent_commits(ref)
    world.collect(ref)
    state = world.workspaces.inspect(ref)
    assert (state.base_commit, state.ahead) == (start, 1)


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"base_branch": "mian"}, "BaseBranchNotFound", ["base_branch 'mian'", "did you mean 'main'"]),
        ({"branch": "main"}, "BranchCheckedOutElsewhere", ["branch 'main'", "repository", "base_branch"]),
        ({"branch": "main/x"}, "BranchNameTaken", ["branch 'main/x'", "existing branch 'main'"]),
        ({"repository": "/nowhere/at/all"}, "RepositoryNotFound", ["/nowhere/at/all", "move the repository back"]),
        ({"branch": "--upload-pack=x"}, "InvalidWorkspace", ["branch", "--upload-pack=x"]),
        ({"branch": "a..b"}, "InvalidWorkspace", ["branch 'a..b'"]),
        ({"base_branch": "-x"}, "InvalidWorkspace", ["base_branch '-x'"]),
        ({"instance": "../x"}, "InvalidWorkspace", ["instance '../x'"]),
        ({"worktree": "relative/path"}, "InvalidWorkspace", ["worktree 'relative/path'", "absolute"]),
        ({"worktree": "/srv/../etc/x"}, "InvalidWorkspace", ["worktree"]),
        ({"private": "/etc"}, "InvalidWorkspace", ["private '/etc'"]),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(
    world: GitWorld, changes: dict[str, str], reason: str, words: list[str]
) -> None:
    before = everything(world.base)
    with pytest.raises(Terminal) as caught:
        world.workspaces.create(world.ref(**changes))
    assert caught.value.reason == reason
    assert [word for word in words if word not in caught.value.message] == []
    assert everything(world.base) == before


def test_worktree_inside_the_git_directory_is_refused(world: GitWorld) -> None:
    before = everything(world.base)
    for path in (world.repository / ".git/worktrees/web", world.repository / ".git/hooks"):
        with pytest.raises(Terminal, match="overlap"):
            world.workspaces.create(world.ref(worktree=str(path)))
    assert everything(world.base) == before


def test_branch_checked_out_in_another_worktree_is_refused(world: GitWorld) -> None:
    world.user("worktree", "add", "-q", "-b", "taken", str(world.base / "other"))
    before = everything(world.base)
    with pytest.raises(Terminal, match=r"is already checked out at .*other"):
        world.workspaces.create(world.ref(branch="taken"))
    assert everything(world.base) == before


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link", "clone", "worktree"])
def test_occupied_path_is_foreign_and_stays_as_it_is(world: GitWorld, kind: str) -> None:
    ref = world.ref()
    path = Path(ref.worktree)
    world.write(path.parent / "x", "", world.owner)
    match kind:
        case "file":
            path.write_text("mine")
        case "folder":
            path.mkdir()
            (path / "mine").write_text("mine")
        case "link":
            path.symlink_to(world.repository)
        case "dangling link":
            path.symlink_to("/nonexistent")
        case "clone":
            world.user("clone", "-q", str(world.repository), str(path))
        case _:
            world.user("worktree", "add", "-q", str(path), "-b", "somebody")
    before = everything(world.base)
    assert presence(world, ref) is Presence.FOREIGN
    with pytest.raises(Conflict, match="move it away"):
        world.workspaces.create(ref)
    with pytest.raises(Conflict):
        world.workspaces.remove(ref)
    assert everything(world.base) == before


def test_empty_folder_at_the_path_is_taken(world: GitWorld) -> None:
    ref = world.ref()
    world.write(Path(ref.worktree) / "x", "", world.owner)
    (Path(ref.worktree) / "x").unlink()
    assert presence(world, ref) is Presence.ABSENT
    world.create(ref)
    assert presence(world, ref) is Presence.READY


def test_second_instance_of_the_same_name_is_foreign_to_the_first_ones_workspace(world: GitWorld) -> None:
    ref = world.made()
    other = replace(ref, uid="another")
    assert presence(world, other) is Presence.FOREIGN
    with pytest.raises(Conflict):
        world.workspaces.remove(other)
    assert presence(world, ref) is Presence.READY


def test_name_can_be_used_again_after_a_removal(world: GitWorld) -> None:
    first = world.made()
    world.agent_commits(first)
    kept = world.collect(first).head
    world.workspaces.remove(first)
    second = world.made()
    assert second.uid != first.uid
    state = world.workspaces.inspect(second)
    assert (state.presence, state.head, state.base_commit) == (Presence.READY, kept, kept)


def test_worktree_that_is_gone_comes_back_with_what_was_committed_last(any_world: GitWorld) -> None:
    """Also when that was not at home yet: older files would look like the agent's own undoing of it."""
    world = any_world
    ref = world.made()
    world.agent_commits(ref, "first.txt", "first\n")
    world.collect(ref)
    last = world.agent_commits(ref, "last.txt", "last\n")
    shutil.rmtree(ref.worktree)
    world.create(ref)
    assert world.head(ref) == world.agent(ref, "rev-parse", "HEAD") == last
    assert world.agent(ref, "status", "--porcelain") == ""
    assert (Path(ref.worktree) / "last.txt").read_text() == "last\n"
    assert (Path(ref.worktree) / "last.txt").stat().st_uid == world.agent_owner


def test_worktree_is_not_ready_before_all_of_its_files_are_back(
    monkeypatch: pytest.MonkeyPatch, world: GitWorld
) -> None:
    """The index of before, which is still there, says nothing about them."""
    ref = world.made()
    world.agent_commits(ref, "other.txt", "other\n")
    shutil.rmtree(ref.worktree)

    def cut_off(*_: object, **__: object) -> None:
        world.agent_writes(ref, "README.md", "hel")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(worktree, "fill", cut_off)
        with pytest.raises(Retryable):
            world.create(ref)
    assert presence(world, ref) is Presence.BROKEN
    world.create(ref)
    assert presence(world, ref) is Presence.READY
    assert world.agent(ref, "status", "--porcelain") == ""
    world.agent_writes(ref, "README.md", "changed\n")
    world.create(ref)
    assert world.agent(ref, "status", "--porcelain") == " M README.md"


def test_worktree_that_is_gone_comes_back_although_a_commit_is_damaged(world: GitWorld) -> None:
    ref = world.made()
    whole = world.agent_commits(ref, "first.txt", "first\n")
    world.collect(ref)
    damaged = world.agent_commits(ref, "last.txt", "last\n")
    (Path(ref.private) / "objects" / damaged[:2] / damaged[2:]).unlink()
    shutil.rmtree(ref.worktree)
    world.create(ref)
    assert presence(world, ref) is Presence.READY
    assert world.head(ref) == whole
    assert (Path(ref.worktree) / "first.txt").read_text() == "first\n"


def test_folder_that_may_not_be_written_is_said(monkeypatch: pytest.MonkeyPatch, world: GitWorld) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/read/only")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(Terminal, match="'/read/only'") as caught:
        world.workspaces.create(world.ref())
    assert caught.value.reason == "PermissionDenied"


def test_full_disk_is_waited_for(monkeypatch: pytest.MonkeyPatch, world: GitWorld) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(Retryable) as caught:
        world.workspaces.create(world.ref())
    assert caught.value.reason == "DiskFull"


def test_state_that_cannot_be_read_is_not_taken_for_absent(world: GitWorld) -> None:
    ref = world.made()
    record = Path(ref.private).parent / "workspace.json"
    record.write_text("{")
    with pytest.raises(Unavailable):
        world.workspaces.inspect(ref)
    with pytest.raises(Unavailable):
        world.workspaces.remove(ref)


def test_whose_a_workspace_is_is_on_the_disk_before_anything_is_made(
    world: GitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut that leaves an empty memory would need a person."""
    with watching_the_disk(monkeypatch) as disk:
        ref = world.made()
    assert disk.has(Path(StatePaths.of(ref).record))
