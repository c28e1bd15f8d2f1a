"""Judging what an engine says of itself, capacity, the fleet and clocks: every word and the way out."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from controller.doctor.capacity import Machine, examine_cpus, examine_memory
from controller.doctor.clock import ClockWatch
from controller.doctor.engine import EngineChecks, examine_process
from controller.doctor.examination import Finding, Shared
from controller.doctor.fleet import (
    examine_agents,
    examine_credentials,
    examine_events,
    examine_instances,
    examine_orphans,
    examine_repositories,
)
from controller.errors import Conflict, Terminal
from controller.resources import ConditionStatus, Event, EventType, Instance, Kind, OperatingMode, set_condition
from controller.resources.check import CheckStatus, Fixer
from controller.resources.orphan import NotLookedAt, Obstacle, Origin, Orphan, OrphanKind, OrphanList
from controller.workspace.types import RepositoryState
from support.fake_engine import IMAGE, FakeEngine
from support.fake_engine_view import GIB, FakeEngineView
from support.fake_runtime import FakeRuntime
from support.looks import NOW, STARTED, UID, ago, healthy_status, heard, instance, repository

OK, WARN, FAIL, UNKNOWN = CheckStatus.OK, CheckStatus.WARN, CheckStatus.FAIL, CheckStatus.UNKNOWN


# Engine -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def view() -> FakeEngineView:
    return FakeEngineView(FakeEngine())


def checks(view: FakeEngineView, *images: str) -> EngineChecks:
    return EngineChecks(view, Shared(view.facts), FakeRuntime(view.engine), images or (IMAGE,))


def test_a_healthy_engine(view: FakeEngineView) -> None:
    view.engine.networks.add("cco")
    findings = {name: look() for name, look in checks(view).looks()}
    assert list(findings) == ["engine", "engine-limits", "engine-security", "live-restore", "image", "network"]
    assert all(finding is not None and finding.status is OK for finding in findings.values())
    assert findings["engine"] is not None
    assert "Docker 28.0.1 (API 1.48)" in findings["engine"].message
    assert "overlay2, cgroup v2" in findings["engine"].message
    assert view.looks == 1


def test_an_engine_that_is_away(view: FakeEngineView) -> None:
    view.engine.go_away()
    assert checks(view).answers().status is FAIL
    assert checks(view).image().status is UNKNOWN
    assert checks(view).network().status is UNKNOWN


def test_an_engine_that_warns(view: FakeEngineView) -> None:
    view.say(warnings=("WARNING: No swap limit support", "WARNING: bridge-nf-call-iptables is disabled"))
    finding = checks(view).answers()
    assert finding.status is WARN
    assert "bridge-nf-call-iptables" in finding.message
    assert "swap" not in finding.message, "limits have a check of their own"


@pytest.mark.parametrize(
    ("missing", "status", "word"),
    [((), OK, "limited"), (("swap",), WARN, "swap"), (("memory", "swap"), FAIL, "memory"), (("CPU",), FAIL, "CPU")],
)
def test_limits(view: FakeEngineView, missing: tuple[str, ...], status: CheckStatus, word: str) -> None:
    view.say(missing_limits=missing)
    finding = checks(view).limits()
    assert finding.status is status
    assert word in finding.message


@pytest.mark.parametrize(
    ("security", "status", "word"),
    [
        (("name=seccomp,profile=default",), OK, "neither rootless nor user namespaces"),
        (("name=seccomp,profile=builtin", "name=rootless"), OK, "and rootless"),
        (("name=seccomp,profile=builtin", "name=userns"), OK, "and userns"),
        (("name=apparmor",), FAIL, "without a seccomp profile"),
        (("name=seccomp,profile=unconfined",), FAIL, "without a seccomp profile"),
    ],
)
def test_security(view: FakeEngineView, security: tuple[str, ...], status: CheckStatus, word: str) -> None:
    view.say(security=security)
    finding = checks(view).security()
    assert finding.status is status
    assert word in finding.message


def test_live_restore(view: FakeEngineView) -> None:
    view.say(live_restore=False)
    finding = checks(view).live_restore()
    assert finding.status is WARN
    assert "ends every instance" in finding.message


def test_an_image_that_is_missing(view: FakeEngineView) -> None:
    finding = checks(view, IMAGE, "mine:1").image()
    assert (finding.status, finding.fix) == (FAIL, "make images")
    assert finding.message.startswith("mine:1 not on this machine")


def test_a_network_that_is_missing_can_be_made_and_one_that_is_not_ours_cannot(view: FakeEngineView) -> None:
    assert (checks(view).network().status, checks(view).network().fixable_by) == (WARN, Fixer.CONTROLLER)
    view.trouble = Conflict("NetworkConflict", "network: 'cco' exists and was not made by cc-orchestrator")
    assert (checks(view).network().status, checks(view).network().fixable_by) == (FAIL, None)


def test_the_programs_of_runtime_process() -> None:
    def missing() -> None:
        raise Terminal("ProgramMissing", "tmux is not on this machine: install it")

    assert examine_process(lambda: None).status is OK
    assert examine_process(missing) == Finding(FAIL, "tmux is not on this machine: install it")


# Capacity ---------------------------------------------------------------------------------------------------------


def with_resources(cpus: float, memory: int, **changes: Any) -> Instance:  # noqa: ANN401  # any field of the spec
    return instance(resources={"cpus": cpus, "memory": memory}, **changes)


def test_capacity_counts_what_is_meant_to_run() -> None:
    machine = Machine(cpus=4, memory=8 * GIB)
    resting = [
        with_resources(4, 8 * GIB, operating_mode=OperatingMode.SUSPENDED),
        with_resources(4, 8 * GIB, operating_mode=OperatingMode.STOPPED),
        with_resources(4, 8 * GIB, deleting=True),
    ]
    fleet = [with_resources(2, 4 * GIB), with_resources(2, 4 * GIB), *resting]
    assert examine_memory(machine, fleet) == Finding(OK, "8Gi declared by 2 running instances, 8Gi in the machine")
    assert examine_cpus(machine, fleet) == Finding(OK, "4 cores declared by 2 running instances, 4 in the machine")


def test_overcommitment_is_told_with_its_size() -> None:
    machine = Machine(cpus=4, memory=8 * GIB)
    fleet = [with_resources(3, 6 * GIB), with_resources(2.5, 4 * GIB)]
    memory, cpus = examine_memory(machine, fleet), examine_cpus(machine, fleet)
    assert (memory.status, cpus.status) == (WARN, WARN)
    assert "overcommitted by 2Gi" in memory.message
    assert "overcommitted by 1.5" in cpus.message


def test_this_machine_has_cores_and_memory() -> None:
    here = Machine.here()
    assert here.cpus >= 1
    assert here.memory > GIB // 4


# Fleet ------------------------------------------------------------------------------------------------------------


def test_credentials_are_told_by_their_kind() -> None:
    there = examine_credentials(lambda: {"ANTHROPIC_API_KEY": "sk-ant-very-secret"})
    assert there.status is OK
    assert "ANTHROPIC_API_KEY" in there.message
    assert "secret" not in there.message
    assert examine_credentials(dict).status is FAIL

    def unreadable() -> dict[str, str]:
        raise Terminal("InvalidSecretsFile", "/x, line 3: write NAME=value")

    assert examine_credentials(unreadable) == Finding(FAIL, "/x, line 3: write NAME=value")


def looks_well(head: str | None = "c0") -> Callable[[str], RepositoryState]:
    return lambda path: RepositoryState(f"{path}/.git", "main", head, ("main",), (1000, 1000), bare=False)


def test_repositories() -> None:
    assert examine_repositories([], looks_well()).status is OK
    assert examine_repositories([repository()], looks_well()) == Finding(OK, "1 repository readable")
    told = examine_repositories([repository(ConditionStatus.FALSE, "EmptyRepository", "commit first")], looks_well())
    assert (told.status, told.message) == (FAIL, "shop: EmptyRepository, commit first")


def test_a_repository_that_nobody_has_judged_yet_is_not_looked_at() -> None:
    looked_at: list[str] = []

    def note(path: str) -> RepositoryState:
        looked_at.append(path)
        return looks_well()(path)

    assert examine_repositories([repository(None)], note).status is OK
    outside = repository(ConditionStatus.FALSE, "OutsideRoot", "not below CCO_ROOT")
    assert examine_repositories([outside], note).status is FAIL
    assert looked_at == []


def test_a_repository_that_cannot_be_read_now() -> None:
    def gone(path: str) -> RepositoryState:
        raise Terminal("RepositoryNotFound", f"path {path!r} does not exist")

    assert "shop: RepositoryNotFound" in examine_repositories([repository()], gone).message
    known = repository()
    known = known.model_copy(update={"status": known.status.model_copy(update={"head": "c" * 40})})
    finding = examine_repositories([known], looks_well(None))
    assert finding.status is FAIL
    assert "git -C /repositories/shop fsck" in finding.message


def in_condition(status: ConditionStatus, reason: str, name: str = "web") -> Instance:
    conditions = set_condition((), "Ready", status, reason, "", generation=1, now=STARTED)
    made = instance(status=healthy_status(conditions=conditions))
    return made.model_copy(update={"metadata": made.metadata.model_copy(update={"name": name})})


def test_instances_by_reason() -> None:
    well = [in_condition(ConditionStatus.TRUE, "Ready"), in_condition(ConditionStatus.FALSE, "StartingSession")]
    assert examine_instances([]).status is OK
    assert examine_instances(well) == Finding(OK, "1 RUNNING, 1 STARTING")
    unwell = [
        in_condition(ConditionStatus.FALSE, "CrashLoop", "api"),
        in_condition(ConditionStatus.UNKNOWN, "NoSignal"),
    ]
    finding = examine_instances([*well, *unwell])
    assert (finding.status, finding.fix) == (WARN, "cco why api")
    assert finding.message == "2 of 4 instances not as declared: 1 CrashLoop, 1 NoSignal"


def running() -> Instance:
    workload = {"name": "cco-web-1", "id": "c0ffee", "attempt": 1, "state": "running"}
    return instance(status=healthy_status(workload=workload, session={"state": "idle", "since": STARTED}))


def test_agents_that_are_silent() -> None:
    assert examine_agents([instance()], {}, 20.0).message == "no instance is running"
    assert examine_agents([running()], {UID: heard(age=19.9)}, 20.0) == Finding(OK, "1 agent reporting")
    for reports in ({UID: heard(age=20.0)}, {}):
        finding = examine_agents([running()], reports, 20.0)
        assert (finding.status, finding.fix) == (WARN, "cco why web")
        assert "silent for 20 s or more: web" in finding.message


def event(reason: str, *, first: datetime, last: datetime, count: int = 1, warning: bool = True) -> Event:
    return Event(
        id=1,
        kind=Kind.INSTANCE,
        name="web",
        uid=UID,
        type=EventType.WARNING if warning else EventType.NORMAL,
        reason=reason,
        message="",
        count=count,
        first_at=first,
        last_at=last,
    )


def test_warnings_of_the_last_hour() -> None:
    calm = [
        event("Started", first=ago(minutes=1), last=ago(minutes=1), warning=False),
        event("CrashLoop", first=ago(hours=3), last=ago(hours=2), count=50),
    ]
    assert examine_events(calm, NOW) == Finding(OK, "no warning within the last hour")
    stormy = [
        *calm,
        event("OOMKilled", first=ago(minutes=30), last=ago(minutes=2), count=4),
        event("NoSignal", first=ago(hours=2), last=NOW, count=20),
        event("NoSignal", first=ago(minutes=5), last=ago(minutes=5)),
        event("Killed", first=ago(minutes=5), last=ago(minutes=5)),
        event("Rare", first=ago(minutes=5), last=ago(minutes=5)),
    ]
    finding = examine_events(stormy, NOW)
    assert (finding.status, finding.fix) == (WARN, "cco events")
    assert finding.message == (
        "17 warnings within the last hour, most of all NoSignal 11 times, OOMKilled 4 times, Killed"
    )


def orphan(kind: OrphanKind, obstacle: Obstacle | None = None) -> Orphan:
    return Orphan(id="x", kind=kind, name="x", origin=Origin.DELETED, safe=obstacle is None, obstacle=obstacle)


def test_orphans() -> None:
    young = orphan(OrphanKind.HOME, Obstacle.TOO_YOUNG)
    assert examine_orphans(OrphanList(items=(young,))).status is OK
    finding = examine_orphans(OrphanList(items=(young, orphan(OrphanKind.HOME), orphan(OrphanKind.WORKTREE))))
    assert (finding.status, finding.fix) == (WARN, "cco gc")
    assert finding.message == "2 things of ours belonging to no instance: 1 home, 1 worktree"
    blind = NotLookedAt(part="runtime docker", reason="RuntimeUnavailable", message="it does not answer")
    assert examine_orphans(OrphanList(skipped=(blind,))).status is UNKNOWN


# Clock ------------------------------------------------------------------------------------------------------------


def test_a_clock_that_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = ClockWatch()
    assert watch.examine().status is OK
    real = time.time
    for seconds, way in ((3600, "forward by 3600 s"), (-120, "back by 120 s")):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: real() + seconds)
        finding = watch.examine()
        assert finding.status is WARN
        assert way in finding.message


def test_time_that_passed_while_the_machine_slept_is_no_step() -> None:
    slept = timedelta(hours=8).total_seconds()
    watch = ClockWatch(time.time() - slept, time.clock_gettime(time.CLOCK_BOOTTIME) - slept)
    assert watch.examine().status is OK
