"""Workloads as Docker containers; found through the entry point ``docker`` of ``cc_orchestrator.runtimes``.

::

    runtime.py    the verbs of the protocol, in terms of the modules below
    container.py  WorkloadSpec -> the container the engine is asked for: limits, mounts, hardening
    observe.py    what the engine says of a container -> Workload
    network.py    the bridge all instances share and on which they cannot reach each other
    belongings.py what of ours is on the engine, wanted or not
    events.py     one subscription for all instances
    streams.py    commands and terminals inside a container
    engine.py     the connection: deadlines, and the engine's errors in our words

Only this package imports the ``docker`` library.
"""

from __future__ import annotations

from .runtime import DockerRuntime

__all__ = ["DockerRuntime"]
