"""The routes of orphans: what is refused before the controller is asked, and a controller that does not answer."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from api.client import Client
from controller.orphans.survey import Findings
from controller.resources.orphan import Origin, Orphan, OrphanKind, SweepReport, SweepResult, Swept
from controller.settings import Settings
from controller.streams import StreamServer
from controller.streams.orphans import OrphanStreams

ORPHAN = Orphan(
    id="0" * 20,
    kind=OrphanKind.WORKTREE,
    name="/r.worktrees/w\udcffb",
    instance="web",
    uid="u",
    origin=Origin.UNKNOWN,
    safe=True,
)


class Looks:
    def look(self, *, deep: bool) -> Findings:
        assert deep
        return Findings((ORPHAN,), ())


class Sweeps:
    def sweep(self, ids: tuple[str, ...]) -> SweepReport:
        return SweepReport(items=tuple(Swept(id=each, result=SweepResult.GONE) for each in ids))


@pytest.fixture
def controller(settings: Settings) -> Iterator[None]:
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    streams = OrphanStreams(Looks(), Sweeps())  # type: ignore[arg-type]  # all that is asked of the two
    server = StreamServer(settings.controller_socket, streams.routes())
    server.start()
    yield
    server.stop()


@pytest.mark.parametrize(
    "body", [{}, {"ids": []}, {"ids": ["../etc"]}, {"ids": [1]}, {"ids": ["0" * 20] * 10_001}, {"names": ["web"]}, []]
)
def test_what_is_no_list_of_ids_is_refused(http: httpx.Client, body: object) -> None:
    answer = http.post("/api/orphans/sweep", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_without_a_controller(http: httpx.Client) -> None:
    for answer in (http.get("/api/orphans"), http.post("/api/orphans/sweep", json={"ids": ["0" * 20]})):
        assert (answer.status_code, answer.json()["reason"]) == (503, "ControllerUnavailable")


def test_strangers_learn_nothing(stranger: httpx.Client) -> None:
    assert stranger.get("/api/orphans").status_code == 401
    assert stranger.post("/api/orphans/sweep", json={"ids": ["0" * 20]}).status_code == 401


@pytest.mark.usefixtures("controller")
def test_a_name_that_is_no_text_arrives_all_the_same(client: Client) -> None:
    (found,) = client.list_orphans().items
    assert found.name == "/r.worktrees/w?b"
    assert found.instance == "web"


@pytest.mark.usefixtures("controller")
def test_the_ids_arrive(client: Client) -> None:
    ids = ["0" * 20, "f" * 20]
    assert [each.id for each in client.sweep_orphans(ids).items] == ids


@pytest.mark.usefixtures("controller")
def test_the_controller_checks_for_itself(settings: Settings) -> None:
    transport = httpx.HTTPTransport(uds=str(settings.controller_socket))
    with httpx.Client(transport=transport, base_url="http://controller") as direct:
        answer = direct.post("/orphans/sweep", json={"ids": ["../etc"]})
    assert answer.status_code == 400
