"""What an installation has on the machine, wanted or not: told in full, and taken away one by one with care."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from controller.errors import CcoError, Conflict, Retryable, Unavailable
from controller.runtime.protocol import (
    LABEL_INSTALLATION,
    LABEL_INSTANCE,
    LABEL_UID,
    Belonging,
    BelongingKind,
    WorkloadState,
)

from .runtime_world import World, launch, look

_LITTLE = timedelta(minutes=5)


class BelongingsContract:
    def test_what_an_instance_leaves_is_told(self, world: World) -> None:
        assert [each for each in world.runtime.belongings() if each.uid] == []
        spec = world.spec()
        world.runtime.create(spec)
        found = of_instance(world, spec.uid)
        assert set(found) == {BelongingKind.WORKLOAD, BelongingKind.HOME}
        for each in found.values():
            assert (each.instance, each.uid) == (spec.name, spec.uid)
            assert each.labels[LABEL_INSTANCE] == spec.name
            assert each.labels[LABEL_UID] == spec.uid
            assert each.labels[LABEL_INSTALLATION] == each.installation
            assert each.created_at is not None
            assert abs(datetime.now(UTC) - each.created_at) < _LITTLE
        workload = found[BelongingKind.WORKLOAD]
        seen = look(world, spec)
        assert (workload.id, workload.name, workload.running) == (seen.id, seen.name, False)
        world.runtime.start(spec.uid, 1)
        assert of_instance(world, spec.uid)[BelongingKind.WORKLOAD].running

    def test_what_is_shared_belongs_to_nobody(self, world: World) -> None:
        world.runtime.prepare()
        for each in world.runtime.belongings():
            assert (each.kind, each.instance, each.uid) == (BelongingKind.NETWORK, "", "")

    def test_another_installation_has_its_own(self, world: World) -> None:
        spec = world.spec()
        world.stranger.create(spec)
        assert of_instance(world, spec.uid) == {}
        for each in [each for each in world.stranger.belongings() if each.uid == spec.uid]:
            with pytest.raises(Conflict) as caught:
                world.runtime.discard(each)
            assert caught.value.reason == "NameConflict"
        assert len([each for each in world.stranger.belongings() if each.uid == spec.uid]) == 2

    def test_a_running_one_is_refused(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        with pytest.raises(Conflict) as caught:
            world.runtime.discard(of_instance(world, spec.uid)[BelongingKind.WORKLOAD])
        assert caught.value.reason == "StillRunning"
        assert look(world, spec).state is WorkloadState.RUNNING

    def test_a_home_in_use_is_refused(self, world: World) -> None:
        spec = world.spec()
        world.runtime.create(spec)
        with pytest.raises(Retryable) as caught:
            world.runtime.discard(of_instance(world, spec.uid)[BelongingKind.HOME])
        assert caught.value.reason == "StillInUse"
        assert world.has_home(spec)

    def test_exactly_this_one_goes(self, world: World) -> None:
        spec, other = world.spec(), world.spec("other")
        before = launch(world, other)
        world.runtime.create(spec)
        found = of_instance(world, spec.uid)
        for kind in (BelongingKind.WORKLOAD, BelongingKind.HOME):
            for _ in range(2):
                world.runtime.discard(found[kind])
            assert kind not in of_instance(world, spec.uid)
        assert not world.has_home(spec)
        assert look(world, other) == before
        assert world.has_home(other)

    def test_a_stopped_one_goes(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        world.runtime.stop(spec.uid, grace=1)
        world.runtime.discard(of_instance(world, spec.uid)[BelongingKind.WORKLOAD])
        assert world.runtime.inspect(spec.uid) == ()
        assert world.has_home(spec)

    def test_its_successor_of_the_same_name_stays(self, world: World) -> None:
        spec = world.spec()
        world.runtime.create(spec)
        earlier = of_instance(world, spec.uid)[BelongingKind.WORKLOAD]
        world.runtime.remove(spec.uid)
        world.runtime.create(spec)
        world.runtime.discard(earlier)
        assert look(world, spec).name == earlier.name

    def test_another_uid_is_not_meant(self, world: World) -> None:
        spec = world.spec()
        world.runtime.create(spec)
        for each in of_instance(world, spec.uid).values():
            with pytest.raises(Conflict) as caught:
                world.runtime.discard(dataclasses.replace(each, uid=str(uuid.uuid4())))
            assert caught.value.reason == "NameConflict"
        assert set(of_instance(world, spec.uid)) == {BelongingKind.WORKLOAD, BelongingKind.HOME}

    def test_not_knowing_is_no_empty_list(self, world: World) -> None:
        spec = world.spec()
        world.runtime.create(spec)
        before = of_instance(world, spec.uid)
        world.go_away()
        with pytest.raises(Unavailable):
            world.runtime.belongings()
        for each in before.values():
            with pytest.raises(CcoError):
                world.runtime.discard(each)
        world.come_back()
        assert of_instance(world, spec.uid) == before


def of_instance(world: World, uid: str) -> dict[BelongingKind, Belonging]:
    """Return what one instance has, by kind; each kind once."""
    found = [each for each in world.runtime.belongings() if each.uid == uid]
    by_kind = {each.kind: each for each in found}
    assert len(by_kind) == len(found)
    return by_kind
