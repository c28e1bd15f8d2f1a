from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controller.errors import CcoError
from controller.resources import (
    EventType,
    InputState,
    Instance,
    InstanceManifest,
    InstanceStatus,
    Kind,
    Repository,
    Usage,
)
from controller.store import Change, EventChange, RevisionGone, Store
from controller.store import tombstones as tombstones_module

New = Callable[..., InstanceManifest]
NAMES = st.sampled_from(["a", "b", "c", "d"])


def test_each_object_appears_once_with_its_newest_change(store: Store, new_instance: New) -> None:
    first = store.instances.create(new_instance("a"))
    store.instances.create(new_instance("b"))
    start = store.revision()
    store.instances.create(new_instance("c"))
    store.instances.update_status(first.metadata.uid, InstanceStatus(attempt=1))
    store.instances.request_deletion("b")
    store.instances.purge(store.instances.get("b").metadata.uid)
    assert [(c.type, c.name) for c in store.changes(start)] == [("ADDED", "c"), ("MODIFIED", "a"), ("DELETED", "b")]
    (deleted,) = store.changes(store.revision() - 1)
    assert deleted.object.metadata.deletion_requested_at is not None
    assert deleted.resource_version == deleted.object.metadata.resource_version == store.revision()


def test_wishes_are_what_users_want_anew_and_not_what_the_controller_writes(store: Store, new_instance: New) -> None:
    first = store.instances.create(new_instance("a"))
    gone = store.instances.create(new_instance("b"))
    start = store.revision()
    store.instances.update_status(first.metadata.uid, InstanceStatus(attempt=1))
    store.events.record(Kind.INSTANCE, "a", first.metadata.uid, EventType.NORMAL, "Created", "m")
    assert store.wishes(Kind.INSTANCE, start) == (store.revision(), ())
    store.instances.create(new_instance("c"))
    sent = store.inputs.create("a", first.metadata.uid, "go on")
    store.instances.request_deletion("b")
    store.instances.purge(gone.metadata.uid)
    assert store.wishes(Kind.INSTANCE, start) == (store.revision(), ("c", "a", "b"))
    assert store.wishes(Kind.REPOSITORY, start) == (store.revision(), ())
    before = store.revision()
    store.inputs.set_state(sent.id, InputState.DELIVERED)
    assert store.wishes(Kind.INSTANCE, before) == (before + 1, ())
    with pytest.raises(RevisionGone):
        store.wishes(Kind.INSTANCE, store.revision() + 1)


def test_a_limit_never_splits_a_revision(store: Store, new_instance: New) -> None:
    uids = [store.instances.create(new_instance(f"i{n}")).metadata.uid for n in range(6)]
    start = store.revision()
    store.instances.record_usage({uid: Usage(at=datetime.now(UTC)) for uid in uids[:4]})
    store.instances.request_deletion("i5")
    assert len(store.changes(start, limit=2)) == 4
    assert [change.name for change in store.changes(start + 1, limit=2)] == ["i5"]
    assert [len(store.changes(start, limit=n)) for n in (1, 4, 5, 6)] == [4, 4, 5, 5]


def test_a_revision_from_another_database_is_gone(store: Store) -> None:
    with pytest.raises(RevisionGone, match="list everything again"):
        store.changes(5)


def test_tombstones_are_bounded(store: Store, new_instance: New, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tombstones_module, "MAX_TOMBSTONES", 10)
    start = store.revision()
    for _ in range(11):
        made = store.instances.create(new_instance())
        store.instances.request_deletion("web")
        store.instances.purge(made.metadata.uid)
    with pytest.raises(RevisionGone):
        store.changes(start)
    kept = store.changes(3 * 6)
    assert len(kept) == 5
    assert all(change.type == "DELETED" for change in kept)
    with pytest.raises(RevisionGone):
        store.changes(3 * 6 - 1)


def test_the_feed_holds_events_too(store: Store, new_instance: New) -> None:
    made = store.instances.create(new_instance())
    store.events.record(Kind.INSTANCE, "web", made.metadata.uid, EventType.NORMAL, "Created", "m")
    first, second = store.feed(0)
    assert isinstance(first, Change)
    assert isinstance(second, EventChange)
    assert (second.event.reason, second.resource_version) == ("Created", 2)
    assert len(store.changes(0)) == 1


class Watched(RuleBasedStateMachine):
    """Any writes; a follower that asks for changes now and then always arrives at what a list says."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store.open(Path(self.folder.name) / "state.db")
        self.position = 0
        self.followed: dict[str, Instance | Repository] = {}
        self.written: dict[str, str | None] = {}
        self.before = 0
        self.generations: dict[str, int] = {}

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def attempt(self, operation: Callable[[], object]) -> bool:
        self.before = self.store.revision()
        try:
            operation()
        except CcoError:
            assert self.store.revision() == self.before
            return False
        moved = {change.name for change in self.store.changes(self.before)}
        assert bool(moved) == (self.store.wait(self.before, 0.0) > self.before)
        return True

    @rule(name=NAMES, prompt=st.sampled_from([None, "x", "y"]))
    def apply(self, name: str, prompt: str | None) -> None:
        manifest = InstanceManifest.model_validate(
            {"metadata": {"name": name}, "spec": {"repository": "r", "prompt": prompt}}
        )
        if self.attempt(lambda: self.store.instances.apply(manifest)):
            self.written[name] = prompt

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.attempt(lambda: self.store.instances.request_deletion(name))

    @rule(name=NAMES)
    def purge(self, name: str) -> None:
        if self.attempt(lambda: self.store.instances.purge(self.store.instances.get(name).metadata.uid)):
            self.written.pop(name, None)

    @rule(name=NAMES, attempt=st.integers(0, 2))
    def status(self, name: str, attempt: int) -> None:
        status = InstanceStatus(attempt=attempt)
        generation = {i.metadata.name: (i.metadata.generation, i.spec) for i in self.store.instances.list()}
        self.attempt(lambda: self.store.instances.update_status(self.store.instances.get(name).metadata.uid, status))
        assert generation == {i.metadata.name: (i.metadata.generation, i.spec) for i in self.store.instances.list()}

    @rule(names=st.sets(NAMES))
    def usage(self, names: set[str]) -> None:
        uids = [i.metadata.uid for i in self.store.instances.list() if i.metadata.name in names]
        self.attempt(lambda: self.store.instances.record_usage({uid: Usage(at=datetime.now(UTC)) for uid in uids}))

    @rule(name=NAMES)
    def prompt(self, name: str) -> None:
        def send() -> None:
            uid = self.store.instances.get(name).metadata.uid
            self.store.inputs.set_state(self.store.inputs.create(name, uid, "hi").id, InputState.DELIVERED)

        self.attempt(send)

    @rule(name=NAMES, reason=st.sampled_from("AB"))
    def event(self, name: str, reason: str) -> None:
        position = self.store.wait(0, 0.0)
        self.store.events.record(Kind.INSTANCE, name, name, EventType.NORMAL, reason, "m")
        assert self.store.wait(0, 0.0) == position

    @rule(limit=st.one_of(st.none(), st.integers(1, 3)))
    def follow(self, limit: int | None) -> None:
        for change in self.store.changes(self.position, limit=limit):
            assert change.resource_version >= self.position
            self.position = change.resource_version
            if change.type == "DELETED":
                self.followed.pop(change.object.metadata.uid, None)
            else:
                self.followed[change.object.metadata.uid] = change.object

    @precondition(lambda self: self.store.changes(self.position) == [])
    @invariant()
    def the_follower_knows_what_a_list_says(self) -> None:
        assert self.followed == {i.metadata.uid: i for i in self.store.instances.list()}

    @invariant()
    def every_acknowledged_write_is_there(self) -> None:
        assert {i.metadata.name: i.spec.prompt for i in self.store.instances.list()} == self.written

    @invariant()
    def generations_never_go_back(self) -> None:
        now = {i.metadata.uid: i.metadata.generation for i in self.store.instances.list()}
        assert all(self.generations.get(uid, 1) <= generation for uid, generation in now.items())
        self.generations = now


TestWatched = Watched.TestCase
TestWatched.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
