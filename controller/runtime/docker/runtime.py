"""The verbs of the Runtime protocol for Docker.

The loop (``controller/reconcile``) and the streams (``controller/streams``) come in here. Every verb that acts
looks at the engine first: labels find our containers, the uid decides. Only ``inspect`` remembers, and only that a
container runs (``remembered.py``).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from controller.errors import Conflict, Retryable
from controller.runtime.protocol import (
    LABEL_INSTALLATION,
    LABEL_UID,
    AttachStream,
    Belonging,
    ExecResult,
    Limits,
    Resync,
    Workload,
    WorkloadSpec,
    WorkloadState,
    not_running,
    predecessor_alive,
)

from .belongings import discard, find_belongings
from .container import container_body, container_name, home_name, limits_body
from .engine import CONFLICT, GONE, Engine, Failed, Json, Refused
from .events import watch_events
from .network import ensure_network
from .observe import ALIVE, attempt_of, limits_of, workload
from .refusals import explain_create, explain_limits, explain_start, explain_update
from .remembered import RunningContainers
from .starting import Unstartable, start_container
from .streams import DETACH_KEYS, open_terminal, run_command

if TYPE_CHECKING:
    import docker

    from controller.settings import Settings

logger = logging.getLogger(__name__)

# More at once start no faster, they only wait longer (measured: 8-10 a second at 4, 8 and 16).
_PARALLEL_STARTS = 4
_START_TURN_SECONDS = 60
_REMOVAL_SECONDS = 30
_NAMING_SECONDS = 10
_MAX_LOG_LINES = 10_000


class DockerRuntime:
    """Containers of one installation on one Docker engine; safe to use from many threads.

    Nothing is asked of the engine before the first verb, so a controller can start without one.

    Args:
        installation: identifier of the store; only containers that carry it are ever seen or touched.
        prefix: first part of the names of containers and volumes.
        network: name of the bridge, made when it is missing.
        client: a connection to use instead of the one that ``DOCKER_HOST`` and its companions describe.
    """

    def __init__(self, *, installation: str, prefix: str, network: str, client: docker.APIClient | None = None) -> None:
        self._installation = installation
        self._prefix = prefix
        self._network = network
        self._engine = Engine(client)
        self._running_ones = RunningContainers(network)
        self._start_turns = threading.BoundedSemaphore(_PARALLEL_STARTS)
        self._making_network = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings, installation: str) -> DockerRuntime:
        """Return the runtime the settings describe."""
        return cls(installation=installation, prefix=settings.container_prefix, network=settings.network)

    def close(self) -> None:
        """Drop idle connections to the engine."""
        self._engine.close()

    # Looking ------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the network.

        Raises:
            Conflict: ``NetworkConflict``.
            Terminal: ``NetworkNotIsolated``.
        """
        with self._making_network:
            ensure_network(self._engine, self._network, self._installation)

    def inspect(self, uid: str) -> tuple[Workload, ...]:
        """Return the uid's containers, newest attempt first; asks unless all are known to run as they did."""
        known = self._running_ones.recall(uid, self._find)
        return self._look(uid) if known is None else known

    def _look(self, uid: str) -> tuple[Workload, ...]:
        return self._running_ones.look(uid, lambda: self._described(self._find(uid)))

    def list(self) -> tuple[Workload, ...]:
        """Return every container of this installation; the engine's list lacks exit codes and limits."""
        return self._described(self._find())

    def _find(self, uid: str | None = None) -> Sequence[Json]:
        labels = [f"{LABEL_INSTALLATION}={self._installation}"]
        if uid is not None:
            labels.append(f"{LABEL_UID}={uid}")
        with self._engine.call("list containers") as client:
            found: Sequence[Json] = client.containers(all=True, filters={"label": labels})
            return found

    def _described(self, summaries: Sequence[Json]) -> tuple[Workload, ...]:
        """Return what the engine says of each that is still there, newest attempt first."""
        found = []
        for summary in summaries:
            try:
                with self._engine.call("inspect a container") as client:
                    found.append(workload(client.inspect_container(summary["Id"]), self._network))
            except Refused as refused:
                if refused.status != GONE:  # removed since the list
                    raise
        return tuple(sorted(found, key=lambda each: -each.attempt))

    def image_id(self, image: str) -> str | None:
        """Return the identifier of a local image; a name that is no image name is not there either."""
        try:
            with self._engine.call(f"inspect the image {image!r}") as client:
                path = f"/images/{quote(image, safe='/:@')}/json"
                return str(self._engine.request(client, "GET", path).json()["Id"])
        except Refused:
            return None

    # Changing -----------------------------------------------------------------------------------------------

    def create(self, spec: WorkloadSpec) -> None:
        """Create the container, with its HOME where that is not there yet.

        Raises:
            Terminal: ``ImageNotFound``, ``InvalidLimits``, ``InvalidWorkload``.
            Retryable: ``MountSourceMissing``, ``PredecessorAlive``.
            Conflict: ``NameConflict``.
            Conflict, Terminal: what :meth:`prepare` raises; nothing runs on a network that is not as it must be.
        """
        found = self._find(spec.uid)
        if _is_among(found, spec):
            return
        alive = [each for each in found if each["State"] in ALIVE]
        if alive:
            raise predecessor_alive(spec, alive[0]["Names"][0].lstrip("/"))
        self.prepare()
        # A volume of that name would be mounted whoever made it; an absent one is made by the create.
        self._home_is_there(home_name(self._prefix, spec.name, spec.uid), spec.uid)
        name = container_name(self._prefix, spec.name, spec.attempt)
        body = container_body(spec, installation=self._installation, prefix=self._prefix, network=self._network)
        try:
            making, changing = self._engine.making(spec.uid), self._running_ones.changing(spec.uid)
            with changing, making, self._engine.call(f"create the container {name!r}", act=True) as client:
                created = self._engine.request(client, "POST", "/containers/create", params={"name": name}, json=body)
        except Refused as refused:
            if refused.status == CONFLICT and self._is_made_by_another_pass(name, spec):
                return
            raise explain_create(refused, spec, name) from refused.__cause__
        logger.info("created the container", extra={"cco_instance": spec.name, "cco_container": name})
        for warning in created.json().get("Warnings") or ():
            logger.warning("docker warned", extra={"cco_instance": spec.name, "cco_reason": warning})

    def _is_made_by_another_pass(self, name: str, spec: WorkloadSpec) -> bool:
        """Tell whether the container that has the name is the one to be made.

        The engine takes a name a moment before the container can be seen.
        """
        deadline = time.monotonic() + _NAMING_SECONDS
        while time.monotonic() < deadline:
            try:
                with self._engine.call(f"inspect the container {name!r}") as client:
                    client.inspect_container(name)
            except Refused as refused:
                if refused.status != GONE:
                    raise
                threading.Event().wait(0.02)
            else:
                return _is_among(self._find(spec.uid), spec)
        raise Retryable("NamePending", f"the container {name!r} is being made or removed: it is tried again")

    def _home_is_there(self, home: str, uid: str) -> bool:
        try:
            with self._engine.call(f"inspect the volume {home!r}") as client:
                labels = client.inspect_volume(home).get("Labels") or {}
        except Refused as refused:
            if refused.status == GONE:
                return False
            raise
        if labels.get(LABEL_UID) != uid or labels.get(LABEL_INSTALLATION) != self._installation:
            raise Conflict(
                "NameConflict",
                f"the volume {home!r} exists and does not carry the uid {uid} of this installation: it is left alone; "
                f"rename the instance, or look into the volume and remove it ('docker volume rm {home}')",
            )
        return True

    def start(self, uid: str, attempt: int) -> None:
        """Start the container, at most four at a time; see the protocol.

        Raises:
            Retryable: ``WorkloadNotFound``, ``MountSourceMissing``, ``TooManyStarts``.
            Terminal: ``InvalidWorkload``.
            Conflict, Terminal: what :meth:`prepare` raises.
        """
        with self._running_ones.changing(uid):
            self._start_attempt(uid, attempt)

    def _start_attempt(self, uid: str, attempt: int) -> None:
        found = [each for each in self._find(uid) if attempt_of(each["Labels"]) == attempt]
        if not found:
            raise _not_found(uid, attempt)
        container = found[0]
        if container["State"] in ("running", "restarting"):
            return
        if container["State"] in ("removing", "dead"):
            # A removal by hand that failed half-way: it can never start again, and it blocks the name.
            self._remove(container["Id"])
            raise _not_found(uid, attempt)
        if container["State"] == "paused":
            with self._engine.call("resume a paused container", act=True) as client:
                client.unpause(container["Id"])
            return
        self.prepare()
        if not self._start_turns.acquire(timeout=_START_TURN_SECONDS):
            raise Retryable("TooManyStarts", "other containers have been starting for a minute: it is tried again")
        try:
            self._start(container)
        except Unstartable as stuck:
            self._remove(container["Id"])
            raise _not_found(uid, attempt) from stuck
        except Refused as refused:
            if refused.status == GONE or "marked for removal" in refused.text:
                raise _not_found(uid, attempt) from refused
            raise explain_start(refused) from refused.__cause__
        finally:
            self._start_turns.release()

    def _start(self, container: Json) -> None:
        start_container(self._engine, container, self._network)

    def stop(self, uid: str, *, grace: float) -> None:
        """Stop the uid's containers; each gets SIGTERM, and SIGKILL after ``grace`` seconds, rounded up.

        The engine resumes a paused one for it.
        """
        for container in self._find(uid):
            if container["State"] not in ALIVE:
                continue
            stopping = self._engine.call("stop the container", act=True)
            with self._running_ones.changing(uid), _gone_is_done(), stopping as client:
                client.stop(container["Id"], timeout=math.ceil(grace))

    def remove(self, uid: str) -> None:
        """Remove the uid's containers and wait until they are gone; named volumes stay."""
        with self._running_ones.changing(uid):
            for container in self._find(uid):
                self._remove(container["Id"])

    def _remove(self, container: str) -> None:
        try:
            with _gone_is_done(), self._engine.call("remove the container", act=True) as client:
                client.remove_container(container, force=True, v=True)
        except Refused as refused:
            if refused.status != CONFLICT:
                raise
            self._wait_until_gone(container)  # somebody else's removal is under way

    def _wait_until_gone(self, container: str) -> None:
        deadline = time.monotonic() + _REMOVAL_SECONDS
        while time.monotonic() < deadline:
            try:
                with self._engine.call("inspect a container") as client:
                    client.inspect_container(container)
            except Refused as refused:
                if refused.status == GONE:
                    return
                raise
            threading.Event().wait(0.05)
        raise Retryable("RemovalPending", f"the container {container[:12]} is still being removed: it is tried again")

    def remove_home(self, uid: str, name: str) -> None:
        """Remove the HOME volume.

        Raises:
            Conflict: ``NameConflict``, the volume is not this uid's.
            Retryable: ``HomeInUse``.
        """
        home = home_name(self._prefix, name, uid)
        if not self._home_is_there(home, uid):
            return
        try:
            with _gone_is_done(), self._engine.call(f"remove the volume {home!r}", act=True) as client:
                client.remove_volume(home)
        except Refused as refused:
            if refused.status != CONFLICT:
                raise
            raise Retryable("HomeInUse", f"the volume {home!r} is in use by a container: {refused.text}") from refused

    def update(self, uid: str, limits: Limits) -> None:
        """Set the limits of the uid's containers, running or not; equal limits change nothing.

        Raises:
            Terminal: ``InvalidLimits``, also when the processes hold more memory than that.
        """
        for container in self._find(uid):
            with self._running_ones.changing(uid), _gone_is_done():
                self._update(container["Id"], limits)

    def _update(self, container: str, limits: Limits) -> None:
        wanted = limits_body(limits)
        try:
            with self._engine.call("change the limits", act=True) as client:
                if limits_body(limits_of(client.inspect_container(container)["HostConfig"])) != wanted:
                    self._engine.request(client, "POST", f"/containers/{container}/update", json=wanted)
        except Failed as failed:
            raise explain_update(failed, limits) from failed.__cause__
        except Refused as refused:
            raise explain_limits(refused, limits) or refused from refused.__cause__

    # Keeping house ------------------------------------------------------------------------------------------

    def belongings(self) -> tuple[Belonging, ...]:
        """Return everything of this installation; see :mod:`~.belongings`."""
        return find_belongings(self._engine, self._installation)

    def discard(self, belonging: Belonging) -> None:
        """Remove exactly this object; see :func:`~.belongings.discard`.

        Raises:
            Conflict: ``StillRunning``, ``NameConflict``.
            Retryable: ``StillInUse``.
        """
        discard(self._engine, self._installation, belonging)

    # Streams ------------------------------------------------------------------------------------------------

    def _running(self, uid: str) -> Workload:
        for each in self._look(uid):
            if each.state is WorkloadState.RUNNING:
                return each
        raise not_running("no container of the instance is running")

    def exec(self, uid: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        """Run a command in the running container; see :func:`~.streams.run_command`."""
        return run_command(self._engine, self._running(uid).id, argv, timeout=timeout)

    def attach(self, uid: str, argv: Sequence[str], *, columns: int, rows: int) -> AbstractContextManager[AttachStream]:
        """Run a program with a terminal; see :func:`~.streams.open_terminal`."""
        return open_terminal(self._engine, self._running(uid).id, argv, columns=columns, rows=rows)

    def attach_argv(self, uid: str, argv: Sequence[str]) -> tuple[str, ...]:
        """Return the ``docker exec`` command line; the engine's detach keys are moved out of people's way."""
        return ("docker", "exec", "-it", f"--detach-keys={DETACH_KEYS}", self._running(uid).name, *argv)

    def logs(self, uid: str, *, tail: int) -> bytes:
        """Return the newest container's last lines, at most 10,000; nothing when there is no container."""
        newest = self._look(uid)[:1]
        for each in newest:
            with _gone_is_done(), self._engine.call("read the logs") as client:
                lines: bytes = client.logs(each.id, tail=min(tail, _MAX_LOG_LINES))
                return lines
        return b""

    def watch(self, stop: threading.Event) -> Iterator[str | Resync]:
        """Yield what changed; see :mod:`~.events`."""
        return watch_events(self._engine, self._installation, self._running_ones, stop)


def _is_among(found: Sequence[Json], spec: WorkloadSpec) -> bool:
    return any(attempt_of(each["Labels"]) == spec.attempt for each in found)


@contextmanager
def _gone_is_done() -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        if refused.status != GONE:
            raise


def _not_found(uid: str, attempt: int) -> Retryable:
    return Retryable("WorkloadNotFound", f"the container of attempt {attempt} of {uid} is gone: it is made again")
