"""What a person can do to an instance from a page: one API call each, off the event loop, told when it failed.

A command only changes desired state. Nothing here changes what a page shows: the change comes back through
:mod:`.feed` like everybody else's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from nicegui import background_tasks, run, ui

from api.client import ApiError, Client, ServerUnavailable
from controller.resources import Input, Instance, InstanceManifest, OperatingMode

from .view import Action, shorten

logger = logging.getLogger(__name__)

T = TypeVar("T")

LABELS: Mapping[Action, tuple[str, str, str]] = {
    Action.START: ("Start", "play", "Starting"),
    Action.RESUME: ("Resume", "play", "Resuming"),
    Action.SUSPEND: ("Suspend", "pause", "Suspending"),
    Action.STOP: ("Stop", "stop", "Stopping"),
    Action.RESTART: ("Restart", "restart", "Restarting"),
    Action.DELETE: ("Delete …", "delete", "Deleting"),
}
"""The button's text and icon, and the word that says it was asked for."""

_MODES = {
    Action.START: OperatingMode.RUNNING,
    Action.RESUME: OperatingMode.RUNNING,
    Action.SUSPEND: OperatingMode.SUSPENDED,
    Action.STOP: OperatingMode.STOPPED,
}


def menu_items(actions: tuple[Action, ...]) -> list[dict[str, str]]:
    """Return the actions as a menu shows them."""
    return [
        {
            "id": action.value,
            "text": LABELS[action][0],
            "icon": LABELS[action][1],
            "tone": "danger" if action is Action.DELETE else "",
        }
        for action in actions
    ]


class Commands:
    """The API calls behind the buttons."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def start(self, name: str, action: Action) -> None:
        """Carry the action out in the background and say so on the page that asked."""
        background_tasks.create(self._carry_out(name, action), name=f"{action} {name}", context=ui.context.client)

    async def _carry_out(self, name: str, action: Action) -> None:
        if await attempt(lambda: self._apply(name, action)) is not None:
            ui.notify(f"{LABELS[action][2]} {name}")

    def _apply(self, name: str, action: Action) -> Instance:
        if action is Action.RESTART:
            # Read afresh: a second click asks for one restart more, not for the same one again.
            generation = self._client.get_instance(name).spec.restart_generation + 1
            return self._client.patch_instance(name, {"spec": {"restart_generation": generation}})
        return self._client.patch_instance(name, {"spec": {"operating_mode": _MODES[action].value}})

    async def delete(self, name: str, uid: str) -> bool:
        """Ask for the deletion of exactly this instance; whether that was accepted."""
        return await attempt(lambda: self._client.delete_instance(name, uid=uid)) is not None

    async def create(self, manifest: Mapping[str, Any]) -> Instance:
        """Declare an instance.

        Raises:
            ApiError: refused; ``fields`` names what is wrong.
            ServerUnavailable: the API does not answer.
        """
        return await off_loop(lambda: self._client.create_instance(InstanceManifest.model_validate(manifest)))

    async def send(self, name: str, text: str) -> Input | None:
        """Put a prompt on its way; ``None`` when that was refused (and said)."""
        return await attempt(lambda: self._client.create_input(name, text))

    async def follow_input(self, name: str, id_: str) -> Input:
        """Return the input as it is now.

        Raises:
            ApiError: it is gone.
            ServerUnavailable: the API does not answer.
        """
        return await off_loop(lambda: self._client.get_input(name, id_))


async def attempt(call: Callable[[], T]) -> T | None:
    """Make a blocking call off the event loop; a failure becomes a notification and ``None``."""
    try:
        return await off_loop(call)
    except (ApiError, ServerUnavailable) as error:
        ui.notify(sentence(error), type="negative", timeout=8000, multi_line=True, close_button="Close")
        return None


async def off_loop(call: Callable[[], T]) -> T:
    """Make a blocking call in a thread of NiceGUI's pool.

    Raises:
        ServerUnavailable: also when the process is shutting down.
    """
    done: list[T] = []
    # NiceGUI answers None instead of a result while it shuts down; a list tells that from a call that gave None.
    await run.io_bound(lambda: done.append(call()))
    if not done:
        raise ServerUnavailable("The server is shutting down.")
    return done[0]


def sentence(error: ApiError | ServerUnavailable) -> str:
    """Return what a person reads about the failure."""
    if isinstance(error, ApiError):
        return shorten(" ".join([error.detail, *(f"{wrong.field}: {wrong.message}" for wrong in error.fields)]))
    return shorten(str(error))
