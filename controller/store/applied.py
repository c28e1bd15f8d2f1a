"""What goes into the store and what an apply answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from controller.resources import Instance, ManifestMetadata, Repository
from controller.resources.base import Model

Obj = TypeVar("Obj", Instance, Repository)
Spec = TypeVar("Spec", bound=Model)
Status = TypeVar("Status", bound=Model)
Spec_co = TypeVar("Spec_co", bound=Model, covariant=True)


class Manifest(Protocol[Spec_co]):
    """What a user writes down of an object."""

    @property
    def metadata(self) -> ManifestMetadata:
        """Name and labels."""

    @property
    def spec(self) -> Spec_co:
        """The wish."""


@dataclass(frozen=True, slots=True)
class Applied(Generic[Obj]):
    """Outcome of an apply. ``changed_fields`` are dotted paths such as ``spec.resources.memory``."""

    object: Obj
    action: Literal["created", "configured", "unchanged"]
    changed_fields: tuple[str, ...] = ()
