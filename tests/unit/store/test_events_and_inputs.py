from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from controller.errors import NotFound
from controller.resources import EventType, InputState, InstanceManifest, Kind
from controller.store import Store
from controller.store.events import MAX_MESSAGE_CHARACTERS, EventStore
from controller.store.inputs import InputStore

New = Callable[..., InstanceManifest]


def record(store: Store, reason: str, message: str = "m", uid: str = "u") -> None:
    store.events.record(Kind.INSTANCE, "web", uid, EventType.NORMAL, reason, message)


def test_equal_events_in_a_row_are_counted(store: Store) -> None:
    for reason in ("A", "A", "B", "A", "A", "A"):
        record(store, reason)
    found = store.events.list()
    assert [(event.reason, event.count) for event in found] == [("A", 2), ("B", 1), ("A", 3)]
    assert found[-1].resource_version == store.revision() == 6
    assert found[0].first_at <= found[0].last_at


def test_another_objects_events_do_not_interrupt_the_count(store: Store) -> None:
    record(store, "A", uid="one")
    record(store, "A", uid="two")
    record(store, "A", uid="one")
    assert [(event.uid, event.count) for event in store.events.list()] == [("two", 1), ("one", 2)]


def test_events_are_listed_oldest_first_and_the_newest_are_kept(store: Store) -> None:
    for number in range(5):
        record(store, f"R{number}")
    store.events.record(Kind.REPOSITORY, "shop", "r", EventType.WARNING, "Gone", "m")
    assert [event.reason for event in store.events.list(limit=2)] == ["R4", "Gone"]
    assert [event.reason for event in store.events.list(after=3, limit=2)] == ["R3", "R4"]
    assert [event.reason for event in store.events.list(kind=Kind.INSTANCE, name="web", limit=1)] == ["R4"]
    assert store.events.list(name="nobody") == []
    assert store.events.list(kind=Kind.REPOSITORY)[0].type is EventType.WARNING


def test_events_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EventStore, "MAX_EVENTS", 50)
    with store.transaction():
        for number in range(400):
            record(store, f"R{number}")
    assert store.events.count() <= 150
    assert store.events.list(limit=1)[0].reason == "R399"
    record(store, "X", "y" * 10_000)
    assert len(store.events.list(limit=1)[0].message) == MAX_MESSAGE_CHARACTERS


def test_events_outlive_their_object(store: Store, new_instance: New) -> None:
    uid = store.instances.create(new_instance()).metadata.uid
    record(store, "Deleted", uid=uid)
    store.instances.request_deletion("web")
    store.instances.purge(uid)
    assert [event.reason for event in store.events.list(name="web")] == ["Deleted"]


def test_inputs_are_delivered_in_order_and_end(store: Store, new_instance: New) -> None:
    uid = store.instances.create(new_instance()).metadata.uid
    made = [store.inputs.create("web", uid, f"prompt {n}\n\u2028") for n in range(12)]
    assert store.inputs.list("web") == made == sorted(made, key=lambda one: one.id)
    assert store.inputs.list("web", limit=2) == made[-2:]
    assert store.inputs.get(made[0].id) == made[0]
    assert store.inputs.set_state(made[0].id, InputState.DELIVERED)
    assert [one.id for one in store.inputs.pending(uid)] == [one.id for one in made]
    assert store.inputs.set_state(made[0].id, InputState.ACCEPTED)
    assert [one.id for one in store.inputs.pending(uid)] == [one.id for one in made[1:]]
    resolved = store.inputs.get(made[0].id)
    assert resolved.state is InputState.ACCEPTED
    assert resolved.resolved_at is not None


def test_a_final_input_stays_final(store: Store, new_instance: New) -> None:
    uid = store.instances.create(new_instance()).metadata.uid
    made = store.inputs.create("web", uid, "hello")
    assert store.inputs.set_state(made.id, InputState.REJECTED, "too long")
    revision = store.revision()
    assert not store.inputs.set_state(made.id, InputState.ACCEPTED)
    assert not store.inputs.set_state("gone", InputState.ACCEPTED)
    assert store.inputs.get(made.id).reason == "too long"
    assert store.revision() == revision


def test_old_final_inputs_are_forgotten(store: Store, new_instance: New, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InputStore, "MAX_FINAL", 3)
    uid = store.instances.create(new_instance()).metadata.uid
    waiting = store.inputs.create("web", uid, "first, still waiting")
    for number in range(8):
        store.inputs.set_state(store.inputs.create("web", uid, f"prompt {number}").id, InputState.ACCEPTED)
    assert [one.text for one in store.inputs.list("web")] == [
        waiting.text,
        *(f"prompt {number}" for number in range(4, 8)),
    ]


def test_a_new_input_is_a_wish_of_its_instance(store: Store, new_instance: New) -> None:
    uid = store.instances.create(new_instance()).metadata.uid
    before = store.revision()
    made = store.inputs.create("web", uid, "hello")
    (change,) = store.changes(before)
    assert (change.name, change.kind) == ("web", Kind.INSTANCE)
    assert store.wishes(Kind.INSTANCE, before).names == ("web",)
    store.inputs.set_state(made.id, InputState.DELIVERED)
    (answer,) = store.changes(change.resource_version)
    assert answer.name == "web"
    assert store.wishes(Kind.INSTANCE, change.resource_version).names == ()


def test_inputs_go_with_their_instance(store: Store, new_instance: New) -> None:
    uid = store.instances.create(new_instance()).metadata.uid
    made = store.inputs.create("web", uid, "hello")
    store.instances.request_deletion("web")
    store.instances.purge(uid)
    with pytest.raises(NotFound):
        store.inputs.get(made.id)
    with pytest.raises(NotFound, match="instance 'web' is gone"):
        store.inputs.create("web", uid, "hello")
    store.instances.create(new_instance())
    assert store.inputs.list("web") == []


def test_an_empty_input_is_refused(store: Store, new_instance: New) -> None:
    uid = store.instances.create(new_instance()).metadata.uid
    with pytest.raises(ValidationError):
        store.inputs.create("web", uid, "")
    assert store.inputs.list("web") == []
    assert store.changes(store.revision()) == []


def test_idempotency_keys_are_remembered(store: Store) -> None:
    assert store.idempotency.find("k") is None
    store.idempotency.remember("k", "hash", "Instance", "uid")
    assert store.idempotency.find("k") == ("hash", "Instance", "uid")
