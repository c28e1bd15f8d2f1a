"""The API's application: which routers, behind which door.

One request passes ``gate`` (host, origin, size, login), is parsed by its route into the resource models, checked by
``admission`` and stored, all in one transaction; the answer is the stored object. ``watch`` tells everybody else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from http import HTTPStatus
from itertools import chain
from typing import NoReturn

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.routing import Match

from controller.release import program_version
from controller.settings import Settings
from controller.store import Store

from . import problems
from .admission import Admission
from .auth import Auth
from .controller_link import ControllerLink
from .gate import METHODS, Gate
from .hub import Hub
from .kept import KeptAnswers
from .rate import RateLimit
from .reference import reference_page
from .routes import doctor, instance_parts, instances, orphans, repositories, snapshots, system
from .routes.documented import Documented

DESCRIPTION = (
    "Declares Claude Code instances and repositories, and tells what became of them. Errors are RFC 9457 problem "
    "documents. Send `Authorization: Bearer` with the token of the state directory."
)
ROUTERS = (
    instances.router,
    instance_parts.router,
    repositories.router,
    doctor.router,
    orphans.router,
    snapshots.router,
    system.router,
    system.door,
)


def create_app(
    store: Store, settings: Settings, token: str, controller: ControllerLink, *, public: Collection[str] = ()
) -> FastAPI:
    """Return the application; whoever adds pages to it adds them behind the same door.

    Args:
        store: open; stays open after the application ends.
        settings: ``allowed_hosts``, ``max_instances`` and ``requests_per_second`` matter here.
        token: what callers must send.
        controller: answers what the store cannot.
        public: more paths that need no login, such as the login page's own (``/assets/`` stands for all below).

    ``app.state.hub`` ends every open watch when it is closed; :class:`api.serving.Server` does that at shutdown.
    """
    hub = Hub(store)
    auth = Auth(token)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        hub.close()

    app = Documented(
        title="cc-orchestrator",
        version=program_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.store, app.state.controller = store, controller
    app.state.admission = Admission(store, settings)
    app.state.auth, app.state.hub = auth, hub
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_api_route("/docs", lambda: reference_page(app.openapi()), include_in_schema=False)
    app.add_api_route(
        "/api/{path:path}", _nothing_here, methods=sorted(METHODS), response_model=None, include_in_schema=False
    )
    for path, others in (("/login", METHODS - {"GET", "HEAD", "POST"}), ("/logout", METHODS - {"POST"})):
        app.add_api_route(path, _nothing_here, methods=sorted(others), response_model=None, include_in_schema=False)
    app.add_middleware(KeptAnswers, store=store)
    app.add_middleware(
        Gate,
        auth=auth,
        allowed_hosts=settings.allowed_hosts,
        rate=RateLimit(settings.requests_per_second),
        public={"/login", *public},
    )
    return app


def _nothing_here(request: Request) -> NoReturn:
    """Answer what no route took: pages that are mounted later must not answer below ``/api``."""
    allowed = _methods_for(request)
    if allowed:
        raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(sorted(allowed))})
    raise HTTPException(HTTPStatus.NOT_FOUND)


def _methods_for(request: Request) -> set[str]:
    found: set[str] = set()
    for route in chain.from_iterable(router.routes for router in ROUTERS):
        match, _ = route.matches(request.scope)
        if match is Match.PARTIAL:
            found |= getattr(route, "methods", None) or set()
    return found
