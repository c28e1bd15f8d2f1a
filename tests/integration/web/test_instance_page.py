from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from controller.resources import ConditionStatus, EventType, InputState, OperatingMode, SessionState
from support.fleet import MiB, Report, controller_socket, declare, register, report, tell
from support.web_server import Server

pytestmark = pytest.mark.browser


@pytest.fixture
def web(page: Page, server: Server) -> Page:
    """The page of a running instance."""
    register(server.client, server.store, "shop")
    declare(server.client, "web", "shop", branch="feature/web", prompt="Fix it.\n  Carefully.", model="opus")
    report(server.store, "web", Report(SessionState.WORKING, tool="Bash", cpu_percent=40, memory=512 * MiB, ahead=3))
    tell(server.store, "web", "WorkspaceCreated", "made the worktree")
    page.goto("/instances/web")
    return page


def panel(page: Page, title: str) -> Locator:
    return page.get_by_role("region", name=title, exact=True)


def test_everything_about_an_instance_is_there(web: Page) -> None:
    expect(web).to_have_title("web · Running · cc-orchestrator")
    expect(web.get_by_text("shop · feature/web", exact=True)).to_be_visible()
    expect(panel(web, "Now").get_by_text("Using Bash")).to_be_visible()
    expect(panel(web, "Now").get_by_text("512 MiB")).to_be_visible()
    expect(panel(web, "Now").get_by_text("of 1 core")).to_be_visible()
    work = panel(web, "Attach and find the work")
    for text in ("cco attach web", "/home/dev/src/shop.worktrees/web", "feature/web", "3 commits", "9f2c1ab77d0e"):
        expect(work.get_by_text(text, exact=True)).to_be_visible()
    for text in ("Workspace ready", "Workload running", "Session ready", "Agent healthy"):
        expect(panel(web, "Conditions").get_by_text(text, exact=True)).to_be_visible()
    expect(panel(web, "Conditions").get_by_role("listitem").first).to_contain_text("Ready")
    expect(panel(web, "Events").get_by_text("made the worktree")).to_be_visible()
    for text in ("opus", "acceptEdits", "2 GiB", "512"):
        expect(panel(web, "Spec").get_by_text(text, exact=True)).to_be_visible()
    expect(panel(web, "Spec").get_by_text("Fix it.")).to_have_text("Fix it.\n  Carefully.")


def test_conditions_and_session_follow_what_the_controller_writes(web: Page, server: Server) -> None:
    expect(panel(web, "Now").get_by_text("Using Bash")).to_be_visible()
    message = "no report for more than 15 s"
    report(server.store, "web", Report(None, ready=ConditionStatus.FALSE, reason="NoSignal", message=message))
    expect(panel(web, "Conditions").get_by_text("NoSignal", exact=True)).to_be_visible()
    expect(panel(web, "Conditions").get_by_text(message)).to_be_visible()
    expect(panel(web, "Now").get_by_text(message)).to_be_visible()
    expect(web).to_have_title("web · Error · cc-orchestrator")


def test_events_come_newest_first_and_repeated_ones_are_counted(web: Page, server: Server) -> None:
    events = panel(web, "Events").get_by_role("listitem")
    expect(events).to_have_count(1)
    tell(server.store, "web", "OutOfMemory", "a process was killed", EventType.WARNING)
    expect(events.first).to_contain_text("Out of memory")
    tell(server.store, "web", "OutOfMemory", "a process was killed", EventType.WARNING)
    expect(events.first).to_contain_text("2 times")
    expect(events).to_have_count(2)
    tell(server.store, "web", "SessionUp", "Claude is back")
    expect(events.first).to_contain_text("Session up")
    expect(events.last).to_contain_text("Made the worktree")


def test_a_prompt_is_sent_verbatim_and_acknowledged(web: Page, server: Server) -> None:
    text = 'First line\n\n  second "line" with <b>tags</b> & ünïcode 🦊\n'
    web.get_by_label("Prompt for web").fill(text)
    web.get_by_label("Prompt for web").press("Control+Enter")
    answer = panel(web, "Send a prompt").get_by_role("status")
    expect(answer).to_have_text("Waits for its turn.")
    expect(web.get_by_label("Prompt for web")).to_have_value("")
    (sent,) = server.store.inputs.list("web")
    assert sent.text == text
    server.store.inputs.set_state(sent.id, InputState.DELIVERED)
    expect(answer).to_have_text("Delivered; Claude takes it when it is free.")
    server.store.inputs.set_state(sent.id, InputState.ACCEPTED)
    expect(answer).to_have_text("Claude accepted it.")


def test_a_refused_prompt_says_why(web: Page, server: Server) -> None:
    web.get_by_label("Prompt for web").fill("hello")
    web.get_by_role("button", name="Send").click()
    answer = panel(web, "Send a prompt").get_by_role("status")
    expect(answer).to_have_text("Waits for its turn.")
    (sent,) = server.store.inputs.list("web")
    server.store.inputs.set_state(sent.id, InputState.REJECTED, "Claude asks for a permission first")
    expect(answer).to_have_text("Refused: Claude asks for a permission first")


def test_an_empty_prompt_is_not_sent(web: Page, server: Server) -> None:
    web.get_by_label("Prompt for web").fill("  \n ")
    web.get_by_role("button", name="Send").click()
    expect(panel(web, "Send a prompt").get_by_role("status")).to_have_text("Write something first.")
    assert server.store.inputs.list("web") == []


def test_what_somebody_types_survives_every_patch(web: Page, server: Server) -> None:
    field = web.get_by_label("Prompt for web")
    field.fill("half a thou")
    for tool in ("Edit", "Grep", "Write"):
        report(server.store, "web", Report(SessionState.WORKING, tool=tool))
        expect(panel(web, "Now").get_by_text(f"Using {tool}")).to_be_visible()
    field.press_sequentially("ght")
    expect(field).to_have_value("half a thought")
    expect(field).to_be_focused()


def test_buttons_change_the_spec_and_offer_what_makes_sense(web: Page, server: Server) -> None:
    for name, mode in (
        ("Suspend", OperatingMode.SUSPENDED),
        ("Resume", OperatingMode.RUNNING),
        ("Stop", OperatingMode.STOPPED),
        ("Start", OperatingMode.RUNNING),
    ):
        web.get_by_role("button", name=name, exact=True).click()
        expect(web.get_by_role("button", name=name, exact=True)).to_be_hidden()
        assert server.client.get_instance("web").spec.operating_mode is mode
    web.get_by_role("button", name="Restart", exact=True).click()
    expect(web.get_by_text("Restarting web")).to_be_visible()
    assert server.client.get_instance("web").spec.restart_generation == 1


def test_after_its_deletion_the_page_says_so(web: Page, server: Server) -> None:
    web.get_by_role("button", name="Delete").click()
    web.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(web).to_have_title(re.compile("Deleting"))
    server.store.instances.purge(server.store.instances.get("web").metadata.uid)
    expect(web.get_by_text("The instance web has been deleted.", exact=False)).to_be_visible()
    expect(panel(web, "Now")).to_be_hidden()
    web.get_by_role("link", name="Fleet").click()
    expect(web.get_by_text("No instances yet")).to_be_visible()


def test_an_unknown_instance_appears_when_it_is_declared(page: Page, server: Server) -> None:
    register(server.client, server.store, "shop")
    page.goto("/instances/later")
    expect(page.get_by_text("The instance later does not exist.", exact=False)).to_be_visible()
    declare(server.client, "later", "shop")
    expect(panel(page, "Now")).to_be_visible()
    expect(page.get_by_text("does not exist")).to_be_hidden()


def test_commands_are_copied(web: Page) -> None:
    web.context.grant_permissions(["clipboard-read", "clipboard-write"])
    web.get_by_role("button", name="Copy the attach command").click()
    expect(web.get_by_text("Copied")).to_be_visible()
    assert web.evaluate("navigator.clipboard.readText()") == "cco attach web"


def test_the_command_for_those_without_cco_comes_from_the_controller(page: Page, server: Server) -> None:
    register(server.client, server.store, "shop")
    declare(server.client, "web", "shop")
    with controller_socket(server.state / "controller.sock", server.store):
        report(server.store, "web", Report())
        page.goto("/instances/web")
        work = panel(page, "Attach and find the work")
        line = "docker exec -it cco-web-1 tmux -u attach-session -t =cc-orchestrator-web"
        expect(work.get_by_text(line, exact=True)).to_be_visible()
        report(server.store, "web", Report(None, ready=ConditionStatus.FALSE, reason="Suspended"))
        expect(work.get_by_text(line, exact=True)).to_be_hidden()


def test_an_address_that_is_no_page_says_so(page: Page) -> None:
    answer = page.request.get("/nothing/here", headers={"Accept": "text/html"})
    assert answer.status == 404
    assert "There is nothing here" in answer.text()
