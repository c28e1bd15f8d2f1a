"""The bridge all instances share: they reach the outside world through it, and cannot reach each other.

A host service that listens on 0.0.0.0 is still reachable through the bridge's gateway; the product's own API
listens on loopback only.
"""

from __future__ import annotations

import logging

from controller.errors import Conflict, Terminal
from controller.runtime.protocol import LABEL_INSTALLATION

from .engine import CONFLICT, GONE, Engine, Json, Refused

logger = logging.getLogger(__name__)

LABEL_NETWORK = "cc-orchestrator.network"
_ICC = "com.docker.network.bridge.enable_icc"


def ensure_network(engine: Engine, name: str, installation: str) -> None:
    """Make the bridge unless it is there; one made by ``make demo`` or another installation is as good.

    Raises:
        Conflict: ``NetworkConflict``, a network of that name is not ours.
        Terminal: ``NetworkNotIsolated``, it is ours, but lets instances talk to each other.
    """
    found = _find(engine, name)
    if found is None:
        try:
            _create(engine, name, installation)
        except Refused as refused:
            if refused.status != CONFLICT:
                raise
        found = _find(engine, name)
    if found is not None:
        _check(name, found)


def examine_network(engine: Engine, name: str) -> str | None:
    """Return a word on the bridge, or ``None`` where it was not made yet; changes nothing.

    Raises:
        Conflict, Terminal: what :func:`ensure_network` raises.
    """
    found = _find(engine, name)
    if found is None:
        return None
    _check(name, found)
    return f"{name}: a bridge on which instances cannot reach each other"


def _find(engine: Engine, name: str) -> Json | None:
    try:
        with engine.call(f"inspect the network {name!r}") as client:
            found: Json = client.inspect_network(name)
            return found
    except Refused as refused:
        if refused.status == GONE:
            return None
        raise


def _create(engine: Engine, name: str, installation: str) -> None:
    with engine.call(f"create the network {name!r}", act=True) as client:
        client.create_network(
            name,
            driver="bridge",
            options={_ICC: "false"},
            labels={LABEL_NETWORK: "instances", LABEL_INSTALLATION: installation},
            check_duplicate=True,
        )
    logger.info("created the network", extra={"cco_network": name})


def _check(name: str, network: Json) -> None:
    labels = network.get("Labels") or {}
    way_out = f"remove it ('docker network rm {name}') or name another one in the setting 'network'"
    if LABEL_NETWORK not in labels and LABEL_INSTALLATION not in labels:
        raise Conflict("NetworkConflict", f"network: {name!r} exists and was not made by cc-orchestrator; {way_out}")
    if network.get("Driver") != "bridge" or (network.get("Options") or {}).get(_ICC) != "false":
        raise Terminal(
            "NetworkNotIsolated",
            f"network: {name!r} does not keep instances apart (a bridge with {_ICC}=false); {way_out}",
        )
