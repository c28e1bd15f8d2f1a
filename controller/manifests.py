"""What was declared, written beside the database, so that a lost database can be put together again.

Every instance has ``instances/NAME/manifest.json``, every repository ``repositories/NAME.json``: the object as it is
in the database, without what the next look at the world tells anyhow. The reconcilers keep them true; ``rebuild``
reads them, and nobody else does: while there is a database, it alone is right. What stands on the workload itself
(:func:`label_text`) is for the day on which the files are lost as well; anyone who may look at a container can read it,
so it has neither the prompt nor the values of variables.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from .errors import Retryable
from .resources import Instance, InstanceStatus, Repository, RepositoryStatus, WorkspaceStatus
from .settings import Settings

FILE_NAME = "manifest.json"
FOLDER_NAME = "repositories"

Obj = TypeVar("Obj", Instance, Repository)

_writing = threading.Lock()
"""A file is made beside its place under one name, so two threads must not be at it."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is there and says nothing; ``why`` is for people."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class Manifests:
    """The files below a state directory.

    Attributes:
        fence: called before anything is changed; raises when another controller has taken over.
    """

    settings: Settings
    fence: Callable[[], None] = lambda: None

    def remember(self, declared: Instance | Repository) -> None:
        """Write the object down as it is now; writes nothing when that is what the file says already.

        Raises:
            Retryable: ``DiskFull`` or ``StateDirectoryUnusable``; the file is as it was.
            Fenced: it is another controller's.
        """
        name = declared.metadata.name
        if isinstance(declared, Instance):
            path, lasting = self._instance(name), _lasting(declared).model_dump_json(indent=1)
        else:
            path, lasting = self._repository(name), _lasting(declared).model_dump_json(indent=1)
        try:
            with _writing:
                if _read(path) != lasting:
                    self.fence()
                    _replace(path, lasting)
        except OSError as error:
            raise _unwritable(path, error) from error

    def forget_instance(self, name: str) -> None:
        """Remove an instance's file; idempotent. Raises as :meth:`remember` does."""
        self._forget(self._instance(name))

    def forget_repository(self, name: str) -> None:
        """Remove a repository's file; idempotent. Raises as :meth:`remember` does."""
        self._forget(self._repository(name))

    def _forget(self, path: Path) -> None:
        self.fence()
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from error

    def instances(self) -> Iterator[Instance | Unreadable]:
        """Yield what is known of each instance, by name."""
        for path in sorted(self.settings.state_dir.glob(f"instances/*/{FILE_NAME}")):
            yield _parse(path, Instance, path.parent.name)

    def repositories(self) -> Iterator[Repository | Unreadable]:
        """Yield what is known of each repository, by name."""
        for path in sorted(self.settings.state_dir.glob(f"{FOLDER_NAME}/*.json")):
            yield _parse(path, Repository, path.stem)

    def _instance(self, name: str) -> Path:
        return self.settings.instance_dir(name) / FILE_NAME

    def _repository(self, name: str) -> Path:
        return self.settings.state_dir / FOLDER_NAME / f"{name}.json"


def label_text(instance: Instance, repository_path: str) -> str:
    """Return what a workload carries of its instance: everything but the prompt and the values of variables."""
    spec = instance.spec.model_copy(update={"prompt": None, "env": {}})
    known = _lasting(instance.model_copy(update={"spec": spec}))
    document = {
        "schema": 1,
        "instance": known.model_dump(mode="json", exclude_none=True),
        "repository_path": repository_path,
        "left_out": [*(["prompt"] if instance.spec.prompt else []), *(f"env.{name}" for name in instance.spec.env)],
    }
    return json.dumps(document, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a workload's label tells; ``left_out`` names the fields of the spec that no label carries."""

    instance: Instance
    repository_path: str
    left_out: tuple[str, ...]


def read_label(text: str) -> Labelled:
    """Return what a label tells; raises ValueError for one that tells nothing."""
    document: dict[str, Any] = json.loads(text)
    try:
        instance = Instance.model_validate(document["instance"], strict=False)
        return Labelled(instance, str(document["repository_path"]), tuple(map(str, document["left_out"])))
    except (KeyError, TypeError, ValidationError) as error:
        message = f"it is not what this version writes ({error})"
        raise ValueError(message) from error


def _lasting(declared: Obj) -> Obj:
    """Return the object without what a look at the world tells, and without a wish to delete it.

    Whoever puts a database together again must not carry out a deletion: perhaps it was taken back since.
    """
    metadata = declared.metadata.model_copy(
        update={"resource_version": 0, "deletion_requested_at": None, "discard_work": False}
    )
    return declared.model_copy(update={"metadata": metadata, "status": _lasting_status(declared)})


def _lasting_status(declared: Instance | Repository) -> InstanceStatus | RepositoryStatus:
    if isinstance(declared, Repository):
        return RepositoryStatus()
    status = declared.status
    place = status.workspace
    return InstanceStatus(
        attempt=status.attempt,
        restarted_generation=status.restarted_generation,
        retried_generation=status.retried_generation,
        runtime=status.runtime,
        parked=status.parked,
        workspace=None
        if place is None
        else WorkspaceStatus(path=place.path, git_dir=place.git_dir, branch=place.branch),
    )


def _parse(path: Path, kind: type[Obj], name: str) -> Obj | Unreadable:
    try:
        found = kind.model_validate_json(path.read_bytes())
    except OSError as error:
        return Unreadable(path, str(error.strerror))
    except ValidationError as error:
        first = error.errors()[0]
        return Unreadable(path, f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}")
    if found.metadata.name != name:
        return Unreadable(path, f"it tells of {found.metadata.name!r}, which is not its place")
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.new")
    try:
        made.unlink(missing_ok=True)
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        made.replace(path)
    except BaseException:
        made.unlink(missing_ok=True)
        raise


def _unwritable(path: Path, error: OSError) -> Retryable:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Retryable("DiskFull", f"the disk that holds {path} is full: free some space", delay=10.0)
    return Retryable("StateDirectoryUnusable", f"{path} cannot be written: {error.strerror}")
