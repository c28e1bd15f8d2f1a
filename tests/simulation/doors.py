"""How people reach the database: directly, or through the whole HTTP API and its client."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Protocol, Self

from api.app import create_app
from api.client import Client
from api.controller_link import ControllerLink
from controller.resources import InstanceManifest, InstanceSpec, ManifestMetadata
from support.in_process import InProcess

from .process import SimulatedWorld

TOKEN = "simulated-" + "t" * 32


class Door(AbstractContextManager["Door"], Protocol):
    """What people may ask for; each raises when it is refused."""

    def declare(self, name: str, **spec: object) -> None:
        """Declare an instance."""

    def change(self, name: str, **spec: object) -> None:
        """Change fields of its spec."""

    def delete(self, name: str, uid: str, *, discard_work: bool = False) -> None:
        """Ask for it to go."""

    def send(self, name: str, uid: str, text: str) -> None:
        """Send it a prompt."""


class StoreDoor(Door):
    """Writes what the API would write."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def declare(self, name: str, **spec: object) -> None:
        self._world.declare(name, **spec)

    def change(self, name: str, **spec: object) -> None:
        self._world.change(name, **spec)

    def delete(self, name: str, uid: str, *, discard_work: bool = False) -> None:
        self._world.store.instances.request_deletion(name, uid, discard_work=discard_work)

    def send(self, name: str, uid: str, text: str) -> None:
        self._world.store.inputs.create(name, uid, text)


class ApiDoor(Door):
    """Speaks HTTP to the real application in this process; every request is over before anything else happens."""

    def __init__(self, world: SimulatedWorld) -> None:
        link = ControllerLink(world.settings.controller_socket)
        app = create_app(world.store, world.settings, TOKEN, link)
        self._transport = InProcess(app)
        self._client = Client("http://127.0.0.1:8080", TOKEN, transport=self._transport)
        self._open = ExitStack()
        self._open.callback(link.close)

    def __enter__(self) -> Self:
        self._open.enter_context(self._transport)
        self._open.enter_context(self._client)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def declare(self, name: str, **spec: object) -> None:
        wanted = InstanceSpec.model_validate({"repository": "shop", **spec})
        self._client.create_instance(InstanceManifest(metadata=ManifestMetadata(name=name), spec=wanted))

    def change(self, name: str, **spec: object) -> None:
        self._client.patch_instance(name, {"spec": spec})

    def delete(self, name: str, uid: str, *, discard_work: bool = False) -> None:
        self._client.delete_instance(name, uid, discard_work=discard_work)

    def send(self, name: str, uid: str, text: str) -> None:
        del uid
        self._client.create_input(name, text)


DOORS: dict[str, type[StoreDoor | ApiDoor]] = {"store": StoreDoor, "api": ApiDoor}
