"""``/api/repositories``: register, look, change, forget."""

from __future__ import annotations

import contextlib
import logging
from http import HTTPStatus

from fastapi import APIRouter, Response

from api.wire import MAX_PAGE, Applied, Page, Patch, RepositoryApply
from controller.errors import NotFound
from controller.resources import Event, Kind, Repository, RepositoryManifest
from controller.store import Applied as StoreApplied

from .dependencies import TheAdmission, TheStore
from .documented import problems
from .instances import check_name, plain
from .parameters import (
    After,
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


router = APIRouter(prefix="/api/repositories", tags=["repositories"])


@router.get("", response_model=Page[Repository])
def list_repositories(
    store: TheStore, limit: Limit = MAX_PAGE, token: Continue = None, selector: LabelSelector = None
) -> Response:
    """List repositories."""
    limit = min(limit, MAX_PAGE)
    position = Position.parse(token, store.revision())
    found = store.repositories.list(parse_selector(selector), limit=limit + 1, after=position.after)
    return answer(page_of(found, lambda item: item.metadata.name, limit, position))


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=Repository,
    responses={200: {"model": Repository, "description": "Dry run"}, **problems(409)},
)
def create_repository(
    store: TheStore, manifest: RepositoryManifest, *, idempotency_key: IdempotencyKey = None, dry_run: DryRun = False
) -> Response:
    """Register a repository."""
    once = Once(store, "Repository", None if dry_run else idempotency_key)
    request = manifest.model_dump_json()
    made = transact(
        store,
        lambda: once.make(
            request,
            lambda: store.repositories.create(manifest),
            store.repositories.get_by_uid,
            lambda one: one.metadata.uid,
        ),
        dry_run=dry_run,
    )
    name = made.metadata.name
    if not dry_run:
        logger.info("repository created", extra={"cco_repository": name})
    status = HTTPStatus.OK if dry_run else HTTPStatus.CREATED
    return answer(made, status, {"Location": f"/api/repositories/{name}", **etag(made)})


@router.get("/{name}", response_model=Repository)
def get_repository(store: TheStore, name: str) -> Response:
    """Show a repository."""
    found = store.repositories.get(name)
    return answer(found, headers=etag(found))


@router.get("/{name}/events", response_model=Page[Event])
def list_repository_events(store: TheStore, name: str, after: After = None, limit: Limit = MAX_PAGE) -> Response:
    """Say what happened to a repository."""
    version = store.revision()
    found = store.events.list(Kind.REPOSITORY, name, after, min(limit, MAX_PAGE))
    if not found:
        store.repositories.get(name)
    return answer(Page[Event].model_construct(items=tuple(found), resource_version=version, next=None))


@router.put(
    "/{name}",
    response_model=Applied[Repository],
    responses={201: {"model": Applied[Repository], "description": "Created"}, **problems(409)},
)
def apply_repository(
    store: TheStore,
    admission: TheAdmission,
    name: str,
    manifest: RepositoryApply,
    *,
    if_match: IfMatch = None,
    dry_run: DryRun = False,
) -> Response:
    """Create or replace a repository."""
    check_name(name, manifest.metadata)
    version = expected_version(if_match, manifest.metadata.resource_version)
    wish = RepositoryManifest(metadata=plain(manifest.metadata), spec=manifest.spec)

    def work() -> StoreApplied[Repository]:
        with contextlib.suppress(NotFound):
            admission.changed_repository(store.repositories.get(name), wish.spec)
        return store.repositories.apply(wish, version)

    done = transact(store, work, dry_run=dry_run)
    if not dry_run and done.action != "unchanged":
        logger.info("repository applied", extra={"cco_repository": name, "cco_fields": done.changed_fields})
    status = HTTPStatus.CREATED if done.action == "created" and not dry_run else HTTPStatus.OK
    body = Applied[Repository](action=done.action, changed_fields=done.changed_fields, object=done.object)
    return answer(body, status, etag(done.object))


@router.patch("/{name}", response_model=Repository, responses=problems(409))
def patch_repository(
    store: TheStore,
    admission: TheAdmission,
    name: str,
    patch: Patch,
    *,
    if_match: IfMatch = None,
    dry_run: DryRun = False,
) -> Response:
    """Change some fields of a repository."""
    version = expected_version(if_match, patch.metadata.resource_version)

    def work() -> Repository:
        spec, labels = admission.patched_repository(store.repositories.get(name), patch)
        return store.repositories.update_spec(name, spec, labels, version)

    changed = transact(store, work, dry_run=dry_run)
    if not dry_run:
        logger.info("repository changed", extra={"cco_repository": name, "cco_fields": sorted(patch.spec)})
    return answer(changed, headers=etag(changed))


@router.delete(
    "/{name}",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Repository,
    responses=problems(409),
)
def delete_repository(
    store: TheStore, admission: TheAdmission, name: str, *, uid: Uid = None, dry_run: DryRun = False
) -> Response:
    """Forget a repository that no instance uses; nothing on disk is touched."""

    def work() -> Repository:
        store.repositories.get(name)
        admission.unused_repository(name)
        return store.repositories.request_deletion(name, uid)

    gone = transact(store, work, dry_run=dry_run)
    if not dry_run:
        logger.info("repository deletion requested", extra={"cco_repository": name})
    return answer(gone, HTTPStatus.ACCEPTED)
