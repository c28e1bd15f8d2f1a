"""Commits come home while the agent works, and no commit is ever without a name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from controller.workspace.types import Collected, Unsaved, WorkspaceRef
from support.git_world import GitWorld


def status(world: GitWorld, ref: WorkspaceRef) -> str:
    """What a person sees in the worktree."""
    return world.user("-c", f"safe.directory={ref.worktree}", "status", "--porcelain", cwd=ref.worktree)


def test_commits_come_home_and_people_see_them_as_committed(any_world: GitWorld) -> None:
    world = any_world
    ref = world.made()
    commit = world.agent_commits(ref)
    assert world.collect(ref) == Collected(commit, moved=True, diverged=False)
    assert world.head(ref) == commit
    assert status(world, ref) == ""
    assert world.user("fsck", "--full", "--strict") == ""
    git_dir = world.repository / ".git"
    assert {path.lstat().st_uid for path in git_dir.rglob("*")} == {world.owner}


def test_collecting_again_does_nothing(world: GitWorld) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    world.collect(ref)
    before = {path: path.lstat().st_mtime_ns for path in world.base.rglob("*")}
    assert world.collect(ref) == Collected(commit, moved=False, diverged=False)
    assert {path: path.lstat().st_mtime_ns for path in world.base.rglob("*")} == before


def test_untouched_instance_has_nothing_to_bring(world: GitWorld) -> None:
    ref = world.made()
    assert world.unsaved(ref) is Unsaved.NONE
    assert world.collect(ref) == Collected(world.user("rev-parse", "main"), moved=False, diverged=False)


def test_unchanged_files_stay_fresh_in_the_index(world: GitWorld) -> None:
    ref = world.made()
    world.agent_commits(ref)
    world.collect(ref)
    index = Path(world.user("rev-parse", "--absolute-git-dir", cwd=ref.worktree)) / "index"
    before = index.read_bytes()
    assert world.user("diff-files", "--name-only", cwd=ref.worktree) in {"", "file.txt"}
    assert index.read_bytes() == before


def test_many_objects_come_as_one_pack(world: GitWorld) -> None:
    ref = world.made()
    for number in range(120):
        world.agent_writes(ref, f"many/{number}.txt", f"{number}")
    commit = world.agent_commits(ref)
    assert world.collect(ref).head == commit
    assert len(list((world.repository / ".git/objects/pack").glob("*.pack"))) == 1
    assert world.user("fsck", "--full") == ""


def test_work_survives_the_agents_own_garbage_collection(world: GitWorld) -> None:
    ref = world.made()
    first = world.agent_commits(ref)
    world.agent(ref, "gc", "-q", "--prune=now")
    assert world.collect(ref).head == first
    second = world.agent_commits(ref)
    world.agent(ref, "repack", "-adq")
    assert world.collect(ref).head == second
    assert world.user("fsck", "--full") == ""


def test_all_branches_tags_and_stashes_come_home(world: GitWorld) -> None:
    ref = world.made()
    world.user("tag", "users")
    first = world.agent_commits(ref)
    world.agent(ref, "tag", "-a", "-m", "Release", "v1")
    world.agent(ref, "switch", "-qc", "side/line")
    second = world.agent_commits(ref)
    for content in ("one", "two"):
        world.agent_writes(ref, "README.md", content)
        world.agent(ref, "stash")
    stashes = world.agent(ref, "stash", "list", "--format=%H").splitlines()
    world.collect(ref)
    home = world.refs("refs/cco/instances/web/1/")
    assert home["refs/cco/instances/web/1/heads/web"] == first
    assert home["refs/cco/instances/web/1/heads/side/line"] == second
    assert home["refs/cco/instances/web/1/stash"] == stashes[0]
    assert world.user("cat-file", "-t", home["refs/cco/instances/web/1/tags/v1"]) == "tag"
    assert all(world.reachable(stash) for stash in stashes)
    assert world.head(ref) == first


def test_detached_head_comes_home(world: GitWorld) -> None:
    ref = world.made()
    world.agent(ref, "switch", "-q", "--detach")
    commit = world.agent_commits(ref)
    assert world.collect(ref).moved is False
    assert world.refs("refs/cco/")["refs/cco/instances/web/1/HEAD"] == commit
    world.agent(ref, "switch", "-q", "web")
    world.collect(ref)
    assert "refs/cco/instances/web/1/HEAD" not in world.refs("refs/cco/")
    assert world.reachable(commit)


def test_amended_commit_is_followed_and_the_old_one_kept(world: GitWorld) -> None:
    ref = world.made()
    first = world.agent_commits(ref)
    world.collect(ref)
    world.agent(ref, "commit", "-q", "--amend", "-m", "Better")
    amended = world.agent(ref, "rev-parse", "HEAD")
    assert world.collect(ref) == Collected(amended, moved=True, diverged=False)
    assert world.refs("refs/cco/instances/web/history/") == {f"refs/cco/instances/web/history/{first}": first}
    assert status(world, ref) == ""


def test_commit_amended_between_two_looks_is_kept_too(world: GitWorld) -> None:
    ref = world.made()
    lost = []
    for _ in range(3):
        lost.append(world.agent_commits(ref))
        world.agent(ref, "reset", "-q", "--hard", "main")
    final = world.agent_commits(ref)
    world.collect(ref)
    assert world.head(ref) == final
    assert all(world.reachable(commit) for commit in lost)


def test_reset_behind_the_start_keeps_the_start(world: GitWorld) -> None:
    world.user_commits("main")
    ref = world.made()
    start = world.head(ref)
    world.agent(ref, "reset", "-q", "--hard", "HEAD~1")
    assert world.collect(ref).moved
    world.workspaces.remove(ref)
    world.user("update-ref", "refs/heads/main", "main~1")
    assert world.reachable(start)


def test_one_commit_that_lost_its_files_does_not_take_others_with_it(world: GitWorld) -> None:
    ref = world.made()
    amended = []
    for _ in range(3):
        amended.append(world.agent_commits(ref))
        world.agent(ref, "reset", "-q", "--hard", "main")
    tree = world.agent(ref, "rev-parse", f"{amended[1]}^{{tree}}")
    (Path(ref.private) / "objects" / tree[:2] / tree[2:]).unlink()
    final = world.agent_commits(ref)
    assert world.collect(ref).head == final
    assert [world.reachable(commit) for commit in amended] == [True, False, True]


def test_damaged_branch_of_the_user_is_not_in_the_way(world: GitWorld) -> None:
    ref = world.made()
    world.write(world.repository / ".git/refs/heads/broken", "1" * 40 + "\n", world.owner)
    commit = world.agent_commits(ref)
    assert world.collect(ref).head == commit
    assert world.unsaved(ref) is Unsaved.NONE


def test_rebase_onto_a_newer_base_is_followed(world: GitWorld) -> None:
    ref = world.made()
    first = world.agent_commits(ref)
    world.collect(ref)
    world.agent(ref, "switch", "-q", "main")
    world.agent_commits(ref, "newer.txt")
    world.agent(ref, "rebase", "-q", "main", "web")
    rebased = world.agent(ref, "rev-parse", "web")
    assert world.collect(ref) == Collected(rebased, moved=True, diverged=False)
    assert world.reachable(first)


def test_commit_of_a_person_is_never_taken_back(world: GitWorld) -> None:
    ref = world.made()
    world.agent_commits(ref)
    world.collect(ref)
    theirs = world.user_commits("web")
    assert world.collect(ref) == Collected(theirs, moved=False, diverged=False)
    world.agent(ref, "commit", "-q", "--amend", "-m", "Better")
    mine = world.agent(ref, "rev-parse", "HEAD")
    assert world.collect(ref) == Collected(theirs, moved=False, diverged=True)
    assert world.workspaces.inspect(ref).diverged
    assert world.head(ref) == theirs
    assert world.reachable(mine)


def test_merging_ends_a_divergence(world: GitWorld) -> None:
    ref = world.made()
    world.user_commits("web")
    mine = world.agent_commits(ref)
    assert world.collect(ref).diverged
    merge = world.user("commit-tree", "-p", "web", "-p", mine, "-m", "Merge", f"{mine}^{{tree}}")
    world.user("update-ref", "refs/heads/web", merge)
    assert world.collect(ref) == Collected(merge, moved=False, diverged=False)
    assert not world.workspaces.inspect(ref).diverged
    world.agent(ref, "reset", "-q", "--hard", merge)
    commit = world.agent_commits(ref)
    assert world.collect(ref) == Collected(commit, moved=True, diverged=False)


def test_person_commits_in_the_worktree_itself(world: GitWorld) -> None:
    ref = world.made()
    world.agent_commits(ref)
    world.collect(ref)
    world.write(Path(ref.worktree) / "person.txt", "x", world.owner)
    world.user("add", "person.txt", cwd=ref.worktree)
    world.user("commit", "-qm", "By hand", cwd=ref.worktree)
    by_hand = world.head(ref)
    assert world.collect(ref) == Collected(by_hand, moved=False, diverged=False)
    world.agent_commits(ref)
    assert world.collect(ref).diverged
    assert world.head(ref) == by_hand


def test_deleted_branch_stays_deleted_and_the_commits_are_kept(world: GitWorld) -> None:
    ref = world.made()
    world.user("update-ref", "-d", "refs/heads/web")
    commit = world.agent_commits(ref)
    assert world.collect(ref) == Collected(None, moved=False, diverged=True)
    assert world.reachable(commit)
    assert "refs/heads/web" not in world.refs()


def test_renamed_and_deleted_branches_keep_their_commits(world: GitWorld) -> None:
    ref = world.made()
    world.agent(ref, "switch", "-qc", "a")
    first = world.agent_commits(ref)
    world.collect(ref)
    world.agent(ref, "switch", "-q", "web")
    world.agent(ref, "branch", "-qD", "a")
    world.agent(ref, "switch", "-qc", "a/b")
    second = world.agent_commits(ref)
    world.collect(ref)
    home = world.refs("refs/cco/instances/web/1/heads/a")
    assert home == {"refs/cco/instances/web/1/heads/a/b": second}
    assert world.reachable(first)


def test_next_attempt_brings_everything_under_its_own_name(world: GitWorld) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    world.collect(ref)
    second = replace(ref, attempt=2)
    assert world.collect(second) == Collected(commit, moved=False, diverged=False)
    assert world.refs("refs/cco/instances/web/2/") == {"refs/cco/instances/web/2/heads/web": commit}


def test_index_of_a_busy_worktree_follows_later(world: GitWorld) -> None:
    ref = world.made()
    lock = world.repository / ".git/worktrees/web/index.lock"
    lock.touch()
    world.agent_commits(ref)
    assert world.collect(ref).moved
    lock.unlink()
    assert status(world, ref) != ""
    assert not world.collect(ref).moved
    assert status(world, ref) == ""


def test_uncollected_commits_count_as_unsaved(world: GitWorld) -> None:
    ref = world.made()
    world.agent_commits(ref)
    assert world.unsaved(ref) is Unsaved.UNSAVED
    world.collect(ref)
    assert world.unsaved(ref) is Unsaved.NONE
    world.agent_writes(ref, "README.md", "stashed")
    world.agent(ref, "stash")
    assert world.unsaved(ref) is Unsaved.UNSAVED
    world.collect(ref)
    assert world.unsaved(ref) is Unsaved.NONE


def test_old_malformed_history_that_an_agent_merges_comes_home(world: GitWorld) -> None:
    ref = world.made()
    tree = world.agent(ref, "rev-parse", "HEAD^{tree}")
    parent = world.agent(ref, "rev-parse", "HEAD")
    raw = (
        f"tree {tree}\nparent {parent}\nauthor A <a@x> 1 +051800\ncommitter B b@x> 018446744073709551617 +0000\n\nold\n"
    )
    path = world.agent_writes(ref, "raw", raw)
    commit = world.agent(ref, "hash-object", "-t", "commit", "--literally", "-w", str(path))
    path.unlink()
    world.agent(ref, "update-ref", "refs/heads/web", commit)
    assert world.collect(ref) == Collected(commit, moved=True, diverged=False)


def test_agents_worktrees_of_its_own_come_home(world: GitWorld) -> None:
    ref = world.made()
    world.agent(ref, "worktree", "add", "-q", "--detach", f"{ref.worktree}/.claude/worktrees/x")
    inner = Path(ref.worktree) / ".claude/worktrees/x"
    world.write(inner / "deep.txt", "deep", world.agent_owner)
    git = ("-C", str(inner), f"--git-dir={ref.private}/worktrees/x", f"--work-tree={inner}")
    world.agent(ref, *git, "add", "deep.txt")
    world.agent(ref, *git, "commit", "-qm", "Deep")
    commit = world.agent(ref, *git, "rev-parse", "HEAD")
    world.collect(ref)
    assert world.reachable(commit)


def test_without_a_workspace_nothing_is_brought(world: GitWorld) -> None:
    assert world.collect(world.ref()) == Collected(None, moved=False, diverged=False)
    ref = world.made()
    Path(ref.private).rename(f"{ref.private}.gone")
    assert world.collect(ref) == Collected(world.head(ref), moved=False, diverged=False)
