"""Where a snapshot may be brought back to, as the controller's socket answers it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.errors import Terminal
from controller.reconcile.observed import work_out
from controller.runtime.choice import only
from controller.streams.routes import StreamRequest
from controller.streams.snapshots import SnapshotStreams
from support.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "state")
    yield made
    made.close()


def streams(world: World, root: Path) -> SnapshotStreams:
    return SnapshotStreams(
        repositories=world.store.repositories,
        instances=world.store.instances,
        workspaces=world.workspaces(),
        runtimes=only(world.runtime()),
        events=world.store.events,
        place=lambda instance, of: work_out(instance, of, world.settings, attempt=instance.status.attempt).ref,
        root=root,
    )


def restore(made: SnapshotStreams, path: Path) -> object:
    (snapshot,) = made.workspaces.snapshots(made.repositories.get("shop").spec.path)
    return made.restore(StreamRequest({"repository": "shop", "id": snapshot.id}, body={"path": str(path)}))


def test_a_root_that_is_reached_through_a_link_is_no_other_place(world: World, tmp_path: Path) -> None:
    (tmp_path / "var" / "home").mkdir(parents=True)
    (tmp_path / "home").symlink_to("var/home")
    web = world.ready()
    world.git.worktrees[web.status.workspace.path if web.status.workspace else ""].dirty = "dirt"
    world.store.instances.request_deletion("web")
    world.settle(until=world.gone)
    made = streams(world, tmp_path / "home")
    restore(made, tmp_path / "home" / "rescued")
    assert world.git.folders == {str(tmp_path / "home" / "rescued"): "dirt"}
    with pytest.raises(Terminal, match="outside"):
        restore(made, tmp_path / "var" / "rescued")
    (tmp_path / "home" / "out").symlink_to(tmp_path)
    with pytest.raises(Terminal, match="outside"):
        restore(made, tmp_path / "home" / "out" / "rescued")
