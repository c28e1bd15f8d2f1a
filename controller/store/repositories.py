"""Repositories in the store."""

from __future__ import annotations

from controller.resources import Kind, Metadata, Repository, RepositorySpec, RepositoryStatus

from . import schema
from .database import Database
from .objects import ObjectStore


class RepositoryStore(ObjectStore[Repository, RepositorySpec, RepositoryStatus]):
    """See :class:`ObjectStore`."""

    kind = Kind.REPOSITORY
    spec_type = RepositorySpec
    status_type = RepositoryStatus

    def __init__(self, database: Database) -> None:
        super().__init__(database, schema.repositories)

    def parse(self, text: str) -> Repository:
        """Return the repository a tombstone holds."""
        return Repository.model_validate_json(text)

    def _build(self, metadata: Metadata, spec: RepositorySpec, status: RepositoryStatus) -> Repository:
        return Repository.model_construct(metadata=metadata, spec=spec, status=status)
