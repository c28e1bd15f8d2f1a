"""The verbs of an instance, send, attach, wait and delete against the real API and loop."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from pathlib import Path

import pytest

from controller.errors import StaleWrite, Terminal
from controller.resources import OperatingMode
from support.command_line import Cco
from support.installation import Installation, wait_until
from ui.cli.exit_codes import ExitCode


def test_stop_start_suspend_resume_restart(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.ready("web")
    for verb, done, mode in (
        ("stop", "stopped", OperatingMode.STOPPED),
        ("start", "started", OperatingMode.RUNNING),
        ("suspend", "suspended", OperatingMode.SUSPENDED),
        ("resume", "resumed", OperatingMode.RUNNING),
    ):
        assert f"instance/web {done}" in cco.ok("instance", verb, "web")
        assert installation.world.get("web").spec.operating_mode is mode
    before = installation.world.get("web").spec.restart_generation
    cco.ok("instances", "restart", "web")
    after = installation.world.get("web")
    assert after.spec.restart_generation == after.status.restarted_generation == before + 1


def test_retry_starts_again_what_was_given_up(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.ready("web")
    before = installation.world.get("web").status
    assert "instance/web runs: there is nothing to try again" in cco.ok("retry", "web")
    after = installation.world.get("web")
    assert after.spec.retry_generation == 1
    assert after.status.restarts == before.restarts, "one that runs is not disturbed"


def test_a_retry_of_what_does_not_run(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.resting = True
    installation.world.declare("web")
    assert cco.ok("retry", "web", "--no-wait") == "instance/web is being tried again\n"
    assert installation.world.get("web").spec.retry_generation == 1


@pytest.mark.parametrize(("verb", "mode", "way"), [("stop", "stopped", "start"), ("suspend", "suspended", "resume")])
def test_what_rests_is_neither_restarted_nor_tried_again(
    installation: Installation, cco: Cco, shop: Path, verb: str, mode: str, way: str
) -> None:
    assert shop.is_dir()
    installation.ready("api")
    installation.ready("web")
    cco.ok("instance", verb, "web")
    for again in ("restart", "retry"):
        error = cco.fails(ExitCode.CONFLICT, "instance", again, "api", "web")
        assert f"instance/web is to be {mode}, so this would not start it" in error
        assert f"cco instance {way} web" in error
    assert installation.world.get("api").spec.restart_generation == 0, "nothing is changed by half"
    error = cco.fails(ExitCode.FAILED, "send", "web", "hello")
    assert f"the prompt is queued, and instance/web is to be {mode}" in error
    assert [each.text for each in installation.store.inputs.list("web")] == ["hello"]


def test_several_at_once_and_without_waiting(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.ready("web")
    installation.ready("api")
    assert cco.ok("instance", "stop", "web", "api").split("\n")[:2] == ["instance/web stopped", "instance/api stopped"]
    assert cco.ok("instance", "start", "web", "--no-wait") == "instance/web is being started\n"


def test_restart_survives_other_writers(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.ready("web")
    stop = threading.Event()

    def scribble() -> None:
        number = 0
        while not stop.wait(0.1):
            number += 1
            web = installation.world.get("web")
            with contextlib.suppress(StaleWrite):  # it, too, must not undo a restart
                installation.store.instances.update_spec(
                    "web", web.spec, {"n": str(number)}, resource_version=web.metadata.resource_version
                )

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        for _ in range(3):
            cco.ok("instance", "restart", "web", "--no-wait")
    finally:
        stop.set()
        writer.join()
    assert installation.world.get("web").spec.restart_generation == 3


def test_send_is_acknowledged(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.ready("web")
    text = "Mehrere Zeilen\n\n'und' \"mehr\" ü\n" * 400
    (shop / "next.txt").write_text(text, encoding="utf-8")
    assert cco.ok("send", "web", "do it") == "instance/web accepted the prompt\n"
    cco.ok("instance", "send", "web", "--file", "next.txt")
    cco.ok("instance", "send", "web", "-", stdin=text)
    assert [each.text for each in installation.store.inputs.list("web")] == ["do it", text, text]
    assert json.loads(cco.ok("send", "web", "x", "--no-wait", "-o", "json"))["state"] == "Pending"


def test_send_that_is_not_taken_says_why(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    uid = installation.ready("web").metadata.uid
    agent = installation.world.agents.of(uid)
    agent.state, agent.waiting_for = "waiting", "permission prompt"
    error = cco.fails(ExitCode.TIMEOUT, "send", "web", "hello", "--timeout", "0.5s")
    assert "still pending after 0.5 s and stays queued: web waits (permission prompt) since" in error
    agent.state, agent.waiting_for = "idle", None
    wait_until(lambda: not installation.store.inputs.pending(uid))


def test_send_without_a_controller_says_so(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.ready("web")
    installation.resting = True
    error = cco.fails(ExitCode.TIMEOUT, "send", "web", "hello", "--timeout", "0.3s")
    assert "web is idle and has not taken it yet" in error
    installation.stop_streams()
    error = cco.fails(ExitCode.TIMEOUT, "send", "web", "hello", "--timeout", "0.3s")
    assert "stays queued: the controller" in error
    assert "give it" not in error


def test_send_that_is_rejected_is_code_8(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    agent = installation.world.agents.of(installation.ready("web").metadata.uid)
    original = installation.world.agents.send_input

    def reject(uid: str, input_id: str, text: str) -> bool:
        agent.answers[input_id] = "rejected"
        return original(uid, input_id, text)

    installation.world.agents.send_input = reject  # type: ignore[method-assign]  # an agent that misbehaves
    assert "instance/web rejected the prompt" in cco.fails(ExitCode.FAILED, "send", "web", "hello")


def test_attach_prints_the_command_and_runs_only_what_it_knows(
    installation: Installation, cco: Cco, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shop.is_dir()
    installation.ready("web")
    assert "tmux -u attach-session -t =cc-orchestrator-web" in cco.ok("attach", "web", "--print")
    assert "attach-session -r" in cco.ok("instance", "attach", "web", "--read-only", "--print")
    error = cco.fails(ExitCode.GENERAL, "attach", "web")
    assert re.search(r"asks to run '.+', which is none of docker|needs a terminal", error)
    monkeypatch.setattr(
        "support.fake_runtime.FakeRuntime.attach_argv", lambda _self, _uid, argv: ("docker", "exec", "-it", "x", *argv)
    )
    monkeypatch.setenv("PATH", str(shop))
    assert "'docker' is not installed here" in cco.fails(ExitCode.NOT_FOUND, "attach", "web")
    (shop / "docker").write_text("#!/bin/sh\n")
    (shop / "docker").chmod(0o755)
    assert "needs a terminal" in cco.fails(ExitCode.GENERAL, "attach", "web")
    installation.world.change("web", operating_mode="Stopped")
    wait_until(lambda: installation.world.get("web").status.session is None)
    assert "no session to attach to" in cco.fails(ExitCode.CONFLICT, "attach", "web")


def test_wait(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.resting = True
    installation.world.declare("web")
    threading.Timer(0.3, setattr, (installation, "resting", False)).start()
    assert cco.ok("wait", "instance/web") == "instance/web has Ready=True\n"
    assert cco.ok("wait", "instance/web", "repository/shop", "--for", "condition=Ready").count("Ready=True") == 2
    assert cco.ok("wait", "web", "--for", "state=idle") == "instance/web is IDLE\n"
    error = cco.fails(ExitCode.TIMEOUT, "wait", "web", "--for", "state=STOPPED", "--timeout", "0.3s")
    assert "instance/web: waited 0.3 s until it is STOPPED; it is IDLE (Ready)" in error
    assert "there is no instance/none" in cco.fails(ExitCode.NOT_FOUND, "wait", "none")
    assert cco.ok("wait", "instance/none", "--for", "delete") == "instance/none is gone\n"
    for goal in ("condition=WorkspaceReady", "state=IDLE"):
        assert "a repository never" in cco.fails(ExitCode.USAGE, "wait", "repository/shop", "--for", goal)
    wrong = cco.fails(ExitCode.USAGE, "wait", "web", "--for", "condition=Bogus")
    assert "'Bogus' is not a condition; write one of Ready, WorkspaceReady" in wrong


def test_delete_says_where_the_work_is(installation: Installation, cco: Cco, shop: Path) -> None:
    installation.ready("web", branch="feature/x")
    installation.world.git.worktrees[str(shop) + ".worktrees/web"].dirty = "half a thought"
    text = cco.ok("delete", "instance", "web")
    assert "instance/web deleted" in text
    assert f"feature/x in {shop}" in text
    assert "refs/cco/snapshots/web/" in text
    assert installation.world.gone("web")
    assert "repository/shop deleted" in cco.ok("delete", "repository", "shop")


def test_delete_several_without_waiting_and_what_is_not_there(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.ready("web")
    installation.ready("api")
    text = cco.ok("delete", "instances", "web", "none", "api", "--ignore-not-found", "--no-wait")
    assert text.splitlines() == [
        "instance/none is not there",
        "instance/web is being deleted",
        "instance/api is being deleted",
    ]
    wait_until(lambda: installation.world.gone("web") and installation.world.gone("api"))
    assert "none" in cco.fails(ExitCode.NOT_FOUND, "instance", "delete", "none")


def test_delete_of_one_that_is_gone_leaves_out_no_other(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    for name in ("web", "api"):
        installation.ready(name)
    result = cco("delete", "instances", "web", "none", "nobody", "api")
    assert result.exit_code == ExitCode.NOT_FOUND
    for name in ("web", "api"):
        assert f"instance/{name} deleted\n  branch:  {name} in {shop}" in result.stdout
        assert installation.world.gone(name)
    assert "'none'" in result.stderr
    assert "'nobody'" in result.stderr


def test_delete_tells_no_branch_that_was_never_made(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    for _ in range(1000):  # every look tries it again
        installation.world.git.fail_next("create", Terminal("BaseBranchNotFound", "there is no branch 'nope'"))
    installation.world.declare("web", base_branch="nope")
    wait_until(lambda: "BaseBranchNotFound" in str(installation.world.get("web").status.conditions))
    assert cco.ok("delete", "instance", "web") == "instance/web deleted\n"


def test_a_repository_in_use_is_not_forgotten(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.ready("web")
    assert "is used by web" in cco.fails(ExitCode.CONFLICT, "repository", "delete", "shop")


def test_work_is_only_given_up_by_name(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.ready("web")
    told = cco.fails(ExitCode.USAGE, "delete", "instance", "web", "--discard-work")
    assert "--yes" in told
    assert installation.world.get("web").metadata.deletion_requested_at is None
    assert "instance/web deleted" in cco.ok("instance", "delete", "web", "--discard-work", "--yes")


def test_a_delete_that_takes_too_long_goes_on(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.ready("web")
    installation.resting = True
    error = cco.fails(ExitCode.TIMEOUT, "delete", "instance", "web", "--timeout", "0.3s")
    assert "its deletion goes on" in error


def test_dashboard_prints_the_login_link(
    installation: Installation, cco: Cco, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = installation.settings.token_file.read_text().strip()
    link = f"{installation.address}/login#token={token}"
    assert cco.ok("dashboard") == f"{link}\n"
    opened: list[str] = []
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    def open_browser(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr("webbrowser.open", open_browser)
    cco.ok("dashboard", "--open")
    page = Path(opened[0].removeprefix("file://"))
    assert token not in opened[0]
    assert token in page.read_text()
    assert page.stat().st_mode & 0o777 == 0o600
