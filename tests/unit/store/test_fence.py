"""A controller that was overtaken writes nothing, in whatever moment it was overtaken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from controller.errors import Fenced, Terminal
from controller.resources import EventType, InputState, InstanceManifest, InstanceStatus, Kind, Usage
from controller.store import Store
from controller.store.high_water import read_mark

New = Callable[..., InstanceManifest]


def test_each_claim_is_newer_than_all_before(path: Path, store: Store) -> None:
    with Store.open(path) as second:
        assert [store.claim("a"), store.claim("a again"), second.claim("b")] == [1, 2, 3]
        second.check_fence()
        for late in (store.check_fence, lambda: store.claim("a once more")):
            with pytest.raises(Fenced, match=r"another controller \(process b\)"):
                late()
        second.check_fence()


def test_an_overtaken_store_writes_nothing_and_still_reads(path: Path, store: Store, new_instance: New) -> None:
    made = store.instances.create(new_instance())
    store.claim("the old one")
    prompt = store.inputs.create("web", made.metadata.uid, "hello")
    told: list[Terminal] = []
    with Store.open(path) as other:
        store.claim("the old one", told.append)
        other.claim("the new one")
        before = other.revision()
        uid = made.metadata.uid
        usage = Usage(at=made.metadata.created_at, cpu_percent=1.0, memory_bytes=1, pids=1)
        writes: list[Callable[[], object]] = [
            lambda: store.instances.create(new_instance("b")),
            lambda: store.instances.apply(new_instance(prompt="new")),
            lambda: store.instances.update_spec("web", made.spec.model_copy(update={"prompt": "new"})),
            lambda: store.instances.update_status(uid, InstanceStatus(attempt=7)),
            lambda: store.instances.record_usage({uid: usage}),
            lambda: store.instances.request_deletion("web"),
            lambda: store.instances.purge(uid),
            lambda: store.events.record(Kind.INSTANCE, "web", uid, EventType.NORMAL, "A", "m"),
            lambda: store.inputs.create("web", uid, "more"),
            lambda: store.inputs.set_state(prompt.id, InputState.DELIVERED),
            lambda: store.idempotency.remember("key", "hash", "Instance", uid),
            store.check_fence,
        ]
        for write in writes:
            with pytest.raises(Fenced, match="process the new one"):
                write()
        assert len(told) == len(writes)
        assert other.revision() == before
        assert store.instances.get("web").status == InstanceStatus(), "reading is harmless"
        other.instances.update_status(uid, InstanceStatus(attempt=2))


def test_being_overtaken_in_the_middle_of_a_transaction_is_impossible(path: Path, store: Store) -> None:
    """The claim waits for the transaction, whose comparison was right all the time."""
    store.claim("a")
    with Store.open(path) as other:
        with store.transaction():
            store.events.record(Kind.INSTANCE, "web", "u", EventType.NORMAL, "A", "m")
            store.check_fence()
        other.claim("b")
        with pytest.raises(Fenced), store.transaction():
            pytest.fail("nothing of the block is done")


def test_a_store_that_never_claimed_is_not_fenced(path: Path, store: Store, new_instance: New) -> None:
    with Store.open(path) as controller:
        controller.claim("a")
        store.check_fence()
        store.instances.create(new_instance())
        controller.check_fence()


def test_a_file_that_was_replaced_is_told_to_who_claimed(path: Path, store: Store) -> None:
    told: list[Terminal] = []
    store.claim("a", told.append)
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(Terminal, match="removed or replaced"):
        store.check_fence()
    assert [error.reason for error in told] == ["DatabaseReplaced"]


def test_a_copy_of_an_older_day_gives_out_no_generation_twice(path: Path, tmp_path: Path, store: Store) -> None:
    store.claim("a")
    store.backup_to(tmp_path / "copy")
    for _ in range(4):
        store.claim("b")
    (tmp_path / "copy").replace(path)
    assert read_mark(path.with_name("state.db.mark")).generation == 5
    with Store.open(path) as restored:
        assert restored.claim("c") == 6
