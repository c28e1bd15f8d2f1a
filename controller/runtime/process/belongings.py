"""Everything an installation has on this machine, and the removal of exactly one piece of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from controller.errors import Conflict, Retryable
from controller.runtime.protocol import (
    LABEL_ATTEMPT,
    LABEL_INSTALLATION,
    LABEL_INSTANCE,
    LABEL_SPEC_HASH,
    LABEL_UID,
    Belonging,
    BelongingKind,
    Workload,
)

from .homes import Homes, Owner
from .records import Record, Records


def labels_of(record: Record) -> dict[str, str]:
    """Return everything a workload is marked with."""
    return {
        **record.labels,
        LABEL_INSTALLATION: record.installation,
        LABEL_INSTANCE: record.instance,
        LABEL_UID: record.uid,
        LABEL_ATTEMPT: str(record.attempt),
        LABEL_SPEC_HASH: record.spec_hash,
    }


def find_belongings(
    records: Records, homes: Homes, installation: str, seen: Sequence[Workload]
) -> tuple[Belonging, ...]:
    """Return the installation's workloads, of which ``seen`` tells the state, and its HOME folders."""
    alive = {workload.id for workload in seen if workload.state.alive}
    workloads = [
        Belonging(
            kind=BelongingKind.WORKLOAD,
            id=record.id,
            name=record.name,
            instance=record.instance,
            uid=record.uid,
            installation=installation,
            created_at=datetime.fromisoformat(record.created_at),
            running=record.id in alive,
            labels=labels_of(record),
        )
        for record in records.all()
        if record.installation == installation
    ]
    used = {each.uid for each in workloads if each.running}
    return (
        *workloads,
        *(
            Belonging(
                kind=BelongingKind.HOME,
                id=_home_id(name, owner),
                name=name,
                instance=owner.instance,
                uid=owner.uid,
                installation=installation,
                created_at=datetime.fromisoformat(owner.created_at),
                running=owner.uid in used,
                labels={LABEL_INSTALLATION: installation, LABEL_INSTANCE: owner.instance, LABEL_UID: owner.uid},
            )
            for name, owner in homes.all()
            if owner.installation == installation
        ),
    )


def discard(
    belonging: Belonging, records: Records, homes: Homes, installation: str, alive: Callable[[Record], bool]
) -> None:
    """Remove exactly this; see :meth:`~controller.runtime.protocol.Runtime.discard`.

    Args:
        belonging: what to remove.
        records: of all workloads.
        homes: all HOME folders.
        installation: whose things may be removed at all.
        alive: tells whether anything of a workload runs, and ends what its shim left behind if not.
    """
    if belonging.kind is BelongingKind.WORKLOAD:
        record = next((each for each in records.all() if each.id == belonging.id), None)
        if record is None:
            return
        _check_ours(belonging, installation, record.installation, record.uid)
        if alive(record):
            raise Conflict("StillRunning", f"the workload {record.name} runs: stop its instance first")
        records.forget(record.name)
    elif belonging.kind is BelongingKind.HOME:
        owner = homes.owner(belonging.name)
        if owner is None or _home_id(belonging.name, owner) != belonging.id:
            return
        _check_ours(belonging, installation, owner.installation, owner.uid)
        users = [each.name for each in records.all() if (each.installation, each.uid) == (installation, owner.uid)]
        if users:
            raise Retryable("StillInUse", f"the HOME {belonging.name} is in use by the workload {users[0]}")
        homes.remove(owner)


def _check_ours(belonging: Belonging, installation: str, theirs: str, uid: str) -> None:
    if (theirs, uid) != (installation, belonging.uid):
        message = f"{belonging.name} does not carry the uid {belonging.uid!r} of this installation: it is left alone"
        raise Conflict("NameConflict", message)


def _home_id(name: str, owner: Owner) -> str:
    return f"{name}@{owner.created_at}"
