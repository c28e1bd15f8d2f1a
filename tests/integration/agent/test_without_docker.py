"""The agent as a process of this machine: the same client and tmux, but where a debugger and coverage can look.

What a container adds (limits, tmpfs, managed settings) is left out; hooks come from a settings file instead.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.__main__ import main
from scripted_model import ScriptedModel, secret_hash
from support.agent_box import KEY
from support.agent_controller import AgentController
from support.client_program import claude_of

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[3]
SESSION = "33333333-3333-4333-8333-333333333333"


@pytest.fixture(scope="session")
def client(image: str) -> Path:
    """Claude Code, taken out of the image."""
    return claude_of(image)


@dataclass
class Host:
    """Folders of one agent, and what happens to it while it runs in this thread."""

    folder: Path
    client: Path
    controller: AgentController
    failure: list[BaseException] = field(default_factory=list)

    def configure(self, **changes: object) -> None:
        settings = json.loads((ROOT / "containers" / "instance" / "managed-settings.json").read_text())
        hooks = json.dumps(settings["hooks"]).replace("/opt/cco/agent", str(ROOT / "containers" / "agent"))
        (self.folder / "settings.json").write_text(json.dumps({"hooks": json.loads(hooks)}))
        config = {
            "schema": 1,
            "name": "host",
            "uid": SESSION,
            "attempt": 1,
            "config_hash": "h",
            "session_id": SESSION,
            "workdir": str(self.folder / "work"),
            "git_dir": str(self.folder / "work" / ".git"),
            "permission_mode": "manual",
            "args": ["--settings", str(self.folder / "settings.json")],
            **changes,
        }
        (self.folder / "run" / "instance.json").write_text(json.dumps(config))

    def run(self, happens: Callable[[], object], *options: str) -> int:
        """Run the agent here while something happens in another thread; returns the exit status."""

        def play() -> None:
            try:
                happens()
            except BaseException as error:  # noqa: BLE001 - raised again below
                self.failure.append(error)
                os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=play)
        thread.start()
        folders = [f"--{name}-dir={self.folder / name}" for name in ("run", "secrets", "scratch")]
        try:
            return main(["run", *folders, f"--claude={self.client}", *options])
        finally:
            thread.join(30)
            for error in self.failure:
                raise error

    def stop(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def pid(self) -> int:
        return int(self.controller.reports[-1]["session"]["pid"])


@pytest.fixture
def host(client: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    # A unix socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="cco-"))
    for name in ("run", "secrets", "home", "work"):
        (folder / name).mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=folder / "work", check=True)
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("ANTHROPIC", "CLAUDE", "TMUX"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("TMUX_TMPDIR", str(folder))
    with AgentController(folder / "run", {"ANTHROPIC_API_KEY": KEY}) as controller:
        made = Host(folder, client, controller)
        made.configure()
        yield made
    subprocess.run(["tmux", "kill-server"], capture_output=True, check=False)
    os.environ.clear()
    os.environ.update(before)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as server:
        yield server


def test_a_whole_life(host: Host, model: ScriptedModel) -> None:
    host.configure(base_url=model.url, prompt="STEP say hello")
    control = host.controller

    def happens() -> None:
        control.wait_for(lambda r: r["session"]["state"] == "idle" and bool(model.requests))
        control.send_input("one", "tabs\tare kept STEP bash touch made STEP say two")
        waiting = control.wait_for_state("waiting")
        assert waiting["session"]["waiting_for"] == "permission prompt"
        control.send({"type": "of a newer controller"})
        seen = len(control.reports)
        subprocess.run(["tmux", "send-keys", "-t", "=cc-orchestrator-host:claude", "Escape"], check=True)
        control.wait_for_state("idle", after=seen)
        host.stop()

    assert host.run(happens) == 0
    last = control.wait_for_state("exited")["session"]  # sent before it ended, and read a moment later
    assert (last["state"], last["exit_status"]) == ("exited", 143)
    assert [request.prompt for request in model.requests[:2]] == [
        "STEP say hello",
        "tabs\tare kept STEP bash touch made STEP say two",
    ]
    assert model.requests[0].api_key_sha256 == secret_hash(KEY)


def test_the_next_life_goes_on_with_the_conversation(host: Host, model: ScriptedModel) -> None:
    host.configure(base_url=model.url, prompt="STEP say hello")

    def first() -> None:
        host.controller.wait_for(lambda r: r["session"]["state"] == "idle" and bool(model.requests))
        host.stop()

    def second() -> None:
        host.controller.wait_for_state("idle", after=seen)
        host.controller.send_input("one", "STEP say again")
        host.controller.wait_for_input("one")
        host.controller.wait_for(lambda _: len(model.requests) == 2)
        host.stop()

    assert host.run(first) == 0
    seen = len(host.controller.reports)
    assert host.run(second) == 0
    assert model.requests[-1].prompts == ("STEP say hello", "STEP say again")


@pytest.mark.parametrize("watched", [True, False])
def test_a_killed_claude(host: Host, monkeypatch: pytest.MonkeyPatch, watched: bool) -> None:  # noqa: FBT001 - a column
    if not watched:
        # A kernel or a seccomp profile that knows no pidfd.
        monkeypatch.setattr(os, "pidfd_open", refuse)

    def happens() -> None:
        host.controller.wait_for_state("idle")
        os.kill(host.pid(), signal.SIGKILL)

    assert host.run(happens) == 137
    assert host.controller.wait_for_state("exited")["session"]["exit_signal"] == 9


def refuse(_: int) -> int:
    raise PermissionError


def test_a_claude_that_does_not_end_is_ended(host: Host) -> None:
    def happens() -> None:
        host.controller.wait_for_state("idle")
        os.kill(host.pid(), signal.SIGSTOP)
        host.stop()

    began = time.monotonic()
    assert host.run(happens) == 0
    assert time.monotonic() - began < 15
    with pytest.raises(ProcessLookupError):
        os.kill(host.pid(), 0)


def test_a_tmux_that_is_gone(host: Host) -> None:
    def happens() -> None:
        host.controller.wait_for_state("idle")
        subprocess.run(["tmux", "kill-server"], check=True)

    assert host.run(happens) == 70
    assert "not known" in host.controller.reports[-1]["session"]["detail"]


def test_a_client_that_refuses(host: Host) -> None:
    host.configure(args=["--no-such-option"])
    assert host.run(lambda: host.controller.wait_for_state("exited")) == 1
    assert "unknown option" in host.controller.reports[-1]["session"]["detail"]


def test_a_client_that_is_not_there(host: Host) -> None:
    host.client = Path("/nowhere/claude")
    assert host.run(lambda: host.controller.wait_for_state("exited")) == 1
    assert "was not found" in host.controller.reports[-1]["session"]["detail"]


def test_what_it_waits_for_is_said(host: Host) -> None:
    host.controller.credentials = {}

    def happens() -> None:
        host.controller.wait_for(lambda r: "no credentials" in (r["session"]["detail"] or ""))
        host.stop()

    assert host.run(happens) == 0


def test_an_unknown_layout(host: Host) -> None:
    host.configure(layout="spiral")

    def happens() -> None:
        host.controller.wait_for(lambda r: "layout 'spiral'" in (r["session"]["detail"] or ""))
        host.stop()

    assert host.run(happens) == 0


def test_a_folder_for_secrets_that_is_not_there(host: Host) -> None:
    (host.folder / "secrets").rmdir()

    def happens() -> None:
        host.controller.wait_for(lambda r: "could not be stored" in (r["session"]["detail"] or ""))
        host.stop()

    assert host.run(happens) == 0


def test_a_home_that_cannot_be_used(host: Host) -> None:
    (host.folder / "home" / ".claude.json").mkdir()
    assert host.run(lambda: host.controller.wait_for_state("exited")) == 70
    assert "Claude could not be run" in host.controller.reports[-1]["session"]["detail"]


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is not JSON"), ('{"schema": 9}', "do not match"), (None, "did not appear within")],
)
def test_a_configuration_that_cannot_be_used(host: Host, content: str | None, message: str) -> None:
    path = host.folder / "run" / "instance.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    command = [sys.executable, "-m", "agent", "run", "--run-dir", str(host.folder / "run")]
    more = ["--scratch-dir", str(host.folder / "scratch"), "--config-timeout", "0.2"]
    done = subprocess.run([*command, *more], cwd=ROOT / "containers", capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_home_that_cannot_be_written(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(host.folder / "home")
    (host.folder / "home").touch()
    with suppress(AssertionError):
        assert host.run(lambda: None) == 78
    assert "Traceback" not in capfd.readouterr().err
