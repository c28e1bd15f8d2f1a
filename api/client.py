"""The client of the HTTP API: for the command line, the dashboard and tests; there is no second one.

::

    ClientError
    ├── ApiError            the server refused; ``str()`` is for people, with the way out
    └── ServerUnavailable   no server answered

Errors and ``repr`` never contain the token. Everything is synchronous and safe to use from several threads.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from controller.resources import Event, Input, Instance, InstanceManifest, Kind, Repository, RepositoryManifest
from controller.resources.check import Diagnosis, RecentLogs, Repairs
from controller.resources.orphan import OrphanList, SweepReport, SweepRequest
from controller.resources.snapshot import RestoreRequest, SnapshotDetail, SnapshotList, SnapshotRestored
from controller.settings import Settings

from .destination import server_address, server_token
from .transport import ApiError, ClientError, ServerUnavailable, Transport
from .watching import Resync, follow, parse_instance
from .wire import (
    MAX_PAGE,
    Applied,
    Attach,
    FieldError,
    Health,
    PartHealth,
    Plan,
    PlannedAction,
    Version,
    WatchEvent,
    WatchKind,
)

__all__ = [
    "ApiError",
    "Applied",
    "Client",
    "ClientError",
    "FieldError",
    "Health",
    "PartHealth",
    "Plan",
    "PlannedAction",
    "Resync",
    "ServerUnavailable",
    "Version",
    "WatchEvent",
    "WatchKind",
]

Obj = TypeVar("Obj", Instance, Repository)

_HOUSEKEEPING_SECONDS = 300.0


class Client:
    """Speaks to one server.

    Args:
        base_url: for example ``http://127.0.0.1:8080``.
        token: sent as bearer token; ``None`` = none, which only reaches health.
        transport: replaces the network, for tests.
        timeout: seconds for connecting and for each answer.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._transport = Transport(base_url, token, transport, timeout)

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        server: str | None = None,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> Client:
        """Return a client for the server that argument, ``CCO_SERVER`` or the settings name, in this order.

        The token comes from the argument, ``CCO_TOKEN``, the file ``CCO_TOKEN_FILE`` or the state directory.

        Raises:
            Terminal: ``TokenUnreadable``.
        """
        return cls(server_address(settings, server), token or server_token(settings), transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.base_url!r})"

    @property
    def base_url(self) -> str:
        """Where the server is."""
        return self._transport.base_url

    def close(self) -> None:
        """Close the connections; idempotent."""
        self._transport.close()

    # -- instances ----------------------------------------------------------------------------------------

    def list_instances(self, selector: str | None = None, repository: str | None = None) -> list[Instance]:
        """Return every instance, by name; ``selector`` is for example ``team=web,tier!=test``."""
        query = {"selector": selector, "repository": repository}
        return [parse_instance(item) for item in self._pages("/api/instances", query)]

    def get_instance(self, name: str) -> Instance:
        """Return one instance."""
        return parse_instance(self._transport.json("GET", _path("instances", name)))

    def create_instance(self, manifest: InstanceManifest) -> Instance:
        """Declare a new instance; repeating the same call after a broken connection does not make two."""
        return parse_instance(self._create("/api/instances", manifest))

    def apply_instance(
        self,
        manifest: InstanceManifest,
        *,
        dry_run: bool = False,
        resource_version: int | None = None,
    ) -> Applied[Instance]:
        """Create or replace; ``resource_version`` refuses if it changed since."""
        answer = self._apply("instances", manifest, dry_run=dry_run, resource_version=resource_version)
        return Applied[Instance](**answer | {"object": parse_instance(answer["object"])})

    def patch_instance(self, name: str, patch: Mapping[str, Any], resource_version: int | None = None) -> Instance:
        """Change some fields (a JSON merge patch on ``spec`` and ``metadata.labels``)."""
        return parse_instance(self._patch("instances", name, patch, resource_version))

    def delete_instance(self, name: str, uid: str | None = None, *, discard_work: bool = False) -> Instance:
        """Ask for its deletion and return it as it is now; it disappears when its work is safe.

        ``discard_work`` lets it disappear although some of its work cannot be saved.
        """
        params = {"uid": uid, "discard_work": name if discard_work else None}
        return parse_instance(self._transport.json("DELETE", _path("instances", name), params=params))

    def instance_plan(self, name: str) -> Plan:
        """Return what the controller would do next, and why."""
        return Plan.model_validate(self._transport.json("GET", _path("instances", name, "plan")))

    def instance_events(self, name: str) -> list[Event]:
        """Return what happened to it, oldest first."""
        return self._events(_path("instances", name, "events"))

    def instance_logs(self, name: str, tail: int = 200) -> str:
        """Return the last lines its container printed."""
        return self._transport.text(_path("instances", name, "logs"), params={"tail": tail})

    def instance_attach(self, name: str, *, read_only: bool = False) -> tuple[str, ...]:
        """Return the command that attaches a terminal to its tmux session."""
        params = {"read_only": "true" if read_only else None}
        return Attach.model_validate(
            self._transport.json("GET", _path("instances", name, "attach"), params=params)
        ).argv

    def create_input(self, name: str, text: str) -> Input:
        """Put a prompt on its way to the instance's Claude."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        answer = self._transport.json("POST", _path("instances", name, "inputs"), body={"text": text}, headers=headers)
        return Input.model_validate(answer)

    def get_input(self, name: str, input_id: str) -> Input:
        """Return a prompt with how far it came."""
        return Input.model_validate(self._transport.json("GET", _path("instances", name, "inputs", input_id)))

    def list_inputs(self, name: str) -> list[Input]:
        """Return the instance's prompts, oldest first."""
        answer = self._transport.json("GET", _path("instances", name, "inputs"))
        return [Input.model_validate(item) for item in answer["items"]]

    # -- repositories -------------------------------------------------------------------------------------

    def list_repositories(self, selector: str | None = None) -> list[Repository]:
        """Return every repository, by name."""
        return [Repository.model_validate(item) for item in self._pages("/api/repositories", {"selector": selector})]

    def get_repository(self, name: str) -> Repository:
        """Return one repository."""
        return Repository.model_validate(self._transport.json("GET", _path("repositories", name)))

    def create_repository(self, manifest: RepositoryManifest) -> Repository:
        """Register a repository."""
        return Repository.model_validate(self._create("/api/repositories", manifest))

    def apply_repository(
        self,
        manifest: RepositoryManifest,
        *,
        dry_run: bool = False,
        resource_version: int | None = None,
    ) -> Applied[Repository]:
        """Create or replace; ``resource_version`` refuses if it changed since."""
        answer = self._apply("repositories", manifest, dry_run=dry_run, resource_version=resource_version)
        return Applied[Repository].model_validate(answer)

    def patch_repository(self, name: str, patch: Mapping[str, Any], resource_version: int | None = None) -> Repository:
        """Change some fields (a JSON merge patch on ``spec`` and ``metadata.labels``)."""
        return Repository.model_validate(self._patch("repositories", name, patch, resource_version))

    def delete_repository(self, name: str, uid: str | None = None) -> Repository:
        """Forget a repository that no instance uses; nothing on disk is touched."""
        answer = self._transport.json("DELETE", _path("repositories", name), params={"uid": uid})
        return Repository.model_validate(answer)

    def repository_events(self, name: str) -> list[Event]:
        """Return what happened to it, oldest first."""
        return self._events(_path("repositories", name, "events"))

    # -- the whole ----------------------------------------------------------------------------------------

    def events(
        self, kind: Kind | None = None, name: str | None = None, after: int | None = None, limit: int | None = None
    ) -> list[Event]:
        """Return what happened, oldest first; ``after`` is a resource_version, ``limit`` at most 500."""
        params = {"kind": kind, "name": name, "after": after, "limit": limit}
        return self._events("/api/events", params)

    def watch(
        self,
        resource_version: int | None = None,
        kinds: Collection[WatchKind] | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[WatchEvent | Resync]:
        """Yield changes as they happen, reconnecting and resuming where it left off, until ``stop`` is set.

        Args:
            resource_version: where to begin. Without it the first thing yielded is a :class:`Resync`: list what
                you need then; every change after that comes.
            kinds: which kinds; default: instances and repositories.
            stop: ends the iteration within about a second.

        A :class:`Resync` also comes whenever changes may have been missed: list again.

        Raises:
            ServerUnavailable: no server answered at the beginning; later it is awaited patiently.
            ApiError: the server refuses (401).
        """
        return follow(self._transport, resource_version, kinds, stop)

    def health(self) -> Health:
        """Tell whether the parts answer; needs no token."""
        return Health.model_validate(self._transport.json("GET", "/api/health"))

    def version(self) -> Version:
        """Return the server's version."""
        return Version.model_validate(self._transport.json("GET", "/api/version"))

    def doctor(self) -> Diagnosis:
        """Return what server and controller find when they look at everything; takes some seconds at most."""
        return Diagnosis.model_validate(self._transport.json("GET", "/api/doctor"))

    def repair(self) -> Repairs:
        """Let the controller mend what is safe to mend, and return what it did."""
        return Repairs.model_validate(self._transport.json("POST", "/api/doctor/repairs"))

    def recent_logs(self) -> RecentLogs:
        """Return the newest log lines of server and controller."""
        return RecentLogs.model_validate(self._transport.json("GET", "/api/doctor/logs"))

    def list_orphans(self) -> OrphanList:
        """Return what is ours on the machine and belongs to no instance; may take minutes where there is much."""
        return OrphanList.model_validate(self._transport.json("GET", "/api/orphans", patience=_HOUSEKEEPING_SECONDS))

    def sweep_orphans(self, ids: Sequence[str]) -> SweepReport:
        """Remove these orphans, as far as that is safe, work being saved first; repeating it does nothing more."""
        body = SweepRequest(ids=tuple(ids)).model_dump(mode="json")
        answer = self._transport.json("POST", "/api/orphans/sweep", body=body, patience=_HOUSEKEEPING_SECONDS)
        return SweepReport.model_validate(answer)

    def list_snapshots(self, repository: str | None = None, instance: str | None = None) -> SnapshotList:
        """Return saved uncommitted work, oldest first, also of instances that are gone."""
        params = {"repository": repository, "instance": instance}
        answer = self._transport.json("GET", "/api/snapshots", params=params, patience=_HOUSEKEEPING_SECONDS)
        return SnapshotList.model_validate(answer)

    def get_snapshot(
        self,
        repository: str,
        snapshot_id: str,
        *,
        instance: str | None = None,
        diff: bool = False,
    ) -> SnapshotDetail:
        """Return one with the files that differ; ``instance`` tells two of the same id apart."""
        params = {"instance": instance, "diff": "true" if diff else None}
        path = _path("snapshots", repository, snapshot_id)
        answer = self._transport.json("GET", path, params=params, patience=_HOUSEKEEPING_SECONDS)
        return SnapshotDetail.model_validate(answer)

    def restore_snapshot(
        self,
        repository: str,
        snapshot_id: str,
        request: RestoreRequest,
        *,
        instance: str | None = None,
    ) -> SnapshotRestored:
        """Bring one back to a new branch, a new folder or an instance that rests; never over anything."""
        path = _path("snapshots", repository, snapshot_id, "restore")
        body = request.model_dump(mode="json", exclude_none=True)
        params = {"instance": instance}
        answer = self._transport.json("POST", path, params=params, body=body, patience=_HOUSEKEEPING_SECONDS)
        return SnapshotRestored.model_validate(answer)

    # -- steps --------------------------------------------------------------------------------------------

    def _pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Any]:
        token: str | None = None
        while True:
            page = self._transport.json("GET", path, params={**query, "limit": MAX_PAGE, "continue": token})
            yield from page["items"]
            token = page.get("continue")
            if token is None:
                return

    def _events(self, path: str, params: Mapping[str, Any] | None = None) -> list[Event]:
        return [Event.model_validate(item) for item in self._transport.json("GET", path, params=params)["items"]]

    def _create(self, path: str, manifest: InstanceManifest | RepositoryManifest) -> dict[str, Any]:
        body = manifest.model_dump(mode="json", exclude_unset=True)
        return self._transport.json("POST", path, body=body, headers={"Idempotency-Key": str(uuid.uuid4())})

    def _apply(
        self,
        plural: str,
        manifest: InstanceManifest | RepositoryManifest,
        *,
        dry_run: bool,
        resource_version: int | None,
    ) -> dict[str, Any]:
        body = manifest.model_dump(mode="json", exclude_unset=True)
        if resource_version is not None:
            body["metadata"]["resource_version"] = resource_version
        params = {"dry_run": "true" if dry_run else None}
        return self._transport.json("PUT", _path(plural, manifest.metadata.name), body=body, params=params)

    def _patch(self, plural: str, name: str, patch: Mapping[str, Any], resource_version: int | None) -> dict[str, Any]:
        body = dict(patch)
        if resource_version is not None:
            body["metadata"] = {**body.get("metadata", {}), "resource_version": resource_version}
        return self._transport.json("PATCH", _path(plural, name), body=body)


def _path(*parts: str) -> str:
    """Return the path of a resource; a part that would lead elsewhere, quoted or not, is nobody's name."""
    for part in parts:
        if part in {"", ".", ".."}:
            raise ApiError(HTTPStatus.NOT_FOUND, "NotFound", f"{part!r} is not the name of anything: give a name or id")
    return "/api/" + "/".join(quote(part, safe="") for part in parts)
