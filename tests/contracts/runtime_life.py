"""The life of one workload, and that every verb may be repeated."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest

from controller.errors import Retryable
from controller.runtime.protocol import Limits, WorkloadState

from .runtime_world import KILLED, World, eventually, launch, look


class LifeContract:
    def test_absent_is_nothing_and_no_error(self, world: World) -> None:
        spec = world.spec()
        assert world.runtime.inspect(spec.uid) == ()
        assert world.runtime.list() == ()
        world.runtime.stop(spec.uid, grace=1)
        world.runtime.update(spec.uid, spec.limits)
        world.runtime.remove(spec.uid)
        world.runtime.remove_home(spec.uid, spec.name)

    def test_created_shows_what_was_asked_for(self, world: World) -> None:
        spec = world.spec()
        world.runtime.create(spec)
        seen = look(world, spec)
        assert (seen.instance, seen.uid, seen.attempt, seen.spec_hash) == (spec.name, spec.uid, 1, spec.spec_hash)
        assert seen.limits == spec.limits
        assert seen.image_id == world.runtime.image_id(spec.image)
        assert seen.state is WorkloadState.CREATED
        assert (seen.exit_code, seen.started_at, seen.finished_at, seen.oom_killed) == (None, None, None, False)
        assert world.has_home(spec)

    def test_creating_again_changes_nothing(self, world: World) -> None:
        spec = world.spec()
        before = launch(world, spec)
        world.runtime.create(spec)
        assert look(world, spec) == before

    def test_create_from_many_threads_makes_one(self, world: World) -> None:
        spec = world.spec()
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(world.runtime.create, [spec] * 6))
        assert look(world, spec).attempt == 1

    def test_many_workloads_at_once(self, world: World) -> None:
        specs = [world.spec(f"many-{number}") for number in range(6)]
        with ThreadPoolExecutor(6) as pool:
            seen = list(pool.map(lambda spec: launch(world, spec), specs))
        assert {each.state for each in seen} == {WorkloadState.RUNNING}
        assert {each.id for each in world.runtime.list()} == {each.id for each in seen}

    def test_no_attempt_is_made_while_another_one_runs(self, world: World) -> None:
        first = world.spec()
        before = launch(world, first)
        with pytest.raises(Retryable) as caught:
            world.runtime.create(dataclasses.replace(first, attempt=2))
        assert caught.value.reason == "PredecessorAlive"
        assert before.name in caught.value.message
        assert look(world, first) == before
        world.runtime.stop(first.uid, grace=1)
        world.runtime.create(dataclasses.replace(first, attempt=2))
        assert [each.attempt for each in world.runtime.inspect(first.uid)] == [2, 1]

    def test_a_new_attempt_stands_before_its_predecessor(self, world: World) -> None:
        first = world.spec()
        second = dataclasses.replace(first, attempt=2, spec_hash="changed")
        world.runtime.create(first)
        world.runtime.create(second)
        assert [each.attempt for each in world.runtime.inspect(first.uid)] == [2, 1]
        world.runtime.start(first.uid, 2)
        assert [each.state for each in world.runtime.inspect(first.uid)] == [
            WorkloadState.RUNNING,
            WorkloadState.CREATED,
        ]

    def test_starting_a_running_one_leaves_it_running(self, world: World) -> None:
        spec = world.spec()
        before = launch(world, spec)
        assert before.state is WorkloadState.RUNNING
        assert before.started_at is not None
        world.runtime.start(spec.uid, 1)
        assert look(world, spec) == before

    def test_starting_an_absent_one_is_retryable(self, world: World) -> None:
        spec = world.spec()
        world.runtime.create(spec)
        with pytest.raises(Retryable) as caught:
            world.runtime.start(spec.uid, 2)
        assert caught.value.reason == "WorkloadNotFound"

    def test_start_resumes_a_paused_one(self, world: World) -> None:
        spec = world.spec()
        before = launch(world, spec)
        world.pause_by_hand(spec.uid)
        assert look(world, spec).state is WorkloadState.PAUSED
        world.runtime.start(spec.uid, 1)
        assert look(world, spec) == before

    def test_stopping_twice(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        world.runtime.stop(spec.uid, grace=5)
        first = look(world, spec)
        assert first.state is WorkloadState.EXITED
        assert first.exit_code is not None
        assert not first.oom_killed
        assert first.started_at is not None
        assert first.finished_at is not None
        assert first.finished_at >= first.started_at
        world.runtime.stop(spec.uid, grace=5)
        assert look(world, spec) == first

    def test_stop_kills_after_the_grace(self, world: World) -> None:
        spec = world.spec(stubborn=True)
        launch(world, spec)
        world.runtime.stop(spec.uid, grace=1)
        seen = look(world, spec)
        assert (seen.state, seen.exit_code) == (WorkloadState.EXITED, KILLED)

    def test_stopping_a_paused_one_and_one_never_started(self, world: World) -> None:
        paused, created = world.spec("paused"), world.spec("created")
        launch(world, paused)
        world.pause_by_hand(paused.uid)
        world.runtime.create(created)
        world.runtime.stop(paused.uid, grace=1)
        world.runtime.stop(created.uid, grace=1)
        assert look(world, paused).state is WorkloadState.EXITED
        assert look(world, created).state is WorkloadState.CREATED

    def test_starting_again_after_a_stop(self, world: World) -> None:
        spec = world.spec()
        first = launch(world, spec)
        world.runtime.stop(spec.uid, grace=5)
        world.runtime.start(spec.uid, 1)
        seen = look(world, spec)
        assert (seen.id, seen.state) == (first.id, WorkloadState.RUNNING)
        assert (seen.exit_code, seen.finished_at) == (None, None)
        assert first.started_at is not None
        assert seen.started_at is not None
        assert seen.started_at > first.started_at

    def test_an_end_by_itself_tells_its_exit_code(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        world.crash(spec.uid, 3)
        eventually(lambda: look(world, spec).state is WorkloadState.EXITED)
        seen = look(world, spec)
        assert (seen.exit_code, seen.oom_killed) == (3, False)
        assert seen.finished_at is not None

    def test_a_kill_is_not_taken_for_want_of_memory(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        world.kill(spec.uid)
        eventually(lambda: look(world, spec).state is WorkloadState.EXITED)
        seen = look(world, spec)
        assert (seen.exit_code, seen.oom_killed) == (KILLED, False)

    def test_want_of_memory_is_said(self, world: World) -> None:
        """Where nobody can enforce the limit, that is said, and then the same program ends well."""
        spec = world.spec()
        enforced = "not enforced: spec.resources memory" not in (launch(world, spec).notice or "")
        world.exhaust_memory(spec.uid)
        eventually(lambda: look(world, spec).state is WorkloadState.EXITED)
        seen = look(world, spec)
        assert (seen.exit_code, seen.oom_killed) == ((KILLED, True) if enforced else (0, False))

    def test_removing_whatever_its_state(self, world: World) -> None:
        specs = {name: world.spec(name) for name in ("running", "paused", "exited", "created")}
        for spec in specs.values():
            world.runtime.create(spec)
        for name in ("running", "paused", "exited"):
            world.runtime.start(specs[name].uid, 1)
        world.pause_by_hand(specs["paused"].uid)
        world.kill(specs["exited"].uid)
        for spec in specs.values():
            world.runtime.remove(spec.uid)
            assert world.runtime.inspect(spec.uid) == ()
            world.runtime.remove(spec.uid)
        assert world.runtime.list() == ()

    def test_remove_from_many_threads(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(world.runtime.remove, [spec.uid] * 4))
        assert world.runtime.inspect(spec.uid) == ()

    def test_home_outlives_workloads_until_it_is_removed(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        with pytest.raises(Retryable) as caught:
            world.runtime.remove_home(spec.uid, spec.name)
        assert caught.value.reason == "HomeInUse"
        world.runtime.remove(spec.uid)
        assert world.has_home(spec)
        world.runtime.create(dataclasses.replace(spec, attempt=2))
        world.runtime.remove(spec.uid)
        world.runtime.remove_home(spec.uid, spec.name)
        assert not world.has_home(spec)
        world.runtime.remove_home(spec.uid, spec.name)

    def test_removed_by_hand_is_absent(self, world: World) -> None:
        spec = world.spec()
        launch(world, spec)
        world.remove_by_hand(spec.uid)
        assert world.runtime.inspect(spec.uid) == ()
        world.runtime.stop(spec.uid, grace=1)
        world.runtime.remove(spec.uid)

    @pytest.mark.parametrize("running", [True, False])
    def test_update_changes_limits_at_once(self, world: World, running: bool) -> None:  # noqa: FBT001  # a case
        spec = world.spec()
        world.runtime.create(spec)
        if running:
            world.runtime.start(spec.uid, 1)
        before = look(world, spec)
        limits = Limits(cpus=0.5, memory=spec.limits.memory * 2, pids=99)
        for _ in range(2):
            world.runtime.update(spec.uid, limits)
            assert look(world, spec) == dataclasses.replace(before, limits=limits)

    def test_the_network_comes_back_by_itself(self, world: World) -> None:
        world.runtime.prepare()
        world.runtime.prepare()
        old, new = world.spec("old"), world.spec("new")
        launch(world, old)
        world.runtime.stop(old.uid, grace=1)
        world.remove_network_by_hand()
        launch(world, new)
        world.runtime.start(old.uid, 1)
        assert look(world, old).state is WorkloadState.RUNNING
        assert look(world, new).state is WorkloadState.RUNNING
