"""The rest of ``/api``: events of everything, the watch, health, version; and the door's own two routes."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Final, get_args
from urllib.parse import parse_qs

from fastapi import APIRouter, Header, Query, Request, Response

from api.gate import wrong_token
from api.problems import Invalid
from api.watch import ChangeStream
from api.wire import EVENT_STREAM, MAX_PAGE, FieldError, Health, Page, PartHealth, Version, WatchKind
from controller.errors import CcoError
from controller.release import program_version
from controller.resources import Event, Kind

from .dependencies import TheAuth, TheController, TheHub, TheStore
from .documented import problems
from .parameters import MAX_INTEGER, After, Limit, answer

KINDS: Final = frozenset(get_args(WatchKind))
DEFAULT_KINDS: Final = frozenset({"Instance", "Repository"})


router = APIRouter(prefix="/api", tags=["system"])


@router.get("/events", response_model=Page[Event])
def list_events(
    store: TheStore,
    kind: Kind | None = None,
    name: Annotated[str | None, Query(max_length=63)] = None,
    after: After = None,
    limit: Limit = MAX_PAGE,
) -> Response:
    """Say what happened."""
    revision = store.revision()
    found = store.events.list(kind, name, after, min(limit, MAX_PAGE))
    return answer(Page[Event].model_construct(items=tuple(found), resource_version=revision, next=None))


@router.get(
    "/watch",
    response_class=Response,
    responses={
        200: {
            "description": "`change` events with a WatchEvent as JSON, `bookmark` and `resync` events",
            "content": {EVENT_STREAM: {}},
        },
        **problems(410),
    },
)
async def watch(
    store: TheStore,
    hub: TheHub,
    resource_version: Annotated[
        int | None, Query(ge=0, le=MAX_INTEGER, description="Begin behind it; default: now.")
    ] = None,
    kinds: Annotated[str | None, Query(max_length=200, description="For example `Instance,Event`.")] = None,
    heartbeat: Annotated[float, Query(ge=0.5, le=60, description="Seconds between comments.")] = 15.0,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
) -> Response:
    """Stream changes as they happen."""
    begin = _begin(resource_version, last_event_id)
    if begin is None:
        begin = store.revision()
    wanted = _kinds(kinds)
    subscriber, past = await hub.subscribe(begin, wanted)
    return ChangeStream(hub, subscriber, past, heartbeat)


@router.get("/health", response_model=Health)
def get_health(store: TheStore, controller: TheController) -> Response:
    """Tell whether the parts answer; needs no token."""
    part = controller.health()
    try:
        store.revision()
        own = PartHealth(status="ok")
    except CcoError as error:
        own = PartHealth(status="unavailable", detail=error.reason)
    engine = controller.engine_health() if part.status == "ok" else None
    healthy = all(each.status == "ok" for each in (own, part, engine) if each is not None)
    body = Health(status="ok" if healthy else "degraded", api=own, controller=part, engine=engine)
    return answer(body, HTTPStatus.OK if own.status == "ok" else HTTPStatus.SERVICE_UNAVAILABLE)


@router.get("/version", response_model=Version)
def get_version(store: TheStore) -> Response:
    """Tell which program answers."""
    return answer(
        Version(version=program_version(), installation=store.installation_id, resource_version=store.revision())
    )


door = APIRouter(tags=["session"])


@door.post(
    "/login",
    status_code=HTTPStatus.NO_CONTENT,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                media: {
                    "schema": {"type": "object", "required": ["token"], "properties": {"token": {"type": "string"}}}
                }
                for media in ("application/json", "application/x-www-form-urlencoded")
            },
        }
    },
)
async def login(auth: TheAuth, request: Request) -> Response:
    """Begin a browser session with the token (JSON or form)."""
    if not auth.token_matches(_token(request.headers.get("content-type", ""), await request.body())):
        return wrong_token(auth, request.scope)
    return _no_content(auth.cookie(secure=request.url.scheme == "https"))


@door.post("/logout", status_code=HTTPStatus.NO_CONTENT)
async def logout(auth: TheAuth, request: Request) -> Response:
    """End the browser's session."""
    return _no_content(auth.expired_cookie(secure=request.url.scheme == "https"))


def _no_content(cookie: str) -> Response:
    return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Set-Cookie": cookie, "Cache-Control": "no-store"})


def _token(content_type: str, body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    if content_type.partition(";")[0].strip() == "application/x-www-form-urlencoded":
        token: object = next(iter(parse_qs(text).get("token", [])), None)
    else:
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            parsed = None
        token = parsed.get("token") if isinstance(parsed, dict) else None
    if not isinstance(token, str):
        raise Invalid(FieldError(field="token", message='is required: send {"token": "..."}'))
    return token


def _begin(resource_version: int | None, last_event_id: str | None) -> int | None:
    if last_event_id is None:
        return resource_version
    if not (last_event_id.isascii() and last_event_id.isdecimal()) or int(last_event_id) > MAX_INTEGER:
        raise Invalid(FieldError(field="Last-Event-ID", value=last_event_id, message="is not an id of this stream"))
    return int(last_event_id)


def _kinds(text: str | None) -> frozenset[str]:
    if text is None:
        return DEFAULT_KINDS
    wanted = frozenset(part.strip() for part in text.split(",") if part.strip())
    unknown = wanted - KINDS
    if unknown or not wanted:
        names = ", ".join(sorted(KINDS))
        raise Invalid(FieldError(field="kinds", value=text, message=f"must be some of {names}, separated by commas"))
    return wanted
