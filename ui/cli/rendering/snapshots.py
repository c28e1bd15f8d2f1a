"""Snapshots as tables and pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from controller.resources.snapshot import FileChange, FileStatus, Snapshot, SnapshotDetail

from .humanize import age, count
from .table import Cell, Column, pairs, table
from .terminal import Terminal

SHORT = 12
COLUMNS = (
    Column("COMMIT"),
    Column("INSTANCE"),
    Column("REPOSITORY", shrinks=True),
    Column("BRANCH", shrinks=True),
    Column("FILES", right=True),
    Column("AGE", right=True),
    Column("MESSAGE", wraps=True),
)
WIDE_COLUMNS = (*COLUMNS[:-1], Column("BASE"), Column("ID"), COLUMNS[-1])
_FILE_COLUMNS = (
    Column("STATUS"),
    Column("ADDED", right=True),
    Column("REMOVED", right=True),
    Column("FILE", wraps=True),
)
_STYLES = {FileStatus.ADDED: "added", FileStatus.DELETED: "removed"}


def listing(snapshots: Sequence[Snapshot], terminal: Terminal, now: datetime, *, wide: bool) -> list[str]:
    """Return the table's lines."""
    rows = []
    for each in snapshots:
        head = [each.commit[:SHORT], each.instance, each.repository, each.branch or "-", str(each.files)]
        more = [(each.base or "-")[:SHORT], each.id] if wide else []
        rows.append([*head, age(each.taken_at, now), *more, each.message])
    return table(WIDE_COLUMNS if wide else COLUMNS, rows, terminal)


def description(detail: SnapshotDetail, terminal: Terminal, now: datetime) -> list[str]:
    """Return the page of a snapshot, without its difference."""
    head: list[tuple[str, Cell | str]] = [
        ("Snapshot", detail.id),
        ("Instance", f"{detail.instance} (uid {detail.uid or 'unknown'})"),
        ("Repository", detail.repository),
        ("Taken", f"{detail.taken_at:%Y-%m-%d %H:%M:%S} UTC ({age(detail.taken_at, now)} ago)"),
        ("Commit", detail.commit),
        ("Ref", detail.ref),
        ("Stands on", detail.base or "nothing"),
        ("Branch", detail.branch or "-"),
        ("Changes", f"{count(detail.files, 'file')}, {detail.insertions} lines added, {detail.deletions} removed"),
        ("Message", detail.text),
    ]
    lines = pairs(head, terminal)
    if not detail.changes:
        return lines
    lines += ["", *table(_FILE_COLUMNS, [_file_row(each) for each in detail.changes], terminal)]
    left = detail.files - len(detail.changes)
    return [*lines, f"... and {count(left, 'file')} more"] if left > 0 and len(detail.changes) >= 1000 else lines


def _file_row(change: FileChange) -> list[Cell | str]:
    name = f"{change.old_path} -> {change.path}" if change.old_path is not None else change.path
    binary = change.insertions is None
    return [
        Cell(change.status, _STYLES.get(change.status, "notice")),
        "-" if binary else str(change.insertions),
        "binary" if binary else str(change.deletions),
        name,
    ]
