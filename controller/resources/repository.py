"""Repository: a git repository of the user, registered by name, with defaults for its instances."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from .base import Model
from .conditions import Condition
from .instance import InstanceDefaults
from .metadata import ManifestMetadata, Metadata


def _check_absolute(value: str) -> str:
    path = PurePosixPath(value)
    if not path.is_absolute() or ".." in path.parts or "\0" in value:
        msg = f"{value!r} is not an absolute path without '..': give the repository's full path"
        raise ValueError(msg)
    return str(path)


AbsolutePath = Annotated[str, AfterValidator(_check_absolute), Field(json_schema_extra={"pattern": "^/"})]


class RepositorySpec(Model):
    """What the user declares about a repository.

    Attributes:
        path: absolute path of the repository's main worktree (or of a bare repository) on the host.
        base_branch: where instances branch off when they name no base; ``None`` = the branch HEAD is on.
        defaults: values for spec fields that an instance of this repository leaves out.
    """

    path: AbsolutePath
    base_branch: str | None = None
    defaults: InstanceDefaults = Field(default_factory=InstanceDefaults)


class RepositoryStatus(Model):
    """What the controller saw of the repository."""

    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    git_dir: str | None = None
    default_branch: str | None = None
    head: str | None = None
    owner_uid: int | None = None
    owner_gid: int | None = None
    warnings: tuple[str, ...] = ()


class RepositoryManifest(Model):
    """A repository as a user writes it down."""

    kind: Literal["Repository"] = "Repository"
    metadata: ManifestMetadata
    spec: RepositorySpec


class Repository(Model):
    """A registered repository. Condition ``Ready`` tells whether instances can be made from it."""

    kind: Literal["Repository"] = "Repository"
    metadata: Metadata
    spec: RepositorySpec
    status: RepositoryStatus = Field(default_factory=RepositoryStatus)
