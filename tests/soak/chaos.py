"""What goes wrong in a soak: one function for each misfortune, all of them chosen and aimed by one seeded generator.

Each returns what it did in a few words. Work is recorded before a fault (``World.remember``), so what a fault
destroys on purpose (a person deletes a folder) is struck from the record there.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass

from controller.resources import DisplayState, display_state, find_condition
from faults.facts import run
from faults.world.installation import CLIENT, World, git
from support.model_container import away

PAUSE = threading.Event()
UP = frozenset({DisplayState.RUNNING, DisplayState.IDLE, DisplayState.WAITING})


@dataclass
class Fleet:
    """The instances of a soak.

    Attributes:
        names: all of them; ``talkers`` run the real client.
        work: commits made.
        retries: starts of instances that failed too often to be started again without a person.
    """

    world: World
    names: list[str]
    talkers: frozenset[str]
    chance: random.Random
    work: int = 0
    retries: int = 0

    def up(self) -> list[str]:
        """Return those whose session is up now."""
        with self.world.place.client() as client:
            return [each.metadata.name for each in client.list_instances() if display_state(each)[0] in UP]

    def one(self, *, talker: bool = False) -> str | None:
        """Return any instance that is up; with ``talker``, of those with the real client."""
        ready = [name for name in self.up() if name in self.talkers or not talker]
        return self.chance.choice(ready) if ready else None

    def run_of(self, name: str) -> tuple[object, ...]:
        """Return what is another for each run of an instance."""
        status = self.world.get(name).status
        return status.attempt, status.restarts, status.started_at

    def is_up_again(self, name: str, before: tuple[object, ...]) -> bool:
        """Tell whether it is up, and in another run; one that was given up is retried, as a person would."""
        ready = find_condition(self.world.get(name).status.conditions, "Ready")
        if ready is not None and ready.reason == "CrashLoop":
            self.retries += 1
            self.world.system.cco("retry", name, "--timeout", "100s")
        return self.run_of(name) != before and name in self.up()

    def do_work(self, how_many: int = 3) -> None:
        """Let some instances commit and leave something uncommitted, and remember all of it."""
        ready = self.up()
        for name in self.chance.sample(ready, min(how_many, len(ready))):
            self.work += 1
            script = (
                f"echo {self.work} >>work.txt; git add work.txt; git commit -qm 'Work {self.work}'; echo half >draft"
            )
            with suppress(AssertionError, RuntimeError):  # its container may be on its way out: then nothing was done
                self.world.in_box(name, script)
        self.world.remember()

    def forget_drafts(self, name: str) -> None:
        """Strike the uncommitted files of an instance from the record: a person is about to delete them."""
        drafts = self.world.baseline.drafts
        self.world.baseline.drafts = [each for each in drafts if each.instance != name]


Fault = Callable[[Fleet, str], str]


def _inside(fleet: Fleet, name: str, script: str) -> None:
    with suppress(AssertionError, RuntimeError):  # its container may be on its way out
        fleet.world.in_box(name, script, check=False)


def container_killed(fleet: Fleet, name: str) -> str:
    run(["docker", "kill", fleet.world.container(name)], check=False)
    return f"docker kill of {name}"


def container_removed(fleet: Fleet, name: str) -> str:
    run(["docker", "rm", "-f", fleet.world.container(name)], check=False)
    return f"docker rm -f of {name}"


def container_stopped(fleet: Fleet, name: str) -> str:
    run(["docker", "stop", "-t", "2", fleet.world.container(name)], check=False)
    return f"docker stop of {name}"


def container_paused(fleet: Fleet, name: str) -> str:
    run(["docker", "pause", fleet.world.container(name)], check=False)
    return f"docker pause of {name}"


def worktree_deleted(fleet: Fleet, name: str) -> str:
    fleet.forget_drafts(name)
    shutil.rmtree(fleet.world.worktree(name), ignore_errors=True)
    return f"worktree of {name} deleted"


def registrations_pruned(fleet: Fleet, name: str) -> str:
    del name
    git(fleet.world.repository, "worktree", "prune", check=False)
    return "git worktree prune"


def person_commits(fleet: Fleet, name: str) -> str:
    place = fleet.world.repository
    tree = git(place, "rev-parse", f"{name}^{{tree}}", check=False)
    if tree:
        identity = ("-c", "user.name=A. Person", "-c", "user.email=person@example.org")
        commit = git(place, *identity, "commit-tree", tree, "-p", f"refs/heads/{name}", "-m", "A person's")
        git(place, "update-ref", f"refs/heads/{name}", commit)
        fleet.world.baseline.remember_commit(str(place), commit)
    return f"a person commits to the branch of {name}"


def memory_exhausted(fleet: Fleet, name: str) -> str:
    hog = "python3 -c 'x = bytearray(3 * 1024**3)' || true"
    _inside(fleet, name, hog)
    return f"a process of {name} wants 3 GiB"


def everything_in_it_killed(fleet: Fleet, name: str) -> str:
    run(["docker", "exec", fleet.world.container(name), "sh", "-c", "kill -9 -1"], check=False)
    return f"kill -9 of everything in {name}"


def spec_changed(fleet: Fleet, name: str) -> str:
    fleet.world.patch(name, env={"SOAK": str(fleet.chance.randrange(1000))})
    return f"the spec of {name} changed"


def limits_changed(fleet: Fleet, name: str) -> str:
    fleet.world.patch(name, resources={"pids": fleet.chance.randrange(256, 512)})
    return f"the limits of {name} changed"


def suspended_and_resumed(fleet: Fleet, name: str) -> str:
    fleet.world.patch(name, operating_mode="Suspended")
    PAUSE.wait(fleet.chance.uniform(0, 3))
    fleet.world.patch(name, operating_mode="Running")
    return f"{name} suspended and resumed"


def restarted(fleet: Fleet, name: str) -> str:
    fleet.world.system.cco("restart", name, "--no-wait", check=False)
    return f"{name} restarted"


def prompted(fleet: Fleet, name: str) -> str:
    with suppress(Exception):  # too many prompts waiting is an answer, too
        fleet.world.send(name, "STEP say Still here.")
    return f"a prompt for {name}"


def replaced(fleet: Fleet, name: str) -> str:
    fleet.world.delete(name)
    fleet.world.until_gone(name, timeout=180)
    branch = f"{name}-{fleet.chance.randrange(10**6)}"
    image = {"image": CLIENT} if name in fleet.talkers else {}
    fleet.world.spawn(name, branch=branch, **image)
    return f"{name} deleted and declared anew on {branch}"


def agent_killed(fleet: Fleet, name: str) -> str:
    _inside(fleet, name, "pkill -9 -P 1 -f 'agent run'")
    return f"kill -9 of the agent of {name}"


def tmux_killed(fleet: Fleet, name: str) -> str:
    _inside(fleet, name, "pkill -9 'tmux: server'")
    return f"kill -9 of the tmux of {name}"


def claude_frozen(fleet: Fleet, name: str) -> str:
    _inside(fleet, name, "kill -STOP $(pgrep -o -x claude)")
    with suppress(Exception):  # too many prompts waiting is an answer, too
        fleet.world.send(name, "STEP say Thawed.")
    PAUSE.wait(fleet.chance.uniform(5, 20))
    _inside(fleet, name, "kill -CONT $(pgrep -o -x claude)")
    return f"the Claude of {name} frozen for a while"


def model_away(fleet: Fleet, name: str) -> str:
    with away(fleet.world.system.model):
        with suppress(Exception):  # too many prompts waiting is an answer, too
            fleet.world.send(name, "STEP say Answered at last.")
        PAUSE.wait(fleet.chance.uniform(5, 20))
    return f"the model away for a while, with a prompt for {name}"


def database_locked(fleet: Fleet, name: str) -> str:
    del name
    path = fleet.world.system.state_dir / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        PAUSE.wait(7)
        connection.execute("ROLLBACK")
    return "the database locked for 7 s"


def controller_paused(fleet: Fleet, name: str) -> str:
    del name
    pid = fleet.world.place.controller
    os.kill(pid, signal.SIGSTOP)
    PAUSE.wait(5)
    os.kill(pid, signal.SIGCONT)
    return "the controller paused for 5 s"


def lists_read_by_many(fleet: Fleet, name: str) -> str:
    del name

    def read() -> None:
        with fleet.world.place.client() as client:
            for _ in range(20):
                json.dumps([each.metadata.name for each in client.list_instances()])

    threads = [threading.Thread(target=read) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return "ten readers of the list"


def controller_killed(fleet: Fleet, name: str) -> str:
    del name
    fleet.world.place.kill("controller")
    fleet.world.place.start("controller")
    return "kill -9 of the controller"


def both_killed(fleet: Fleet, name: str) -> str:
    del name
    fleet.world.place.kill()
    fleet.world.place.start()
    return "kill -9 of controller and server"


DEATHS: tuple[Fault, ...] = (controller_killed, both_killed)
"""Of our own processes; only in the first third, so that what comes after shows whether one that lives on grows."""

OF_TALKERS: tuple[Fault, ...] = (agent_killed, tmux_killed, claude_frozen, model_away)
"""Only for those with the real client; the others have no agent, tmux and Claude of which one could die alone."""

ENDS_A_RUN: frozenset[Fault] = frozenset(
    {agent_killed, tmux_killed, container_killed, container_removed, container_stopped, everything_in_it_killed}
)
"""After these it has to come up again. The invariants alone also hold before that is seen, or between two tries."""

FAULTS: tuple[Fault, ...] = (
    *OF_TALKERS,
    container_killed,
    container_removed,
    container_stopped,
    container_paused,
    worktree_deleted,
    registrations_pruned,
    person_commits,
    memory_exhausted,
    everything_in_it_killed,
    spec_changed,
    limits_changed,
    suspended_and_resumed,
    restarted,
    prompted,
    replaced,
    database_locked,
    controller_paused,
    lists_read_by_many,
)
