"""The panels of an instance's page; each is built once and patched by ``show``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from nicegui import ui

from controller.resources import Condition, ConditionStatus, Event, EventType, Instance

from .parts import Copyable, Meter, Since, Text, box, icon
from .view import NO_VALUE, InstanceView, human_bytes, paragraphs, prose, shorten, words

_MAX_EVENTS = 200


def panel(title: str, classes: str = "") -> tuple[ui.element, ui.element]:
    """Return a titled panel as its header (for more than the title) and its content."""
    with box(f"panel {classes}", "section") as section:
        section.props["aria-label"] = title
        with box("", "header") as header:
            Text(title, tag="h2")
        content = box("content")
    return header, content


class NowPanel:
    """What Claude does and what it uses."""

    def __init__(self) -> None:
        _, content = panel("Now", "now")
        with content:
            with box("doing-line"):
                self._doing = Text("", "doing").mark("doing")
                self._since = Since(None).classes("faint")
            self._detail = Text("", "soft detail", tag="p")
            with box("gauges"):
                self._cpu = _Gauge("CPU")
                self._memory = _Gauge("Memory", warns=True)
                self._pids = _Gauge("Processes")

    def show(self, instance: Instance, view: InstanceView) -> None:
        """Patch the panel."""
        self._doing.show(view.doing)
        self._since.show(view.doing_since)
        detail = view.detail if view.detail != view.doing else ""
        self._detail.show(detail)
        self._detail.set_visibility(bool(detail))
        limits = instance.spec.resources
        self._cpu.show(view.cpu, f"of {limits.cpus:g} {'core' if limits.cpus == 1 else 'cores'}", view.cpu_share)
        self._memory.show(view.memory, f"of {view.memory_limit}", view.memory_share)
        usage = instance.status.usage if view.memory != NO_VALUE else None
        pids = usage.pids if usage else 0
        self._pids.show(str(pids) if usage else NO_VALUE, f"of {limits.pids}", min(1.0, pids / limits.pids))


class _Gauge:
    def __init__(self, label: str, *, warns: bool = False) -> None:
        with box("gauge"):
            Text(label, "faint small-text")
            with box("reading"):
                self._value = Text("", "number")
                self._limit = Text("", "faint small-text")
            self._meter = Meter(label, warns=warns)

    def show(self, value: str, limit: str, share: float) -> None:
        self._value.show(value)
        self._limit.show(limit)
        self._meter.show(share)


class WorkPanel:
    """Where the work is and how to get at it."""

    def __init__(self, instance: Instance) -> None:
        name = instance.metadata.name
        _, content = panel("Attach and find the work", "work")
        with content:
            Text("Join Claude's terminal; detach with Ctrl+B, D", "label")
            Copyable(f"cco attach {name}", "the attach command").mark("attach")
            with box("raw") as self._raw_box:
                self._raw = Copyable("", "the docker command").mark("attach-docker")
            Text("Worktree", "label")
            self._path = Copyable("", "the worktree's path").mark("worktree")
            self._no_path = Text("Not made yet", "faint")
            with _facts():
                self._branch = _fact("Branch", mono=True)
                self._ahead = _fact("Ahead of base")
                self._head = _fact("Newest commit", mono=True)
                self._snapshot = _fact("Snapshot", mono=True)

    def show(self, instance: Instance) -> None:
        """Patch the panel."""
        workspace = instance.status.workspace
        self._path.show(workspace.path if workspace else "")
        self._path.set_visibility(workspace is not None)
        self._no_path.set_visibility(workspace is None)
        self._branch.show(instance.branch)
        ahead = workspace.ahead if workspace else 0
        self._ahead.show(f"{ahead} commit{'' if ahead == 1 else 's'}")
        self._head.show((workspace.head or NO_VALUE)[:12] if workspace else NO_VALUE)
        self._snapshot.show((workspace.snapshot or NO_VALUE) if workspace else NO_VALUE)

    def show_attach(self, argv: Sequence[str] | None) -> None:
        """Patch the command that works without ``cco``; ``None``: there is nothing to attach to now."""
        self._raw_box.set_visibility(argv is not None)
        self._raw.show(shlex.join(argv or ()))


_MARKS = {
    ConditionStatus.TRUE: ("check", "running"),
    ConditionStatus.FALSE: ("cross", "error"),
    ConditionStatus.UNKNOWN: ("question", "unknown"),
}


class ConditionsPanel:
    """One line per condition, the one that sums them up first."""

    def __init__(self) -> None:
        self._lines: dict[str, _ConditionLine] = {}
        _, content = panel("Conditions", "conditions")
        with content:
            self._list = box("", "ul")
            self._none = Text("The controller has not looked yet.", "faint", tag="p")

    def show(self, conditions: Sequence[Condition]) -> None:
        """Patch the lines; a type seen for the first time gets one."""
        for condition in sorted(conditions, key=lambda condition: condition.type != "Ready"):
            if condition.type not in self._lines:
                with self._list:
                    self._lines[condition.type] = _ConditionLine(condition.type)
            self._lines[condition.type].show(condition)
        self._none.set_visibility(not self._lines)


class _ConditionLine:
    def __init__(self, type_: str) -> None:
        with box("condition", "li").mark(f"condition-{type_}"):
            self._icon = icon("question", "state-unknown")
            self._shown = ("question", "unknown")
            with box("grow"):
                with box("condition-head"):
                    Text(words(type_), "type").props["title"] = type_
                    self._status = Text("", "unseen")
                    self._reason = Text("", "reason mono faint")
                self._message = Text("", "soft small-text message", tag="p")
            self._since = Since(None).classes("faint small-text")

    def show(self, condition: Condition) -> None:
        shown = _MARKS[condition.status]
        # Being suspended is a fact, not a failure: its False is as good as its True.
        if condition.type == "Suspended":
            shown = (shown[0], "unknown")
        if shown != self._shown:
            before, tone = self._shown
            self._icon.classes(remove=f"icon-{before} state-{tone}", add=f"icon-{shown[0]} state-{shown[1]}")
            self._shown = shown
        self._status.show(condition.status.value)
        self._reason.show(condition.reason)
        self._message.show(prose(condition.message))
        self._since.show(condition.last_transition_at)


class EventsPanel:
    """What happened, newest first; an event that repeats counts up in place."""

    def __init__(self) -> None:
        self._lines: dict[int, _EventLine] = {}
        _, content = panel("Events", "events")
        with content:
            self._list = box("", "ol").mark("events")
            self._list.props["aria-live"] = "polite"
            self._none = Text("Nothing has happened yet.", "faint", tag="p")

    def show(self, events: Sequence[Event]) -> None:
        """Add or patch these events; the oldest beyond the last two hundred go."""
        for event in sorted(events, key=lambda event: event.id):
            line = self._lines.get(event.id)
            if line is None:
                with self._list:
                    line = self._lines[event.id] = _EventLine(event)
                line.root.move(target_index=0)
            line.show(event)
        for id_ in sorted(self._lines)[:-_MAX_EVENTS]:
            self._lines.pop(id_).root.delete()
        self._none.set_visibility(not self._lines)


class _EventLine:
    def __init__(self, event: Event) -> None:
        warning = event.type is EventType.WARNING
        with box("event" + (" state-waiting" if warning else ""), "li") as self.root:
            icon("warning" if warning else "check", "mark")
            with box("grow"):
                with box("event-head"):
                    Text(words(shorten(event.reason, 80)), "type").props["title"] = shorten(event.reason, 80)
                    self._count = Text("", "times")
                    self._since = Since(event.last_at).classes("faint small-text")
                Text(prose(event.message), "soft small-text message", tag="p")

    def show(self, event: Event) -> None:
        self._count.show(f"{event.count} times" if event.count > 1 else "")
        self._since.show(event.last_at)


class SpecPanel:
    """What was asked for."""

    def __init__(self) -> None:
        _, content = panel("Spec", "spec")
        with content:
            with _facts():
                self._facts = {
                    label: _fact(label, mono=label == "Repository")
                    for label in (
                        "Repository",
                        "Base branch",
                        "Model",
                        "Permissions",
                        "CPUs",
                        "Memory",
                        "Processes",
                        "Image",
                        "Restart policy",
                        "Generation",
                    )
                }
            self._prompt_label = Text("First prompt", "label")
            self._prompt = Text("", "prompt", tag="p").mark("prompt")

    def show(self, instance: Instance) -> None:
        """Patch the panel."""
        spec = instance.spec
        values = {
            "Repository": spec.repository,
            "Base branch": spec.base_branch or "the repository's",
            "Model": spec.model or "Claude Code's default",
            "Permissions": spec.permission_mode.value,
            "CPUs": f"{spec.resources.cpus:g}",
            "Memory": human_bytes(spec.resources.memory),
            "Processes": str(spec.resources.pids),
            "Image": spec.image or "the default",
            "Restart policy": spec.restart_policy.value,
            "Generation": f"{instance.metadata.generation}, seen {instance.status.observed_generation}",
        }
        for label, value in values.items():
            self._facts[label].show(value)
        self._prompt.show(paragraphs(spec.prompt or ""))
        for part in (self._prompt_label, self._prompt):
            part.set_visibility(bool(spec.prompt))


def _facts() -> ui.element:
    return box("facts", "dl")


def _fact(label: str, *, mono: bool = False) -> Text:
    Text(label, "faint", tag="dt")
    return Text("", "mono" if mono else "", tag="dd")
