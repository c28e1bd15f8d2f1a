"""What test_fuzz.py adds to schemathesis: our own check, and the one answer its checks do not know."""

from __future__ import annotations

import os
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import IgnoredAuth, UnsupportedMethodResponse

OPEN = {"/api/health", "/login"}


@schemathesis.check
def nothing_without_a_token(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Whoever has no token gets nothing but refusals, whatever is sent (if the run is one without a token)."""
    del ctx
    if os.environ.get("FUZZ_ANONYMOUS") and case.operation.path not in OPEN:
        assert response.status_code in {400, 401, 405, 413, 429}, f"{response.status_code} without a token"


@schemathesis.check
def errors_are_problems(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Every error is a problem document that says the way out and shows nothing of the program."""
    del ctx, case
    if response.status_code >= 400 and response.request.method != "HEAD":
        assert response.headers["content-type"] == ["application/problem+json"], response.headers
        problem: dict[str, Any] = response.json()
        assert problem["reason"]
        assert problem["detail"]
        assert "Traceback" not in response.text


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Accept two answers that are as they should be.

    A wrong token is told 429 instead of 401 after ten of them; and ``GET /login`` is the dashboard's page.
    """
    del context
    if isinstance(failure, IgnoredAuth):
        return "got `429 " not in failure.message
    if isinstance(failure, UnsupportedMethodResponse):
        return not (case.operation.path == "/login" and response.request.method == "GET")
    return True
