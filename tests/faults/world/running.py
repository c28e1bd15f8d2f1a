"""Controller and server as processes of an installation, with what watches them; ``installation.py`` is the way in."""

from __future__ import annotations

import difflib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.controller_and_server import ControllerAndServer, logged_system
from faults.facts import INSTALLATION, UID, read_facts, run
from faults.real_world import BASE_IMAGE, IMAGES
from faults.recorders import EventRecorder, Requests, overlaps, starts
from faults.verify import Measured
from support.model_container import Model

LIGHT, CLIENT = IMAGES[0], BASE_IMAGE
RESYNC_SECONDS = 2.0
REST_SECONDS = 2.5
"""Longer than a resync."""
LOOKS = 3
"""The first may still see what comes of the last act, such as Claude's last sign of activity; rest is rest."""


@dataclass
class Installation(ControllerAndServer):
    """Controller and server with what watches them.

    Attributes:
        strangers: names, in a baseline, of what is on the engine and not ours.
        installation: its identifier, known once it was started.
    """

    requests: Requests
    events: EventRecorder
    strangers: tuple[str, ...] = ()
    installation: str = ""

    def start(self, *modules: str) -> None:
        super().start(*modules)
        self.installation = read_facts(self.system.state_dir).installation

    def containers(self) -> list[dict[str, Any]]:
        """Return what the engine says of every container of this installation."""
        label = f"label={INSTALLATION}={self.installation}"
        names = run(["docker", "ps", "-aq", "--no-trunc", "--filter", label]).decode().split()
        found: list[dict[str, Any]] = json.loads(run(["docker", "container", "inspect", *names])) if names else []
        return found

    def happened(self, *actions: str) -> list[tuple[str, str]]:
        """Return container events of this installation so far, as (action, instance's uid), in order."""
        self.events.catch_up()
        return [
            (each["Action"], each["Actor"]["Attributes"][UID])
            for each in self._ours()
            if not actions or each["Action"] in actions
        ]

    def measured(self, *, rest: bool, seconds: float = REST_SECONDS) -> Measured:
        """Return what the recorders know; with ``rest``, also what happens while nothing is to be done for so long."""
        cpu, writes = None, None
        if rest:
            for _ in range(LOOKS):
                before = self._told()
                cpu, writes = self.at_rest(seconds, self.requests)
                if not writes:
                    break
                writes += difflib.unified_diff(before, self._told(), "before", "after", n=0, lineterm="")
        self.events.catch_up()
        ours = self._ours()
        watched = "SQL, Docker and git watched over a resync"
        return Measured(overlaps({}, ours), starts(ours), cpu=cpu, writes=writes, watched=watched)

    def _told(self) -> list[str]:
        """Return all statuses, a line for each field, so that a write at rest can be named."""
        rows = read_facts(self.system.state_dir).instances()
        return json.dumps([[row.name, row.status] for row in rows], indent=1, sort_keys=True).splitlines()

    def _ours(self) -> list[dict[str, Any]]:
        """Return the events of our containers: others use this engine, too."""
        return [
            each
            for each in list(self.events.events)
            if each["Type"] == "container" and each["Actor"]["Attributes"].get(INSTALLATION) == self.installation
        ]

    def clean(self) -> None:
        """Remove what this installation has on the engine."""
        label = f"label={INSTALLATION}={self.installation}"
        for kind, listing in (("container", ["ps", "-aq"]), ("volume", ["volume", "ls", "-q"])):
            found = run(["docker", *listing, "--filter", label]).decode().split()
            if found:
                run(["docker", kind, "rm", "-f", *found], check=False)
        run(["docker", "rm", "-f", f"stranger-{self.system.prefix}"], check=False)
        run(["docker", "volume", "rm", "-f", f"stranger-{self.system.prefix}"], check=False)
        self.system.remove_everything()


@contextmanager
def installation(
    model: Model, settings: Mapping[str, str] | None = None, *, state_megabytes: int | None = None
) -> Iterator[Installation]:
    """Run an installation for the length of the block, in a folder that every user may enter.

    Args:
        settings: variables of the environment beside the usual ones.
        state_megabytes: its state directory is a file system of its own, in memory, with no more room than this.
    """
    folder = Path(tempfile.mkdtemp(prefix="cco-world-"))
    folder.chmod(0o755)
    with ExitStack() as mounted, Requests(folder) as requests, EventRecorder() as events:
        usual = {
            "DOCKER_HOST": requests.url,
            "CCO_RESYNC_SECONDS": f"{RESYNC_SECONDS:g}",
            "CCO_INSTANCE_IMAGE": LIGHT,
        }
        system, log = logged_system(folder, "ccow", model, {**usual, **(settings or {})})
        if state_megabytes is not None:
            system.state_dir.mkdir(mode=0o700)
            run(["mount", "-t", "tmpfs", "-o", f"size={state_megabytes}m,mode=0700", "none", str(system.state_dir)])
            mounted.callback(run, ["umount", "--lazy", str(system.state_dir)])
        stranger = f"stranger-{system.prefix}"
        run(["docker", "create", "--label", "cco-test=1", "--name", stranger, LIGHT])
        run(["docker", "volume", "create", "--label", "cco-test=1", stranger])
        made = Installation(system, log, requests, events, (f"volume {stranger}", stranger))
        try:
            made.start()
            yield made
        finally:
            made.stop()
            made.clean()
    shutil.rmtree(folder)
