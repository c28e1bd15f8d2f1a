"""Commits come home while the agent works, and no commit is ever without a name."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import Terminal
from controller.workspace import transfer
from controller.workspace.git import Git, Output
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


@pytest.mark.parametrize("attempt", [1, 2])
def test_branch_does_not_follow_an_earlier_instance_of_the_same_name(world: GitWorld, attempt: int) -> None:
    first = world.made(branch="feature/x")
    world.collect(first)
    first = replace(first, attempt=attempt)
    abandoned = world.agent_commits(first)
    world.agent(first, "tag", "-a", "-m", "Release", "v1")
    world.agent(first, "branch", "side")
    assert world.collect(first).head == abandoned
    tag = world.refs()[f"refs/cco/instances/web/{attempt}/tags/v1"]
    world.workspaces.remove(first)
    world.user("branch", "-qD", "feature/x")
    start = world.user_commits("main")
    second = world.made(branch="feature/x")
    for again in (second, replace(second, attempt=2)):
        assert not world.workspaces.inspect(again).diverged
        assert world.collect(again) == Collected(start, moved=False, diverged=False)
    assert set(world.refs("refs/cco/").values()) == {abandoned, tag, start}
    commit = world.agent_commits(second)
    assert world.collect(second) == Collected(commit, moved=True, diverged=False)


def test_branch_that_was_reset_is_not_moved_by_an_earlier_instance(world: GitWorld) -> None:
    first = world.made()
    abandoned = world.agent_commits(first)
    world.collect(first)
    world.workspaces.remove(first)
    start = world.user("rev-parse", "main")
    world.user("update-ref", "refs/heads/web", start)
    assert world.collect(world.made()) == Collected(start, moved=False, diverged=False)
    assert world.reachable(abandoned)


def test_what_this_instance_brought_home_stays_where_only_its_start_was_forgotten(world: GitWorld) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    world.collect(ref)
    home = world.refs("refs/cco/instances/web/1/")
    world.user("update-ref", "-d", f"refs/cco/instances/web/uids/{ref.uid}/base")
    shutil.rmtree(ref.worktree)
    world.create(ref)
    assert world.refs("refs/cco/instances/web/1/") == home
    assert world.collect(ref).head == commit


def shallow_branch(world: GitWorld, ref: WorkspaceRef, name: str) -> str:
    """Let the agent fetch a history of another repository without its beginning, and commit on it."""
    upstream = world.base / "upstream"
    world.user("clone", "-q", "--template=", "--no-hardlinks", str(world.repository), str(upstream))
    for number in range(2):
        world.write(upstream / "upstream.txt", f"{number}", world.owner)
        world.user("add", ".", cwd=upstream)
        world.user("commit", "-qm", "Upstream", cwd=upstream)
    world.agent(ref, "fetch", "-q", "--depth=1", f"file://{upstream}", f"main:{name}")
    world.agent(ref, "switch", "-q", name)
    commit = world.agent_commits(ref, "on-top.txt")
    world.agent(ref, "switch", "-q", "web")
    return commit


@pytest.mark.parametrize("way_out", ["unshallow", "delete"])
def test_shallow_branch_keeps_nothing_else_from_home(world: GitWorld, way_out: str) -> None:
    ref = world.made()
    stuck = shallow_branch(world, ref, "try")
    world.agent(ref, "branch", "side", "web")
    commit = world.agent_commits(ref)
    with pytest.raises(Terminal, match=r"objects of 'heads/try' are missing.*git fetch --unshallow URL") as caught:
        world.collect(ref)
    assert caught.value.reason == "CommitsDamaged"
    assert world.head(ref) == commit
    assert set(world.refs("refs/cco/instances/web/1/heads/")) == {
        f"refs/cco/instances/web/1/heads/{name}" for name in ("side", "web")
    }
    assert world.unsaved(ref) is Unsaved.UNSAVED
    assert world.user("fsck", "--full", "--strict") == ""
    if way_out == "unshallow":
        world.agent(ref, "fetch", "-q", "--unshallow", f"file://{world.base}/upstream")
    else:
        world.agent(ref, "branch", "-qD", "try")
    assert world.collect(ref).head == commit
    assert world.reachable(stuck) is (way_out == "unshallow")
    assert world.unsaved(ref) is Unsaved.NONE


def test_finding_what_is_whole_takes_few_processes(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.made()
    commits = []
    for number in range(40):
        tree = world.agent(ref, "rev-parse", "web^{tree}")
        commits.append(world.agent(ref, "commit-tree", "-p", "web", "-m", f"{number}", tree))
        world.agent(ref, "update-ref", "--create-reflog", "refs/heads/side", commits[-1])
    lost = world.agent_commits(ref)
    world.agent(ref, "reset", "-q", "--hard", "HEAD~1")
    tree = world.agent(ref, "rev-parse", f"{lost}^{{tree}}")
    (Path(ref.private) / "objects" / tree[:2] / tree[2:]).unlink()
    ran: list[str] = []
    run = Git.run

    def count(git: Git, *args: str, **options: object) -> Output:
        ran.append(args[0])
        return run(git, *args, **options)  # type: ignore[arg-type]  # what the caller gave

    monkeypatch.setattr(Git, "run", count)
    world.collect(ref)
    assert ran.count("rev-list") < 20
    assert all(world.reachable(commit) for commit in commits)
    assert not world.reachable(lost)


def test_search_for_what_is_whole_ends_and_is_told(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "SEARCH_SECONDS", 0.0)
    ref = world.made()
    lost = world.agent_commits(ref)
    world.agent(ref, "reset", "-q", "--hard", "HEAD~1")
    tree = world.agent(ref, "rev-parse", f"{lost}^{{tree}}")
    (Path(ref.private) / "objects" / tree[:2] / tree[2:]).unlink()
    commit = world.agent_commits(ref)
    with pytest.raises(Terminal, match=r"0 s do not tell which.*git reflog expire --stale-fix --all") as caught:
        world.collect(ref)
    assert caught.value.reason == "TooMuchWork"
    assert world.unsaved(ref) is Unsaved.UNSAVED
    world.agent(ref, "reflog", "expire", "--stale-fix", "--all")
    assert world.collect(ref).head == commit
    assert world.unsaved(ref) is Unsaved.NONE
