"""Snapshots are found by whoever looks for them, whether the instance is still there or not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.errors import NotFound, Terminal
from controller.workspace.types import MAX_CHANGES, MAX_DIFF, ChangeKind, SavedChange, SavedWork, WorkspaceRef
from support.git_world import GitWorld


def saved(world: GitWorld, ref: WorkspaceRef, message: str = "Before a test") -> SavedWork:
    commit = world.workspaces.snapshot(ref, message=message)
    (work,) = [each for each in world.workspaces.snapshots(ref.repository) if each.commit == commit]
    return work


def test_a_repository_without_snapshots(world: GitWorld) -> None:
    assert world.workspaces.snapshots(str(world.repository)) == ()


def test_everything_worth_knowing_is_told(any_world: GitWorld) -> None:
    world = any_world
    ref = world.made(branch="feature/x")
    head = world.agent_commits(ref, "gone.txt")
    world.collect(ref)
    world.agent_writes(ref, "new.txt", "x")
    (Path(ref.worktree) / "gone.txt").unlink()
    before = datetime.now(UTC) - timedelta(seconds=1)
    work = saved(world, ref, "Save it\nall of it\n\nwith reasons")
    assert (work.instance, work.uid, work.branch, work.base, work.files) == ("web", ref.uid, "feature/x", head, 2)
    assert work.message == "Save it all of it"
    assert before < work.taken_at < datetime.now(UTC)
    assert world.refs("refs/cco/snapshots/") == {f"refs/cco/snapshots/web/{work.id}": work.commit}


def test_snapshots_outlive_their_instances_and_come_in_order(world: GitWorld) -> None:
    first, second = world.made("web"), world.made("api")
    works = []
    for number, ref in enumerate((first, second, first)):
        world.agent_writes(ref, "README.md", f"{number}")
        works.append(saved(world, ref))
    world.workspaces.remove(first)
    assert world.workspaces.snapshots(str(world.repository)) == tuple(works)
    assert world.workspaces.snapshots(str(world.repository), instance="web") == (works[0], works[2])
    assert world.workspaces.snapshots(str(world.repository), instance="we") == ()
    assert world.workspaces.snapshots(str(world.repository), instance="../heads") == ()


def test_what_others_put_among_them_is_passed_over(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "new.txt", "x")
    work = saved(world, ref)
    blob = world.user("hash-object", "-w", "README.md")
    for name in ("web/mine", "NAME/x", "web/deep/er", f"api/{work.id[:-1]}g"):
        world.user("update-ref", f"refs/cco/snapshots/{name}", work.commit)
    world.user("update-ref", f"refs/cco/snapshots/blob/{work.id}", blob)
    world.user("update-ref", f"refs/cco/snapshots/web/{work.id[:-12]}000000000000", blob)
    assert world.workspaces.snapshots(str(world.repository)) == (work,)


def test_a_damaged_one_hides_no_other(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "new.txt", "x")
    damaged = saved(world, ref)
    world.agent_writes(ref, "new.txt", "y")
    whole = saved(world, ref)
    (world.repository / f".git/objects/{damaged.commit[:2]}/{damaged.commit[2:]}").unlink()
    assert world.workspaces.snapshots(str(world.repository)) == (whole,)
    with pytest.raises(Terminal, match="fsck") as caught:
        world.workspaces.show_snapshot(str(world.repository), damaged.id)
    assert caught.value.reason == "SnapshotDamaged"


def test_the_files_of_one_are_shown(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "old name.txt", "".join(f"line {number}\n" for number in range(20)))
    world.agent_writes(ref, "kind", "x")
    world.agent_commits(ref, "gone.txt", "one\ntwo\n")
    world.collect(ref)
    root = Path(ref.worktree)
    (root / "old name.txt").rename(root / "new näme.txt")
    (root / "gone.txt").unlink()
    (root / "kind").unlink()
    (root / "kind").symlink_to("elsewhere")
    world.agent_writes(ref, "README.md", "hello\nmore\n")
    world.agent_writes(ref, "latin-\udce9", b"\xff\xfe\x00")
    work = saved(world, ref)
    detail = world.workspaces.show_snapshot(str(world.repository), work.id, diff=True)
    assert detail.work == work
    assert detail.changes == (
        SavedChange(ChangeKind.MODIFIED, "README.md", None, 1, 0),
        SavedChange(ChangeKind.DELETED, "gone.txt", None, 0, 2),
        SavedChange(ChangeKind.RETYPED, "kind", None, 1, 1),
        SavedChange(ChangeKind.ADDED, "latin-\\xe9", None, None, None),
        SavedChange(ChangeKind.RENAMED, "new näme.txt", "old name.txt", 0, 0),
    )
    assert (detail.insertions, detail.deletions) == (2, 3)
    assert detail.text.startswith("Before a test\n\nInstance: web\n")
    assert detail.diff is not None
    assert "+more" in detail.diff
    assert "Binary files" in detail.diff
    assert not detail.diff_cut
    assert world.workspaces.show_snapshot(str(world.repository), work.id).diff is None


def test_a_long_difference_and_many_files_are_cut(world: GitWorld) -> None:
    ref = world.made()
    for number in range(MAX_CHANGES + 5):
        (Path(ref.worktree) / f"{number}.txt").write_text(f"{number}\n" * 100)
    work = saved(world, ref)
    assert work.files == MAX_CHANGES + 5
    detail = world.workspaces.show_snapshot(str(world.repository), work.id, diff=True)
    assert len(detail.changes) == MAX_CHANGES
    assert detail.insertions == (MAX_CHANGES + 5) * 100
    assert detail.diff is not None
    assert detail.diff_cut
    assert MAX_DIFF - 1000 < len(detail.diff) <= MAX_DIFF
    assert detail.diff.endswith("\n")


def test_bytes_that_are_no_text_are_shown_as_escapes(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "README.md", b"caf\xe9\n")
    detail = world.workspaces.show_snapshot(str(world.repository), saved(world, ref).id, diff=True)
    assert detail.diff is not None
    assert "+caf\\xe9" in detail.diff
    detail.diff.encode()


def test_programs_of_the_configuration_do_not_run_when_one_is_shown(world: GitWorld) -> None:
    ran = world.base / "ran"
    world.user("config", "diff.external", f"touch '{ran}'")
    world.user("config", "diff.odd.textconv", f"touch '{ran}'; cat")
    world.user("config", "diff.odd.command", f"touch '{ran}'")
    world.write(world.repository / ".git/info/attributes", "* diff=odd\n", world.owner)
    ref = world.made()
    world.agent_writes(ref, "README.md", "changed\n")
    assert world.workspaces.show_snapshot(str(world.repository), saved(world, ref).id, diff=True).diff
    assert not ran.exists()


@pytest.mark.parametrize("name", ["", "nope", "../../heads/main", "20260101T000000.000000Z-000000000000"])
def test_an_unknown_one(world: GitWorld, name: str) -> None:
    with pytest.raises(NotFound) as caught:
        world.workspaces.show_snapshot(str(world.repository), name)
    assert caught.value.reason == "SnapshotNotFound"
    assert "cco snapshots list" in caught.value.message


def test_the_same_id_of_two_instances_needs_the_name(world: GitWorld) -> None:
    ref = world.made()
    world.agent_writes(ref, "new.txt", "x")
    work = saved(world, ref)
    world.user("update-ref", f"refs/cco/snapshots/api/{work.id}", work.commit)
    with pytest.raises(Terminal, match="api, web") as caught:
        world.workspaces.show_snapshot(str(world.repository), work.id)
    assert caught.value.reason == "SnapshotAmbiguous"
    assert world.workspaces.show_snapshot(str(world.repository), work.id, instance="web").work == work


def test_a_repository_that_was_moved_away(world: GitWorld) -> None:
    world.repository.rename(world.base / "moved")
    with pytest.raises(Terminal) as caught:
        world.workspaces.snapshots(str(world.repository))
    assert caught.value.reason == "RepositoryNotFound"
