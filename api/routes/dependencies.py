"""What routes are handed: the parts that :func:`api.app.create_app` put together."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from api.admission import Admission
from api.auth import Auth
from api.controller_link import ControllerLink
from api.hub import Hub
from controller.store import Store

# Asynchronous, because FastAPI would send plain functions to its thread pool for nothing.


async def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


async def _admission(request: Request) -> Admission:
    admission: Admission = request.app.state.admission
    return admission


async def _controller(request: Request) -> ControllerLink:
    controller: ControllerLink = request.app.state.controller
    return controller


async def _hub(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


async def _auth(request: Request) -> Auth:
    auth: Auth = request.app.state.auth
    return auth


TheStore = Annotated[Store, Depends(_store)]
TheAdmission = Annotated[Admission, Depends(_admission)]
TheController = Annotated[ControllerLink, Depends(_controller)]
TheHub = Annotated[Hub, Depends(_hub)]
TheAuth = Annotated[Auth, Depends(_auth)]
