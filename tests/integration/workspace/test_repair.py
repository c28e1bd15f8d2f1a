"""What was broken by hand, by a crash or by the agent is made whole again, with all work in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.errors import Terminal
from controller.workspace.git import Git, GitFailed
from controller.workspace.git import Output as GitOutput
from controller.workspace.types import Presence, Unsaved, WorkspaceRef
from support.git_world import GitWorld, everything


def presence(world: GitWorld, ref: WorkspaceRef) -> Presence:
    return world.workspaces.inspect(ref).presence


def test_folder_removed_by_hand_comes_back_with_the_branch_untouched(any_world: GitWorld) -> None:
    world = any_world
    ref = world.made()
    commit = world.agent_commits(ref, "a/b.txt", "work")
    world.collect(ref)
    Path(ref.worktree).rename(world.base / "gone")
    assert presence(world, ref) is Presence.BROKEN
    world.create(ref)
    assert presence(world, ref) is Presence.READY
    assert (Path(ref.worktree) / "a/b.txt").read_text() == "work"
    assert world.head(ref) == commit == world.agent(ref, "rev-parse", "HEAD")
    assert world.agent(ref, "status", "--porcelain") == ""


def test_folder_comes_back_as_the_agent_left_it_when_it_is_on_another_branch(world: GitWorld) -> None:
    ref = world.made()
    world.agent(ref, "switch", "-qc", "aside")
    world.agent_commits(ref, "aside.txt", "aside")
    world.collect(ref)
    Path(ref.worktree).rename(world.base / "gone")
    world.create(ref)
    assert world.agent(ref, "status", "--porcelain") == ""
    assert (Path(ref.worktree) / "aside.txt").exists()


def test_files_of_people_in_a_broken_worktree_are_kept(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "README.md", "changed")
    world.agent_writes(ref, "new.txt", "new")
    (Path(ref.worktree) / ".git").unlink()
    assert presence(world, ref) is Presence.BROKEN
    world.create(ref)
    assert world.agent(ref, "status", "--porcelain").splitlines() == [" M README.md", "?? new.txt"]


@pytest.mark.parametrize("lost", ["gone", "emptied", "while git was killed", "beside a HEAD of a person's"])
def test_lost_index_is_made_again_and_no_file_is_written_over(world: GitWorld, lost: str) -> None:
    ref = world.made()
    world.agent_writes(ref, "README.md", "changed")
    admin = world.repository / ".git/worktrees/web"
    (admin / "index").unlink()
    if lost == "emptied":
        world.write(admin / "index", "", world.owner)
    elif lost == "while git was killed":
        world.write(admin / "index.lock", "half of it", world.owner)
    elif lost == "beside a HEAD of a person's":
        world.write(admin / "HEAD", world.user("rev-parse", "main"), world.owner)
    assert presence(world, ref) is Presence.BROKEN
    world.create(ref)
    assert presence(world, ref) is Presence.READY
    assert (Path(ref.worktree) / "README.md").read_text() == "changed"
    staged = world.user("-c", f"safe.directory={ref.worktree}", "diff", "--cached", "--name-only", cwd=ref.worktree)
    assert staged == ""


def test_repair_in_which_git_fails_is_not_taken_for_one(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    (world.repository / ".git/worktrees/web/index").unlink()
    run = Git.run

    def failing(git: Git, *args: str, **options: Any) -> GitOutput:  # noqa: ANN401  # handed on as they come
        if args[0] == "read-tree":
            raise GitFailed("git read-tree failed", "no")
        return run(git, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Git, "run", failing)
        with pytest.raises(GitFailed):
            world.create(ref)
    assert presence(world, ref) is Presence.BROKEN
    world.create(ref)
    assert presence(world, ref) is Presence.READY


def test_only_our_registration_is_mended(world: GitWorld) -> None:
    world.user("worktree", "add", "-q", "-b", "theirs", str(world.base / "theirs"))
    Path(world.base / "theirs").rename(world.base / "moved")
    ref = world.made()
    Path(ref.worktree).rename(world.base / "gone")
    theirs = everything(world.repository / ".git/worktrees/theirs")
    world.create(ref)
    world.workspaces.remove(ref)
    assert everything(world.repository / ".git/worktrees/theirs") == theirs


def test_pruned_registration_is_made_again(world: GitWorld) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    world.user("worktree", "unlock", ref.worktree)
    Path(ref.worktree).rename(world.base / "gone")
    world.user("worktree", "prune")
    world.create(ref)
    assert presence(world, ref) is Presence.READY
    assert world.collect(ref).head == commit


def test_unlocked_worktree_is_still_ours_and_people_may_lock_their_own(world: GitWorld) -> None:
    ref = world.made()
    world.user("worktree", "unlock", ref.worktree)
    assert presence(world, ref) is Presence.READY


def test_lost_state_directory_leaves_the_worktree_recognisable(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "new.txt", "kept")
    world.agent_writes(ref, "README.md", "changed")
    start = world.user("rev-parse", "main")
    Path(ref.private).parent.rename(world.base / "lost")
    assert presence(world, ref) is Presence.BROKEN
    world.create(ref)
    assert world.agent(ref, "status", "--porcelain").splitlines() == [" M README.md", "?? new.txt"]
    assert world.workspaces.inspect(ref).base_commit == start


def test_deleted_branch_is_not_made_again_silently(world: GitWorld) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    world.collect(ref)
    world.user("update-ref", "-d", "refs/heads/web")
    state = world.workspaces.inspect(ref)
    assert (state.head, state.branch_deleted) == (None, True)
    assert f"git branch web {commit}" in state.detail
    Path(ref.worktree).rename(world.base / "gone")
    with pytest.raises(Terminal, match=commit) as caught:
        world.workspaces.create(ref)
    assert caught.value.reason == "BranchDeleted"


@pytest.mark.parametrize("head", [None, "", "\0" * 41, "main\n", "ref: heads/web\n"])
def test_git_directory_that_no_git_would_use_is_made_anew(world: GitWorld, head: str | None) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    world.agent_writes(ref, "new.txt", "kept")
    path = Path(ref.private) / "HEAD"
    path.unlink()
    if head is not None:
        world.write(path, head, world.agent_owner)
    with pytest.raises(AssertionError, match="not a git repository"):
        world.agent(ref, "status")
    assert presence(world, ref) is Presence.BROKEN
    world.create(ref)
    assert world.agent(ref, "status", "--porcelain") == "?? new.txt"
    assert world.agent(ref, "rev-parse", "HEAD") == world.head(ref) == commit
    assert list(Path(ref.private).parent.glob("git.*")) == [], "all of it is at home"


@pytest.mark.parametrize("head", ["ref:  refs/heads/other", "{commit}", "link"])
def test_heads_that_git_accepts_are_the_agents_own_affair(world: GitWorld, head: str) -> None:
    ref = world.made()
    path = Path(ref.private) / "HEAD"
    path.unlink()
    if head == "link":
        path.symlink_to("refs/heads/web")
    else:
        world.write(path, head.format(commit=world.head(ref)), world.agent_owner)
    world.agent(ref, "status")
    assert presence(world, ref) is Presence.READY


def test_somebody_switching_the_worktree_is_told_and_harms_nothing(world: GitWorld) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    world.user("-c", f"safe.directory={ref.worktree}", "symbolic-ref", "HEAD", "refs/heads/elsewhere", cwd=ref.worktree)
    state = world.workspaces.inspect(ref)
    assert state.presence is Presence.READY
    assert "switched away" in state.detail
    assert world.collect(ref).head == commit


def test_commits_in_a_destroyed_git_directory_are_rescued_first(world: GitWorld) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    (Path(ref.private) / "config").unlink()
    world.create(ref)
    assert world.head(ref) == commit == world.agent(ref, "rev-parse", "HEAD")
    assert world.agent(ref, "status", "--porcelain") == ""


HALF_WRITTEN = pytest.mark.parametrize(
    ("part", "content"), [("gitdir", ""), ("HEAD", ""), ("HEAD", "0" * 40 + "\n"), ("commondir", "")]
)


@HALF_WRITTEN
def test_half_written_registration_is_mended(world: GitWorld, part: str, content: str) -> None:
    ref = world.made()
    place = world.repository / ".git/worktrees/web" / part
    written = place.read_text()
    place.write_text(content)
    assert presence(world, ref) is Presence.BROKEN
    world.create(ref)
    assert presence(world, ref) is Presence.READY
    assert place.read_text() == written


@HALF_WRITTEN
def test_half_written_registration_lets_a_deletion_save_and_end(world: GitWorld, part: str, content: str) -> None:
    """Power failed in the middle of ``git worktree add``: until a look answers, a deletion saves again and again."""
    ref = world.made()
    commit = world.agent_commits(ref)
    world.agent_writes(ref, "new.txt", "kept")
    (world.repository / ".git/worktrees/web" / part).write_text(content)
    assert world.workspaces.inspect(ref).unsaved is Unsaved.UNEXAMINED
    assert world.unsaved(ref) is Unsaved.UNSAVED
    assert world.collect(ref).head == commit
    snapshot = world.workspaces.snapshot(ref, message="x")
    assert (presence(world, ref), world.unsaved(ref)) == (Presence.BROKEN, Unsaved.SNAPSHOTTED)
    world.workspaces.remove(ref)
    assert presence(world, ref) is Presence.ABSENT
    assert snapshot is not None
    assert "new.txt" in world.files_of(snapshot)
