"""Below ``/api/instances/{name}``: what happened to it, prompts for it, and what only the controller can tell."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from api.problems import Invalid, Refused
from api.wire import MAX_PAGE, Attach, FieldError, NewInput, Page, Plan
from controller.errors import NotFound
from controller.resources import Event, Input, Kind

from .dependencies import TheController, TheStore
from .documented import problems
from .parameters import MAX_INTEGER, After, IdempotencyKey, Limit, Once, answer, transact

logger = logging.getLogger(__name__)

MAX_PENDING_INPUTS: Final = 100
MAX_TAIL: Final = 10_000


router = APIRouter(prefix="/api/instances/{name}", tags=["instances"])


@router.get("/events", response_model=Page[Event])
def list_instance_events(store: TheStore, name: str, after: After = None, limit: Limit = MAX_PAGE) -> Response:
    """Say what happened to an instance."""
    version = store.revision()
    found = store.events.list(Kind.INSTANCE, name, after, min(limit, MAX_PAGE))
    if not found:
        store.instances.get(name)
    return answer(Page[Event].model_construct(items=tuple(found), resource_version=version, next=None))


@router.get("/inputs", response_model=Page[Input])
def list_inputs(store: TheStore, name: str, limit: Limit = MAX_PAGE) -> Response:
    """List the prompts sent to an instance."""
    version = store.revision()
    store.instances.get(name)
    found = store.inputs.list(name, min(limit, MAX_PAGE))
    return answer(Page[Input].model_construct(items=tuple(found), resource_version=version, next=None))


@router.post(
    "/inputs",
    status_code=HTTPStatus.CREATED,
    response_model=Input,
    responses=problems(409),
)
def create_input(store: TheStore, name: str, body: NewInput, idempotency_key: IdempotencyKey = None) -> Response:
    """Send a prompt to the instance's Claude."""
    if "\0" in body.text:
        raise Invalid(FieldError(field="text", message="has a NUL character"))

    def make() -> Input:
        instance = store.instances.get(name)
        if instance.metadata.deletion_requested_at is not None:
            raise Refused(HTTPStatus.CONFLICT, "BeingDeleted", f"instance {name!r} is being deleted")
        uid = instance.metadata.uid
        if len(store.inputs.pending(uid)) >= MAX_PENDING_INPUTS:
            raise Refused(
                HTTPStatus.CONFLICT,
                "TooManyInputs",
                f"instance {name!r} has {MAX_PENDING_INPUTS} prompts waiting already: see 'cco why {name}'",
            )
        return store.inputs.create(name, uid, body.text)

    once = Once(store, f"Input/{name}", idempotency_key)
    made = transact(store, lambda: once.make(body.text, make, store.inputs.get, lambda one: one.id))
    logger.info("input created", extra={"cco_instance": name, "cco_input": made.id})
    return answer(made, HTTPStatus.CREATED, {"Location": f"/api/instances/{name}/inputs/{made.id}"})


@router.get("/inputs/{id}", response_model=Input)
def get_input(store: TheStore, name: str, input_id: Annotated[str, Path(alias="id")]) -> Response:
    """Show how far a prompt came."""
    found = store.inputs.get(input_id)
    if found.instance != name:
        raise NotFound("InputNotFound", f"instance {name[:100]!r} has no input {input_id[:100]!r}")
    return answer(found)


@router.get("/plan", response_model=Plan, responses=problems(409, 502))
def get_plan(store: TheStore, controller: TheController, name: str) -> Response:
    """Say what happens next, and why."""
    return answer(controller.plan(store.instances.get(name).metadata.name))


@router.get(
    "/attach",
    response_model=Attach,
    responses=problems(409, 502),
)
def get_attach(store: TheStore, controller: TheController, name: str, *, read_only: bool = False) -> Response:
    """Say which command attaches a terminal."""
    return answer(controller.attach(store.instances.get(name).metadata.name, read_only=read_only))


@router.get(
    "/logs",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The last lines"},
        **problems(409, 502),
    },
)
def get_logs(
    store: TheStore, controller: TheController, name: str, tail: Annotated[int, Query(ge=1, le=MAX_INTEGER)] = 200
) -> Response:
    """Return what an instance's container printed last."""
    text = controller.logs(store.instances.get(name).metadata.name, tail=min(tail, MAX_TAIL))
    return Response(text, media_type="text/plain; charset=utf-8")
