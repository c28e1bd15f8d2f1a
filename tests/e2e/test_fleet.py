"""Several instances at once on a small machine, and a controller that comes and goes underneath them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from support.deadline import eventually
from support.host_system import System

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

NAMES = [f"five-{number}" for number in range(5)]
STEADY_SECONDS = 60


def test_five_become_ready_and_stay_so_for_a_minute(system: System, repository: Path) -> None:
    manifests = [
        {
            "kind": "Instance",
            "metadata": {"name": name, "labels": {"fleet": "five"}},
            "spec": {
                "repository": repository.name,
                "permission_mode": "bypassPermissions",
                "prompt": f"STEP bash echo {name} > {name}.txt && git add . && git commit -qm {name} STEP say done",
                "resources": {"cpus": 0.5, "memory": "1Gi"},
            },
        }
        for name in NAMES
    ]
    system.cco("apply", "-f", "-", stdin="\n---\n".join(json.dumps(each) for each in manifests))
    for name in NAMES:
        system.wait(name, "condition=Ready", timeout=120)
    containers = {name: system.container(name) for name in NAMES}
    since = {name: system.condition(name)["last_transition_at"] for name in NAMES}
    end = time.monotonic() + STEADY_SECONDS
    while time.monotonic() < end:
        fleet = json.loads(system.cco("get", "instances", "--selector", "fleet=five", "-o", "json"))
        found = fleet["items"] if isinstance(fleet, dict) else fleet
        assert len(found) == len(NAMES)
        for instance in found:
            name = instance["metadata"]["name"]
            ready = next(each for each in instance["status"]["conditions"] if each["type"] == "Ready")
            assert (ready["status"], ready["last_transition_at"]) == ("True", since[name]), ready
            assert instance["status"]["workload"]["name"] == containers[name]
            assert instance["status"]["restarts"] == 0
    for name in NAMES:
        log = subprocess.run(
            ["git", "-c", "safe.directory=*", "-C", str(repository), "log", "-1", "--format=%s", name],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert log.stdout.strip() == name, "each one's commit is on its own branch"


def test_a_container_removed_by_hand_comes_back_on_the_same_worktree(system: System, repository: Path) -> None:
    system.cco("spawn", "byhand", "--repository", repository.name, "--prompt", "STEP say hello")
    system.state_becomes("byhand", "idle")
    worktree = Path(system.get("byhand")["status"]["workspace"]["path"])
    (worktree / "draft.txt").write_text("unfinished\n", encoding="utf-8")
    subprocess.run(["docker", "rm", "-f", system.container("byhand")], check=True, capture_output=True, timeout=30)
    eventually(lambda: system.get("byhand")["status"]["attempt"] == 2, timeout=30, what="the next attempt runs")
    system.wait("byhand", "condition=Ready")
    assert (worktree / "draft.txt").read_text() == "unfinished\n"
    system.cco("send", "byhand", "STEP say still here")
    assert "hello" in system.model.requests()[-1]["prompts"][0], "the conversation outlived the container"
