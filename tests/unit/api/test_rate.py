"""How often one caller may ask, and that nobody pays for another one."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.controller_link import ControllerLink
from api.rate import BURST_SECONDS, MAX_CALLERS, RateLimit
from controller.settings import Settings
from controller.store import Store
from support.api_world import BASE, TOKEN
from support.in_process import InProcess

PER_SECOND = 5.0
BURST = int(PER_SECOND * BURST_SECONDS)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_caller_below_the_rate_never_notices_and_the_excess_is_told_when_to_come_back() -> None:
    clock = Clock()
    rate = RateLimit(10, clock)
    assert [rate.take("a") for _ in range(20)] == [None] * 20
    assert rate.take("a") == pytest.approx(0.1)
    assert rate.take("b") is None, "another caller does not wait"
    clock.now += 0.1
    assert rate.take("a") is None
    assert rate.take("a") is not None
    clock.now += 3600
    assert [rate.take("a") for _ in range(21)][19:] == [None, pytest.approx(0.1)], "a pause saves up no more than that"


def test_no_limit() -> None:
    rate = RateLimit(0, Clock())
    assert all(rate.take("a") is None for _ in range(10_000))
    assert len(rate) == 0


def test_callers_are_remembered_in_bounded_memory() -> None:
    rate = RateLimit(1, Clock())
    for number in range(3 * MAX_CALLERS):
        rate.take(str(number))
    assert len(rate) == MAX_CALLERS


def default_rate() -> float:
    found = Settings.model_fields["requests_per_second"].default
    assert isinstance(found, float)
    return found


def test_a_thousand_requests_a_second_are_cut_to_the_rate() -> None:
    clock = Clock()
    rate = RateLimit(default_rate(), clock)
    taken = 0
    for _ in range(10_000):
        clock.now += 0.001
        taken += rate.take("a") is None
    assert taken <= 10 * default_rate() + BURST_SECONDS * default_rate()
    assert taken >= 10 * default_rate(), "the others are answered"


def test_fifty_busy_clients_of_one_machine_never_meet_the_limit() -> None:
    """Each asks eight times a second, all of them at the same moment; they share token and address."""
    clock = Clock()
    rate = RateLimit(default_rate(), clock)
    for _ in range(60 * 8):
        assert [rate.take("token at 127.0.0.1") for _ in range(50)] == [None] * 50
        clock.now += 1 / 8


@pytest.fixture
def app(store: Store, settings: Settings) -> FastAPI:
    """The application with a small limit; ``http`` and ``stranger`` speak to it."""
    limited = settings.model_copy(update={"requests_per_second": PER_SECOND})
    return create_app(store, limited, TOKEN, ControllerLink(settings.controller_socket), public=("/assets/",))


def codes(client: httpx.Client, path: str, **headers: str) -> set[int]:
    return {client.get(path, headers=headers).status_code for _ in range(2 * BURST)}


def test_the_excess_is_429_with_the_way_out(http: httpx.Client) -> None:
    answers = [http.get("/api/version") for _ in range(2 * BURST)]
    assert [answer.status_code for answer in answers[:BURST]] == [200] * BURST
    refused = answers[-1]
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["reason"] == "TooManyRequests"
    assert "CCO_REQUESTS_PER_SECOND" in refused.json()["detail"]
    assert refused.headers["x-content-type-options"] == "nosniff"


def test_strangers_cannot_use_up_what_others_may_ask(http: httpx.Client, stranger: httpx.Client) -> None:
    assert codes(stranger, "/api/instances") == {401, 429}
    assert 429 in codes(stranger, "/api/health"), "what needs no login counts as a stranger's"
    assert 429 in codes(stranger, "/api/instances", Authorization=f"Bearer {'x' * 40}")
    assert http.get("/api/version").status_code == 200


def test_browsers_do_not_pay_for_each_other(app: FastAPI, transport: InProcess, http: httpx.Client) -> None:
    def browser() -> httpx.Client:
        cookie = app.state.auth.cookie(secure=False).partition(";")[0]
        return httpx.Client(transport=transport, base_url=BASE, headers={"Cookie": cookie})

    with browser() as one, browser() as other:
        assert codes(one, "/api/version") == {200, 429}
        assert other.get("/api/version").status_code == 200
        assert http.get("/api/version").status_code == 200
