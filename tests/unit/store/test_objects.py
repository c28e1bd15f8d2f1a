from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from controller.errors import AlreadyExists, NotFound, StaleWrite, StoreError
from controller.resources import (
    ConditionStatus,
    InstanceManifest,
    InstanceStatus,
    OperatingMode,
    RepositoryManifest,
    RepositoryStatus,
    Usage,
    set_condition,
)
from controller.store import Selector, Store

New = Callable[..., InstanceManifest]
NewRepository = Callable[..., RepositoryManifest]

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def usage(seconds: int = 0, memory: int = 1) -> Usage:
    return Usage(memory_bytes=memory, at=NOW + timedelta(seconds=seconds))


def test_a_created_object_is_what_is_read_again(store: Store, new_instance: New) -> None:
    made = store.instances.create(new_instance(labels={"team": "web"}, prompt="täglich\n\u2028 ok", args=["--x"]))
    assert made == store.instances.get("web") == store.instances.get_by_uid(made.metadata.uid)
    assert UUID(made.metadata.uid).version == 4
    assert made.metadata.generation == 1
    assert made.metadata.resource_version == store.revision() == 1


def test_defaults_are_written_out_so_that_a_later_version_changes_nothing(store: Store, new_instance: New) -> None:
    store.instances.create(new_instance())
    assert "permission_mode" in store.instances.get("web").spec.model_fields_set


def test_a_second_object_of_that_name_is_refused(store: Store, new_instance: New) -> None:
    store.instances.create(new_instance())
    with pytest.raises(AlreadyExists, match="'web' exists already"):
        store.instances.create(new_instance(branch="other"))
    assert store.revision() == 1


def test_a_branch_belongs_to_one_instance(store: Store, new_instance: New) -> None:
    store.instances.create(new_instance("web"))
    with pytest.raises(AlreadyExists, match=r"'web' of repository 'shop' belongs to instance 'web'") as refused:
        store.instances.create(new_instance("second", branch="web"))
    assert refused.value.reason == "BranchInUse"
    store.instances.create(new_instance("third", branch="web", repository="other"))


def test_a_branch_is_free_again_when_its_instance_is_gone(store: Store, new_instance: New) -> None:
    made = store.instances.create(new_instance("web"))
    store.instances.request_deletion("web")
    with pytest.raises(AlreadyExists):
        store.instances.create(new_instance("second", branch="web"))
    store.instances.purge(made.metadata.uid)
    store.instances.create(new_instance("second", branch="web"))


def test_what_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="instance 'web' does not exist"):
        store.instances.get("web")
    with pytest.raises(NotFound, match="uid"):
        store.instances.get_by_uid("x")
    with pytest.raises(NotFound, match="repository 'shop'"):
        store.repositories.get("shop")


def test_generation_moves_with_spec_only(store: Store, new_instance: New) -> None:
    made = store.instances.create(new_instance())
    store.instances.update_status(made.metadata.uid, InstanceStatus(attempt=3))
    relabelled = store.instances.update_spec("web", made.spec, labels={"a": "b"})
    assert (relabelled.metadata.generation, relabelled.metadata.resource_version) == (1, 3)
    changed = store.instances.update_spec("web", made.spec.model_copy(update={"restart_generation": 1}))
    assert (changed.metadata.generation, changed.metadata.resource_version) == (2, 4)
    assert changed.metadata.labels == {"a": "b"}
    assert changed.status.attempt == 3


def test_an_equal_spec_writes_nothing(store: Store, new_instance: New) -> None:
    made = store.instances.create(new_instance())
    assert store.instances.update_spec("web", made.spec) == made
    assert store.revision() == made.metadata.resource_version


def test_a_stale_write_is_refused_with_the_way_out(store: Store, new_instance: New) -> None:
    read = store.instances.create(new_instance())
    store.instances.update_status(read.metadata.uid, InstanceStatus(attempt=1))
    with pytest.raises(StaleWrite, match="read it again and repeat"):
        store.instances.update_spec("web", read.spec, {"a": "b"}, resource_version=read.metadata.resource_version)
    with pytest.raises(StaleWrite):
        store.instances.apply(new_instance(), resource_version=1)
    fresh = store.instances.get("web")
    store.instances.update_spec("web", fresh.spec, {"a": "b"}, resource_version=fresh.metadata.resource_version)


def test_apply_creates_configures_and_leaves_alone(store: Store, new_instance: New) -> None:
    created = store.instances.apply(new_instance())
    assert (created.action, created.changed_fields) == ("created", ())
    unchanged = store.instances.apply(new_instance())
    assert (unchanged.action, unchanged.object) == ("unchanged", created.object)
    changed = store.instances.apply(
        new_instance(labels={"a": "b"}, operating_mode="Stopped", resources={"memory": "3Gi"}, env={"X": "1"})
    )
    assert changed.action == "configured"
    assert changed.changed_fields == (
        "metadata.labels.a",
        "spec.env.X",
        "spec.operating_mode",
        "spec.resources.memory",
    )
    assert changed.object == store.instances.get("web")
    assert changed.object.spec.operating_mode is OperatingMode.STOPPED


def test_a_dry_run_answers_the_same_and_writes_nothing(store: Store, new_instance: New) -> None:
    assert store.instances.apply(new_instance(), dry_run=True).action == "created"
    assert store.instances.names() == []
    store.instances.apply(new_instance())
    dry = store.instances.apply(new_instance(prompt="x"), dry_run=True)
    assert (dry.action, dry.changed_fields, dry.object.metadata.generation) == ("configured", ("spec.prompt",), 2)
    assert store.instances.get("web").spec.prompt is None
    assert store.revision() == 1


def test_apply_with_a_version_of_something_gone_is_stale(store: Store, new_instance: New) -> None:
    with pytest.raises(StaleWrite, match="deleted"):
        store.instances.apply(new_instance(), resource_version=7)


def test_apply_cannot_take_another_instances_branch(store: Store, new_instance: New) -> None:
    store.instances.create(new_instance("web"))
    store.instances.create(new_instance("api"))
    with pytest.raises(AlreadyExists, match="belongs to instance 'web'"):
        store.instances.apply(new_instance("api", branch="web"))


def test_a_status_is_written_only_when_it_differs(store: Store, new_instance: New) -> None:
    made = store.instances.create(new_instance())
    conditions = set_condition((), "Ready", ConditionStatus.TRUE, "Ready", generation=1, now=NOW)
    status = InstanceStatus(conditions=conditions, observed_generation=1)
    assert store.instances.update_status(made.metadata.uid, status)
    revision = store.revision()
    assert store.instances.update_status(made.metadata.uid, status)
    assert store.revision() == revision
    after = store.instances.get("web")
    assert (after.spec, after.status, after.metadata.generation) == (made.spec, status, 1)


def test_a_status_for_something_gone_is_told_and_harmless(store: Store) -> None:
    assert not store.instances.update_status("gone", InstanceStatus(attempt=1))
    assert not store.repositories.update_status("gone", RepositoryStatus())
    assert store.revision() == 0


def test_usage_of_many_is_one_revision(store: Store, new_instance: New) -> None:
    uids = [store.instances.create(new_instance(f"i{n}")).metadata.uid for n in range(3)]
    before = store.revision()
    store.instances.record_usage({uid: usage() for uid in [*uids, "gone"]})
    assert store.revision() == before + 1
    assert [i.status.usage for i in store.instances.list()] == [usage()] * 3
    assert {i.metadata.resource_version for i in store.instances.list()} == {before + 1}


def test_usage_of_nobody_writes_nothing(store: Store) -> None:
    store.instances.record_usage({})
    store.instances.record_usage({"gone": usage()})
    assert store.revision() == 0


def test_a_status_never_puts_older_usage_back(store: Store, new_instance: New) -> None:
    uid = store.instances.create(new_instance()).metadata.uid
    store.instances.record_usage({uid: usage(10)})
    store.instances.update_status(uid, InstanceStatus(attempt=1, usage=usage(5)))
    assert store.instances.get("web").status == InstanceStatus(attempt=1, usage=usage(10))
    store.instances.update_status(uid, InstanceStatus(attempt=1, usage=usage(20, memory=9)))
    assert store.instances.get("web").status.usage == usage(20, memory=9)
    store.instances.update_status(uid, InstanceStatus(attempt=1))
    assert store.instances.get("web").status.usage is None


def test_asking_for_deletion_twice_is_asking_once(store: Store, new_instance: New) -> None:
    made = store.instances.create(new_instance())
    first = store.instances.request_deletion("web", uid=made.metadata.uid)
    assert first.metadata.deletion_requested_at is not None
    assert store.instances.request_deletion("web") == first == store.instances.get("web")


def test_a_delete_meant_for_a_namesake_is_refused(store: Store, new_instance: New) -> None:
    store.instances.create(new_instance())
    with pytest.raises(StaleWrite, match="made anew") as refused:
        store.instances.request_deletion("web", uid="another")
    assert refused.value.reason == "UidMismatch"
    assert store.instances.get("web").metadata.deletion_requested_at is None


def test_what_is_being_deleted_cannot_be_changed(store: Store, new_instance: New) -> None:
    made = store.instances.create(new_instance())
    store.instances.request_deletion("web")
    for change in (
        lambda: store.instances.update_spec("web", made.spec.model_copy(update={"prompt": "x"})),
        lambda: store.instances.apply(new_instance(prompt="x")),
    ):
        with pytest.raises(StoreError, match="is being deleted"):
            change()
    assert store.instances.update_status(made.metadata.uid, InstanceStatus(attempt=9))


def test_purging_needs_a_wish_and_is_idempotent(store: Store, new_instance: New) -> None:
    uid = store.instances.create(new_instance()).metadata.uid
    with pytest.raises(StoreError, match="has not been asked to go"):
        store.instances.purge(uid)
    store.instances.request_deletion("web")
    store.instances.purge(uid)
    revision = store.revision()
    store.instances.purge(uid)
    assert store.revision() == revision
    assert store.instances.names() == []
    assert store.instances.create(new_instance()).metadata.uid != uid


def test_lists_are_filtered_sorted_and_paged(store: Store, new_instance: New) -> None:
    for name, team in (("c", "web"), ("a", "web"), ("b", "api")):
        store.instances.create(new_instance(name, labels={"team": team}))
    store.instances.create(new_instance("d", repository="other"))

    def names(**query: object) -> list[str]:
        return [instance.metadata.name for instance in store.instances.list(**query)]  # type: ignore[arg-type]  # spelled per case

    assert names() == store.instances.names() == ["a", "b", "c", "d"]
    assert names(repository="shop") == ["a", "b", "c"]
    assert names(labels={"team": "web"}) == ["a", "c"]
    assert names(labels=Selector.parse("team!=web")) == ["b", "d"]
    assert names(limit=2) == ["a", "b"]
    assert names(limit=2, after="b") == ["c", "d"]
    assert store.instances.count() == 4
    store.instances.request_deletion("a")
    assert (store.instances.count(), store.instances.count(deleting=False)) == (4, 3)


def test_repositories_live_by_the_same_rules(store: Store, new_repository: NewRepository) -> None:
    made = store.repositories.create(new_repository(defaults={"model": "opus"}))
    assert store.repositories.get("shop") == made
    changed = store.repositories.apply(new_repository(base_branch="main"))
    assert changed.changed_fields == ("spec.base_branch", "spec.defaults.model")
    assert store.repositories.update_status(made.metadata.uid, RepositoryStatus(head="abc"))
    store.repositories.request_deletion("shop")
    store.repositories.purge(made.metadata.uid)
    assert store.repositories.list() == []


def test_a_transaction_is_all_or_nothing(store: Store, new_instance: New) -> None:
    def half() -> None:
        with store.transaction():
            store.instances.create(new_instance("a"))
            assert store.instances.names() == ["a"]
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        half()
    assert store.instances.names() == []
    with store.transaction():
        store.instances.create(new_instance("a"))
        store.instances.create(new_instance("b"))
    assert store.instances.names() == ["a", "b"]


def test_a_refusal_inside_a_transaction_leaves_no_trace_of_itself(store: Store, new_instance: New) -> None:
    store.instances.create(new_instance("a"))
    with store.transaction():
        store.instances.create(new_instance("b"))
        with pytest.raises(AlreadyExists):
            store.instances.create(new_instance("a"))
        with pytest.raises(NotFound):
            store.inputs.create("gone", "gone", "hello")
    assert store.instances.names() == ["a", "b"]
    assert store.revision() == store.instances.get("b").metadata.resource_version
