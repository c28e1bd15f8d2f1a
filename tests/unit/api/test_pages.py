"""However much there is and however much is asked for: no list answers with more than a page."""

from __future__ import annotations

import httpx
import pytest

from api.wire import MAX_PAGE
from controller.resources import EventType, Kind
from controller.store import Store
from support.api_world import instance_manifest, repository_manifest

TOO_MANY = MAX_PAGE + 1
LISTS = {
    "/api/instances": "",
    "/api/instances/{name}/events": "web-0000",
    "/api/instances/{name}/inputs": "web-0000",
    "/api/repositories": "",
    "/api/repositories/{name}/events": "shop-0000",
    "/api/events": "",
}
"""Each list that takes a ``limit``, and whose it is in this test."""


@pytest.fixture
def crowded(store: Store) -> Store:
    """One thing more than a page has of everything that can be listed."""
    with store.transaction():
        for number in range(TOO_MANY):
            store.repositories.create(repository_manifest(f"shop-{number:04}"))
            made = store.instances.create(instance_manifest(f"web-{number:04}", repository="shop-0000"))
        web, shop = store.instances.get("web-0000").metadata, store.repositories.get("shop-0000").metadata
        for number in range(TOO_MANY):
            store.inputs.create(web.name, web.uid, f"prompt {number}")
            store.events.record(Kind.INSTANCE, web.name, web.uid, EventType.NORMAL, "Tried", f"try {number}")
            store.events.record(Kind.REPOSITORY, shop.name, shop.uid, EventType.NORMAL, "Tried", f"try {number}")
    assert made.metadata.name == f"web-{MAX_PAGE:04}"
    return store


def test_no_list_is_longer_than_a_page(http: httpx.Client, crowded: Store) -> None:
    assert crowded.instances.count() == TOO_MANY
    for route, name in LISTS.items():
        path = route.format(name=name)
        for asked in ({}, {"limit": 2**63 - 1}):
            assert len(http.get(path, params=asked).json()["items"]) == MAX_PAGE, (path, asked)
        assert len(http.get(path, params={"limit": MAX_PAGE - 1}).json()["items"]) == MAX_PAGE - 1, path
    for path in ("/api/instances", "/api/repositories"):
        first = http.get(path, params={"limit": 10**9}).json()
        rest = http.get(path, params={"limit": 10**9, "continue": first["continue"]}).json()
        assert (len(rest["items"]), rest["continue"]) == (1, None), "and nothing is left out"
    after = http.get("/api/events", params={"limit": 10**9, "after": 0}).json()["items"]
    assert len(after) == MAX_PAGE


def test_these_are_all_lists_there_are(http: httpx.Client) -> None:
    routes = http.get("/openapi.json").json()["paths"]
    limited = {
        route
        for route, methods in routes.items()
        if any(each["name"] == "limit" for each in methods.get("get", {}).get("parameters", ()))
    }
    assert limited == set(LISTS)
