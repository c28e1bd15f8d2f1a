"""``/api/instances``: declare, look, change, delete."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.problems import Invalid
from api.wire import MAX_PAGE, Applied, FieldError, InstanceApply, InstanceView, Page, Patch, view
from controller.errors import NotFound
from controller.resources import Instance, InstanceManifest, ManifestMetadata
from controller.store import Applied as StoreApplied

from .dependencies import TheAdmission, TheStore
from .documented import problems
from .parameters import (
    Continue,
    DryRun,
    IdempotencyKey,
    IfMatch,
    LabelSelector,
    Limit,
    Once,
    Position,
    Uid,
    answer,
    etag,
    expected_version,
    page_of,
    parse_selector,
    transact,
)

logger = logging.getLogger(__name__)


router = APIRouter(prefix="/api/instances", tags=["instances"])


@router.get("", response_model=Page[InstanceView])
def list_instances(
    store: TheStore,
    limit: Limit = MAX_PAGE,
    token: Continue = None,
    selector: LabelSelector = None,
    repository: Annotated[str | None, Query(max_length=63)] = None,
) -> Response:
    """List instances."""
    limit = min(limit, MAX_PAGE)
    position = Position.parse(token, store.revision())
    found = store.instances.list(parse_selector(selector), repository, limit + 1, position.after)
    return answer(page_of([view(item) for item in found], lambda item: item.metadata.name, limit, position))


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=InstanceView,
    responses={200: {"model": InstanceView, "description": "Dry run"}, **problems(409)},
)
def create_instance(
    store: TheStore,
    admission: TheAdmission,
    manifest: InstanceManifest,
    *,
    idempotency_key: IdempotencyKey = None,
    dry_run: DryRun = False,
) -> Response:
    """Declare a new instance."""

    def make() -> Instance:
        return store.instances.create(admission.new_instance(manifest))

    once = Once(store, "Instance", None if dry_run else idempotency_key)
    request = manifest.model_dump_json()
    made = transact(
        store,
        lambda: once.make(request, make, store.instances.get_by_uid, lambda one: one.metadata.uid),
        dry_run=dry_run,
    )
    name = made.metadata.name
    if not dry_run:
        logger.info("instance created", extra={"cco_instance": name, "cco_uid": made.metadata.uid})
    status = HTTPStatus.OK if dry_run else HTTPStatus.CREATED
    return answer(view(made), status, {"Location": f"/api/instances/{name}", **etag(made)})


@router.get("/{name}", response_model=InstanceView)
def get_instance(store: TheStore, name: str) -> Response:
    """Show an instance."""
    found = store.instances.get(name)
    return answer(view(found), headers=etag(found))


@router.put(
    "/{name}",
    response_model=Applied[InstanceView],
    responses={201: {"model": Applied[InstanceView], "description": "Created"}, **problems(409)},
)
def apply_instance(
    store: TheStore,
    admission: TheAdmission,
    name: str,
    manifest: InstanceApply,
    *,
    if_match: IfMatch = None,
    dry_run: DryRun = False,
) -> Response:
    """Create or replace an instance."""
    check_name(name, manifest.metadata)
    version = expected_version(if_match, manifest.metadata.resource_version)
    wish = InstanceManifest(metadata=plain(manifest.metadata), spec=manifest.spec)

    def work() -> StoreApplied[Instance]:
        try:
            before = store.instances.get(name)
        except NotFound:
            return store.instances.apply(admission.new_instance(wish), version)
        return store.instances.apply(admission.replaced_instance(before, wish), version)

    done = transact(store, work, dry_run=dry_run)
    if not dry_run and done.action != "unchanged":
        logger.info("instance applied", extra={"cco_instance": name, "cco_fields": done.changed_fields})
    status = HTTPStatus.CREATED if done.action == "created" and not dry_run else HTTPStatus.OK
    body = Applied[InstanceView](action=done.action, changed_fields=done.changed_fields, object=view(done.object))
    return answer(body, status, etag(done.object))


@router.patch("/{name}", response_model=InstanceView, responses=problems(409))
def patch_instance(
    store: TheStore,
    admission: TheAdmission,
    name: str,
    patch: Patch,
    *,
    if_match: IfMatch = None,
    dry_run: DryRun = False,
) -> Response:
    """Change some fields of an instance."""
    version = expected_version(if_match, patch.metadata.resource_version)

    def work() -> Instance:
        before = store.instances.get(name)
        spec, labels = admission.patched_instance(before, patch)
        return store.instances.update_spec(name, spec, labels, version)

    changed = transact(store, work, dry_run=dry_run)
    if not dry_run:
        logger.info("instance changed", extra={"cco_instance": name, "cco_fields": sorted(patch.spec)})
    return answer(view(changed), headers=etag(changed))


@router.delete(
    "/{name}",
    status_code=HTTPStatus.ACCEPTED,
    response_model=InstanceView,
    responses=problems(409),
)
def delete_instance(
    store: TheStore,
    name: str,
    *,
    uid: Uid = None,
    discard_work: Annotated[str | None, Query(max_length=63)] = None,
    dry_run: DryRun = False,
) -> Response:
    """Ask for an instance to go; its work stays.

    `discard_work` is the instance's name once more: work that cannot be saved may then go with it.
    """
    if discard_work is not None and discard_work != name:
        raise Invalid(
            FieldError(
                field="discard_work",
                value=discard_work,
                message=f"is not {name[:100]!r}: repeat the instance's name to give up work that cannot be saved",
            )
        )
    give_up = discard_work is not None
    gone = transact(store, lambda: store.instances.request_deletion(name, uid, discard_work=give_up), dry_run=dry_run)
    if not dry_run:
        logger.info("instance deletion requested", extra={"cco_instance": name, "cco_uid": gone.metadata.uid})
    return answer(view(gone), HTTPStatus.ACCEPTED)


def check_name(name: str, metadata: ManifestMetadata) -> None:
    """Refuse a body that is about another object than the path."""
    if metadata.name != name:
        raise Invalid(
            FieldError(
                field="metadata.name",
                value=metadata.name,
                message=f"does not agree with {name[:100]!r} in the path: a name cannot be changed; make another one",
            )
        )


def plain(metadata: ManifestMetadata) -> ManifestMetadata:
    """Return the part of the metadata that is stored."""
    return ManifestMetadata(name=metadata.name, labels=metadata.labels)
