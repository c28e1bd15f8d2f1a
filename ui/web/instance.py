"""An instance's page: what it does, why, since when, and everything a person can ask of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from nicegui import background_tasks, ui

from api.client import ApiError, Client, ServerUnavailable
from controller.resources import Event, Input, InputState, Instance

from . import frame
from .commands import LABELS, Commands, off_loop
from .confirm import DeleteDialog
from .feed import Changes, Feed
from .fields import text_area
from .panels import ConditionsPanel, EventsPanel, NowPanel, SpecPanel, WorkPanel, panel
from .parts import Button, Form, Link, PageTitle, Text, Values, box
from .view import Action, InstanceView, shorten, words

_ACKNOWLEDGEMENT_SECONDS = 120
_POLL_SECONDS = 0.5


class InstancePage:
    """The page of one viewer for one instance."""

    def __init__(self, feed: Feed, client: Client, commands: Commands, name: str) -> None:
        self._feed = feed
        self._client = client
        self._commands = commands
        self._name = name
        self._page = ui.context.client
        self._instance: Instance | None = None
        self._attached_to: tuple[int, bool] | None = None
        self._title = PageTitle(f"{name} · cc-orchestrator")
        self._deletion = DeleteDialog(commands)
        frame.header(feed)
        with box("page instance", "main"):
            Link("Fleet", "/", "crumb")
            self._build_head()
            self._gone = Text("", "problem", tag="p")
            self._gone.props["role"] = "status"
            self._gone.set_visibility(False)
            self._body = box("columns")
        instance = feed.instances.get(name)
        if instance is not None:
            self._build_body(instance)
        self._refresh()
        frame.follow(feed, self._on_changes)

    def _build_head(self) -> None:
        with box("instance-head"):
            with box("grow"):
                with box("title-line"):
                    Text(self._name, "clip", tag="h1")
                    self._pill = Text("", "pill state-unknown").mark("state")
                    self._tone = "unknown"
                self._origin = Text("", "soft", tag="p")
            with box("buttons") as self._buttons:
                self._actions = {action: self._build_action(action) for action in Action}

    def _build_action(self, action: Action) -> Button:
        text, icon_name, _ = LABELS[action]
        kind = "quiet" if action is Action.DELETE else "plain"
        return Button(text, icon_name=icon_name, kind=kind, on_click=lambda: self._pick(action)).mark(action.value)

    def _build_body(self, instance: Instance) -> None:
        with self._body:
            with box("column main"):
                self._now = NowPanel()
                self._prompt = PromptPanel(self._name, self._commands)
                self._events = EventsPanel()
            with box("column side"):
                self._work = WorkPanel(instance)
                self._conditions = ConditionsPanel()
                self._spec = SpecPanel()
        background_tasks.create(self._load_events(), name=f"events of {self._name}", context=self._page)

    async def _load_events(self) -> None:
        try:
            self._show_events(await off_loop(lambda: self._client.instance_events(self._name)))
        except (ApiError, ServerUnavailable):
            self._show_events(())

    def _on_changes(self, changes: Changes) -> None:
        if self._name in changes.instances or changes.synced:
            self._refresh()
        if changes.events and self._instance is not None:
            self._show_events(changes.events)

    def _show_events(self, events: Sequence[Event]) -> None:
        # By uid: an instance that had this name before left events behind.
        if self._instance is not None:
            uid = self._instance.metadata.uid
            self._events.show([event for event in events if event.uid == uid])

    def _refresh(self) -> None:
        instance = self._feed.instances.get(self._name)
        if instance is None:
            self._show_absence()
            return
        if self._instance is None and not self._is_built:
            self._build_body(instance)
        self._instance = instance
        view = self._feed.views[self._name]
        self._show_presence(present=True)
        self._show_head(view)
        self._now.show(instance, view)
        self._prompt.show(instance)
        self._work.show(instance)
        self._conditions.show(instance.status.conditions)
        self._spec.show(instance)
        self._refresh_attach(instance)

    @property
    def _is_built(self) -> bool:
        return hasattr(self, "_now")

    def _show_absence(self) -> None:
        if not self._feed.synced:
            return
        text = "has been deleted" if self._is_built else "does not exist"
        self._gone.show(f"The instance {self._name} {text}. Its branch, if it had one, is still in the repository.")
        self._show_presence(present=False)

    def _show_presence(self, *, present: bool) -> None:
        self._gone.set_visibility(not present)
        for part in (self._body, self._buttons, self._pill, self._origin):
            part.set_visibility(present)

    def _show_head(self, view: InstanceView) -> None:
        self._title.show(f"{view.name} · {view.state.value.capitalize()} · cc-orchestrator")
        self._pill.show(view.state.value.capitalize(), title=words(view.reason))
        if view.tone != self._tone:
            self._pill.classes(remove=f"state-{self._tone}", add=f"state-{view.tone}")
            self._tone = view.tone
        self._origin.show(f"{view.repository} · {view.branch}")
        for action, button in self._actions.items():
            button.set_visibility(action in view.actions)

    def _refresh_attach(self, instance: Instance) -> None:
        # The command changes with the container, so it is asked for once per attempt, when there is a session.
        current = (instance.status.attempt, instance.status.session is not None)
        if current == self._attached_to:
            return
        self._attached_to = current
        if not current[1]:
            self._work.show_attach(None)
            return
        background_tasks.create(self._load_attach(), name=f"attach {self._name}", context=self._page)

    async def _load_attach(self) -> None:
        try:
            self._work.show_attach(await off_loop(lambda: self._client.instance_attach(self._name)))
        except (ApiError, ServerUnavailable):
            self._work.show_attach(None)

    def _pick(self, action: Action) -> None:
        if action is Action.DELETE:
            self._deletion.ask(self._name, self._instance)
        else:
            self._commands.start(self._name, action)


class PromptPanel:
    """Sends a prompt and says what became of it."""

    def __init__(self, name: str, commands: Commands) -> None:
        self._name = name
        self._commands = commands
        _, content = panel("Send a prompt", "send")
        with content, Form(self._send) as self._form:
            field = text_area("text", "Prompt", placeholder="Ask Claude something", rows=3)
            field.control.props["aria-label"] = f"Prompt for {name}"
            with box("send-line"):
                self._answer = Text("", "soft small-text grow").mark("acknowledgement")
                self._answer.props["role"] = "status"
                Text("Ctrl Enter", "faint small-text keys", tag="kbd")
                Button("Send", icon_name="send", kind="primary").mark("send")

    def show(self, instance: Instance) -> None:
        """Patch the panel; an instance on its way out takes no prompts."""
        self._form.set_visibility(instance.metadata.deletion_requested_at is None)

    async def _send(self, values: Values) -> None:
        text = values.get("text", "")
        if not text.strip():
            self._answer.show("Write something first.")
            return
        self._form.busy(True)
        self._answer.show("Sending …")
        sent = await self._commands.send(self._name, text)
        self._form.busy(False)
        if sent is None:
            self._answer.show("Not sent.")
            return
        self._form.empty()
        await self._follow(sent)

    async def _follow(self, sent: Input) -> None:
        """Say what becomes of the prompt until that is final, or nobody looks any more."""
        deadline = time.monotonic() + _ACKNOWLEDGEMENT_SECONDS
        while True:
            self._answer.show(outcome(sent))
            final = sent.state in {InputState.ACCEPTED, InputState.REJECTED}
            if final or self._answer.is_deleted or time.monotonic() > deadline:
                return
            await asyncio.sleep(_POLL_SECONDS)
            try:
                sent = await self._commands.follow_input(self._name, sent.id)
            except (ApiError, ServerUnavailable):
                self._answer.show("It is not known what became of the prompt.")
                return


def outcome(sent: Input) -> str:
    """Return the sentence that says how far a prompt has come."""
    match sent.state:
        case InputState.PENDING:
            return "Waits for its turn."
        case InputState.DELIVERED:
            return "Delivered; Claude takes it when it is free."
        case InputState.ACCEPTED:
            return "Claude accepted it."
        case InputState.REJECTED:
            return shorten(f"Refused: {sent.reason or 'no reason given'}", 200)
