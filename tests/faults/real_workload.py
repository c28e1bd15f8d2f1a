"""The reference workload on the real thing, and what the world looks like before the deletion and after it."""

from __future__ import annotations

import difflib
import json
import re
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.resources import InputState

from .baseline import Baseline, record
from .facts import INSTALLATION, UID, Facts, git_dir_of, read_facts, run
from .invariants import Verdict
from .real_world import IMAGES, PATIENCE, RealWorld
from .recorders import EventRecorder, GitLog, Quiet, Requests, cpu_share
from .verify import Measured, check
from .workload import refs_of, status_without_times

REST_SECONDS = 2.5
"""Longer than the resync of a :class:`~.real_world.RealWorld`."""


@dataclass(frozen=True, slots=True)
class Life:
    """How a run went.

    Attributes:
        before, after: the pictures before the deletion and after it.
        deaths: exit statuses of controllers.
        verdicts: of ``verify``, at both moments.
    """

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    deaths: tuple[int, ...]
    verdicts: tuple[Verdict, ...]


def live(world: RealWorld, wanted: Life | None, *, quiet: tuple[Requests, GitLog] | None = None) -> Life:
    """Run the workload; with ``wanted``, wait until both pictures are like those.

    Args:
        quiet: what watches the controller's requests and gits; then CPU and writes at rest are measured, too.
    """
    with ExitStack() as stack:
        events = stack.enter_context(EventRecorder(f"{INSTALLATION}={world.store.installation_id}"))
        _work(world)
        before = _becomes(world, wanted.before if wanted is not None else None)
        baseline = _baseline(world)
        measured = _at_rest(world, *quiet) if quiet is not None else Measured()
        events.catch_up()
        measured = Measured(
            events.overlaps(), events.starts(), cpu=measured.cpu, writes=measured.writes, watched=measured.watched
        )
        verdicts = check(world.state_dir, baseline, measured, within=PATIENCE)
        world.store.instances.request_deletion("web")
        baseline.acknowledged = [each for each in baseline.acknowledged if each.kind == "Repository"]
        world.until(world.gone, "the instance is gone")
        after = _becomes(world, wanted.after if wanted is not None else None)
        events.catch_up()
        verdicts += check(world.state_dir, baseline, Measured(events.overlaps(), events.starts()), within=PATIENCE)
    return Life(before, after, tuple(world.deaths), tuple(verdicts))


def _work(world: RealWorld) -> None:
    """Everything up to the deletion, each step when the one before is done."""
    world.declare()
    world.until(world.is_ready, "web is ready")
    world.in_box("echo one >one.txt; git add one.txt; git commit -qm 'Add one'")
    world.until(lambda: world.subject() == "Add one", "the commit is at home")
    world.change(operating_mode="Suspended")
    world.until(world.is_suspended, "web is suspended")
    world.change(operating_mode="Running")
    world.until(world.is_ready, "web is resumed")
    world.change(image=IMAGES[1])
    world.until(lambda: world.is_ready() and _image(world) == IMAGES[1], "web runs the other image")
    world.change(resources={"memory": "3Gi"})
    world.until(lambda: world.is_ready() and _memory(world) == 3 << 30, "web has other limits")
    world.store.inputs.create("web", world.get().metadata.uid, "Go on")
    world.until(lambda: world.store.inputs.list("web")[0].state is InputState.ACCEPTED, "the prompt was taken")
    world.change(model="claude-other")
    world.until(world.is_ready, "web runs with the other model")
    world.in_box("echo two >two.txt; git add two.txt; git commit -qm 'Add two'")
    world.until(lambda: world.subject() == "Add two", "the second commit is at home")
    world.in_box("echo changed >README.md; mkdir notes; echo precious >notes/idea.txt")


def _inspect(world: RealWorld) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(run(["docker", "container", "inspect", world.container()]))[0]
    return found


def _image(world: RealWorld) -> object:
    return _inspect(world)["Config"]["Image"]


def _memory(world: RealWorld) -> object:
    return _inspect(world)["HostConfig"]["Memory"]


def _baseline(world: RealWorld) -> Baseline:
    """Record what must survive; of what is not ours only the user's repository: others use this engine, too."""
    baseline = record(read_facts(world.state_dir))
    baseline.foreign = {name: each for name, each in baseline.foreign.items() if name.startswith(("file ", "ref "))}
    return baseline


def _at_rest(world: RealWorld, requests: Requests, log: GitLog) -> Measured:
    """Measure the controller while nothing is to be done, for longer than a resync."""
    assert world.process is not None
    with closing(Quiet(world.state_dir / "state.db", requests, log)) as quiet:
        quiet.begin()
        cpu = cpu_share(world.process.pid, 5.0)
        return Measured(cpu=cpu, writes=quiet.writes(), watched="SQL, Docker and git watched over two resyncs")


def _comes_to_rest(world: RealWorld) -> Mapping[str, Any]:
    """Return the picture once it stays the same for longer than a resync."""
    found = [picture(world)]

    def look() -> bool:
        threading.Event().wait(REST_SECONDS)
        found.append(picture(world))
        return found[-1] == found[-2]

    world.until(look, "the world comes to rest")
    return found[-1]


def _becomes(world: RealWorld, wanted: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the picture once it is like ``wanted``, or, without that, once it comes to rest."""
    if wanted is None:
        return _comes_to_rest(world)
    found: list[Mapping[str, Any]] = []

    def look() -> bool:
        found.append(picture(world))
        return found[-1] == wanted

    try:
        world.until(look, "the world looks like the reference's")
    except AssertionError as error:
        before, after = (json.dumps(each, indent=1, sort_keys=True).splitlines() for each in (wanted, found[-1]))
        told = "\n".join(difflib.unified_diff(before, after, "reference", "after the fault", n=1, lineterm=""))
        raise AssertionError(f"{told}\n{error}") from error
    return found[-1]


def picture(world: RealWorld) -> Mapping[str, Any]:
    """Return everything that has to be the same in two runs, without times, identifiers and places."""
    facts = read_facts(world.state_dir)
    raw = {
        "objects": [
            [row.kind, row.name, row.generation, row.deleting, row.spec, status_without_times(row.status)]
            for row in facts.rows
        ],
        "inputs": [] if world.gone() else [[each.text, str(each.state)] for each in world.store.inputs.list("web")],
        "containers": _containers(facts),
        "volumes": [each.name for each in facts.engine.volumes if each.labels.get(INSTALLATION) == facts.installation],
        "folders": sorted(facts.folders),
        "worktree": _files(world.base / "repository.worktrees"),
        "registrations": sorted(each.name for each in git_dir_of(str(world.repository)).glob("worktrees/*")),
        "refs": refs_of(str(world.repository)),
    }
    text = json.dumps(raw, sort_keys=True, default=str)
    for row in facts.rows:
        text = text.replace(row.uid, "UID").replace(row.uid[:8], "UID8")
    text = re.sub(r'"collected_refs": "[^"]*"', '"collected_refs": "a hash over commits"', text)
    text = text.replace(facts.installation, "INSTALLATION").replace(world.prefix, "PREFIX")
    text = text.replace(str(world.base), "BASE")
    told: Mapping[str, Any] = json.loads(text)
    return told


def _containers(facts: Facts) -> list[object]:
    ours = [each.id for each in facts.ours()]
    found = json.loads(run(["docker", "container", "inspect", *ours])) if ours else []
    return [
        [
            each["Name"],
            each["State"]["Status"],
            each["Config"]["Image"],
            each["HostConfig"]["Memory"],
            sorted(json.dumps(mount, sort_keys=True) for mount in each["HostConfig"]["Mounts"] or ()),
            each["Config"]["Labels"].get(UID),
        ]
        for each in found
    ]


def _files(folder: Path) -> dict[str, str]:
    files = sorted(each for each in folder.rglob("*") if each.is_file() and each.name != ".git")
    return {str(each.relative_to(folder)): each.read_text(encoding="utf-8") for each in files}
