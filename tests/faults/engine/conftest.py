"""One engine of our own for all scenarios of this folder: it is started once, broken by each, and mended after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.engine_world import EngineWorld, engine_world
from faults.real_world import BASE_IMAGE, IMAGES, build_images
from support.own_engine import OwnEngine, own_engine


@pytest.fixture(scope="session")
def session_engine() -> Iterator[OwnEngine]:
    build_images()
    with own_engine((BASE_IMAGE, *IMAGES)) as engine:
        yield engine


@pytest.fixture
def engine(session_engine: OwnEngine) -> OwnEngine:
    """The engine, running, without live-restore unless a scenario starts it so."""
    session_engine.recover()
    return session_engine


@pytest.fixture
def world(engine: OwnEngine) -> Iterator[EngineWorld]:
    """An installation with the light stand-in for agent and Claude."""
    with engine_world(engine) as world:
        yield world
