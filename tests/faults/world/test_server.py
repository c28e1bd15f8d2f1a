"""The server killed while people declare things: what it has said is stored, is (invariant I1)."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
import pytest

from faults.controller_and_server import PATIENCE
from faults.world.installation import EVERYTHING, World

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

KILLS = 20 if EVERYTHING else 6
PEOPLE = 4
BETWEEN = 8
"""Answers between a start of the server and its end."""
ALLOWED = BETWEEN + 3 * PEOPLE
"""Wishes for each life of the server: more than it lives to answer, so that it is killed over some."""


@dataclass
class Declared:
    """What people asked for and what they were told; each goes on until it has an answer, with one key for each wish.

    Attributes:
        uids: of what was answered with 201, by name.
        cut_off: requests that got no answer although somebody listened.
        answered: released with every answer.
        allowed: taken for every wish; a server that lives again is not to be flooded.
    """

    world: World
    uids: dict[str, str] = field(default_factory=dict)
    cut_off: int = 0
    answered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    allowed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    enough: threading.Event = field(default_factory=threading.Event)

    def declare(self, person: int) -> None:
        """Declare one instance after the other, at rest, so that they cost rows and nothing else."""
        token = (self.world.system.state_dir / "token").read_text().strip()
        with httpx.Client(base_url=self.world.system.address, headers={"Authorization": f"Bearer {token}"}) as http:
            for number in itertools.count():
                self.allowed.acquire()
                if self.enough.is_set():
                    return
                self._declare(http, f"wish-{person}-{number}")

    def end(self) -> None:
        """Let nobody wish for more."""
        self.enough.set()
        self.allowed.release(PEOPLE)

    def _declare(self, http: httpx.Client, name: str) -> None:
        wish = self.world.manifest(name, operating_mode="Stopped", prompt=name * 40)
        body = wish.model_dump(mode="json", exclude_unset=True)
        key = {"Idempotency-Key": secrets.token_hex(8)}
        deadline = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < deadline, f"{name} was never answered"
            try:
                answer = http.post("/api/instances", json=body, headers=key, timeout=30)
            except httpx.ConnectError:
                self.enough.wait(0.05)
            except httpx.TransportError:
                self.cut_off += 1
            else:
                break
        assert answer.status_code == 201, answer.text
        self.uids[name] = answer.json()["metadata"]["uid"]
        self.answered.release()


def test_a_server_killed_while_people_declare_forgets_nothing_and_makes_nothing_twice(world: World) -> None:
    declared = Declared(world)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(PEOPLE))
        stack.callback(declared.end)
        people = [pool.submit(declared.declare, person) for person in range(PEOPLE)]
        for _ in range(KILLS):
            declared.allowed.release(ALLOWED)
            for _ in range(BETWEEN):
                assert declared.answered.acquire(timeout=PATIENCE), [each for each in people if each.done()]
            world.place.kill("ui.server")
            told = dict(declared.uids)
            world.place.start("ui.server")
            with world.place.client() as client:
                found = {each.metadata.name: each.metadata.uid for each in client.list_instances()}
            assert told.items() <= found.items()
    for person in people:
        person.result()
    assert declared.cut_off > 0, "somebody waited for an answer when the server was killed"
    with world.place.client() as client:
        listed = client.list_instances(repository=world.repository.name)
    assert {each.metadata.name: each.metadata.uid for each in listed} == declared.uids
    assert all(each.spec.prompt == each.metadata.name * 40 for each in listed)
    world.verify(cpu=False)
