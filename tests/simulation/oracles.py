"""What must be true when the world has stopped failing, worked out from the world and not by the planner.

``Ready`` must be true, or false for a reason that can be pointed at: each reason has here the fact it claims.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.resources import ConditionStatus, Instance, OperatingMode, RestartPolicy, find_condition
from controller.runtime.protocol import WorkloadState
from support.fake_engine import FakeContainer
from support.fake_workspaces import FakeWorktree

from .ledger import Ledger
from .process import SimulatedWorld

GIVING_UP_TAKES = 6
"""Failures in a row after which an instance is left alone, as documented."""


@dataclass(frozen=True)
class Facts:
    """The truth about one instance."""

    instance: Instance
    containers: list[FakeContainer]
    worktree: FakeWorktree | None
    session: str | None
    foreign_name: bool
    image_missing: bool
    exits: int
    evicted: bool

    @property
    def uid(self) -> str:
        return self.instance.metadata.uid

    @property
    def running(self) -> bool:
        return len(self.containers) == 1 and self.containers[0].seen.state is WorkloadState.RUNNING

    @property
    def ended_with(self) -> int | None:
        ended = [each.seen for each in self.containers if each.seen.state is WorkloadState.EXITED]
        return ended[0].exit_code if len(ended) == 1 else None


def facts(world: SimulatedWorld, ledger: Ledger, instance: Instance) -> Facts:
    """Look at the fakes themselves."""
    uid, name = instance.metadata.uid, instance.metadata.name
    engine = world.engine
    path = instance.status.workspace.path if instance.status.workspace else f"/repositories/shop.worktrees/{name}"
    containers = engine.of_uid(uid)
    running = world.boxes.running(uid)
    next_name = f"cco-{name}-{instance.status.attempt + 1}"
    others = {each for each, made in engine.containers.items() if made.spec.uid != uid}
    return Facts(
        instance=instance,
        containers=containers,
        worktree=world.git.worktrees.get(path),
        session=world.boxes.agents.of(uid).state if running is not None else None,
        foreign_name=next_name in engine.foreign or next_name in others,
        image_missing=(instance.spec.image or world.settings.instance_image) not in engine.images,
        exits=ledger.counted[uid].exits,
        evicted=uid in ledger.evicted,
    )


def may_rest(seen: Facts) -> bool:
    """Tell whether the session ended by itself and the restart policy lets it."""
    policy, code = seen.instance.spec.restart_policy, seen.ended_with
    if code is None or policy is RestartPolicy.ALWAYS:
        return False
    return policy is RestartPolicy.NEVER or code == 0


TRUE_WHEN: dict[str, Callable[[Facts], bool]] = {
    "Suspended": lambda seen: seen.instance.spec.operating_mode is OperatingMode.SUSPENDED,
    "Stopped": lambda seen: seen.instance.spec.operating_mode is OperatingMode.STOPPED and not seen.containers,
    "Completed": lambda seen: may_rest(seen) and seen.ended_with == 0,
    "ExitedWithError": lambda seen: may_rest(seen) and seen.ended_with != 0,
    "Killed": lambda seen: may_rest(seen) and seen.ended_with == 137,
    "OOMKilled": lambda seen: may_rest(seen) and seen.ended_with == 137,
    "CrashLoop": lambda seen: seen.exits >= GIVING_UP_TAKES,
    "NameConflict": lambda seen: seen.foreign_name,
    "PathOccupied": lambda seen: seen.worktree is not None and seen.worktree.uid != seen.uid,
    "DiskPressure": lambda seen: seen.evicted and not seen.running,
    "ImageNotFound": lambda seen: seen.image_missing,
}
"""Reasons with which an instance may stay not ready, and what must be so in the world then."""


def problems(world: SimulatedWorld, ledger: Ledger) -> list[str]:
    """Return what is wrong, in words; nothing when the world agrees with what is declared and reported."""
    found: list[str] = []
    living = {instance.metadata.uid: instance for instance in world.store.instances.list()}
    for uid, instance in living.items():
        name = instance.metadata.name
        found += [f"{name}: {what}" for what in _wrong(world, facts(world, ledger, instance))]
        open_inputs = world.store.inputs.pending(uid)
        ready = find_condition(instance.status.conditions, "Ready")
        if open_inputs and ready is not None and ready.status is ConditionStatus.TRUE:
            found.append(f"{name}: {len(open_inputs)} prompts were never typed")
    for repository in world.store.repositories.list():
        ready = find_condition(repository.status.conditions, "Ready")
        there = repository.spec.path in world.git.repositories
        if ready is None or (ready.status is ConditionStatus.TRUE) is not there:
            found.append(f"repository {repository.metadata.name}: {ready.reason if ready else None} is not so")
    return found + _leftovers(world, set(living), ledger.given_up)


def unseen(world: SimulatedWorld) -> list[str]:
    """Return what people declared and nobody has looked at; a hint from the database is never lost."""
    return [
        f"{each.metadata.name}: generation {each.metadata.generation} was not looked at"
        for each in world.store.instances.list()
        if each.status.observed_generation != each.metadata.generation
    ]


def _leftovers(world: SimulatedWorld, living: set[str], given_up: set[str]) -> list[str]:
    """Nothing may be left of what was deleted, but for folders whose repository was away when all was given up."""
    found = [
        f"{each.seen.name}: a container of a deleted instance"
        for each in world.engine.containers.values()
        if each.installation == "test" and each.spec.uid not in living
    ]
    found += [f"{home}: HOME of a deleted instance" for home, uid in world.engine.homes.items() if uid not in living]
    strangers = {"somebody"} | given_up
    found += [
        f"{path}: a worktree of a deleted instance"
        for path, worktree in world.git.worktrees.items()
        if worktree.uid not in living | strangers
    ]
    found += [f"{uid}: still listening" for uid in sorted(world.agents.opened - living)]
    return found


def _wrong(world: SimulatedWorld, seen: Facts) -> list[str]:
    """Return what is wrong with one instance."""
    instance = seen.instance
    conditions = {each.type: each for each in instance.status.conditions}
    ready = conditions.get("Ready")
    if instance.metadata.deletion_requested_at is not None:
        return [f"still being deleted: {ready.reason if ready else None}"]
    if ready is None:
        return ["nobody has looked at it"]
    wrong = [
        f"{type_} is {conditions[type_].status}/{conditions[type_].reason}, which is not so"
        for type_, truth in _truth(seen).items()
        if type_ in conditions and (conditions[type_].status is ConditionStatus.TRUE) is not truth
    ]
    if instance.status.observed_generation != instance.metadata.generation:
        wrong.append("its newest spec was not looked at")
    if ready.status is ConditionStatus.TRUE:
        wrong += [f"reported Ready, but {what}" for what in _unready(world, seen)]
    elif ready.status is ConditionStatus.UNKNOWN:
        wrong.append(f"Ready is Unknown: {ready.reason}")
    elif ready.reason not in TRUE_WHEN or not TRUE_WHEN[ready.reason](seen):
        wrong.append(f"not ready because of {ready.reason} ({ready.message}), which is not so")
    return wrong


def _truth(seen: Facts) -> dict[str, bool]:
    """Return the conditions as they should be, where the world alone decides them."""
    alive = any(each.seen.state in {WorkloadState.RUNNING, WorkloadState.PAUSED} for each in seen.containers)
    truth = {
        "WorkloadRunning": seen.running,
        "SessionReady": seen.session in {"idle", "working", "waiting"},
        "WorkspaceReady": seen.worktree is not None and seen.worktree.uid == seen.uid and not seen.worktree.broken,
    }
    if alive or seen.instance.spec.operating_mode is not OperatingMode.RUNNING:  # else it may be "Resuming"
        truth["Suspended"] = not alive
    return truth


def _unready(world: SimulatedWorld, seen: Facts) -> list[str]:
    """Return what speaks against being ready."""
    spec, status, found = seen.instance.spec, seen.instance.status, list[str]()
    if spec.operating_mode is not OperatingMode.RUNNING:
        found.append(f"operating_mode is {spec.operating_mode}")
    if not seen.running:
        return [*found, "no container runs"]
    container, agent = seen.containers[0], world.boxes.agents.of(seen.uid)
    if container.spec.image != (spec.image or world.settings.instance_image):
        found.append("it runs another image")
    if (container.seen.limits.memory, container.seen.limits.pids) != (spec.resources.memory, spec.resources.pids):
        found.append("it has other limits")
    if status.restarted_generation != spec.restart_generation:
        found.append("a restart that was asked for was not done")
    config = world.boxes.agents.configs.get(seen.uid)
    if config is None or config.model != spec.model or agent.started_with != config.config_hash:
        found.append("Claude runs with an older configuration")
    if status.attempt != container.seen.attempt:
        found.append(f"attempt is {status.attempt}, the container's is {container.seen.attempt}")
    missing = [commit for commit in (seen.worktree.commits if seen.worktree else ()) if not _home(world, seen, commit)]
    if missing:
        found.append(f"commits are not in the repository: {missing}")
    return found


def _home(world: SimulatedWorld, seen: Facts, commit: str) -> bool:
    return commit in world.git.branches.get(seen.instance.branch, ())
