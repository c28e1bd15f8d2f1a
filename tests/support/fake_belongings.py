"""What the fake engine holds for one installation, wanted or not, and taking single things away.

The part of ``fake_runtime.py`` that has nothing to do with the life of a workload.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from controller.errors import Conflict, Retryable
from controller.runtime.protocol import (
    LABEL_ATTEMPT,
    LABEL_INSTALLATION,
    LABEL_INSTANCE,
    LABEL_UID,
    Belonging,
    BelongingKind,
)

from .fake_engine import ALIVE, FakeContainer, FakeEngine


@dataclass(frozen=True)
class FakeMark:
    """Whose a volume or network is; one without a mark was made by somebody else."""

    id: str
    installation: str
    instance: str
    uid: str
    created_at: datetime


class FakeBelongings:
    """The two verbs, over what :meth:`mark` has marked."""

    engine: FakeEngine
    installation: str
    network: str

    def mark(self, name: str, instance: str = "", uid: str = "") -> None:
        """Mark a volume or network that is being made, unless it is there already."""
        if name not in self.engine.marks:
            self.engine.marks[name] = FakeMark(
                self.engine.new_id(), self.installation, instance, uid, self.engine.now()
            )

    def belongings(self) -> tuple[Belonging, ...]:
        with self.engine.call("belongings"):
            containers = [each for each in self.engine.containers.values() if each.installation == self.installation]
            return (
                *(_workload(each) for each in containers),
                *self._marked(BelongingKind.HOME, set(self.engine.homes)),
                *self._marked(BelongingKind.NETWORK, self.engine.networks),
            )

    def _marked(self, kind: BelongingKind, there: set[str]) -> list[Belonging]:
        return [
            Belonging(
                kind,
                mark.id,
                name,
                mark.instance,
                mark.uid,
                mark.installation,
                mark.created_at,
                running=any(each.seen.state in ALIVE for each in self._users(kind, name)),
                labels=_labels(mark.installation, mark.instance, mark.uid),
            )
            for name, mark in sorted(self.engine.marks.items())
            if name in there and mark.installation == self.installation
        ]

    def _users(self, kind: BelongingKind, name: str) -> list[FakeContainer]:
        if kind is BelongingKind.NETWORK:
            return [each for each in self.engine.containers.values() if each.network == name]
        return [each for each in self.engine.containers.values() if each.home == name]

    def discard(self, belonging: Belonging) -> None:
        with self.engine.call("discard"):
            if belonging.kind is BelongingKind.WORKLOAD:
                self._discard_workload(belonging)
                return
            there = self.engine.homes if belonging.kind is BelongingKind.HOME else self.engine.networks
            mark = self.engine.marks.get(belonging.name)
            if belonging.name not in there or (mark is not None and mark.id != belonging.id):
                return
            if mark is None or (mark.uid, mark.installation) != (belonging.uid, self.installation):
                raise _not_ours(belonging)
            if users := self._users(belonging.kind, belonging.name):
                raise Retryable("StillInUse", f"{belonging.name!r} is in use by the container {users[0].seen.name!r}")
            if belonging.kind is BelongingKind.HOME:
                del self.engine.homes[belonging.name]
            else:
                self.engine.networks.discard(belonging.name)
            del self.engine.marks[belonging.name]
            self.engine.changes.append(f"discard {belonging.name}")

    def _discard_workload(self, belonging: Belonging) -> None:
        found = [each for each in self.engine.containers.values() if each.seen.id == belonging.id]
        for container in found:
            if (container.seen.uid, container.installation) != (belonging.uid, self.installation):
                raise _not_ours(belonging)
            if container.seen.state in ALIVE:
                raise Conflict("StillRunning", f"the container {belonging.name!r} is running: stop it first")
            del self.engine.containers[container.seen.name]
            self.engine.tell(container)
            self.engine.changes.append(f"discard {belonging.name}")


def _workload(container: FakeContainer) -> Belonging:
    seen = container.seen
    labels = _labels(container.installation, seen.instance, seen.uid)
    return Belonging(
        BelongingKind.WORKLOAD,
        seen.id,
        seen.name,
        seen.instance,
        seen.uid,
        container.installation,
        container.created_at,
        running=seen.state in ALIVE,
        labels={**container.spec.labels, **labels, LABEL_ATTEMPT: str(seen.attempt)},
    )


def _labels(installation: str, instance: str, uid: str) -> dict[str, str]:
    labels = {LABEL_INSTALLATION: installation, LABEL_INSTANCE: instance, LABEL_UID: uid}
    return {name: value for name, value in labels.items() if value}


def _not_ours(belonging: Belonging) -> Conflict:
    return Conflict("NameConflict", f"{belonging.name!r} is not what it was: it does not carry the uid {belonging.uid}")
