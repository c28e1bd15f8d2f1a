"""``describe``: everything about one object on one page, the answer to "why" first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from controller.resources import Condition, Event, Input, Instance, Repository, display_state
from controller.resources.explain import explain
from controller.resources.quantity import format_bytes

from .columns import CONDITION_COLUMNS, EVENT_COLUMNS, STATE_STYLES, Row, condition_row, event_row, truth_cell
from .humanize import age, percent, quantity
from .table import Cell, Column, pairs, table
from .terminal import Terminal

Pair = tuple[str, Cell | str]
_RECENT = 15


def describe_instance(
    instance: Instance, events: Sequence[Event], inputs: Sequence[Input], terminal: Terminal, now: datetime
) -> list[str]:
    """Return the page of an instance."""
    state, reason = display_state(instance)
    head: list[Pair] = [
        ("Name", instance.metadata.name),
        ("State", Cell(f"{state} ({reason})", STATE_STYLES[state])),
        ("Why", explain(instance)),
        ("Labels", _labels(instance.metadata.labels)),
        ("UID", instance.metadata.uid),
        ("Created", _when(instance.metadata.created_at, now)),
        ("Generation", f"{instance.metadata.generation} (seen {instance.status.observed_generation})"),
    ]
    if instance.metadata.deletion_requested_at is not None:
        head.append(("Deletion", _when(instance.metadata.deletion_requested_at, now)))
    lines = pairs(head, terminal)
    lines += _section("Spec", _spec(instance), terminal)
    lines += _section("Workspace", _workspace(instance), terminal)
    lines += _section("Workload", _workload(instance, now), terminal)
    lines += _section("Session", _session(instance, now), terminal)
    lines += _section("Usage", _usage(instance, now), terminal)
    lines += _conditions(instance.status.conditions, terminal, now)
    lines += _inputs(inputs, terminal, now)
    return lines + _events(events, terminal, now)


def describe_repository(
    repository: Repository, events: Sequence[Event], terminal: Terminal, now: datetime
) -> list[str]:
    """Return the page of a repository."""
    status = repository.status
    ready = next((condition for condition in status.conditions if condition.type == "Ready"), None)
    lines = pairs(
        [
            ("Name", repository.metadata.name),
            ("Ready", truth_cell(ready)),
            ("Path", repository.spec.path),
            ("Base branch", repository.spec.base_branch or f"{status.default_branch or '-'} (HEAD)"),
            ("Head", status.head or "-"),
            ("Owner", f"{status.owner_uid}:{status.owner_gid}" if status.owner_uid is not None else "-"),
            ("Labels", _labels(repository.metadata.labels)),
            ("UID", repository.metadata.uid),
            ("Created", _when(repository.metadata.created_at, now)),
        ],
        terminal,
    )
    defaults = repository.spec.defaults.model_dump(mode="json", exclude_none=True)
    lines += _section("Defaults of its instances", _plain(defaults), terminal)
    lines += _section("Warnings", [(str(number), text) for number, text in enumerate(status.warnings, 1)], terminal)
    return lines + _conditions(status.conditions, terminal, now) + _events(events, terminal, now)


def _spec(instance: Instance) -> list[Pair]:
    spec = instance.spec
    limits, carried_by = spec.resources, instance.status.runtime or spec.runtime
    values: list[Pair] = [
        ("Repository", spec.repository),
        ("Branch", instance.branch),
        ("Base branch", spec.base_branch or "(the repository's)"),
        ("Mode", spec.operating_mode),
        ("Permission mode", spec.permission_mode),
        ("Model", spec.model or "(Claude Code's own default)"),
        ("Runtime", carried_by or "(the setting runtime)"),
        *([] if carried_by == "process" else [("Image", spec.image or "(the setting instance_image)")]),
        ("Limits", f"cpus {limits.cpus:g}, memory {format_bytes(limits.memory)}, pids {limits.pids}"),
        ("Layout", spec.layout),
        ("Restart policy", spec.restart_policy),
        ("Worktree policy", spec.worktree_policy),
    ]
    if spec.args:
        values.append(("Arguments", " ".join(spec.args)))
    if spec.env:
        values.append(("Environment", "\n".join(f"{name}={value}" for name, value in spec.env.items())))
    if spec.prompt:
        values.append(("First prompt", _excerpt(spec.prompt)))
    return values


def _workspace(instance: Instance) -> list[Pair]:
    workspace = instance.status.workspace
    if workspace is None:
        return []
    return [
        ("Worktree", workspace.path),
        ("Branch", workspace.branch),
        ("Head", f"{workspace.head or '-'} ({workspace.ahead} ahead of {(workspace.base_commit or '-')[:10]})"),
        *([("Snapshot", workspace.snapshot)] if workspace.snapshot else []),
    ]


def _workload(instance: Instance, now: datetime) -> list[Pair]:
    status = instance.status
    values: list[Pair] = []
    if status.workload is not None:
        values += [
            ("Container", f"{status.workload.name} ({status.workload.state})"),
            ("Image id", status.workload.image_id or "-"),
            ("Started", _when(status.workload.started_at, now)),
        ]
    if status.attempt:
        values.append(("Attempt", f"{status.attempt} (restarts: {status.restarts})"))
    if status.last_exit is not None:
        last = status.last_exit
        code = f", status {last.exit_code}" if last.exit_code is not None else ""
        text = f": {last.message}" if last.message else ""
        values.append(("Last exit", f"{last.reason}{code}, {_when(last.finished_at, now)}{text}"))
    if status.failures.count:
        at = status.failures.retry_at
        retry = f", next start {at:%H:%M:%S} UTC" if at is not None and at > now else ""
        values.append(
            ("Failures", Cell(f"{status.failures.count} in a row ({status.failures.reason}){retry}", "notice"))
        )
    return values


def _session(instance: Instance, now: datetime) -> list[Pair]:
    session = instance.status.session
    if session is None:
        return []
    doing = session.state + (f", {session.waiting_for}" if session.waiting_for else "")
    values: list[Pair] = [
        ("Claude", doing + (f" ({session.tool})" if session.tool else "")),
        ("Since", _when(session.since, now)),
        ("Last activity", _when(session.last_activity_at, now)),
        ("Conversation", session.session_id or "-"),
        ("tmux session", f"{session.tmux_session or '-'} ({session.clients} attached)"),
        ("PID", str(session.pid) if session.pid is not None else "-"),
    ]
    if session.detail:
        values.append(("Detail", session.detail))
    return values


def _usage(instance: Instance, now: datetime) -> list[Pair]:
    usage = instance.status.usage
    if usage is None:
        return []
    limit = f" of {quantity(usage.memory_limit_bytes)}" if usage.memory_limit_bytes else ""
    values: list[Pair] = [
        ("CPU", f"{percent(usage.cpu_percent)} of one core"),
        ("Memory", quantity(usage.memory_bytes) + limit),
        ("Processes", str(usage.pids)),
        ("Measured", _when(usage.at, now)),
    ]
    if usage.oom_kills:
        values.append(("Out of memory", Cell(f"{usage.oom_kills} processes killed", "bad")))
    return values


def _conditions(conditions: Sequence[Condition], terminal: Terminal, now: datetime) -> list[str]:
    rows = [condition_row(condition, now) for condition in conditions]
    return _table("Conditions", CONDITION_COLUMNS, rows, terminal)


def _inputs(inputs: Sequence[Input], terminal: Terminal, now: datetime) -> list[str]:
    values: list[Pair] = [
        (age(each.created_at, now), f"{each.state}{f' ({each.reason})' if each.reason else ''}: {_excerpt(each.text)}")
        for each in inputs[-5:]
    ]
    return _section("Prompts sent", values, terminal)


def _events(events: Sequence[Event], terminal: Terminal, now: datetime) -> list[str]:
    columns = [column for column in EVENT_COLUMNS if column.title != "OBJECT"]
    rows = [[cell for index, cell in enumerate(event_row(event, now)) if index != 3] for event in events[-_RECENT:]]
    return _table("Events", columns, rows, terminal)


def _section(title: str, values: Sequence[Pair], terminal: Terminal) -> list[str]:
    return ["", terminal.style(title, "heading"), *pairs(values, terminal, indent=2)] if values else []


def _table(title: str, columns: Sequence[Column], rows: Sequence[Row], terminal: Terminal) -> list[str]:
    if not rows:
        return []
    indented = replace(terminal, width=terminal.width - 2)
    return ["", terminal.style(title, "heading"), *(f"  {line}" for line in table(columns, rows, indented))]


def _plain(values: dict[str, object]) -> list[Pair]:
    return [(key, str(value)) for key, value in values.items()]


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items()) or "-"


def _when(instant: datetime | None, now: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC ({age(instant, now)} ago)" if instant is not None else "-"


def _excerpt(text: str, limit: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit]}… ({len(text)} characters)"
