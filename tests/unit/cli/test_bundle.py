"""``cco doctor --bundle``: what is in it, and that none of the secrets planted everywhere is."""

from __future__ import annotations

import gzip
import json
import logging
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from controller.logs import RecentLines
from controller.resources import EventType, Kind
from support.command_line import Cco
from support.fake_docker import FakeDocker
from support.installation import Installation
from support.ready_database import open_ready
from ui.cli.doctor.archive import FOLDER, Archive, newest_lines
from ui.cli.doctor.bundle import PARTS
from ui.cli.doctor.redaction import Redactor
from ui.cli.exit_codes import ExitCode

BODY = ["MIIEpAIBAAKCAQEAplantedplanted"] * 3
KEY = "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *BODY, "-----END RSA PRIVATE KEY-----"])
# They are left out where they stand; printed by a program, nobody could know what they are.
NOT_KNOWN = {
    *("what the session says", "a variable of a container", "a manifest on a container", "a password in an address"),
    *("the proxy of the engine", "a private key in a log", "a bearer token in a log"),
}


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    fake = FakeDocker(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{fake.folder}:{os.environ['PATH']}")
    return fake


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "bundle.tar.gz"


def read(path: Path) -> dict[str, bytes]:
    """Return the parts by name."""
    with tarfile.open(path, "r:gz") as archive:
        members = archive.getmembers()
        assert all(each.isfile() and each.mode == 0o600 for each in members)
        assert all(each.name.startswith(f"{FOLDER}/") for each in members)
        found = {}
        for each in members:
            content = archive.extractfile(each)
            assert content is not None
            found[each.name.removeprefix(f"{FOLDER}/")] = content.read()
        return found


def container(name: str, installation: str, **config: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    labels = {"cc-orchestrator.installation": installation, **config.pop("Labels", {})}
    return {"Id": name * 8, "Name": f"/{name}", "Config": {"Labels": labels, "Env": ["LANG=C"], **config}}


@pytest.fixture
def planted(
    installation: Installation, shop: Path, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Secrets and user content in every place they could be, by where they are."""
    assert shop.is_dir()
    secrets = {
        "the API token": (installation.settings.state_dir / "token").read_text().strip(),
        "an environment variable": "env-planted-7fQ2",
        "a credential in the environment": "oauth-planted-93kd",
        "the file of credentials": "file-planted-Xy81",
        "a file with one bare secret": "bare-planted-PPq2",
        "a variable of an instance": "variable planted of an instance",
        "a short variable of an instance that is called a secret": "k3yplant",
        "a variable of a repository": "variable-planted-of-a-repository",
        "an argument of an instance": "argument-planted-in-spec",
        "a prompt": "please plant the prompt somewhere",
        "the second line of a prompt": "and another planted line of it",
        "an input": "an input that was planted here",
        "what the session says": "detail planted by the agent",
        "a message of an event": "ghp_plantedplantedplantedplanted0123",
        "a password in an address": "planted-password-in-address",
        "a variable of a container": "container-planted-variable",
        "a secret variable of a container": "container-planted-secret",
        "a manifest on a container": "manifest-planted-in-label",
        "the proxy of the engine": "proxy-planted-password",
        "a key in a log": "sk-ant-api03-planted-in-log",
        "a private key in a log": "MIIEpAIBAAKCAQEAplantedplanted",
        "a bearer token in a log": "bearer-planted-0123456789",
        "a label": "AKIAPLANTEDPLANTED12",
    }
    monkeypatch.setenv("MY_SERVICE_PASSWORD", secrets["an environment variable"])
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", secrets["a credential in the environment"])
    monkeypatch.setenv("CCO_MODEL_BASE_URL", f"https://me:{secrets['a password in an address']}@model.example.org")
    folder = installation.settings.state_dir / "secrets"
    folder.mkdir()
    (folder / "claude.env").write_text(f"# mine\nexport ANTHROPIC_API_KEY='{secrets['the file of credentials']}'\n")
    (folder / "other").write_text(secrets["a file with one bare secret"])
    spec = {
        "prompt": f"{secrets['a prompt']}\n{secrets['the second line of a prompt']}",
        "args": ["--append-system-prompt", secrets["an argument of an instance"]],
        "env": {
            "GREETING": secrets["a variable of an instance"],
            "SOME_TOKEN": secrets["a short variable of an instance that is called a secret"],
        },
    }
    made = installation.ready("web", **spec)
    uid = made.metadata.uid
    installation.resting = True
    store = installation.store
    labels = {"cloud": secrets["a label"]}
    store.instances.update_spec("web", store.instances.get("web").spec, labels)
    status = store.instances.get("web").status
    assert status.session is not None
    session = status.session.model_copy(update={"detail": secrets["what the session says"]})
    store.instances.update_status(uid, status.model_copy(update={"session": session}))
    store.inputs.create("web", uid, secrets["an input"])
    message = f"git said {secrets['a message of an event']} to https://x:{secrets['a password in an address']}@h/"
    store.events.record(Kind.INSTANCE, "web", uid, EventType.WARNING, "GitFailed", message)
    repository = store.repositories.get("shop")
    defaults = repository.spec.defaults.model_copy(update={"env": {"X_ENV": secrets["a variable of a repository"]}})
    store.repositories.update_spec("shop", repository.spec.model_copy(update={"defaults": defaults}))
    everything = " ".join(value for where, value in secrets.items() if where not in NOT_KNOWN)
    record = logging.LogRecord("x", logging.INFO, "", 0, "everything %s", (everything,), None)
    RecentLines().emit(record)
    bearer = f"Authorization: Bearer {secrets['a bearer token in a log']}"
    RecentLines().emit(logging.LogRecord("x", logging.INFO, "", 0, bearer, (), None))
    ours = container(
        "cco-web-1",
        store.installation_id,
        Env=[
            f"GREETING={secrets['a variable of a container']}",
            f"MY_TOKEN={secrets['a secret variable of a container']}",
            "LANG=C.UTF-8",
        ],
        Labels={"cc-orchestrator.manifest": json.dumps({"spec": {"args": [secrets["a manifest on a container"]]}})},
    )
    docker.contain([ours])
    docker.answer("info", json.dumps({"HttpProxy": f"http://me:{secrets['the proxy of the engine']}@proxy:3128"}))
    docker.answer("logs", f"2026 agent started\n{secrets['a key in a log']}\n{everything}\n{KEY}\n")
    docker.answer("logs.err", f"error: {secrets['a secret variable of a container']}\n{everything}\n")
    return secrets


def test_no_secret_and_nothing_of_the_users_gets_into_it(planted: dict[str, str], cco: Cco, file: Path) -> None:
    result = cco("doctor", "--bundle", str(file))
    assert result.exit_code in {ExitCode.OK, ExitCode.FAILED}, result.output
    assert "not in it: logs/controller.recent.log (README.txt says why)" in result.stdout
    parts = read(file)
    assert b"server and controller are one process: see logs/server.recent.log" in parts["README.txt"]
    absent = {"logs/containers/NAME.log", "logs/instances/NAME.log", "logs/controller.recent.log"}
    assert set(parts) == {*PARTS} - absent | {"logs/containers/cco-web-1.log"}
    whole = gzip.decompress(file.read_bytes())
    for where, value in planted.items():
        assert value.encode() not in whole, f"{where} got into the bundle"
        assert json.dumps(value)[1:-1].encode() not in whole, f"{where} got into the bundle"
    # And yet it is of use.
    assert b"agent started" in parts["logs/containers/cco-web-1.log"]
    assert b"everything [REDACTED]" in parts["logs/server.recent.log"]
    (web,) = json.loads(parts["instances.json"])
    assert web["spec"]["prompt"] == "[left-out]"
    assert set(web["spec"]["env"]) == {"GREETING", "SOME_TOKEN"}
    assert web["status"]["conditions"]
    (box,) = json.loads(parts["docker/containers.json"])
    assert box["Config"]["Env"] == ["GREETING=[left-out]", "MY_TOKEN=[REDACTED]", "LANG=C.UTF-8"]
    assert {event["reason"] for event in json.loads(parts["events.json"])} >= {"GitFailed"}
    assert json.loads(parts["settings.json"])["port"] == 8080
    assert {check["name"] for check in json.loads(parts["doctor.json"])} >= {"engine", "disk"}
    assert b"Not in it, on purpose: prompts" in parts["README.txt"]


def test_what_instances_printed_that_are_no_containers_is_in_it(
    installation: Installation, shop: Path, docker: FakeDocker, cco: Cco, file: Path
) -> None:
    assert shop.is_dir()
    docker.go_away()
    for name in ("web", "api"):
        installation.ready(name)
    installation.resting = True
    for name in ("web", "api"):
        made = installation.world.get(name)
        status = made.status.model_copy(update={"runtime": "process" if name == "web" else "docker"})
        installation.store.instances.update_status(made.metadata.uid, status)
    cco("doctor", "--bundle", str(file))
    parts = read(file)
    assert parts["logs/instances/web.log"] == b"started\n"
    assert "logs/instances/api.log" not in parts
    assert b"Values and arguments under 16 characters" in parts["README.txt"]


def test_it_is_its_owners_alone_and_never_written_over_anything(
    installation: Installation, docker: FakeDocker, cco: Cco, file: Path
) -> None:
    assert installation.address
    assert docker.folder.is_dir()
    cco("doctor", "--bundle", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    assert "there is a file of that name" in cco.fails(ExitCode.CONFLICT, "doctor", "--bundle", str(file))
    assert file.read_bytes() == before
    link = file.with_name("link")
    link.symlink_to(file.with_name("elsewhere"))
    cco.fails(ExitCode.CONFLICT, "doctor", "--bundle", str(link))
    assert not file.with_name("elsewhere").exists()
    assert "no such file or folder" in cco.fails(ExitCode.NOT_FOUND, "doctor", "--bundle", "/nowhere/at/all.tar.gz")


def test_without_a_server_it_says_what_is_missing(tmp_path: Path, docker: FakeDocker, cco: Cco, file: Path) -> None:
    state = tmp_path / "state"
    with open_ready(state / "state.db") as store:
        installation = store.installation_id
    (state / "token").write_text("token-planted-0123456789")
    instance = state / "instances" / "web"
    instance.mkdir(parents=True)
    spec = {"prompt": "a prompt of the planted kind", "env": {"A_TOKEN": "planted8"}}
    (instance / "manifest.json").write_text(json.dumps({"kind": "Instance", "spec": spec}))
    docker.contain([container("cco-web-1", installation)])
    docker.answer("logs", "started token-planted-0123456789 a prompt of the planted kind planted8\n")
    result = cco("doctor", "--bundle", str(file), "-o", "json")
    assert result.exit_code == ExitCode.FAILED
    told = json.loads(result.stdout)["bundle"]
    parts = read(file)
    assert set(told["missing"]) == {
        *("instances.json", "repositories.json", "events.json"),
        *("logs/server.recent.log", "logs/controller.recent.log", "logs/instances/NAME.log"),
    }
    assert {*told["parts"]} == {*parts}
    assert parts["logs/containers/cco-web-1.log"] == b"started [REDACTED] [REDACTED] [REDACTED]\n"
    assert b"the server did not answer" in parts["README.txt"]
    assert b"planted" not in gzip.decompress(file.read_bytes())


def test_without_an_engine_and_with_a_wrong_configuration(
    tmp_path: Path, docker: FakeDocker, cco: Cco, file: Path
) -> None:
    docker.go_away()
    (tmp_path / "config.yaml").write_text("porrt: 80\n")
    assert cco("doctor", "--bundle", str(file)).exit_code == ExitCode.FAILED
    parts = read(file)
    assert {"doctor.json", "versions.json", "machine.json", "README.txt"} <= set(parts)
    assert "settings.json" not in parts
    assert b"docker/containers.json: Cannot connect to the Docker daemon" in parts["README.txt"]


def test_the_composed_system_of_another_installation_is_not_told_of(
    tmp_path: Path, docker: FakeDocker, cco: Cco, file: Path
) -> None:
    def part(name: str, state: Path) -> dict[str, Any]:
        made = container(name, "")
        made["Config"]["Labels"] = {"cc-orchestrator.system": "1"}
        return {**made, "Mounts": [{"Source": str(state)}]}

    docker.contain([part("ours-server-1", tmp_path / "state"), part("theirs-server-1", Path("/home/other/state"))])
    cco("doctor", "--bundle", str(file))
    assert [name for name in read(file) if name.startswith("logs/")] == ["logs/containers/ours-server-1.log"]


def test_half_a_bundle_is_not_left_behind(file: Path) -> None:
    archive = Archive(file, Redactor())
    archive.add("a", b"x")
    archive.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not file.exists()


def test_old_lines_are_left_out_whole() -> None:
    data = b"".join(b"line %d\n" % number for number in range(1000))
    told = newest_lines(data, 100)
    assert told.startswith(b"[older lines were left out]\nline ")
    assert told.endswith(b"line 999\n")
    assert newest_lines(data, len(data)) == data
