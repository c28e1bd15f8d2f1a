"""Whatever git gives a name in the agent's directory comes home, also where git gives it no branch and no tag."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.workspace.types import Unsaved, WorkspaceRef
from support.git_world import GitWorld
from support.kept_work import refused, untouched

HOME = "refs/cco/instances/web/1/"


def only_commit(world: GitWorld, ref: WorkspaceRef, words: str = "Nobody's") -> str:
    """Return a commit of the agent that no ref and no reflog names."""
    return world.agent(ref, "commit-tree", "-p", "web", "-m", words, "web^{tree}")


def comes_home(world: GitWorld, ref: WorkspaceRef, *objects: str) -> None:
    """Expect it to be seen as unsaved, to come home, and to be there when the workspace is gone."""
    assert world.unsaved(ref) is Unsaved.UNSAVED
    world.collect(ref)
    world.workspaces.snapshot(ref, message="before the removal")
    assert world.unsaved(ref) is not Unsaved.UNSAVED
    world.workspaces.remove(ref)
    kept = world.user("rev-list", "--objects", "--no-object-names", "--all").splitlines()
    assert set(objects) <= set(kept)


@pytest.mark.parametrize("program", ["rebase", "merge", "rebase --apply"])
def test_changes_that_git_put_aside_come_home(world: GitWorld, program: str) -> None:
    ref = world.made()
    world.agent_commits(ref, "other.txt")
    world.agent(ref, "branch", "side")
    world.agent_commits(ref, "README.md", "ours")
    world.agent(ref, "switch", "-q", "side")
    world.agent_commits(ref, "README.md", "theirs")
    world.agent(ref, "switch", "-q", "web")
    world.agent_writes(ref, "other.txt", "not committed yet")
    world.collect(ref)
    world.agent(ref, *program.split(), "--autostash", "side", check=False)
    assert (Path(ref.worktree) / "other.txt").read_text() != "not committed yet"
    aside = world.agent(ref, "hash-object", str(world.agent_writes(ref, "../again", "not committed yet")))
    comes_home(world, ref, aside)


@pytest.mark.parametrize(
    "name",
    [
        *("jj/keep/x", "original/refs/heads/web", "bisect/bad", "rewritten/onto", "worktree/mine", "top"),
        *(
            "t" * 250,
            "deep/" * 50 + "x",
            "base",
            "history/x",
            "uids/x/base",
            "heads2/x",
            "cco/instances/web/1/heads/web",
            "cco/snapshots/web/x",
        ),
    ],
)
def test_every_ref_comes_home_by_its_name(world: GitWorld, name: str) -> None:
    ref = world.made()
    before = world.refs()
    commit = only_commit(world, ref)
    world.agent(ref, "update-ref", f"refs/{name}", commit)
    comes_home(world, ref, commit)
    after = world.refs()
    assert after[HOME + name] == commit
    assert {each for each in after if each not in before} == {HOME + name, f"{HOME}heads/web"}


def test_replaced_commit_is_kept_and_replaces_nothing(world: GitWorld) -> None:
    ref = world.made()
    head = world.agent_commits(ref)
    commit = only_commit(world, ref)
    world.agent(ref, "replace", head, commit)
    comes_home(world, ref, head, commit)
    assert world.refs()[f"{HOME}replace/{head}"] == commit
    assert world.user("rev-parse", "web^{tree}") == world.user("--no-replace-objects", "rev-parse", "web^{tree}")


@pytest.mark.parametrize("name", ["HEAD", "HEAD/x", f"tags/{'/'.join(['t' * 100] * 11)}"])
@pytest.mark.parametrize("packed", [False, True])
def test_ref_that_can_have_no_such_name_at_home_is_kept_without(world: GitWorld, name: str, *, packed: bool) -> None:
    ref = world.made()
    world.agent(ref, "switch", "-q", "--detach")
    detached = world.agent_commits(ref)
    commit = only_commit(world, ref)
    world.agent(ref, "update-ref", f"refs/{name}", commit)
    if packed:
        world.agent(ref, "pack-refs", "--all")
    comes_home(world, ref, commit, detached)
    assert world.refs()[f"{HOME}HEAD"] == detached


def test_ref_of_anything_but_a_commit_comes_home_and_stays(world: GitWorld) -> None:
    ref = world.made()
    blob = world.agent(ref, "hash-object", "-w", str(world.agent_writes(ref, "a.txt", "precious")))
    tree = world.agent(ref, "mktree", "--missing")
    world.agent(ref, "update-ref", "refs/kept/blob", blob)
    world.agent(ref, "update-ref", "refs/kept/tree", tree)
    (Path(ref.worktree) / "a.txt").unlink()
    world.collect(ref)
    assert world.refs(f"{HOME}kept/") == {f"{HOME}kept/blob": blob, f"{HOME}kept/tree": tree}
    world.agent(ref, "update-ref", "-d", "refs/kept/blob")
    comes_home(world, ref, blob, tree)


def test_bisect_that_is_over_leaves_no_names_behind(world: GitWorld) -> None:
    ref = world.made()
    good = world.agent_commits(ref)
    world.agent_commits(ref)
    world.agent_commits(ref)
    world.agent(ref, "bisect", "start", "HEAD", good)
    world.collect(ref)
    assert f"{HOME}bisect/bad" in world.refs()
    world.agent(ref, "bisect", "reset")
    world.collect(ref)
    assert world.refs(f"{HOME}bisect/") == {}
    assert world.refs("refs/cco/instances/web/history/") == {}


def named_in(place: str, line: str = "{}\n") -> Callable[[Path, str], None]:
    """Return what writes a commit's name into a file of the git directory."""

    def write(private: Path, commit: str) -> None:
        (private / place).parent.mkdir(parents=True, exist_ok=True)
        (private / place).write_text(line.format(commit))

    return write


BESIDE = {
    "a merge": named_in("MERGE_HEAD"),
    "the second of a merge": named_in("MERGE_HEAD", "0" * 40 + "\n{}\n"),
    "a pick": named_in("CHERRY_PICK_HEAD"),
    "a ref of the agent's own": named_in("MY_OWN"),
    "a bisect": named_in("BISECT_LOG", "git bisect start '{}' 'web'\n"),
    "without a line's end": named_in("rebase-merge/autostash", "{}"),
    "what a rebase will pick": named_in("rebase-merge/git-rebase-todo", "pick {} Nobody's\n"),
    "a row of picks": named_in("sequencer/todo", "pick {} Nobody's\n"),
    "an am": named_in("rebase-apply/orig-head"),
    "another worktree's HEAD": named_in("worktrees/side/HEAD"),
    "another worktree's bisect": named_in("worktrees/side/refs/bisect/bad"),
    "another worktree's autostash": named_in("worktrees/side/rebase-merge/autostash"),
    "another worktree's log": named_in("worktrees/side/logs/HEAD", "0" * 40 + " {} x\n"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_git_names_beside_the_refs_comes_home(world: GitWorld, name: str) -> None:
    ref = world.made()
    commit = only_commit(world, ref)
    world.collect(ref)
    BESIDE[name](Path(ref.private), commit)
    comes_home(world, ref, commit)


def test_what_others_have_gets_no_name_of_its_own(world: GitWorld) -> None:
    ref = world.made()
    shallow = world.agent(ref, "commit-tree", "-m", "Of a shallow fetch", "web^{tree}")
    raw = f"tree {world.user('rev-parse', 'main^{tree}')}\nparent {'1' * 40}\n{shallow}\n"
    commit = world.agent(
        ref, "hash-object", "-t", "commit", "--literally", "-w", str(world.agent_writes(ref, "x", raw))
    )
    (Path(ref.worktree) / "x").unlink()
    for name in ("refs/remotes/origin/x", "refs/prefetch/remotes/origin/x"):
        world.agent(ref, "update-ref", name, commit)
    mine = world.agent_commits(ref)
    whole = only_commit(world, ref)
    for name in ("FETCH_HEAD", "COMMIT_EDITMSG"):
        (Path(ref.private) / name).write_text(f"{whole}\t\tbranch 'x' of /somewhere\n")
    assert world.collect(ref).head == mine
    assert set(world.refs(HOME)) == {f"{HOME}heads/web"}
    assert not world.reachable(whole)


@pytest.mark.parametrize("verb", ["collect", "look", "remove"])
def test_refs_in_another_format_are_not_taken_for_none(world: GitWorld, verb: str) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    world.collect(ref)
    private = Path(ref.private)  # as 'git refs migrate' leaves it
    shutil.rmtree(private / "refs/heads")
    (private / "refs/heads").write_text("this repository uses the reftable format\n")
    (private / "HEAD").write_text("ref: refs/heads/.invalid\n")
    acts = {"collect": world.collect, "look": world.inspect, "remove": world.workspaces.remove}
    with untouched(private):
        refused(lambda: acts[verb](ref), "UnknownRefFormat", "git refs migrate")
    assert world.refs(HOME) == {f"{HOME}heads/web": commit}
