"""Everything one installation has on the engine, wanted or not, and taking single things of it away.

``controller/orphans`` compares this with what is declared. Labels find our things; the identifier and the uid
together decide about each before it goes, and the engine itself refuses to remove what is running or in use.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import docker

from controller.errors import Conflict, Retryable
from controller.runtime.protocol import LABEL_INSTALLATION, LABEL_INSTANCE, LABEL_UID, Belonging, BelongingKind

from .engine import CONFLICT, FORBIDDEN, GONE, Engine, Json, Refused
from .observe import ALIVE

logger = logging.getLogger(__name__)


def find_belongings(engine: Engine, installation: str) -> tuple[Belonging, ...]:
    """Return containers, HOME volumes and networks that carry the installation's label; four calls in all."""
    ours = {"label": [f"{LABEL_INSTALLATION}={installation}"]}
    with engine.call("list containers") as client:
        containers: list[Json] = client.containers(all=True, filters=ours)
        alive: list[Json] = client.containers()  # strangers, too, may use what is ours
    with engine.call("list volumes") as client:
        volumes: list[Json] = client.volumes(filters=ours)["Volumes"] or []
    with engine.call("list networks") as client:
        networks: list[Json] = client.networks(filters=ours)
    mounted = {mount.get("Name") for each in alive for mount in each["Mounts"]}
    joined = {
        network["NetworkID"] for each in alive for network in (each["NetworkSettings"]["Networks"] or {}).values()
    }
    return (
        *(_container(each) for each in containers),
        *(_volume(each, running=each["Name"] in mounted) for each in volumes),
        *(_network(each, running=each["Id"] in joined) for each in networks),
    )


def _container(found: Json) -> Belonging:
    created = datetime.fromtimestamp(found["Created"], UTC)
    name = found["Names"][0].removeprefix("/") if found["Names"] else found["Id"][:12]
    running = found["State"] in ALIVE
    return _belonging(BelongingKind.WORKLOAD, found["Id"], name, created, found["Labels"], running=running)


def _volume(found: Json, *, running: bool) -> Belonging:
    # A volume has no identifier but its name, which ends in the uid's beginning. Engines up to 20.10 call the last
    # change of its top folder its creation: it may be older than it seems, never younger.
    created = datetime.fromisoformat(found["CreatedAt"]) if found.get("CreatedAt") else None
    return _belonging(BelongingKind.HOME, found["Name"], found["Name"], created, found["Labels"], running=running)


def _network(found: Json, *, running: bool) -> Belonging:
    created = datetime.fromisoformat(found["Created"])
    return _belonging(BelongingKind.NETWORK, found["Id"], found["Name"], created, found["Labels"], running=running)


def _belonging(
    kind: BelongingKind,
    identifier: str,
    name: str,
    created: datetime | None,
    labels: Mapping[str, str] | None,
    *,
    running: bool,
) -> Belonging:
    known = labels or {}
    return Belonging(
        kind=kind,
        id=identifier,
        name=name,
        instance=known.get(LABEL_INSTANCE, ""),
        uid=known.get(LABEL_UID, ""),
        installation=known.get(LABEL_INSTALLATION, ""),
        created_at=created,
        running=running,
        labels=dict(known),
    )


@dataclass(frozen=True, slots=True)
class _Verbs:
    """How a kind is called, looked at, and removed; ``filter`` finds the containers that use one."""

    noun: str
    inspect: Callable[[docker.APIClient, str], Json]
    remove: Callable[[docker.APIClient, str], None]
    filter: str | None = None


_VERBS = {
    BelongingKind.WORKLOAD: _Verbs(
        "container",
        lambda client, key: cast("Json", client.inspect_container(key)),
        lambda client, key: client.remove_container(key, v=True),
    ),
    BelongingKind.HOME: _Verbs(
        "volume",
        lambda client, key: client.inspect_volume(key),
        lambda client, key: client.remove_volume(key),
        "volume",
    ),
    BelongingKind.NETWORK: _Verbs(
        "network",
        lambda client, key: cast("Json", client.inspect_network(key)),
        lambda client, key: client.remove_network(key),
        "network",
    ),
}


def discard(engine: Engine, installation: str, belonging: Belonging) -> None:
    """Remove exactly this object; see the protocol. Nothing is ever forced.

    Raises:
        Conflict: ``StillRunning``, ``NameConflict``.
        Retryable: ``StillInUse``.
    """
    verbs = _VERBS[belonging.kind]
    what = f"{verbs.noun} {belonging.name!r}"
    try:
        with engine.call(f"inspect the {what}") as client:
            found = verbs.inspect(client, belonging.id)
    except Refused as refused:
        if refused.status == GONE:
            return
        raise
    _check_ours(found, installation, belonging, what)
    if (found.get("State") or {}).get("Status") in ALIVE:
        raise _still_running(what)
    _check_unused(engine, verbs, belonging, what)
    try:
        with engine.call(f"remove the {what}", act=True) as client:
            verbs.remove(client, belonging.id)
    except Refused as refused:
        if refused.status == GONE or "already in progress" in refused.text:
            return
        if refused.status not in (CONFLICT, FORBIDDEN):
            raise
        if belonging.kind is BelongingKind.WORKLOAD:
            raise _still_running(what) from refused
        raise Retryable("StillInUse", f"the {what} is in use: {refused.text}") from refused
    logger.info("removed what was ours", extra={"cco_instance": belonging.instance, "cco_object": what})


def _check_ours(found: Json, installation: str, belonging: Belonging, what: str) -> None:
    # A container has its labels in its configuration.
    labels = (found.get("Config") or found).get("Labels") or {}
    if labels.get(LABEL_UID, "") != belonging.uid or labels.get(LABEL_INSTALLATION) != installation:
        raise Conflict("NameConflict", f"the {what} does not carry the uid {belonging.uid!r} of ours: it is left alone")


def _check_unused(engine: Engine, verbs: _Verbs, belonging: Belonging, what: str) -> None:
    """Refuse what a stopped container still needs: for a network, the engine looks at running ones only."""
    if verbs.filter is None:
        return
    with engine.call(f"list the containers that use the {what}") as client:
        users = client.containers(all=True, filters={verbs.filter: belonging.id})
    if users:
        names = ", ".join(sorted(each["Names"][0].removeprefix("/") for each in users if each["Names"]))
        raise Retryable("StillInUse", f"the {what} is in use by: {names}")


def _still_running(what: str) -> Conflict:
    return Conflict("StillRunning", f"the {what} is running: stop it first")
