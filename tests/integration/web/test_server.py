"""The process itself: how it starts, what it logs, how it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from support.fleet import declare, register
from support.web_server import ROOT, start_server, stop_server


def run(directory: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CCO_", "PYTEST"))}
    environment |= {"CCO_STATE_DIR": str(directory), "CCO_CONFIG": str(directory / "none.yaml"), **settings}
    command = [sys.executable, "-m", "ui.server"]
    return subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.browser
def test_it_stops_within_two_seconds_whoever_looks(tmp_path: Path, browser: Browser) -> None:
    server = start_server(tmp_path)
    pages = [browser.new_page() for _ in range(2)]
    for page in pages:
        page.goto(f"{server.url}/login#token={server.token}")
        expect(page.get_by_text("No instances yet")).to_be_visible(timeout=20_000)
    watch = server.client.watch()
    next(watch)
    took = stop_server(server)
    assert took < 2.0
    assert server.process.returncode == 0
    log = server.log.read_text()
    assert log.count("server started") == log.count("server stopped") == 1
    assert "Traceback" not in log
    for page in pages:
        page.close()


@pytest.mark.browser
def test_pages_come_back_after_a_restart(tmp_path: Path, browser: Browser) -> None:
    server = start_server(tmp_path)
    page = browser.new_page()
    page.goto(f"{server.url}/login#token={server.token}")
    expect(page.get_by_text("No instances yet")).to_be_visible(timeout=20_000)
    stop_server(server)
    expect(page.get_by_text("Connection lost")).to_be_visible()
    again = start_server(tmp_path, int(server.url.rpartition(":")[2]))
    register(again.client, again.store, "shop")
    declare(again.client, "web", "shop")
    expect(page.get_by_role("link", name="web", exact=True)).to_be_visible(timeout=20_000)
    page.close()
    stop_server(again)


def test_log_lines_are_structured_and_hold_no_secret(tmp_path: Path) -> None:
    server = start_server(tmp_path)
    server.client.list_instances()
    stop_server(server)
    lines = server.log.read_text().splitlines()
    assert lines
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [A-Z]+ [a-z._]+: ", line), line
    assert server.token not in "\n".join(lines)


@pytest.mark.browser
def test_the_dashboard_works_under_a_name_of_its_own(tmp_path: Path, browser: Browser) -> None:
    server = start_server(tmp_path, CCO_ALLOWED_HOSTS="localhost")
    page = browser.new_page()
    page.goto(f"{server.url.replace('127.0.0.1', 'localhost')}/login#token={server.token}")
    expect(page.get_by_text("No instances yet")).to_be_visible(timeout=20_000)
    page.goto(server.url)
    expect(page.get_by_text("HostNotAllowed")).to_be_visible()
    page.close()
    stop_server(server)


def test_a_port_in_use_is_said_with_the_way_out(tmp_path: Path) -> None:
    server = start_server(tmp_path / "first")
    port = server.url.rpartition(":")[2]
    second = run(tmp_path / "second", CCO_PORT=port)
    stop_server(server)
    assert second.returncode == 1
    assert f"server: AddressUnusable: cannot listen on 127.0.0.1, port {port}" in second.stderr
    assert "CCO_PORT" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_wrong_setting_is_said(tmp_path: Path) -> None:
    outcome = run(tmp_path, CCO_PORTS="1")
    assert outcome.returncode == 1
    assert "did you mean 'CCO_PORT'" in outcome.stderr
    assert "Traceback" not in outcome.stderr


DROP = """
import os, sys
from pathlib import Path
from controller.errors import Terminal
from ui.server import drop_privileges
try:
    drop_privileges(Path(sys.argv[1]))
except Terminal as error:
    assert error.reason == "ProgramUnreadable", error  # this Python may lie in root's own folder
print(*os.getresuid(), *os.getresgid(), *os.getgroups())
print([line for line in open("/proc/self/status") if line.startswith("CapEff")][0].split()[1])
"""


def test_root_becomes_the_owner_of_the_state_directory(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 1234, 1235)
    owner = tmp_path.stat()
    command = [sys.executable, "-c", DROP, str(tmp_path)]
    outcome = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    identities, capabilities = outcome.stdout.splitlines()
    assert identities.split()[:6] == [str(owner.st_uid)] * 3 + [str(owner.st_gid)] * 3
    assert int(capabilities, 16) == 0


def test_a_state_directory_of_root_keeps_the_server_as_it_is(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DROP, str(tmp_path)]
    outcome = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert outcome.stdout.split()[0] == str(os.geteuid())
