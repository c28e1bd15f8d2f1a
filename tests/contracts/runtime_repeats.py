"""Every verb may be repeated, by the same controller or by a restarted one; another uid is never meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from controller.errors import Conflict, Retryable
from controller.runtime.protocol import Limits, Runtime, WorkloadSpec, WorkloadState

from .runtime_world import World, eventually, launch, look, twin, watching

_Verb = Callable[[Runtime, WorkloadSpec], object]

# In the order of a life; each is called twice, the second time by a restarted controller.
LIFE: Sequence[tuple[str, _Verb]] = (
    ("prepare", lambda runtime, _: runtime.prepare()),
    ("create", lambda runtime, spec: runtime.create(spec)),
    ("start", lambda runtime, spec: runtime.start(spec.uid, 1)),
    ("update", lambda runtime, spec: runtime.update(spec.uid, Limits(0.5, spec.limits.memory, 77))),
    ("stop", lambda runtime, spec: runtime.stop(spec.uid, grace=5)),
    ("start again", lambda runtime, spec: runtime.start(spec.uid, 1)),
    ("stop again", lambda runtime, spec: runtime.stop(spec.uid, grace=0)),
    ("remove", lambda runtime, spec: runtime.remove(spec.uid)),
    ("remove_home", lambda runtime, spec: runtime.remove_home(spec.uid, spec.name)),
)


class RepeatContract:
    def test_every_verb_may_be_repeated_by_a_restarted_controller(self, world: World) -> None:
        spec = world.spec()
        for name, verb in LIFE:
            verb(world.runtime, spec)
            first = world.runtime.inspect(spec.uid)
            again = world.restarted()
            verb(again, spec)
            assert again.inspect(spec.uid) == first, f"{name}, repeated, changed something"
        assert world.runtime.list() == ()
        assert not world.has_home(spec)

    def test_verbs_of_the_end_may_come_first(self, world: World) -> None:
        spec = world.spec()
        for name, verb in LIFE[::-1]:
            if name not in {"start", "start again"}:
                verb(world.runtime, spec)
        assert look(world, spec).state is WorkloadState.CREATED

    def test_another_uid_is_never_meant(self, world: World) -> None:
        spec = world.spec()
        before = launch(world, spec)
        impostor = twin(spec)
        runtime = world.runtime
        runtime.stop(impostor.uid, grace=0)
        runtime.update(impostor.uid, Limits(0.25, spec.limits.memory * 2, 33))
        runtime.remove(impostor.uid)
        assert runtime.logs(impostor.uid, tail=5) == b""
        refused: Sequence[tuple[Callable[[], object], type[Exception]]] = (
            (lambda: runtime.start(impostor.uid, 1), Retryable),
            (lambda: runtime.exec(impostor.uid, world.argv_exiting(0), timeout=5), Retryable),
            (lambda: runtime.attach_argv(impostor.uid, ["true"]), Retryable),
            (lambda: runtime.remove_home(impostor.uid, impostor.name), Conflict),
            (lambda: runtime.create(impostor), Conflict),
        )
        for verb, error in refused:
            with pytest.raises(error):
                verb()
        assert look(world, spec) == before
        assert world.has_home(spec)

    def test_what_happened_unseen_is_found_after_a_resync(self, world: World) -> None:
        ended, removed = world.spec("ended"), world.spec("removed")
        for spec in (ended, removed):
            launch(world, spec)
        with watching(world.runtime) as watcher:
            world.go_away()
            watcher.drain()
            world.kill_unseen(ended.uid)
            world.come_back()
            watcher.expect_resync()
        world.remove_by_hand(removed.uid)
        eventually(lambda: look(world, ended).state is WorkloadState.EXITED)
        assert {each.uid for each in world.restarted().list()} == {ended.uid}
