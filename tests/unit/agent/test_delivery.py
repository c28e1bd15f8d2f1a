"""Inputs against desks that misbehave, each named for how; the well-behaved one is the real client, in integration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent import delivery as module
from agent.delivery import FIRST_PROMPT, Delivery
from agent.facts import Hook
from agent.ledger import Ledger
from agent.session import QUESTION, Session
from agent.terminal import TerminalError

IDLE = Session("idle", 1.0)
ASKING = Session("waiting", 1.0, waiting_for=QUESTION, options=("Yes", "No"))


class Desk:
    """A Claude that does what it should, without a terminal."""

    def __init__(self, folder: Path) -> None:
        self.session = IDLE
        self.pending = folder / "prompt"
        self.box = ""
        self.keys: list[str] = []
        self.said: list[str] = []
        self.ledger = Ledger(folder / "inputs.json")
        self.delivery = Delivery(self.ledger, self.pending, self, lambda: None)

    async def press(self, *keys: str) -> None:
        self.keys += keys
        if keys[-1] == "C-g":
            self.open_editor()
        if keys[-1] == "Enter":
            asyncio.get_running_loop().call_soon(asyncio.ensure_future, self.submit())

    def open_editor(self) -> None:
        self.box = self.pending.read_text()
        self.pending.unlink()
        self.delivery.on_taken(None)

    async def submit(self) -> None:
        if self.box:
            text, self.box = self.box.rstrip(), ""
            self.said.append(text)
            await self.confirm(text)

    async def confirm(self, text: str) -> None:
        await self.delivery.on_hook(Hook(1.0, "UserPromptSubmit", prompt=text))

    def reads_keys(self) -> bool:
        return True

    async def screen(self) -> str:
        return "> 1. Yes\n  2. No\n  3. Type something."

    def heard_so_far(self) -> int:
        return 0

    def was_said(self, text: str, offset: int = 0) -> bool:
        return text.rstrip() in self.said[offset:]

    def become(self, session: Session) -> None:
        self.session = session
        self.delivery.look()

    def run(
        self, *texts: str, until: Callable[[], bool], then: Callable[[], None] | None = None, seconds: float = 5
    ) -> None:
        """Add inputs named by their number and deliver until it is so, then until all are settled."""

        async def wait_until(wanted: Callable[[], bool]) -> None:
            async with asyncio.timeout(seconds):
                while not wanted():  # noqa: ASYNC110 - nothing tells a test
                    await asyncio.sleep(0.005)

        async def scenario() -> None:
            work = asyncio.create_task(self.delivery.run())
            for number, text in enumerate(texts):
                self.delivery.add(str(number), text)
            try:
                await wait_until(until)
                if then is not None:
                    then()
                    await wait_until(lambda: len(self.ledger.newest) == len(texts))
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

        asyncio.run(scenario())

    def deliver(self, *texts: str) -> list[tuple[str, str, str | None]]:
        """Deliver until every input is settled; returns how."""
        self.run(*texts, until=lambda: len(self.ledger.newest) == len(texts))
        return [(entry.id, entry.state, entry.reason) for entry in self.ledger.newest]


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {
        "TAKE_TIMEOUT": 0.05,
        "ENTER_EVERY": 0.02,
        "CONFIRM_TIMEOUT": 0.2,
        "COMMAND_TIMEOUT": 0.1,
        "KEEP_TIMEOUT": 0.1,
        "KEEP_POLL": 0.005,
        "KEYS_POLL": 0.005,
        "RETRY": 0.05,
    }.items():
        monkeypatch.setattr(module, name, seconds)


def test_inputs_are_delivered_in_order(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.deliver("one", "two\nlines", "ends in \\") == [(str(n), "accepted", None) for n in range(3)]
    assert desk.said == ["one", "two\nlines", "ends in \\"]


def test_enter_waits_until_claude_reads_keys_again(tmp_path: Path) -> None:
    class StillCooked(Desk):
        """Its editor has ended, and it does not read keys yet."""

        looks = 0

        def reads_keys(self) -> bool:
            self.looks += 1
            assert "Enter" not in self.keys
            return self.looks > 2

    desk = StillCooked(tmp_path)
    assert desk.deliver("\tindented") == [("0", "accepted", None)]
    assert desk.looks == 3


def test_a_terminal_that_never_reads_keys_does_not_hold_up_for_ever(tmp_path: Path) -> None:
    class Cooked(Desk):
        def reads_keys(self) -> bool:
            return False

    assert Cooked(tmp_path).deliver("one") == [("0", "accepted", None)]


def test_an_id_is_delivered_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.deliver("one")
    again = Desk(tmp_path)
    again.run("one", until=lambda: True)
    assert again.said == []
    assert again.ledger.newest == desk.ledger.newest


def test_line_ends_are_made_equal_and_control_characters_left_out(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.deliver("a\r\nb\rc\x1b[0m\x00\td")
    assert desk.said == ["a\nb\nc[0m\td"]


def test_an_empty_prompt_is_refused(tmp_path: Path) -> None:
    assert Desk(tmp_path).deliver(" \n") == [("0", "rejected", "the prompt is empty")]


@pytest.mark.parametrize(
    "session",
    [
        Session("starting", 1.0),
        Session("working", 1.0),
        Session("waiting", 1.0, waiting_for="permission prompt"),
        replace(ASKING, options=()),
        replace(IDLE, ending=True),
        Session("exited", 1.0),
    ],
)
def test_no_key_is_pressed_where_none_may_be(tmp_path: Path, session: Session) -> None:
    desk = Desk(tmp_path)
    desk.session = session
    began = time.monotonic()

    def then() -> None:
        assert desk.keys == []
        desk.become(IDLE)

    desk.run("one", until=lambda: time.monotonic() - began > 0.1, then=then)
    assert desk.said == ["one"]


class Asks(Desk):
    """A question is on the screen."""

    async def confirm(self, text: str) -> None:
        await self.delivery.on_hook(Hook(1.0, "PostToolUse", tool="AskUserQuestion", answers=(text,)))


class TestQuestion:
    def test_it_is_answered_where_it_can_be_typed(self, tmp_path: Path) -> None:
        desk = Asks(tmp_path)
        desk.session = ASKING
        assert desk.deliver("neither") == [("0", "accepted", None)]
        assert desk.keys == ["3", "C-g", "Enter"]

    def test_not_before_it_is_on_the_screen(self, tmp_path: Path) -> None:
        class Slow(Asks):
            async def screen(self) -> str:
                return "> still the input box"

        desk = Slow(tmp_path)
        desk.session = ASKING
        began = time.monotonic()
        desk.run("neither", until=lambda: time.monotonic() - began > 0.15)
        assert desk.keys == []


class NeverOpens(Desk):
    """No editor comes up, as when a dialog is on the screen."""

    def open_editor(self) -> None:
        pass


def test_a_box_that_never_opens_is_a_refusal_and_nothing_was_typed(tmp_path: Path) -> None:
    desk = NeverOpens(tmp_path)
    [(_, state, reason)] = desk.deliver("one")
    assert state == "rejected"
    assert "did not open" in str(reason)
    assert not desk.pending.exists()
    assert "Enter" not in desk.keys


def test_a_box_that_opens_late(tmp_path: Path) -> None:
    class OpensLate(Desk):
        def open_editor(self) -> None:
            if self.keys.count("C-g") > 2:
                super().open_editor()

    assert OpensLate(tmp_path).deliver("one") == [("0", "accepted", None)]


def test_a_dialog_that_comes_up_meanwhile_puts_it_off(tmp_path: Path) -> None:
    class DialogComesUp(Desk):
        def open_editor(self) -> None:
            self.session = Session("waiting", 1.0, waiting_for="permission prompt")

    desk = DialogComesUp(tmp_path)
    desk.run("one", until=lambda: bool(desk.keys) and not desk.pending.exists())
    assert desk.ledger.newest == ()
    assert desk.ledger.unfinished == ()
    assert "Enter" not in desk.keys


def test_enter_is_not_pressed_into_a_dialog_that_came_while_the_editor_was_open(tmp_path: Path) -> None:
    class DialogBehindTheEditor(Desk):
        def open_editor(self) -> None:
            super().open_editor()
            self.session = replace(IDLE, state="working", calls=(("c", "Bash"),))

    desk = DialogBehindTheEditor(tmp_path)
    began = time.monotonic()
    desk.run("one", until=lambda: time.monotonic() - began > 0.4)
    assert "Enter" not in desk.keys
    assert desk.ledger.newest == ()


def test_a_lost_enter_is_pressed_again(tmp_path: Path) -> None:
    class LosesEnter(Desk):
        async def submit(self) -> None:
            if self.keys.count("Enter") > 2:
                await super().submit()

    desk = LosesEnter(tmp_path)
    assert desk.deliver("one") == [("0", "accepted", None)]
    assert desk.said == ["one"]


class Silent(Desk):
    """No hook fires."""

    async def confirm(self, text: str) -> None:
        pass


class Mute(Silent):
    """No hook fires and no transcript is written."""

    def was_said(self, text: str, offset: int = 0) -> bool:  # noqa: ARG002 - it hears nothing
        return False


def test_without_a_hook_the_transcript_tells(tmp_path: Path) -> None:
    assert Silent(tmp_path).deliver("one") == [("0", "accepted", None)]


def test_without_any_proof_a_person_is_asked_to_look(tmp_path: Path) -> None:

    [(_, state, reason)] = Mute(tmp_path).deliver("one")
    assert state == "rejected"
    assert "look at the terminal" in str(reason)


def test_another_prompt_is_no_proof(tmp_path: Path) -> None:
    class HearsAnother(Mute):
        async def confirm(self, text: str) -> None:
            await Desk.confirm(self, f"<task-notification>{text}</task-notification>")

    assert HearsAnother(tmp_path).deliver("one")[0][1] == "rejected"


class TestCommands:
    def test_a_command_that_begins_a_conversation_is_confirmed_by_it(self, tmp_path: Path) -> None:
        class Clears(Desk):
            async def confirm(self, text: str) -> None:  # noqa: ARG002 - the hook does not tell it
                await self.delivery.on_hook(Hook(1.0, "SessionStart", source="clear"))

        assert Clears(tmp_path).deliver("/clear") == [("0", "accepted", None)]

    def test_another_is_entered_once_and_believed(self, tmp_path: Path) -> None:

        desk = Mute(tmp_path)
        assert desk.deliver("/cost now") == [("0", "accepted", "typed; Claude does not confirm its own commands")]
        assert desk.keys.count("Enter") == 1

    def test_a_path_is_no_command(self, tmp_path: Path) -> None:

        assert Mute(tmp_path).deliver("/etc/hosts is wrong")[0][1] == "rejected"


def test_keys_on_their_way_hold_up_hooks(tmp_path: Path) -> None:
    order: list[str] = []

    class SlowKeys(Desk):
        async def press(self, *keys: str) -> None:
            if keys == ("Enter",):
                task = asyncio.create_task(self.hook())
                await asyncio.sleep(0.05)
                order.append("pressed")
                self.tasks = [task]
            await super().press(*keys)

        async def hook(self) -> None:
            await self.delivery.on_hook(Hook(1.0, "PreToolUse", tool="Bash"))
            order.append("answered")

    SlowKeys(tmp_path).deliver("one")
    assert order == ["pressed", "answered"]


def test_a_terminal_that_is_gone_ends_nothing_but_the_attempt(tmp_path: Path) -> None:
    class Gone(Desk):
        async def press(self, *keys: str) -> None:
            self.keys += keys
            raise TerminalError("no server running")

    desk = Gone(tmp_path)
    desk.run("one", until=lambda: len(desk.keys) > 0)
    assert desk.ledger.newest == ()
    assert [left.id for left in desk.ledger.unfinished] == ["0"]


def test_a_full_disk_is_waited_out_and_nothing_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path)
    full = OSError("no space left on device")

    def refuse(*_: object, **__: object) -> None:
        raise full

    def then() -> None:
        assert desk.keys == []
        monkeypatch.undo()

    monkeypatch.setattr("agent.files.replace_json", refuse)
    began = time.monotonic()
    desk.run("one", until=lambda: time.monotonic() - began > 0.15, then=then)
    assert desk.said == ["one"]


class TestAfterARestart:
    def test_what_the_conversation_holds_was_accepted(self, tmp_path: Path) -> None:
        before = Ledger(tmp_path / "inputs.json")
        before.begin("a", "heard", 1.0)
        before.begin("b", "lost", 1.0)
        desk = Desk(tmp_path)
        desk.said = ["heard"]
        desk.delivery.settle_unfinished()
        assert [(entry.id, entry.state) for entry in desk.ledger.newest] == [("a", "accepted"), ("b", "rejected")]
        assert "no note of it" in str(desk.ledger.newest[1].reason)
        assert desk.ledger.unfinished == ()

    def test_a_first_prompt_that_claude_has_no_note_of_is_given_again(self, tmp_path: Path) -> None:
        Ledger(tmp_path / "inputs.json").begin(FIRST_PROMPT, "begin", 1.0)
        desk = Desk(tmp_path)
        desk.delivery.settle_unfinished()
        assert not desk.ledger.knows(FIRST_PROMPT)
