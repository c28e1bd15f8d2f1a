"""What goes over the wire beside the resources themselves; shared by server and client."""

from __future__ import annotations

from typing import Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from controller.resources import (
    DisplayState,
    Event,
    Instance,
    InstanceSpec,
    ManifestMetadata,
    Repository,
    RepositorySpec,
    display_state,
)
from controller.resources.base import Model
from controller.resources.check import Check
from controller.resources.inputs import MAX_INPUT_CHARACTERS

PROBLEM_JSON: Final = "application/problem+json"
EVENT_STREAM: Final = "text/event-stream"
MAX_BODY_BYTES: Final = 1024 * 1024
MAX_PAGE: Final = 500

WatchKind = Literal["Instance", "Repository", "Event"]
ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]

Item = TypeVar("Item")


class Wire(BaseModel):
    """Base of answers: a newer server may say more than an older client knows."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FieldError(Wire):
    """What is wrong with one field of a request.

    Attributes:
        field: dotted path, for example ``spec.resources.memory``.
        value: what was given, shortened; absent where nothing was given or it may be secret.
        message: what would be right.
    """

    field: str
    value: Any = None
    message: str


class Problem(Wire):
    """An error, as RFC 9457 writes it.

    Attributes:
        reason: stable CamelCase word for machines.
        detail: a sentence for people with the way out.
    """

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    reason: str
    errors: tuple[FieldError, ...] = ()


class Display(Wire):
    """The word people see, and why; derived by the server when it answers, never stored."""

    state: DisplayState
    reason: str


class InstanceView(Instance):
    """An instance as the API answers it: the resource, and what to call its state."""

    display: Display


def view(instance: Instance) -> InstanceView:
    """Return the instance with the word for its state."""
    state, reason = display_state(instance)
    return InstanceView.model_construct(
        metadata=instance.metadata,
        spec=instance.spec,
        status=instance.status,
        display=Display.model_construct(state=state, reason=reason),
    )


class VersionedMetadata(ManifestMetadata):
    """A manifest's metadata, with the version the writer has read (optional)."""

    resource_version: int | None = Field(default=None, ge=0)


class InstanceApply(Model):
    """Body of ``PUT /api/instances/{name}``."""

    kind: Literal["Instance"] = "Instance"
    metadata: VersionedMetadata
    spec: InstanceSpec


class RepositoryApply(Model):
    """Body of ``PUT /api/repositories/{name}``."""

    kind: Literal["Repository"] = "Repository"
    metadata: VersionedMetadata
    spec: RepositorySpec


class PatchMetadata(Model):
    """Labels to change; ``null`` removes one."""

    labels: dict[str, str | None] = Field(default_factory=dict)
    resource_version: int | None = Field(default=None, ge=0)


class Patch(Model):
    """Body of a PATCH: a JSON merge patch (RFC 7396) on labels and spec; ``null`` puts a field's default back."""

    metadata: PatchMetadata = Field(default_factory=PatchMetadata)
    spec: dict[str, Any] = Field(default_factory=dict)


class NewInput(Model):
    """Body of ``POST /api/instances/{name}/inputs``."""

    text: str = Field(min_length=1, max_length=MAX_INPUT_CHARACTERS)


class Page(Wire, Generic[Item]):
    """A part of a list.

    Attributes:
        resource_version: watch from here to miss nothing that is not in the list.
        next: give it as ``continue`` to get the next part; ``null`` at the end.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, serialize_by_alias=True)

    items: tuple[Item, ...]
    resource_version: int
    next: str | None = Field(default=None, alias="continue")


class Applied(Wire, Generic[Item]):
    """Outcome of an apply; ``changed_fields`` are dotted paths."""

    action: Literal["created", "configured", "unchanged"]
    changed_fields: tuple[str, ...] = ()
    object: Item


class PlannedAction(Wire):
    """One step the controller would take now, and why."""

    action: str
    reason: str


class Blocked(Wire):
    """Why the controller takes no step."""

    reason: str
    message: str


class Plan(Wire):
    """What the next pass over an instance would do; ``requeue_after`` in seconds."""

    actions: tuple[PlannedAction, ...] = ()
    blocked: Blocked | None = None
    requeue_after: float | None = None


class Attach(Wire):
    """The command that attaches a terminal, to be run on the machine of the Docker engine."""

    argv: tuple[str, ...]


class PartHealth(Wire):
    """Whether one part answers, and what it said if not."""

    status: Literal["ok", "unavailable"]
    detail: str = ""


class Health(Wire):
    """``degraded``: the API answers, another part does not.

    Attributes:
        engine: whether it answers the controller; ``null`` where none is needed or the controller cannot tell.
    """

    status: Literal["ok", "degraded"]
    api: PartHealth
    controller: PartHealth
    engine: PartHealth | None = None


class EngineAnswer(Wire):
    """The controller's word on the engine."""

    check: Check | None


class Version(Wire):
    """Which program answers, for which installation."""

    version: str
    installation: str
    resource_version: int


class WatchEvent(Wire):
    """One change, as ``/api/watch`` streams it. Treat ``MODIFIED`` of an unknown object as ``ADDED``."""

    type: ChangeType
    kind: WatchKind
    name: str
    resource_version: int
    object: Instance | Repository | Event
