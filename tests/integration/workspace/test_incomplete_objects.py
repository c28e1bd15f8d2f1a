"""What misses objects stays where it is, is told, and keeps nothing else from coming home."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import Terminal
from controller.workspace import transfer
from controller.workspace.git import Git, Output
from controller.workspace.types import Unsaved, WorkspaceRef
from support.git_world import GitWorld


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
