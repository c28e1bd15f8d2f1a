"""What people do with containers behind the controller's back, and with names.

Scenarios 9, 10, 14 and 18 of docs/faults.md.
"""

from __future__ import annotations

import time

import pytest

from api.client import ApiError
from controller.resources import InstanceManifest, ManifestMetadata
from faults.facts import run
from faults.world.installation import EVERYTHING, World
from faults.world.person import as_person, git

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]


def test_a_container_that_was_removed_is_made_again_on_the_same_worktree(world: World) -> None:
    began = time.monotonic()
    world.spawn("removed")
    world.until_ready("removed")
    cold = time.monotonic() - began
    commit = world.commit("removed", "Add work")
    world.remember()
    worktree = world.worktree("removed")
    began = time.monotonic()
    run(["docker", "rm", "-f", world.container("removed")])
    world.until(lambda: world.get("removed").status.attempt == 2, "the next attempt runs")
    world.until_ready("removed")
    assert time.monotonic() - began < 1.5 * cold + 5, "as quick as a first start"
    assert world.worktree("removed") == worktree
    assert world.head("removed") == commit
    assert world.in_box("removed", "cat draft.txt; git rev-parse HEAD").split() == ["half", commit]
    world.verify()


@pytest.mark.parametrize("verb", ["stop", "pause", "kill"] if EVERYTHING else ["stop", "pause"])
def test_a_container_that_was_stopped_runs_again(world: World, verb: str) -> None:
    name = f"hand-{verb}"
    world.spawn(name)
    world.until_ready(name)
    world.commit(name, "Add work")
    world.remember()
    container, _, _ = world.life(name)
    run(["docker", verb, *(["--time", "2"] if verb == "stop" else []), world.container(name)])
    wanted = ["unpause"] if verb == "pause" else ["die", "start"]
    world.until(lambda: [each for each, _ in world.place.happened(*wanted)][-len(wanted) :] == wanted, "it runs again")
    world.until_ready(name)
    assert world.life(name)[0] == container
    assert world.in_box(name, "cat draft.txt") == "half"
    world.verify(rest=verb == "stop")


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
def test_a_deletion_keeps_what_was_not_merged_and_what_was_not_committed(world: World, policy: str) -> None:
    name = f"dirty-{policy.lower()}"
    world.spawn(name, worktree_policy=policy)
    world.until_ready(name)
    commit = world.commit(name, "Add work")
    world.in_box(name, "echo changed >README.md; echo staged >staged.txt; git add staged.txt; git checkout -qb side")
    side = world.in_box(name, "git commit -qm Side; echo late >later.txt; git rev-parse HEAD")
    world.remember()
    assert {draft.path for draft in world.baseline.drafts} == {"README.md", "draft.txt", "later.txt"}
    worktree = world.worktree(name)
    world.delete(name)
    world.until_gone(name)
    assert world.head(name) == commit
    assert side in git(world.repository, "rev-list", "--all").split()
    assert worktree.exists() == (policy == "Retain")
    world.baseline.acknowledged = [each for each in world.baseline.acknowledged if each.kind == "Repository"]
    world.verify()
    if policy == "Retain":
        assert (worktree / "draft.txt").read_text() == "half\n"
        git(world.repository, "worktree", "remove", "--force", "--force", str(worktree))


def refusal(world: World, name: str, **spec: object) -> ApiError:
    """Return why an instance of this name cannot be declared."""
    good = world.manifest("good", **spec)
    metadata = ManifestMetadata.model_construct(None, name=name, labels={})
    with world.place.client() as client, pytest.raises(ApiError) as caught:
        client.create_instance(InstanceManifest.model_construct(kind="Instance", metadata=metadata, spec=good.spec))
    return caught.value


def test_names_that_cannot_be_are_refused_at_the_door(world: World) -> None:
    for name in ("../up", "-leading", "a" * 64, "ünïcode", "UPPER", "a b", "", ".", "a/b", "a\nb"):
        refused = refusal(world, name)
        assert (refused.status, refused.reason) == (422, "Invalid"), name
    world.spawn("taken", branch="feature/one")
    again = refusal(world, "taken")
    assert (again.status, again.reason) == (409, "AlreadyExists")
    branch = refusal(world, "other", branch="feature/one")
    assert (branch.status, "feature/one" in branch.detail) == (409, True)
    world.until_ready("taken")
    world.verify()


def test_a_strangers_things_under_our_names_are_left_alone(world: World) -> None:
    """Container, HOME and folder belong to whom their labels say, whatever they are called."""
    container = f"{world.system.prefix}-twin-1"
    run(
        [
            "docker",
            "create",
            "--label",
            "cco-test=1",
            "--name",
            container,
            world.system.environment["CCO_INSTANCE_IMAGE"],
        ]
    )
    path = world.repository.with_name(f"{world.repository.name}.worktrees") / "place"
    as_person("mkdir", "-p", str(path))
    as_person("touch", str(path / "mine.txt"))
    world.place.strangers = (*world.place.strangers, container)
    world.remember()
    world.spawn("twin", "place")
    world.until_reason("place", "PathOccupied")
    told = world.until_reason("twin", "NameTaken", "NotOurs", "WorkloadNameTaken", "Conflict", "NameConflict")
    assert container in told.message
    world.verify(rest=False)  # every resync asks the engine again, which refuses
    assert (path / "mine.txt").exists()
    run(["docker", "rm", container])
    (stranger,) = [thing for thing in world.baseline.foreign if thing.endswith(container)]
    del world.baseline.foreign[stranger]  # its owner took it away
    world.place.strangers = world.place.strangers[:-1]
    (path / "mine.txt").unlink()
    path.rmdir()
    world.until_ready("twin", "place")
