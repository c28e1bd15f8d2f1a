"""What of ours is on disk: each kind, whose it is, and what is left out or said when a look fails."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.errors import Conflict
from controller.workspace.inventory import Holding, HoldingKind, StateInventory
from controller.workspace.types import Unsaved, WorkspaceRef
from support.git_world import GitWorld


def take(world: GitWorld, *repositories: Path) -> list[Holding]:
    inventory = StateInventory(world.state_dir).take(map(str, repositories or (world.repository,)))
    assert inventory.failures == ()
    return list(inventory.holdings)


def kinds(found: list[Holding]) -> list[HoldingKind]:
    return sorted(each.kind for each in found)


def folder(ref: WorkspaceRef) -> Path:
    return Path(ref.private).parent


def test_an_empty_state_directory_has_nothing(world: GitWorld) -> None:
    assert take(world) == []


def test_the_parts_of_a_workspace(world: GitWorld) -> None:
    ref = world.made()
    world.agent_commits(ref)
    world.collect(ref)
    (folder(ref) / "git.damaged-00000000").mkdir()
    found = take(world)
    assert kinds(found) == sorted(
        [HoldingKind.WORKTREE, HoldingKind.GIT_DIRECTORY, HoldingKind.QUARANTINE, HoldingKind.SET_ASIDE]
    )
    for each in found:
        assert (each.instance, each.uid, each.ours) == ("web", ref.uid, True)
        assert each.ref == replace(ref, base_branch=None)
        assert each.created_at is not None
        assert abs(datetime.now(UTC) - each.created_at) < timedelta(minutes=5)


def test_the_verbs_work_on_what_was_found(world: GitWorld) -> None:
    ref = world.made()
    commit = world.agent_commits(ref)
    world.agent_writes(ref, "draft.txt", "half a thought\n")
    (found,) = (each.ref for each in take(world) if each.kind is HoldingKind.WORKTREE)
    assert found is not None
    assert world.workspaces.collect(found).head == commit
    assert world.workspaces.snapshot(found, message="Save") is not None
    world.workspaces.remove(found)
    assert kinds(take(world)) == [HoldingKind.FOLDER] * folder(ref).is_dir()


def test_worktrees_of_others_are_not_ours(world: GitWorld) -> None:
    world.user("worktree", "add", "-q", "../plain")
    world.user("worktree", "add", "-q", "--lock", "--reason", "cc-orchestrator", "../locked")
    world.user("worktree", "add", "-q", "--lock", "--reason", "cc-orchestrator ../x 1 2", "../odd")
    assert take(world) == []


def test_a_repository_that_is_not_registered_any_more_is_looked_at_all_the_same(world: GitWorld) -> None:
    world.made()
    inventory = StateInventory(world.state_dir).take([])
    assert kinds(list(inventory.holdings)) == [HoldingKind.GIT_DIRECTORY, HoldingKind.WORKTREE]


def test_a_lock_alone_is_not_proof(world: GitWorld) -> None:
    ref = world.made()
    shutil.rmtree(folder(ref))
    (found,) = take(world)
    assert (found.kind, found.uid, found.ours) == (HoldingKind.WORKTREE, ref.uid, False)
    assert found.ref is not None
    assert Path(found.ref.private).parent.name == f"web.orphan-{ref.uid[:8]}"


def test_an_adopted_worktree_can_be_saved(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "draft.txt", "half a thought\n")
    shutil.rmtree(folder(ref))
    disk = StateInventory(world.state_dir)
    (found,) = take(world)
    assert found.ref is not None
    for _ in range(2):
        disk.adopt(found)
    assert world.workspaces.inspect(found.ref, deep=True).unsaved is Unsaved.UNSAVED
    snapshot = world.workspaces.snapshot(found.ref, message="Save")
    assert world.user("show", f"{snapshot}:draft.txt") == "half a thought"
    world.workspaces.remove(found.ref)
    disk.tidy(found)
    assert not Path(ref.worktree).exists()
    assert list((world.state_dir / "instances").iterdir()) == []


def test_what_stands_elsewhere_by_now_is_not_adopted(world: GitWorld) -> None:
    ref = world.made()
    shutil.rmtree(folder(ref))
    (found,) = take(world)
    world.user("worktree", "move", "-f", "-f", ref.worktree, str(world.base / "moved"))
    with pytest.raises(Conflict):
        StateInventory(world.state_dir).adopt(found)


def test_a_worktree_without_a_branch_is_not_to_be_saved(world: GitWorld) -> None:
    ref = world.made()
    world.user("checkout", "-q", "--detach", cwd=ref.worktree)
    shutil.rmtree(folder(ref))
    (found,) = take(world)
    assert found.ref is None
    assert "not on a branch" in found.detail


def test_a_git_directory_without_memory_belongs_to_nobody(world: GitWorld) -> None:
    ref = world.made()
    (folder(ref) / "workspace.json").unlink()
    found = {each.kind: each for each in take(world)}
    assert found[HoldingKind.GIT_DIRECTORY].uid == ""
    assert found[HoldingKind.GIT_DIRECTORY].ref is None


def test_folders_without_a_workspace(world: GitWorld) -> None:
    for name, text in (("run/instance.json", '{"uid": "u-1"}'), ("manifest.json", '{"metadata": {"uid": "u-2"}}')):
        path = world.state_dir / "instances" / name.partition("/")[0].partition(".")[0] / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (world.state_dir / "instances" / "empty").mkdir()
    (world.state_dir / "instances" / "Not A Name").mkdir()
    found = take(world)
    assert {(each.kind, each.instance, each.uid) for each in found} == {
        (HoldingKind.FOLDER, "run", "u-1"),
        (HoldingKind.FOLDER, "manifest", "u-2"),
        (HoldingKind.FOLDER, "empty", ""),
    }
    for each in found:
        StateInventory(world.state_dir).tidy(each)
    assert [path.name for path in (world.state_dir / "instances").iterdir()] == ["Not A Name"]


def test_a_folder_with_anything_else_in_it_stays(world: GitWorld) -> None:
    path = world.state_dir / "instances" / "web" / "thesis.txt"
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    (found,) = take(world)
    with pytest.raises(Conflict) as caught:
        StateInventory(world.state_dir).tidy(found)
    assert caught.value.reason == "NotEmpty"
    assert path.exists()


def test_what_cannot_be_looked_at_is_said_and_the_rest_is_found(world: GitWorld) -> None:
    broken, whole = world.made("broken"), world.made("whole")
    (folder(broken) / "workspace.json").write_text("{")
    shutil.rmtree(folder(whole))
    inventory = StateInventory(world.state_dir).take([str(world.repository), str(world.base / "nowhere")])
    assert sorted(each.reason for each in inventory.failures) == ["RepositoryNotFound", "StateUnreadable"]
    assert {each.uid for each in inventory.holdings} == {broken.uid, whole.uid}
    assert all(each.ref is None for each in inventory.holdings), "more may be known of them in what is unreadable"


def test_a_removal_that_was_cut_off(world: GitWorld) -> None:
    ref = world.made()
    remains = Path(f"{ref.worktree}.removed-{ref.uid[:8]}")
    Path(ref.worktree).rename(remains)
    strange = remains.with_name("api.removed-12345678")
    strange.mkdir()
    found = {each.path: each for each in take(world) if each.kind is HoldingKind.REMAINS}
    assert found[str(remains)].ref == replace(ref, base_branch=None)
    assert (found[str(strange)].ref, found[str(strange)].ours) == (None, False)


def test_links_are_not_followed(world: GitWorld) -> None:
    target = world.base / "elsewhere"
    (target / "git").mkdir(parents=True)
    instances = world.state_dir / "instances"
    instances.mkdir()
    (instances / "web").symlink_to(target)
    assert take(world) == []
    (instances / "api").mkdir()
    (instances / "api" / "run").symlink_to(target)
    (found,) = take(world)
    StateInventory(world.state_dir).tidy(found)
    assert (target / "git").is_dir()
    assert not (instances / "api").exists()
