"""A running installation on the machine's engine, broken from outside and judged by ``verify``.

Controller, server, Docker, git and SQLite are real. Instances run the real client with the scripted model where the
scenario is about it (``CLIENT``), and else ``LIGHT``: a stand-in for agent and Claude that starts at once. The tests
of this folder share one installation, each with a repository of its own; ``conftest.py`` makes both.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from controller.resources import ManifestMetadata, RepositoryManifest, RepositorySpec
from faults.baseline import record
from faults.controller_and_server import PATIENCE
from faults.facts import read_facts, run
from faults.instances import DeclaredInstances
from faults.verify import check

from .person import PERSON, as_person, git
from .running import CLIENT, LIGHT, REST_SECONDS, Installation, installation

EVERYTHING = os.environ.get("TEST_FAULTS") == "all"
"""Whether there is time (``make faults``): more instances, every variant of a scenario, and waiting to the end."""

__all__ = ["CLIENT", "EVERYTHING", "LIGHT", "PERSON", "Installation", "World", "as_person", "git", "installation"]


@dataclass
class World(DeclaredInstances):
    """What one test has: the installation, and a repository of its own that a person works in."""

    place: Installation

    def register(self) -> None:
        with self.place.client() as client:
            spec = RepositorySpec(path=str(self.repository))
            client.create_repository(
                RepositoryManifest(metadata=ManifestMetadata(name=self.repository.name), spec=spec)
            )

    def talk(self, name: str, word: str = "hello", **spec: object) -> None:
        """Declare an instance with the real client and wait until its first turn is over."""
        self.spawn(name, image=CLIENT, prompt=f"STEP say {word}", **spec)
        self.until_state(name, "idle", "working")
        self.until(lambda: self.screen(name).count(word) >= 2, f"{name} has said {word}")
        self.until_state(name, "idle")

    def commit(self, name: str, subject: str) -> str:
        """Commit something in an instance, leave something uncommitted, wait until the commit is home; returns it."""
        commit = super().commit(name, subject)
        branch = self.get(name).branch
        self.until(lambda: self.head(branch) == commit, f"the commit of {name} is at home")
        return commit

    def head(self, branch: str) -> str:
        return git(self.repository, "rev-parse", "--verify", "-q", f"refs/heads/{branch}", check=False)

    def screen(self, name: str) -> str:
        """Return what a person sees in Claude's window."""
        target = f"=cc-orchestrator-{name}:claude"
        return run(["docker", "exec", self.container(name), "tmux", "capture-pane", "-p", "-t", target]).decode()

    # What must hold -------------------------------------------------------------------------------------------

    def remember(self) -> None:
        """Record what must survive; of the engine only our own strangers, because others use it, too."""
        self.baseline = record(read_facts(self.system.state_dir))
        here = str(self.repository)
        self.baseline.foreign = {
            name: digest
            for name, digest in self.baseline.foreign.items()
            if here in name or name.endswith(self.place.strangers)
        }

    def verify(
        self, *, within: float = PATIENCE, rest: bool = True, cpu: bool = True, seconds: float = REST_SECONDS
    ) -> None:
        """Judge the eight invariants; the last of them by watching the system at rest.

        Args:
            within: for so long things may still be on their way.
            rest: whether to watch at all.
            cpu: whether to judge the controller's; a large fleet costs more than usual with a resync this often.
            seconds: for how long to watch.
        """
        with self.place.telling():
            check(self.system.state_dir, self.baseline, within=within)
            measured = self.place.measured(rest=rest, seconds=seconds)
            measured = measured if cpu else replace(measured, cpu=None)
            verdicts = check(self.system.state_dir, self.baseline, measured, within=5.0)
        assert not rest or all(verdict.measured for verdict in verdicts), verdicts

    def close(self) -> None:
        """Delete everything of this test, through the product; its work must outlive that."""
        self.baseline.acknowledged = [each for each in self.baseline.acknowledged if each.kind == "Repository"]
        names = self.names()
        self.delete(*names)
        self.until_gone(*names)
        self.verify(rest=False)
        assert git(self.repository, "fsck", "--no-dangling") == "", "the person's repository is sound"
        with self.place.client() as client:
            client.delete_repository(self.repository.name)
