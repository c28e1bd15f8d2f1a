"""``cco doctor`` on the real system: well, and with each of its parts missing, full or damaged."""

from __future__ import annotations

import gzip
import json
import os
import secrets
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.host_system import KEY, System, make_repository, running_system
from support.model_container import Model, free_port

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

PROMPT = "STEP say all the planted words of this prompt"
# Facts of the machine that runs the tests, not of the system under test.
OF_THE_MACHINE = {"live-restore", "engine", "cpus", "memory", "disk", "compose", "buildx", "engine-limits"}


@pytest.fixture
def prefix() -> str:
    return f"ccot{secrets.token_hex(3)}"


def doctor(system: System, *arguments: str) -> dict[str, dict[str, Any]]:
    """Run the doctor and return the checks by name; the exit code must be as the findings are."""
    done = system.run_cco("doctor", "-o", "json", *arguments, timeout=60)
    assert done.stdout, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    failed = [check for check in checks.values() if check["status"] == "FAIL"]
    assert done.returncode == (8 if failed else 0), failed
    return checks


def unwell(checks: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the status of the checks that are not OK and are about the system."""
    return {
        name: check["status"]
        for name, check in checks.items()
        if check["status"] != "OK" and not (name in OF_THE_MACHINE and check["status"] == "WARN")
    }


def test_a_healthy_system_its_bundle_and_then_no_server(model: Model, tmp_path: Path, prefix: str) -> None:
    repository = make_repository(tmp_path / "shop")
    bundle = tmp_path / "bundle.tar.gz"
    with running_system(tmp_path, prefix, model) as system:
        system.cco("init", str(repository), "--no-manifest")
        arguments = ("--repository", "shop", "--permission-mode", "bypassPermissions", "--prompt", PROMPT)
        system.cco("spawn", "web", *arguments, timeout=180)
        system.wait("web", "condition=Ready", timeout=120)

        checks = doctor(system, "--bundle", str(bundle))
        assert unwell(checks) == {}, {name: checks[name] for name in unwell(checks)}
        assert checks["agents"]["message"] == "1 agent reporting"
        assert "ANTHROPIC_API_KEY" in checks["credentials"]["message"]
        assert KEY not in json.dumps(checks)
        assert "engine:      ok" in system.cco("status")
        check_bundle(system, bundle)
        system.cco("delete", "instance", "web", timeout=180)

    assert unwell(doctor(system)) == {"server": "FAIL"}
    damaged_copy(system, tmp_path / "copy")
    checks = doctor(system)
    assert unwell(checks) == {"server": "FAIL", "database": "FAIL"}
    assert "is damaged" in checks["database"]["message"]


def check_bundle(system: System, bundle: Path) -> None:
    """The bundle has what helps and no secret, no prompt and nothing that Claude said."""
    with tarfile.open(bundle, "r:gz") as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
        opened = archive.extractfile("cc-orchestrator-support/docker/containers.json")
        assert opened is not None
        (container,) = json.loads(opened.read())
    assert {"README.txt", "doctor.txt", "instances.json", "logs/controller.recent.log"} <= names
    assert container["Name"] == f"/{system.container('web')}"
    assert f"logs/containers/{system.container('web')}.log" in names
    whole = gzip.decompress(bundle.read_bytes())
    token = (system.state_dir / "token").read_text().strip()
    for secret in (KEY, token, PROMPT, "planted words"):
        assert secret.encode() not in whole


def damaged_copy(system: System, copy: Path) -> None:
    """Let the command line see a copy of the state directory whose database has lost a page."""
    shutil.copytree(system.state_dir, copy, ignore=shutil.ignore_patterns("*.sock"))
    copy.chmod(0o700)
    database = copy / "state.db"
    data = bytearray(database.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 100] = b"\xff" * 100
    database.write_bytes(data)
    system.environment["CCO_STATE_DIR"] = str(copy)


def test_an_engine_that_cannot_be_reached(model: Model, tmp_path: Path, prefix: str) -> None:
    dead = f"unix://{tmp_path}/no-engine.sock"
    with running_system(tmp_path, prefix, model, [("DOCKER_HOST", dead)]) as system:
        checks = doctor(system)
        assert checks["engine"]["status"] == "FAIL"
        assert dead in checks["engine"]["message"]
        assert checks["image"]["status"] == checks["network"]["status"] == "UNKNOWN"
        assert checks["controller"]["status"] == checks["database"]["status"] == "OK"
        done = system.run_cco("status")
        assert done.returncode == 6
        assert "engine:      unavailable" in done.stdout
        assert dead not in done.stdout, "anybody may ask for health"


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Put 24 MiB of memory at the folder, as a file system of its own."""
    folder.mkdir(mode=0o700)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "cco-test", str(folder)], check=True, timeout=30
    )
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=30)


def test_a_disk_that_is_nearly_full_and_what_fix_does(model: Model, tmp_path: Path, prefix: str) -> None:
    state = tmp_path / "state"
    with small_disk(state), running_system(tmp_path, prefix, model) as system:
        assert doctor(system)["disk"]["status"] == "WARN", "24 MiB are little for a state directory"
        with (state / "ballast").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, int(shutil.disk_usage(state).free * 0.95))
        checks = doctor(system)
        assert unwell(checks) == {"disk": "FAIL"}
        assert f"state directory ({state})" in checks["disk"]["message"]
        (state / "ballast").unlink()

        state.chmod(0o755)
        (state / "token").chmod(0o644)
        assert unwell(doctor(system)) == {"state-directory": "FAIL", "token": "FAIL"}
        told = system.cco("doctor", "--fix")
        assert f"fixed: {state}: mode 0755 is now 0700" in told
        assert unwell(doctor(system)) == {}


def test_a_network_that_was_removed_is_made_by_fix(model: Model, tmp_path: Path, prefix: str) -> None:
    network = f"{prefix}-net"
    try:
        with running_system(tmp_path, prefix, model, [("CCO_NETWORK", network)]) as system:
            assert unwell(doctor(system, "--fix")) == {}
            subprocess.run(["docker", "network", "rm", network], check=True, capture_output=True, timeout=30)
            checks = doctor(system)
            assert unwell(checks) == {"network": "WARN"}
            assert checks["network"]["fixable_by"] == "controller"
            assert f"fixed: network {network}: made" in system.cco("doctor", "--fix")
            assert unwell(doctor(system)) == {}
    finally:
        subprocess.run(["docker", "network", "rm", network], check=False, capture_output=True, timeout=30)


def test_on_a_port_of_somebody_else(model: Model, tmp_path: Path, prefix: str) -> None:
    system = System(tmp_path, prefix, free_port("127.0.0.1"), model, {})
    system.environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CCO_STATE_DIR": str(system.state_dir)}
    with (tmp_path / "other.log").open("wb") as log:
        command = ["python3", "-m", "http.server", "--bind", "127.0.0.1", str(system.port)]
        other = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        system.environment["CCO_PORT"] = str(system.port)
        checks: dict[str, dict[str, Any]] = {}
        for _ in range(50):
            checks = doctor(system)
            if checks["port"]["status"] == "FAIL":
                break
        assert unwell(checks) == {"server": "FAIL", "port": "FAIL", "state-directory": "WARN", "token": "WARN"}
    finally:
        other.kill()
        other.wait(10)
