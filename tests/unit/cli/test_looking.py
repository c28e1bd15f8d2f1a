"""get, describe, why, plan, events, status, logs against the real API."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import yaml

from controller.resources import EventType, Kind
from support.command_line import Cco
from support.installation import Installation, wait_until
from ui.cli.exit_codes import ExitCode


@pytest.fixture
def fleet(installation: Installation, shop: Path) -> Installation:
    assert shop.is_dir()
    installation.ready("web")
    installation.ready("api")
    return installation


def row(text: str, name: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.split()[0] == name)


def test_a_table_of_instances(fleet: Installation, cco: Cco) -> None:
    assert fleet.address
    for words in (("get", "instances"), ("get", "i"), ("instance", "list"), ("instances", "list")):
        text = cco.ok(*words)
        assert text.split()[:8] == ["NAME", "REPOSITORY", "BRANCH", "STATE", "REASON", "CPU", "MEMORY", "AGE"]
        assert row(text, "web")[1:5] == ["shop", "web", "IDLE", "Ready"]
        assert text.index("\napi") < text.index("\nweb")


def test_wide_has_more_columns(fleet: Installation, cco: Cco) -> None:
    assert fleet.address
    assert row(cco.ok("get", "instances", "-o", "wide"), "web")[8:11] == ["cco-web-1", "1", "idle"]


def test_names_json_and_yaml(fleet: Installation, cco: Cco) -> None:
    assert cco.ok("get", "instances", "-o", "name").split() == ["instance/api", "instance/web"]
    listed = json.loads(cco.ok("get", "instances", "-o", "json"))
    assert listed["kind"] == "List"
    assert yaml.safe_load(cco.ok("get", "instances", "-o", "yaml")) == listed
    one = json.loads(cco.ok("get", "instance", "web", "-o", "json"))
    assert one["metadata"]["uid"] == fleet.world.get("web").metadata.uid
    assert one["status"]["session"]["state"] == "idle"
    assert json.loads(cco.ok("instance", "get", "web", "-o", "json")) == one


def test_selector_and_repository(fleet: Installation, cco: Cco) -> None:
    fleet.store.instances.update_spec("web", fleet.world.get("web").spec, {"team": "shop"})
    assert cco.ok("get", "instances", "-l", "team=shop", "-o", "name").split() == ["instance/web"]
    assert cco.ok("get", "instances", "-l", "team!=shop", "-o", "name").split() == ["instance/api"]
    assert cco.ok("get", "instances", "--repository", "other", "-o", "name") == ""
    assert "selector" in cco.fails(ExitCode.INVALID, "get", "instances", "-l", "team in (")


def test_repositories(fleet: Installation, cco: Cco, shop: Path) -> None:
    assert fleet.address
    for words in (("get", "repos"), ("repository", "list"), ("repositories", "list")):
        assert row(cco.ok(*words), "shop")[1:5] == [str(shop), "main", "True", "Ready"]
    assert json.loads(cco.ok("repo", "get", "shop", "-o", "json"))["spec"]["path"] == str(shop)
    assert "1000:1000" in cco.ok("get", "repositories", "-o", "wide")


def test_an_empty_list_says_what_to_do_and_prints_nothing(installation: Installation, cco: Cco) -> None:
    assert installation.address
    result = cco("get", "instances")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "cco instance spawn NAME" in result.stderr
    assert "cco init" in cco("get", "repositories").stderr
    assert json.loads(cco.ok("get", "instances", "-o", "json"))["items"] == []


def test_what_is_not_there_is_code_3(fleet: Installation, cco: Cco) -> None:
    assert fleet.address
    for words in (
        ("get", "instance", "nope"),
        ("describe", "instance", "nope"),
        ("why", "nope"),
        ("instance", "stop", "nope"),
    ):
        error = cco.fails(ExitCode.NOT_FOUND, *words)
        assert "nope" in error
        assert "cco get instances" in error


def test_describe(fleet: Installation, cco: Cco) -> None:
    fleet.store.inputs.create("web", fleet.world.get("web").metadata.uid, "Write\nthe tests")
    text = cco.ok("describe", "instance", "web")
    for phrase in ("web is idle since", "cco-web-1 (running)", "WorkspaceReady", "WorkspaceCreated", "Write the tests"):
        assert phrase in text
    both = cco.ok("describe", "instances", "web", "api")
    assert "Name:        web" in both
    assert "Name:        api" in both
    assert "/shop" in cco.ok("describe", "repo/shop")


def test_why(fleet: Installation, cco: Cco) -> None:
    assert cco.ok("why", "web").startswith("web is idle since")
    fleet.world.agents.of(fleet.world.get("web").metadata.uid).state = "waiting"
    fleet.world.agents.of(fleet.world.get("web").metadata.uid).waiting_for = "permission prompt"
    wait_until(lambda: "permission prompt" in cco.ok("why", "web"))
    assert "cco instance attach web" in cco.ok("why", "web")


def test_plan(fleet: Installation, cco: Cco) -> None:
    assert "web is as declared: nothing to do" in cco.ok("plan", "web")
    fleet.resting = True
    fleet.world.change("web", operating_mode="Stopped")
    text = cco.ok("plan", "web")
    assert row(text, "1")[1] == "StopWorkload"
    assert json.loads(cco.ok("plan", "web", "-o", "json"))["actions"][0]["action"] == "StopWorkload"


# httpcore leaves the socket of a refused connection to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_a_controller_plan_says_so(fleet: Installation, cco: Cco) -> None:
    fleet.stop_streams()
    error = cco.fails(ExitCode.UNAVAILABLE, "plan", "web")
    assert "controller" in error
    assert "cco status" in error
    result = cco("status")
    assert result.exit_code == ExitCode.UNAVAILABLE
    assert "controller:  unavailable" in result.stdout


def test_status(fleet: Installation, cco: Cco) -> None:
    text = cco.ok("status")
    assert f"ok at {fleet.address}" in text
    assert "2 instances of 1 repository: 2 IDLE" in text
    assert row(text, "engine:")[1] == "ok"
    data = json.loads(cco.ok("status", "-o", "json"))
    assert data["instances"] == {"IDLE": 2}
    assert data["health"]["status"] == "ok"


def test_status_tells_what_needs_attention(fleet: Installation, cco: Cco) -> None:
    fleet.world.engine.go_away()
    fleet.world.change("web", resources={"cpus": 2})
    wait_until(lambda: "It is not known how web is (RuntimeUnavailable)" in cco("status").stdout)
    result = cco("status")
    assert result.exit_code == ExitCode.UNAVAILABLE
    assert "engine:      unavailable" in result.stdout
    fleet.world.engine.come_back()


def test_logs(fleet: Installation, cco: Cco) -> None:
    (container,) = fleet.world.engine.of_uid(fleet.world.get("web").metadata.uid)
    container.logs[:] = [b"one\n", b"two\n"]
    assert cco.ok("logs", "web") == "one\ntwo\n"
    assert cco.ok("instance", "logs", "web", "--tail", "1") == "two\n"
    container.logs.clear()
    result = cco("logs", "web")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing was printed yet" in result.stderr


def test_events(fleet: Installation, cco: Cco) -> None:
    fleet.store.events.record(Kind.INSTANCE, "web", "u", EventType.WARNING, "OOMKilled", "no memory\x1b[2J")
    text = cco.ok("events", "--for", "instance/web")
    assert "instance/api" not in text
    assert "WorkspaceCreated" in text
    assert "no memory\\x1b[2J" in text
    assert len(cco.ok("events", "--for", "web", "--warnings").splitlines()) == 2
    assert len(cco.ok("events", "--limit", "1").splitlines()) == 2
    items = json.loads(cco.ok("get", "events", "-o", "json"))["items"]
    assert items[-1]["reason"] == "OOMKilled"


def test_events_of_what_never_was(fleet: Installation, cco: Cco) -> None:
    fleet.store.events.record(Kind.INSTANCE, "gone", "u", EventType.NORMAL, "Deleted", "it is gone")
    assert "it is gone" in cco.ok("events", "--for", "gone")
    for target in ("nope", "repository/nope"):
        assert "and no event of one" in cco.fails(ExitCode.NOT_FOUND, "events", "--for", target)


def test_watching_events_until_ctrl_c(fleet: Installation, cco: Cco) -> None:
    with cco.start("events", "--watch", "--for", "instance/web", "--warnings", "-o", "json") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        fleet.store.events.record(Kind.INSTANCE, "web", "u", EventType.WARNING, "First", "one")
        assert json.loads(running.stdout.readline())["reason"] == "First"
        fleet.store.events.record(Kind.INSTANCE, "api", "v", EventType.WARNING, "Other", "not asked for")
        fleet.store.events.record(Kind.INSTANCE, "web", "u", EventType.WARNING, "Second", "two")
        assert json.loads(running.stdout.readline())["reason"] == "Second"
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == ExitCode.INTERRUPTED
        assert running.stderr.read() == ""


def test_watching_a_list_until_ctrl_c(fleet: Installation, cco: Cco) -> None:
    with cco.start("get", "instances", "web", "--watch", "-o", "json") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert json.loads(running.stdout.readline())["type"] == "ADDED"
        fleet.world.change("web", resources={"cpus": 3})
        changed = json.loads(running.stdout.readline())
        assert (changed["type"], changed["object"]["spec"]["resources"]["cpus"]) == ("MODIFIED", 3)
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == ExitCode.INTERRUPTED
        assert running.stderr.read() == ""


def test_watching_a_table_in_a_pipe_has_one_heading(fleet: Installation, cco: Cco) -> None:
    with cco.start("get", "instances", "--watch") as running:
        assert running.stdout is not None
        assert [running.stdout.readline().split()[0] for _ in range(2)] == ["NAME", "api"]
        assert running.stdout.readline().split()[0] == "web"
        fleet.world.change("api", resources={"cpus": 3})
        assert running.stdout.readline().split()[0] == "api"
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == ExitCode.INTERRUPTED


def test_a_wrong_token_is_code_9(fleet: Installation, cco: Cco, tmp_path: Path) -> None:
    assert fleet.address
    wrong = tmp_path / "token"
    wrong.write_text("wrong-token-of-some-length")
    assert "--token-file" in cco.fails(ExitCode.DENIED, "get", "instances", "--token-file", str(wrong))
    assert "cannot be read" in cco.fails(ExitCode.DENIED, "get", "instances", "--token-file", str(tmp_path / "none"))
    wrong.write_text("")
    assert "is empty" in cco.fails(ExitCode.DENIED, "get", "instances", "--token-file", str(wrong))


def test_the_server_may_be_named_before_and_behind_the_command(
    fleet: Installation, cco: Cco, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCO_SERVER", "http://127.0.0.1:9")
    cco.fails(ExitCode.UNAVAILABLE, "get", "instances")
    cco.ok("get", "instances", "--server", fleet.address)
    cco.ok("--server", fleet.address, "get", "instances")


def test_names_are_completed(fleet: Installation, cco: Cco, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fleet.address

    def complete(*words: str) -> list[str]:
        monkeypatch.setenv("_CCO_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(["cco", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        return cco().stdout.split()

    assert complete("why", "w") == ["web"]
    assert complete("get", "inst") == ["instances"]
    assert complete("get", "instances", "a") == ["api"]
    assert complete("wait", "repository/") == ["repository/shop"]
    monkeypatch.setenv("CCO_SERVER", "http://127.0.0.1:9")
    assert complete("why", "w") == []
