"""Only what is ours is touched, errors leave nothing behind, and not knowing is not absence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from controller.errors import Conflict, Retryable, Terminal, Unavailable
from controller.runtime.protocol import Limits, Mount, Runtime, WorkloadSpec, WorkloadState

from .runtime_world import World, launch, look, twin

GIB = 1024**3


class OwnershipContract:
    def test_a_restarted_controller_finds_everything_as_it_was(self, world: World) -> None:
        before = launch(world, world.spec())
        runtime = world.restarted()
        assert runtime.list() == (before,)
        assert runtime.inspect(before.uid) == (before,)

    def test_another_installation_is_neither_seen_nor_touched(self, world: World) -> None:
        spec = world.spec()
        world.stranger.create(spec)
        world.stranger.start(spec.uid, 1)
        before = world.stranger.inspect(spec.uid)
        assert world.runtime.inspect(spec.uid) == ()
        assert world.runtime.list() == ()
        world.runtime.stop(spec.uid, grace=1)
        world.runtime.update(spec.uid, Limits(cpus=0.25, memory=GIB, pids=44))
        world.runtime.remove(spec.uid)
        assert world.runtime.logs(spec.uid, tail=10) == b""
        with pytest.raises(Retryable):
            world.runtime.start(spec.uid, 1)
        with pytest.raises(Retryable):
            world.runtime.exec(spec.uid, world.argv_exiting(0), timeout=5)
        assert world.stranger.inspect(spec.uid) == before

    def test_an_earlier_instance_of_the_same_name_is_left_alone(self, world: World) -> None:
        spec = world.spec()
        before = launch(world, spec)
        impostor = twin(spec)
        with pytest.raises(Conflict):
            world.runtime.create(impostor)
        with pytest.raises(Conflict):
            world.runtime.remove_home(impostor.uid, impostor.name)
        world.runtime.stop(impostor.uid, grace=1)
        world.runtime.remove(impostor.uid)
        assert world.runtime.inspect(impostor.uid) == ()
        assert look(world, spec) == before
        assert world.has_home(spec)

    def test_a_foreign_thing_with_our_name_is_a_conflict(self, world: World) -> None:
        spec = world.spec()
        state = world.occupy(spec)
        before = state()
        with pytest.raises(Conflict) as caught:
            world.runtime.create(spec)
        assert caught.value.reason == "NameConflict"
        assert f"{spec.name}-1" in caught.value.message
        world.runtime.remove(spec.uid)
        assert state() == before
        assert world.runtime.list() == ()
        assert not world.has_home(spec)

    def test_a_foreign_home_is_never_mounted(self, world: World) -> None:
        spec = world.spec()
        state = world.occupy_home(spec)
        before = state()
        with pytest.raises(Conflict) as caught:
            world.runtime.create(spec)
        assert caught.value.reason == "NameConflict"
        assert world.runtime.list() == ()
        assert state() == before

    def test_a_missing_image_is_named_and_nothing_stays(self, world: World) -> None:
        spec = dataclasses.replace(world.spec(), image="cco-test/nosuch:1")
        with pytest.raises(Terminal) as caught:
            world.runtime.create(spec)
        assert caught.value.reason == "ImageNotFound"
        assert "'cco-test/nosuch:1'" in caught.value.message
        assert world.runtime.list() == ()
        assert not world.has_home(spec)

    def test_image_id(self, world: World) -> None:
        image = world.runtime.image_id(world.spec().image)
        assert image is not None
        assert image.startswith("sha256:")
        assert world.runtime.image_id("cco-test/nosuch:1") is None

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            (lambda limits: dataclasses.replace(limits, cpus=1000.0), "cpus"),
            (lambda limits: dataclasses.replace(limits, memory=1024**2), "memory"),
        ],
    )
    def test_impossible_limits_name_the_field(
        self, world: World, change: Callable[[Limits], Limits], field: str
    ) -> None:
        spec = world.spec()
        wrong = change(spec.limits)
        with pytest.raises(Terminal) as caught:
            world.runtime.create(dataclasses.replace(spec, limits=wrong))
        assert caught.value.reason == "InvalidLimits"
        assert field in caught.value.message
        assert world.runtime.list() == ()
        assert not world.has_home(spec)
        before = launch(world, spec)
        with pytest.raises(Terminal) as caught:
            world.runtime.update(spec.uid, wrong)
        assert caught.value.reason == "InvalidLimits"
        assert look(world, spec) == before

    def test_a_missing_mount_source_is_refused_not_invented(self, world: World) -> None:
        source = world.make_source()
        spec = _mounting(world.spec(), source)
        world.remove_source(source)
        with pytest.raises(Retryable) as caught:
            world.runtime.create(spec)
        assert caught.value.reason == "MountSourceMissing"
        assert source in caught.value.message
        assert world.runtime.list() == ()
        assert not world.has_home(spec)

    def test_a_mount_source_that_went_away_is_refused_at_start(self, world: World) -> None:
        source = world.make_source()
        spec = _mounting(world.spec(), source)
        world.runtime.create(spec)
        world.remove_source(source)
        with pytest.raises(Retryable) as caught:
            world.runtime.start(spec.uid, 1)
        assert caught.value.reason == "MountSourceMissing"
        assert look(world, spec).state is WorkloadState.CREATED

    def test_not_knowing_is_not_absence(self, world: World) -> None:
        spec = world.spec()
        before = launch(world, spec)
        runtime = world.runtime
        world.go_away()
        for verb in _every_verb(runtime, spec):
            with pytest.raises(Unavailable):
                verb()
        world.come_back()
        assert look(world, spec) == before


def _mounting(spec: WorkloadSpec, source: str) -> WorkloadSpec:
    return dataclasses.replace(spec, mounts=(Mount(source, "/mnt", read_only=True),))


def _every_verb(runtime: Runtime, spec: WorkloadSpec) -> list[Callable[[], object]]:
    uid = spec.uid
    return [
        runtime.prepare,
        runtime.list,
        lambda: runtime.inspect(uid),
        lambda: runtime.create(spec),
        lambda: runtime.start(uid, 1),
        lambda: runtime.stop(uid, grace=1),
        lambda: runtime.remove(uid),
        lambda: runtime.remove_home(uid, spec.name),
        lambda: runtime.update(uid, spec.limits),
        lambda: runtime.image_id(spec.image),
        lambda: runtime.exec(uid, ["true"], timeout=5),
        lambda: runtime.attach(uid, ["true"], columns=80, rows=24).__enter__(),
        lambda: runtime.attach_argv(uid, ["true"]),
        lambda: runtime.logs(uid, tail=1),
    ]
