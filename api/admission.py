"""What may be stored: rules that need more than one object or the settings. Run inside the write's transaction."""

from __future__ import annotations

import difflib
from http import HTTPStatus

from pydantic import ValidationError

from controller.errors import NotFound
from controller.resources import (
    LAYOUTS,
    Instance,
    InstanceManifest,
    InstanceSpec,
    ManifestMetadata,
    Repository,
    RepositorySpec,
)
from controller.settings import Settings
from controller.store import Store

from .problems import Invalid, Refused, invalid
from .wire import FieldError, Patch

_KEPT = ("operating_mode", "restart_generation", "retry_generation", "runtime")
_FIXED = {
    "repository": "an instance stays with its repository",
    "branch": "an instance stays on its branch",
    "base_branch": "it was used when the branch was made",
    "runtime": "what carries an instance is chosen once",
}


class Admission:
    """Decides nothing about the world: it only refuses what could never work and fills in defaults."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    def new_instance(self, manifest: InstanceManifest) -> InstanceManifest:
        """Return the manifest with its repository's defaults; refuse unknown repositories and too many instances."""
        spec = self._with_defaults(manifest.spec)
        _check_layout(spec, manifest.spec)
        limit = self._settings.max_instances
        if limit and self._store.instances.count(deleting=False) >= limit:
            raise Refused(
                HTTPStatus.CONFLICT,
                "TooManyInstances",
                f"there are {limit} instances already, which is the setting max_instances: delete one, or raise it "
                "(CCO_MAX_INSTANCES=NUMBER where the system is started; 0 = no limit)",
            )
        return manifest.model_copy(update={"spec": spec})

    def replaced_instance(self, before: Instance, manifest: InstanceManifest) -> InstanceManifest:
        """Return the manifest an apply to an existing instance means.

        What people switch by command rather than write down (stopped or running, restarts asked for) stays as it
        is unless the manifest names it.
        """
        kept = {field: getattr(before.spec, field) for field in _KEPT if field not in manifest.spec.model_fields_set}
        spec = self._with_defaults(manifest.spec).model_copy(update=kept)
        _check_layout(spec, manifest.spec, before.spec)
        self._check_fixed(before, spec)
        return manifest.model_copy(update={"spec": spec})

    def patched_instance(self, before: Instance, patch: Patch) -> tuple[InstanceSpec, dict[str, str]]:
        """Return spec and labels after the patch."""
        merged = merge(before.spec.model_dump(mode="json"), patch.spec)
        try:
            spec = InstanceSpec.model_validate(merged)
        except ValidationError as error:
            raise invalid(error, "spec") from error
        asked, spec = spec, self._with_defaults(spec)
        _check_layout(spec, asked, before.spec)
        self._check_fixed(before, spec)
        return spec, _patched_labels(before, patch)

    def patched_repository(self, before: Repository, patch: Patch) -> tuple[RepositorySpec, dict[str, str]]:
        """Return spec and labels after the patch."""
        merged = merge(before.spec.model_dump(mode="json"), patch.spec)
        try:
            spec = RepositorySpec.model_validate(merged)
        except ValidationError as error:
            raise invalid(error, "spec") from error
        self.changed_repository(before, spec)
        return spec, _patched_labels(before, patch)

    def changed_repository(self, before: Repository, spec: RepositorySpec) -> None:
        """Refuse to move a repository under the feet of its instances."""
        if spec.path == before.spec.path:
            return
        users = self._users(before.metadata.name)
        if users:
            raise Invalid(
                FieldError(
                    field="spec.path",
                    value=spec.path,
                    message=f"cannot change from {before.spec.path!r} while instances use it ({users}): register the "
                    "other repository under another name",
                ),
                reason="Immutable",
            )

    def unused_repository(self, name: str) -> None:
        """Refuse to forget a repository that instances use."""
        users = self._users(name)
        if users:
            raise Refused(
                HTTPStatus.CONFLICT,
                "RepositoryInUse",
                f"repository {name!r} is used by {users}: delete them first, and wait until they are gone",
            )

    def _users(self, name: str) -> str:
        names = [instance.metadata.name for instance in self._store.instances.list(repository=name, limit=6)]
        return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")

    def _with_defaults(self, spec: InstanceSpec) -> InstanceSpec:
        try:
            repository = self._store.repositories.get(spec.repository)
        except NotFound:
            raise Invalid(self._unknown(spec.repository), reason="RepositoryNotFound") from None
        if repository.metadata.deletion_requested_at is not None:
            raise Refused(HTTPStatus.CONFLICT, "BeingDeleted", f"spec.repository: {spec.repository!r} is being deleted")
        if spec.prompt is not None and "\0" in spec.prompt:
            raise Invalid(FieldError(field="spec.prompt", message="has a NUL character"))
        return spec.with_defaults(repository.spec.defaults)

    def _unknown(self, name: str) -> FieldError:
        known = self._store.repositories.names()
        if not known:
            message = f"{name[:100]!r} is not registered, and no other repository is: run 'cco init' inside it"
        else:
            near = difflib.get_close_matches(name[:100], known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            listed = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
            message = f"{name[:100]!r} is not registered: {hint}Known: {listed}. 'cco init' registers another one"
        return FieldError(field="spec.repository", value=name[:100], message=message)

    @staticmethod
    def _check_fixed(before: Instance, spec: InstanceSpec) -> None:
        name = before.metadata.name
        carried_by = before.status.runtime or before.spec.runtime or spec.runtime
        old = {**{field: getattr(before.spec, field) for field in _FIXED}, "branch": before.branch}
        new = {**{field: getattr(spec, field) for field in _FIXED}, "branch": spec.branch or name}
        old["runtime"], new["runtime"] = carried_by, spec.runtime or carried_by
        errors = [
            FieldError(
                field=f"spec.{field}",
                value=new[field],
                message=f"cannot change from {_said(old[field])} to {_said(new[field])}, {why}: put the old value "
                "back, or make another instance",
            )
            for field, why in _FIXED.items()
            if old[field] != new[field]
        ]
        if errors:
            raise Invalid(*errors, reason="Immutable")
        for field, wish in (("restart_generation", "a restart"), ("retry_generation", "another try")):
            known, asked = getattr(before.spec, field), getattr(spec, field)
            if asked < known:
                message = f"only grows (it is {known}): add one to ask for {wish}"
                raise Invalid(FieldError(field=f"spec.{field}", value=asked, message=message))


def _check_layout(spec: InstanceSpec, asked: InstanceSpec, before: InstanceSpec | None = None) -> None:
    """Refuse a layout that no agent has; one that was stored by an older version may stay."""
    if spec.layout in LAYOUTS or (before is not None and spec.layout == before.layout):
        return
    message = f"{spec.layout!r} is not known; the layouts are: {', '.join(LAYOUTS)}"
    if spec.layout != asked.layout:
        message += f". It is the default of repository {spec.repository!r}"
    raise Invalid(FieldError(field="spec.layout", value=spec.layout, message=message))


def _said(value: object) -> str:
    return "the default" if value is None else repr(value)


def _patched_labels(before: Instance | Repository, patch: Patch) -> dict[str, str]:
    merged = merge(dict(before.metadata.labels), patch.metadata.labels)
    try:
        return ManifestMetadata.model_validate({"name": before.metadata.name, "labels": merged}).labels
    except ValidationError as error:
        raise invalid(error, "metadata") from error


def merge(target: object, patch: object) -> object:
    """Return the JSON merge patch of a value, as RFC 7396 says."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result
