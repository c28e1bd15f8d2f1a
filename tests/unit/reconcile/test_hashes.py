"""The hashes that tell drift, pinned: whoever changes what is in them restarts every fleet at its next upgrade.

A running container carries the hash of its making as a label and a session that of its start, both worked out by the
release of that day. So these values are a format on disk. If a test here fails, a new field must stay out of the hash
as long as it has its default; never write the new value into the test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.reconcile.observed import work_out
from controller.resources import Instance, InstanceSpec, Repository
from controller.settings import Settings
from support.looks import instance, repository

SETTINGS = Settings(state_dir=Path("/state"), model_base_url=None)
FULL: dict[str, Any] = {
    "branch": "feature/login",
    "base_branch": "main",
    "prompt": "Mend the login.",
    "model": "opus[1m]",
    "permission_mode": "plan",
    "image": "cc-orchestrator/box@sha256:" + "0" * 64,
    "resources": {"cpus": 1.5, "memory": "3Gi", "pids": 200, "disk": "5Gi"},
    "layout": "tests",
    "env": {"B": "2", "A": "\N{GREEK SMALL LETTER LAMDA}"},
    "operating_mode": "Suspended",
    "restart_generation": 3,
    "retry_generation": 2,
    "runtime": "docker",
    "restart_policy": "OnFailure",
    "worktree_policy": "Retain",
    "args": ["--verbose", "--add-dir=/tmp"],
}
BETWEEN_RELEASES: dict[str, object] = {
    "root": Path("/repositories"),
    "worktree_base_path": Path("/elsewhere"),
    "host": "0.0.0.0",  # noqa: S104  # another value than the default, nobody listens
    "port": 9,
    "allowed_hosts": ("example.org",),
    "requests_per_second": 1.0,
    "log_level": "DEBUG",
    "max_instances": 7,
    "runtime": "process",
    "instance_image": "cc-orchestrator/instance:99.0.0",
    "container_prefix": "other",
    "network": "other",
    "claude": "/opt/claude",
    "disk_full_percent": 50.0,
    "resync_seconds": 1.0,
    "heartbeat_seconds": 60.0,
    "stop_grace_seconds": 1.0,
    "workers": 1,
    "lease_seconds": 60.0,
}
"""Another value for every setting but the two that say where things are and whom Claude talks to."""

NEEDS_A_NEW_WORKLOAD = {"image"}
NEEDS_A_NEW_SESSION = {"model", "permission_mode", "args", "layout", "env"}


def hashes(of: Instance, settings: Settings = SETTINGS, home: Repository | None = None) -> tuple[str, str]:
    wanted = work_out(of, home or repository(), settings, attempt=of.status.attempt)
    return wanted.spec_hash, wanted.config.config_hash


def test_those_of_the_least_that_can_be_declared() -> None:
    assert hashes(instance()) == ("00adb552a35de9da", "80b5a2cd58382875")


def test_those_of_a_spec_with_every_field() -> None:
    assert set(FULL) == set(InstanceSpec.model_fields) - {"repository"}
    assert hashes(instance(**FULL)) == ("f12d04a8e9d8dfc2", "2f31a4e3cb66bd2c")
    assert hashes(instance(**FULL), SETTINGS.model_copy(update={"model_base_url": "http://model"})) == (
        "f12d04a8e9d8dfc2",
        "87cd34f5b3aa779c",
    )


@pytest.mark.parametrize("field", sorted(FULL))
def test_only_what_a_container_or_a_session_was_started_with_changes_one(field: str) -> None:
    spec, config = hashes(instance())
    changed = hashes(instance(**{field: FULL[field]}))
    assert (changed[0] != spec) == (field in NEEDS_A_NEW_WORKLOAD)
    assert (changed[1] != config) == (field in NEEDS_A_NEW_SESSION)


def test_no_setting_that_an_upgrade_may_bring_changes_one() -> None:
    assert set(BETWEEN_RELEASES) == set(Settings.model_fields) - {"state_dir", "model_base_url"}
    for name, value in BETWEEN_RELEASES.items():
        assert getattr(SETTINGS, name) != value, name
        assert hashes(instance(), SETTINGS.model_copy(update={name: value})) == hashes(instance()), name


def test_nor_does_another_attempt_or_what_the_repository_gives_to_new_ones() -> None:
    again = instance()
    again = again.model_copy(update={"status": again.status.model_copy(update={"attempt": 12})})
    assert hashes(again) == hashes(instance())
    shop = repository()
    defaults = {"base_branch": "next", "defaults": {"model": "opus", "env": {"A": "1"}, "image": "other"}}
    spec = type(shop.spec).model_validate({"path": shop.spec.path, **defaults})
    assert hashes(instance(), home=shop.model_copy(update={"spec": spec})) == hashes(instance())


def test_the_order_of_variables_is_none() -> None:
    assert hashes(instance(env={"A": "1", "B": "2"})) == hashes(instance(env={"B": "2", "A": "1"}))
