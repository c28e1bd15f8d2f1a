"""The container the engine is asked for, what is read out of its answers, and what its refusals mean."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from controller.errors import Retryable, Terminal
from controller.runtime.docker.container import container_body, limits_body
from controller.runtime.docker.engine import Failed, Refused
from controller.runtime.docker.observe import limits_of, workload
from controller.runtime.docker.refusals import explain_create, explain_limits, explain_start, explain_update
from controller.runtime.protocol import Limits, Mount, WorkloadSpec, WorkloadState

UID = "0d9c3bcf-1111-4222-8333-444455556666"
GIB = 1024**3
SPEC = WorkloadSpec(
    name="web",
    uid=UID,
    attempt=3,
    image="cc-orchestrator/instance:0.1.0",
    spec_hash="abc",
    limits=Limits(cpus=1.5, memory=2 * GIB, pids=512),
    mounts=(Mount("/srv/app.worktrees/web", "/srv/app.worktrees/web"), Mount("/run/x", "/run/cco", read_only=True)),
    user=(1001, 1002),
    workdir="/srv/app.worktrees/web",
)


def body(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  # fields of the spec
    spec = dataclasses.replace(SPEC, **changes)
    return container_body(spec, installation="inst", prefix="cco", network="net")


def test_mounts_are_never_binds() -> None:
    host = body()["HostConfig"]
    assert "Binds" not in host
    assert [(each["Type"], each["Source"], each["Target"], each.get("ReadOnly")) for each in host["Mounts"]] == [
        ("bind", "/srv/app.worktrees/web", "/srv/app.worktrees/web", False),
        ("bind", "/run/x", "/run/cco", True),
        ("volume", "cco-web-0d9c3bcf-home", "/home/agent", None),
    ]


def test_a_user_may_set_the_language_but_not_what_makes_it_an_instance() -> None:
    env = {"LANG": "de_DE.UTF-8", "HOME": "/root", "CCO_INSTANCE": "other", "A": "b=c"}
    assert sorted(body(env=env)["Env"]) == [
        "A=b=c",
        "CCO_INSTANCE=web",
        "HOME=/home/agent",
        "LANG=de_DE.UTF-8",
        "TERM=xterm-256color",
    ]


def test_labels_cannot_be_forged() -> None:
    labels = body(labels={"cc-orchestrator.uid": "forged", "team": "a"})["Labels"]
    assert labels == {
        "com.docker.compose.project": "",
        "com.docker.compose.service": "",
        "team": "a",
        "cc-orchestrator.installation": "inst",
        "cc-orchestrator.instance": "web",
        "cc-orchestrator.uid": UID,
        "cc-orchestrator.attempt": "3",
        "cc-orchestrator.spec-hash": "abc",
    }


@pytest.mark.parametrize(("memory", "size"), [(64 * GIB, GIB), (GIB, GIB // 2)])
def test_tmp_never_takes_more_than_half_of_the_memory(memory: int, size: int) -> None:
    tmpfs = body(limits=Limits(cpus=1, memory=memory, pids=9))["HostConfig"]["Tmpfs"]
    assert tmpfs["/tmp"].endswith(f"size={size}")  # noqa: S108  # a path in the container
    assert "uid=1001,gid=1002" in tmpfs["/run/secrets"]


@pytest.mark.parametrize("cpus", [0.05, 0.1, 0.3, 0.333, 1.1, 2.675, 1024.0])
def test_limits_survive_the_engine_unchanged(cpus: float) -> None:
    limits = Limits(cpus=cpus, memory=GIB + 1, pids=77)
    assert limits_of(limits_body(limits)) == limits


def test_memory_and_swap_are_one_limit() -> None:
    sent = limits_body(SPEC.limits)
    assert sent["Memory"] == sent["MemorySwap"] == 2 * GIB


def described(status: str, **state: Any) -> dict[str, Any]:  # noqa: ANN401  # fields of State
    return {
        "Id": "1" * 64,
        "Name": "/cco-web-3",
        "Image": "sha256:2",
        "Config": {"Labels": body()["Labels"]},
        "HostConfig": limits_body(SPEC.limits),
        "NetworkSettings": {"Networks": {"net": {}}},
        "State": {
            "Status": status,
            "ExitCode": 0,
            "OOMKilled": False,
            "Error": "",
            "StartedAt": "2026-11-20T05:39:13.356389891Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
            **state,
        },
    }


def test_a_running_container_has_no_exit() -> None:
    seen = workload(described("running", OOMKilled=True), "net")
    assert (seen.state, seen.exit_code, seen.finished_at, seen.oom_killed) == (WorkloadState.RUNNING, None, None, False)
    assert seen.started_at == datetime(2026, 11, 20, 5, 39, 13, 356389, tzinfo=UTC)
    assert (seen.name, seen.instance, seen.uid, seen.attempt) == ("cco-web-3", "web", UID, 3)
    assert seen.limits == SPEC.limits


@pytest.mark.parametrize(("code", "flag", "oom"), [(137, True, True), (137, False, False), (143, True, False)])
def test_want_of_memory_needs_flag_and_exit_code(code: int, flag: bool, oom: bool) -> None:  # noqa: FBT001  # cases
    seen = workload(described("exited", ExitCode=code, OOMKilled=flag, FinishedAt="2026-11-20T05:40:00Z"), "net")
    assert (seen.exit_code, seen.oom_killed) == (code, oom)
    assert seen.finished_at == datetime(2026, 11, 20, 5, 40, tzinfo=UTC)


@pytest.mark.parametrize("status", ["removing", "dead"])
def test_a_removal_under_way_runs_nothing(status: str) -> None:
    assert workload(described(status), "net").state is WorkloadState.EXITED


def test_a_label_that_is_no_number_is_no_attempt() -> None:
    container = described("created")
    container["Config"]["Labels"]["cc-orchestrator.attempt"] = "-1"
    assert workload(container, "net").attempt == 0


def test_refused_limits_name_field_value_and_way_out() -> None:
    cpus = explain_limits(
        Refused("x", 400, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"), SPEC.limits
    )
    assert cpus is not None
    assert cpus.message == "resources.cpus: 1.5 is more than this machine has: choose at most 2"
    memory = explain_limits(Refused("x", 400, "Minimum memory limit allowed is 6MB"), SPEC.limits)
    assert memory is not None
    assert memory.message == "resources.memory: 2Gi is less than the engine allows: choose at least 6MB"
    assert explain_limits(Refused("x", 400, "something else"), SPEC.limits) is None


def test_limits_below_what_is_in_use_are_explained() -> None:
    text = "Cannot update: unable to set memory limit to 8388608 (current usage: 63922176, peak usage: 64249856)"
    error = explain_update(Failed("x", text), SPEC.limits)
    assert isinstance(error, Terminal)
    assert error.reason == "InvalidLimits"
    assert "60Mi" in error.message
    other = Failed("x", "no space left on device")
    assert explain_update(other, SPEC.limits) is other


@pytest.mark.parametrize(
    "text",
    [
        'invalid mount config for type "bind": bind source path does not exist: /srv/x y',
        'OCI runtime create failed: error mounting "/srv/x y" to rootfs: no such file or directory',
    ],
)
def test_a_missing_source_is_worth_a_retry(text: str) -> None:
    error = explain_start(Refused("start", 400, text))
    assert isinstance(error, Retryable)
    assert error.reason == "MountSourceMissing"
    assert "'/srv/x y'" in error.message


def test_anything_else_is_told_in_the_engines_words() -> None:
    error = explain_create(Refused("create the container 'cco-web-3'", 400, "invalid hostname"), SPEC, "cco-web-3")
    assert isinstance(error, Terminal)
    assert error.reason == "InvalidWorkload"
    assert error.message == "the Docker engine refuses to create the container 'cco-web-3': invalid hostname"


@pytest.mark.parametrize(
    ("status", "networks", "told"), [("running", {}, True), ("running", {"net": {}}, False), ("exited", {}, False)]
)
def test_one_that_reaches_nobody_says_so(status: str, networks: dict[str, Any], told: bool) -> None:  # noqa: FBT001  # cases
    container = {**described(status), "NetworkSettings": {"Networks": networks}}
    notice = workload(container, "net").notice
    assert (notice is not None) == told
    assert notice is None or "docker network connect net cco-web-3" in notice
