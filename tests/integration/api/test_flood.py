"""The server's real process under a caller that wants too much: too often, too large, from elsewhere."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.web_server import Server, start_server, stop_server

PER_SECOND = 40
SECONDS = 3.0
MIB = 1024**2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_server(tmp_path_factory.mktemp("flood"), CCO_REQUESTS_PER_SECOND=str(PER_SECOND))
    yield server
    stop_server(server)
    text = server.log.read_text()
    assert " ERROR " not in text
    assert "Traceback" not in text


@pytest.fixture
def bearer(server: Server) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.token}"}


def resident_bytes(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def ask_until(server: Server, headers: dict[str, str], end: float, answers: Counter[int]) -> None:
    """Ask as fast as one connection can."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    while time.monotonic() < end:
        connection.request("GET", "/api/version", headers=headers)
        answer = connection.getresponse()
        answer.read()
        answers[answer.status] += 1
    connection.close()


def flood(server: Server, headers: dict[str, str], seconds: float) -> Counter[int]:
    answers: Counter[int] = Counter()
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=ask_until, args=(server, headers, end, answers)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return answers


def test_the_excess_is_refused_others_are_served_and_memory_stays_flat(server: Server, bearer: dict[str, str]) -> None:
    flood(server, bearer, 1.0)  # what is loaded at first use is no growth
    cookie = httpx.post(f"{server.url}/login", json={"token": server.token}).headers["set-cookie"].partition(";")[0]
    before, began = resident_bytes(server), time.monotonic()
    answers = flood(server, bearer, SECONDS)
    took = time.monotonic() - began
    assert httpx.get(f"{server.url}/api/version", headers={"Cookie": cookie}).status_code == 200
    assert set(answers) == {200, 429}
    assert answers[200] <= PER_SECOND * (took + 2) + 1, answers
    assert answers[429] > answers[200], answers
    assert resident_bytes(server) - before < 16 * MIB
    deadline = time.monotonic() + 20
    while httpx.get(f"{server.url}/api/version", headers=bearer).status_code != 200:
        assert time.monotonic() < deadline, "it is let in again"
        time.sleep(0.1)


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "without"])
def test_ten_megabytes_are_refused_and_not_kept(server: Server, bearer: dict[str, str], *, chunked: bool) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(10):
            yield b" " * MIB

    before = resident_bytes(server)
    with httpx.Client(base_url=server.url, headers={**bearer, "Content-Type": "application/json"}) as client:
        try:
            answer = client.post("/api/instances", content=body() if chunked else b" " * 10 * MIB)
        except httpx.WriteError:  # it hung up instead of reading what it does not want, which is as good
            answer = None
        assert answer is None or answer.status_code == 413
        assert client.get("/api/health").status_code == 200
    assert resident_bytes(server) - before < 16 * MIB


def listening(pid: int) -> set[tuple[str, int]]:
    """Return address and port of every TCP socket a process listens on."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
        except FileNotFoundError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            field = line.split()
            if field[3] == "0A" and field[9] in inodes:
                address, port = field[1].split(":")
                found.add((address, int(port, 16)))
    return found


def test_it_listens_on_this_machine_only(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    assert listening(server.process.pid) == {("0100007F", port)}, "127.0.0.1 as the kernel writes it"


def test_pages_of_others_get_nothing(server: Server, bearer: dict[str, str]) -> None:
    evil = "http://evil.example"
    with httpx.Client(base_url=server.url, headers=bearer) as client:
        assert client.get("/api/instances", headers={"Host": "evil.example"}).status_code == 400
        assert client.request("TRACE", "/api/instances").status_code == 405
        for answer in (
            client.get("/api/instances", headers={"Origin": evil}),
            client.options("/api/instances", headers={"Origin": evil, "Access-Control-Request-Method": "POST"}),
            client.get("/", headers={"Origin": evil}),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert client.post("/api/instances", headers={"Origin": evil}, json={}).status_code == 403
