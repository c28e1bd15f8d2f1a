from __future__ import annotations

from typing import Any

import httpx
from fastapi import FastAPI

ROUTES = {
    "/api/doctor": "get",
    "/api/doctor/logs": "get",
    "/api/doctor/repairs": "post",
    "/api/events": "get",
    "/api/health": "get",
    "/api/instances": "get post",
    "/api/instances/{name}": "delete get patch put",
    "/api/instances/{name}/attach": "get",
    "/api/instances/{name}/events": "get",
    "/api/instances/{name}/inputs": "get post",
    "/api/instances/{name}/inputs/{id}": "get",
    "/api/instances/{name}/logs": "get",
    "/api/instances/{name}/plan": "get",
    "/api/orphans": "get",
    "/api/orphans/sweep": "post",
    "/api/repositories": "get post",
    "/api/repositories/{name}": "delete get patch put",
    "/api/repositories/{name}/events": "get",
    "/api/snapshots": "get",
    "/api/snapshots/{repository}/{id}": "get",
    "/api/snapshots/{repository}/{id}/restore": "post",
    "/api/version": "get",
    "/api/watch": "get",
    "/login": "post",
    "/logout": "post",
}


def test_the_routes_are_these(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    assert {path: " ".join(sorted(operations)) for path, operations in paths.items()} == ROUTES


def test_nothing_answers_that_is_not_documented(app: FastAPI) -> None:
    """Beside the documents themselves, and the answer for everything that is not there."""
    undocumented = {getattr(route, "path", "") for route in app.routes if not getattr(route, "include_in_schema", True)}
    assert undocumented == {"/openapi.json", "/docs", "/api/{path:path}", "/login", "/logout"}
    refusing = [route for route in app.routes if getattr(route, "name", "") == "_nothing_here"]
    assert {getattr(route, "path", "") for route in refusing} == {"/api/{path:path}", "/login", "/logout"}


def test_every_operation_says_how_it_fails(app: FastAPI) -> None:
    document = app.openapi()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            assert {"400", "401", "403", "404", "413", "422", "429", "503"} <= set(responses), path
            for status, response in responses.items():
                if int(status) >= 400:
                    schema = response["content"]["application/problem+json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Problem"}
            assert operation["description"]
            assert operation["security"] == (
                [] if path in {"/api/health", "/login"} else [{"token": []}, {"session": []}]
            )
    assert "HTTPValidationError" not in document["components"]["schemas"]


def references(node: Any) -> set[str]:  # noqa: ANN401 - JSON
    if isinstance(node, dict):
        found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return found.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(references(value) for value in node))
    return set()


def test_every_reference_leads_somewhere(app: FastAPI) -> None:
    document = app.openapi()
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known


def test_documents_are_served_to_those_who_may_read_them(http: httpx.Client) -> None:
    assert http.get("/openapi.json").json()["info"]["title"] == "cc-orchestrator"
    page = http.get("/docs")
    assert page.status_code == 200
    assert all(path in page.text for path in ROUTES)
    assert "script" not in page.text
