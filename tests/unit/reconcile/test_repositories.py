"""What is said about a repository, and who is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.errors import NotFound, Retryable, Unavailable
from controller.manifests import FOLDER_NAME
from controller.reconcile.loop import Request
from controller.resources import Condition, Repository, find_condition
from support.world import REPOSITORY_PATH, World

SHOP = Request("shop")


def shop(world: World) -> Repository:
    return world.store.repositories.get("shop")


def ready(world: World) -> Condition:
    found = find_condition(shop(world).status.conditions, "Ready")
    assert found is not None
    return found


def change(world: World, **spec: Any) -> None:  # noqa: ANN401  # any field of a spec
    world.store.repositories.update_spec("shop", shop(world).spec.model_copy(update=spec))


def look(world: World, root: Path | None = None) -> None:
    assert world.repository_reconciler(root).reconcile(SHOP).requeue_after is None


def test_a_good_repository_is_ready_and_described(world: World) -> None:
    world.register()
    status = shop(world).status
    assert (ready(world).status.value, ready(world).reason) == ("True", "Ready")
    assert (status.git_dir, status.default_branch, status.head) == (f"{REPOSITORY_PATH}/.git", "main", "c0")
    assert (status.owner_uid, status.owner_gid, status.observed_generation) == (1000, 1000, 1)


def test_a_look_that_shows_nothing_new_writes_nothing_and_wakes_nobody(world: World) -> None:
    world.register()
    world.declare()
    revision = world.store.revision()
    look(world)
    assert world.store.revision() == revision
    assert world.woken == []


def test_what_cannot_be_written_down_keeps_nobody_waiting_for_the_look(world: World) -> None:
    (world.settings.state_dir / FOLDER_NAME).write_text("in the way")
    world.register()
    assert (ready(world).status.value, ready(world).reason) == ("True", "Ready")


def test_a_change_wakes_the_repository_s_instances_and_no_others(world: World) -> None:
    world.register()
    world.git.add_repository("/repositories/other")
    world.register("other", "/repositories/other")
    world.declare("web")
    world.declare("api")
    world.declare("elsewhere", repository="other")
    del world.git.repositories[REPOSITORY_PATH]
    look(world)
    assert sorted(world.woken) == ["api", "web"]


def test_what_is_gone_is_said_and_what_was_known_stays(world: World) -> None:
    world.register()
    del world.git.repositories[REPOSITORY_PATH]
    look(world)
    assert (ready(world).status.value, ready(world).reason) == ("False", "RepositoryNotFound")
    assert shop(world).status.default_branch == "main"


@pytest.mark.parametrize("error", [Unavailable("GitUnavailable", "no answer"), Retryable("Busy", "in use")])
def test_a_failed_look_is_unknown_and_no_absence(world: World, error: Retryable) -> None:
    world.register()
    world.git.fail_next("inspect_repository", error)
    with pytest.raises(type(error), match=error.message):  # the loop tries again, with its backoff
        look(world)
    assert (ready(world).status.value, ready(world).reason) == ("Unknown", error.reason)
    look(world)
    assert ready(world).status.value == "True"


def test_an_empty_repository_says_what_to_do(world: World) -> None:
    world.git.add_repository(REPOSITORY_PATH, head=None)
    world.register()
    assert ready(world).reason == "EmptyRepository"
    assert "git commit" in ready(world).message


def test_a_base_branch_must_be_there(world: World) -> None:
    world.register()
    change(world, base_branch="develop")
    look(world)
    assert ready(world).reason == "BaseBranchNotFound"
    assert "'develop'" in ready(world).message
    assert "main" in ready(world).message
    change(world, base_branch="main")
    look(world)
    assert ready(world).status.value == "True"
    assert shop(world).status.observed_generation == 3


def test_a_repository_without_any_branch_says_so(world: World) -> None:
    world.git.add_repository(REPOSITORY_PATH, branch=None)
    world.register()
    assert ready(world).status.value == "True", "a detached HEAD is something to branch off from"
    change(world, base_branch="main")
    look(world)
    assert "it has: none" in ready(world).message


@pytest.mark.parametrize(
    ("root", "inside"),
    [("/repositories", True), ("/", True), (REPOSITORY_PATH, True), ("/repositories/sho", False), ("/home", False)],
)
def test_a_repository_must_be_in_the_part_of_the_machine_that_is_seen(world: World, root: str, inside: bool) -> None:  # noqa: FBT001  # a column
    world.register()
    look(world, Path(root))
    assert (ready(world).reason == "Ready") is inside
    assert inside or "CCO_ROOT" in ready(world).message


def test_a_repository_that_is_to_go_waits_for_its_instances(world: World) -> None:
    world.ready()
    world.store.repositories.request_deletion("shop")
    look(world)
    assert ready(world).status.value == "True"
    world.store.instances.request_deletion("web")
    world.settle()
    look(world)
    with pytest.raises(NotFound):
        shop(world)


def test_a_repository_that_is_gone_is_no_work(world: World) -> None:
    look(world)
    assert world.woken == []


def test_a_link_does_not_lead_out_of_the_root(world: World, tmp_path: Path) -> None:
    inside, outside = tmp_path / "root", tmp_path / "elsewhere"
    for folder in (inside / "real", outside):
        folder.mkdir(parents=True)
    (inside / "near").symlink_to(inside / "real")
    (inside / "far").symlink_to(outside)
    (tmp_path / "also-root").symlink_to(inside)
    world.register(path=str(inside / "far"))
    for place, root, reason in (
        (inside / "far", inside, "OutsideRoot"),
        (inside / "near", inside, "Ready"),
        (tmp_path / "also-root" / "real", tmp_path / "also-root", "Ready"),
        (tmp_path / "rootless", inside, "OutsideRoot"),
    ):
        world.git.add_repository(str(place))
        change(world, path=str(place))
        look(world, root)
        assert ready(world).reason == reason, place
