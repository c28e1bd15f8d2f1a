"""Metadata: what the store knows about an object, the same for every kind."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from .base import Model, Timestamp

NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_LABEL_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")


class Kind(StrEnum):
    """The kinds of objects the API serves."""

    INSTANCE = "Instance"
    REPOSITORY = "Repository"


def _check_name(value: str) -> str:
    if not NAME_PATTERN.fullmatch(value):
        msg = (
            f"{value!r} is not a valid name: use 1 to 40 lower-case letters, digits and '-', "
            "starting and ending with a letter or digit (for example 'fix-login')"
        )
        raise ValueError(msg)
    return value


def _check_labels(value: dict[str, str]) -> dict[str, str]:
    for key, text in value.items():
        if not _LABEL_KEY.fullmatch(key):
            msg = f"label key {key!r} must be 1 to 63 letters, digits, '.', '_', '/' or '-'"
            raise ValueError(msg)
        if not _LABEL_VALUE.fullmatch(text):
            msg = f"label {key!r} has the value {text!r}: use up to 63 letters, digits, '.', '_' or '-'"
            raise ValueError(msg)
    return value


Name = Annotated[str, AfterValidator(_check_name), Field(json_schema_extra={"pattern": f"^{NAME_PATTERN.pattern}$"})]
"""DNS-label-like name: it becomes part of container, tmux session, folder and ref names."""

Labels = Annotated[dict[str, str], AfterValidator(_check_labels), Field(max_length=64)]


class ManifestMetadata(Model):
    """The part of the metadata a user writes."""

    name: Name
    labels: Labels = Field(default_factory=dict)


class Metadata(ManifestMetadata):
    """Identity and versions.

    Attributes:
        uid: a UUID given once; an object deleted and created again under the same name is another object.
        generation: moves by one with every change of ``spec``, never with ``status``.
        resource_version: the store's global revision at the last change of any part; serves 409 and watch.
        deletion_requested_at: set once by a delete; the object goes when its finalizer is done.
        discard_work: whoever asked for the deletion named the object once more to say that work which cannot be
            saved may go with it.
    """

    uid: str
    generation: int = 1
    resource_version: int = 0
    created_at: Timestamp
    deletion_requested_at: Timestamp | None = None
    discard_work: bool = False
