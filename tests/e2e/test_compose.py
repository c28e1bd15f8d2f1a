"""The shipped compose file, driven by command line and browser: what a person does on the first day."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from support.compose_system import running_compose
from support.deadline import eventually
from support.host_system import ROOT, System, git, make_repository
from support.model_container import Model

pytestmark = [pytest.mark.docker, pytest.mark.browser, pytest.mark.timeout(300)]

SCREENSHOTS = ROOT / "test-results"


@pytest.fixture(scope="module")
def stack(model: Model) -> Iterator[System]:
    """A stack whose root any user can enter; pytest's own folders are closed to all but root."""
    with tempfile.TemporaryDirectory(prefix="cco-compose-") as folder:
        Path(folder).chmod(0o755)
        with running_compose(Path(folder), f"ccoc{secrets.token_hex(3)}", model) as system:
            yield system


@pytest.fixture
def page(stack: System) -> Iterator[Page]:
    """A browser that followed the link ``cco dashboard`` prints."""
    chromium = shutil.which("chromium")
    assert chromium is not None, "Chromium is missing: 'make setup' as root installs it"
    link = re.search(r"http://\S+", stack.cco("dashboard"))
    assert link is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1280, "height": 800})
        opened.goto(link.group())
        opened.wait_for_url(f"{stack.address}/", timeout=30_000)
        yield opened
        browser.close()


def test_the_first_day(stack: System, page: Page) -> None:
    repository = make_repository(stack.directory / "my shop", owner=1000)
    stack.cco("init", str(repository), "--name", "shop", "--no-manifest")
    prompt = "STEP bash echo fresh > fish.txt && git add . && git commit -qm 'Sell fish' STEP say Fish is in stock."
    options = ("--repository", "shop", "--branch", "feature/fïsh", "--permission-mode", "bypassPermissions")
    stack.cco("spawn", "fish", *options, "--prompt", prompt)

    # The commit is on the branch of the user's repository, owned by the user.
    eventually(
        lambda: git(repository, "log", "-1", "--format=%s", "feature/fïsh") == "Sell fish",
        timeout=60,
        what="Claude's commit is on the branch",
    )
    assert {path.lstat().st_uid for path in (repository / ".git").rglob("*")} == {1000}

    # What the server asks the controller for.
    assert "CommitsCollected" in stack.cco("events")
    assert json.loads(stack.cco("plan", "fish", "-o", "json"))["actions"] == []
    assert stack.cco("attach", "fish", "--print").startswith("docker exec -it")
    assert "agent started" in stack.cco("logs", "fish")

    # The browser shows it, and a change there is a change of the spec.
    line = page.get_by_role("row").filter(has=page.get_by_role("link", name="fish", exact=True))
    expect(line.get_by_text("Idle", exact=True)).to_be_visible(timeout=30_000)
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "compose-fleet.png")
    page.get_by_role("link", name="fish", exact=True).click()
    page.get_by_role("textbox", name="Prompt for fish").fill("STEP say Hello, browser.")
    page.get_by_role("button", name="Send").click()
    eventually(lambda: "Hello, browser." in stack.screen("fish"), timeout=30, what="the prompt reached Claude")
    page.screenshot(path=SCREENSHOTS / "compose-instance.png", full_page=True)
    conversation = stack.get("fish")["status"]["session"]["session_id"]
    subprocess.run(["docker", "kill", stack.container("fish")], check=True, capture_output=True, timeout=30)
    eventually(lambda: stack.get("fish")["status"]["restarts"] == 1, timeout=30, what="the kill was noticed")
    stack.wait("fish", "condition=Ready")
    assert stack.get("fish")["status"]["session"]["session_id"] == conversation
    page.get_by_role("button", name="Suspend").click()
    stack.wait("fish", "state=STOPPED")
    expect(page.get_by_text("Stopped", exact=True).first).to_be_visible(timeout=10_000)
    stack.cco("instance", "resume", "fish")
    stack.wait("fish", "condition=Ready")

    stack.cco("delete", "instance", "fish")
    assert git(repository, "log", "-1", "--format=%s", "feature/fïsh") == "Sell fish"


def test_the_stack_is_shut(stack: System) -> None:
    listed = ["docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={stack.prefix}"]
    ids = subprocess.run(listed, check=True, capture_output=True, text=True, timeout=30).stdout.split()
    text = subprocess.run(["docker", "inspect", *ids], check=True, capture_output=True, text=True, timeout=30).stdout
    assert "sk-ant" not in text, "no key in docker inspect"
    services = {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in json.loads(text)}
    assert set(services) == {"controller", "server"}
    assert services["controller"]["HostConfig"]["NetworkMode"] == "none"
    mounts = {service: {mount["Destination"] for mount in each["Mounts"]} for service, each in services.items()}
    assert "/var/run/docker.sock" in mounts["controller"]
    assert "/var/run/docker.sock" not in mounts["server"]
    for each in services.values():
        assert each["HostConfig"]["ReadonlyRootfs"]
        assert each["HostConfig"]["CapDrop"] == ["ALL"]
    (binding,) = services["server"]["HostConfig"]["PortBindings"]["8080/tcp"]
    assert binding["HostIp"] == "127.0.0.1"
    assert stat_mode(stack.state_dir / "token") == 0o600
    assert stat_mode(stack.state_dir) == 0o700


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_stopping_the_system_stops_no_work(stack: System) -> None:
    repository = make_repository(stack.directory / "kept")
    stack.cco("init", str(repository), "--name", "kept", "--no-manifest")
    stack.cco("spawn", "kept", "--repository", "kept", "--prompt", "STEP say hello")
    stack.state_becomes("kept", "idle")
    before = stack.get("kept")["status"]
    for service in ("controller", "server"):
        found = ["docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={stack.prefix}"]
        ids = subprocess.run(
            [*found, "--filter", f"label=com.docker.compose.service={service}"],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout.split()
        subprocess.run(["docker", "restart", *ids], check=True, capture_output=True, timeout=60)
    eventually(lambda: "controller:  ok" in stack.cco("status"), timeout=60, what="the system is back")
    stack.cco("send", "kept", "STEP say still here")
    after = stack.get("kept")["status"]
    assert after["started_at"] == before["started_at"], "the container ran on"
    assert after["restarts"] == 0
    stack.cco("delete", "instance", "kept")
