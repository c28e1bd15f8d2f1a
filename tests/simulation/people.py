"""What people and Claude do: one function each, told in one line. One that makes no sense now returns ``None``."""

from __future__ import annotations

from random import Random

from controller.resources import Instance, OperatingMode
from support.fake_workspaces import FakeWorktree

from .simulation import NAMES, Simulation

OTHER_IMAGE = "other:1"


def some(simulation: Simulation, random: Random) -> Instance | None:
    """Return any declared instance."""
    instances = simulation.world.store.instances.list()
    return random.choice(instances) if instances else None


def changeable(simulation: Simulation, random: Random) -> Instance | None:
    """Return one that is not being deleted."""
    found = [each for each in simulation.world.store.instances.list() if each.metadata.deletion_requested_at is None]
    return random.choice(found) if found else None


def worktree_of(simulation: Simulation, instance: Instance | None) -> FakeWorktree | None:
    """Return an instance's own worktree."""
    if instance is None:
        return None
    worktrees = simulation.world.git.worktrees.values()
    return next((each for each in worktrees if each.uid == instance.metadata.uid), None)


# People -------------------------------------------------------------------------------------------------------


def declares(simulation: Simulation, random: Random) -> str | None:
    name = random.choice(NAMES)
    if not simulation.world.gone(name):
        return None
    policy = random.choice(("Always", "Always", "OnFailure", "Never"))
    keep = random.choice(("Delete", "Delete", "Retain"))
    simulation.door.declare(name, restart_policy=policy, worktree_policy=keep)
    return f"declares {name} ({policy}, {keep})"


def changes_the_mode(simulation: Simulation, random: Random) -> str | None:
    if (instance := changeable(simulation, random)) is None:
        return None
    mode = random.choice((*OperatingMode, OperatingMode.RUNNING))
    simulation.door.change(instance.metadata.name, operating_mode=mode)
    return f"wants {instance.metadata.name} {mode}"


def changes_the_spec(simulation: Simulation, random: Random) -> str | None:
    if (instance := changeable(simulation, random)) is None:
        return None
    changes: tuple[dict[str, object], ...] = (
        {"model": random.choice(("opus", "haiku"))},
        {"image": random.choice((None, OTHER_IMAGE))},
        {"resources": {"memory": random.choice((2**30, 2**31))}},
        {"restart_policy": random.choice(("Always", "OnFailure"))},
    )
    change = random.choice(changes)
    simulation.door.change(instance.metadata.name, **change)
    return f"changes {instance.metadata.name}: {change}"


def asks_for_a_restart(simulation: Simulation, random: Random) -> str | None:
    if (instance := changeable(simulation, random)) is None:
        return None
    simulation.door.change(instance.metadata.name, restart_generation=instance.spec.restart_generation + 1)
    return f"asks {instance.metadata.name} to restart"


def deletes(simulation: Simulation, random: Random) -> str | None:
    if (instance := changeable(simulation, random)) is None:
        return None
    simulation.door.delete(instance.metadata.name, instance.metadata.uid)
    return f"deletes {instance.metadata.name}"


def gives_work_up(simulation: Simulation, random: Random) -> str | None:
    """Delete by name what cannot be saved."""
    if (instance := changeable(simulation, random)) is None:
        return None
    name, uid = instance.metadata.name, instance.metadata.uid
    simulation.door.delete(name, uid, discard_work=True)
    simulation.ledger.given_up.add(uid)
    return f"deletes {name} and gives up what cannot be saved"


def asks_for_another_try(simulation: Simulation, random: Random) -> str | None:
    if (instance := changeable(simulation, random)) is None:
        return None
    simulation.door.change(instance.metadata.name, retry_generation=instance.spec.retry_generation + 1)
    return f"asks {instance.metadata.name} to try again"


def sends_a_prompt(simulation: Simulation, random: Random) -> str | None:
    if (instance := some(simulation, random)) is None:
        return None
    simulation.door.send(instance.metadata.name, instance.metadata.uid, "go on")
    return f"sends {instance.metadata.name} a prompt"


def edits_a_file(simulation: Simulation, random: Random) -> str | None:
    """A person may do this at any time, whether or not the instance runs."""
    if (worktree := worktree_of(simulation, some(simulation, random))) is None or worktree.broken:
        return None
    return f"edits in {worktree.branch}: {simulation.ledger.leaves_dirt(worktree)}"


def edits_what_is_being_deleted(simulation: Simulation, random: Random) -> str | None:
    going = [
        each for each in simulation.world.store.instances.list() if each.metadata.deletion_requested_at is not None
    ]
    worktree = worktree_of(simulation, random.choice(going) if going else None)
    if worktree is None or worktree.broken:
        return None
    return f"edits at the last moment in {worktree.branch}: {simulation.ledger.leaves_dirt(worktree)}"


# Claude -------------------------------------------------------------------------------------------------------


def _at_work(simulation: Simulation, random: Random) -> tuple[FakeWorktree, str] | None:
    instance = some(simulation, random)
    worktree = worktree_of(simulation, instance)
    if instance is None or worktree is None or worktree.broken:
        return None
    return (worktree, instance.metadata.uid) if simulation.world.boxes.running(instance.metadata.uid) else None


def commits(simulation: Simulation, random: Random) -> str | None:
    if (found := _at_work(simulation, random)) is None:
        return None
    content = simulation.ledger.commits(found[0])
    simulation.world.boxes.agents.of(found[1]).refs_version = f"refs-{content}"
    simulation.world.boxes.report(found[1])
    return f"Claude commits in {found[0].branch}: {content}"


def leaves_work_uncommitted(simulation: Simulation, random: Random) -> str | None:
    if (found := _at_work(simulation, random)) is None:
        return None
    return f"Claude edits in {found[0].branch}: {simulation.ledger.leaves_dirt(found[0])}"


def works(simulation: Simulation, random: Random) -> str | None:
    if (instance := some(simulation, random)) is None:
        return None
    state = random.choice(("idle", "working", "waiting"))
    simulation.world.boxes.session(instance.metadata.uid, state)
    return f"Claude of {instance.metadata.name} is {state}"


def session_ends(simulation: Simulation, random: Random) -> str | None:
    if (instance := some(simulation, random)) is None:
        return None
    code, oom = random.choice(((0, False), (1, False), (137, False), (137, True)))
    simulation.world.engine.crash(instance.metadata.uid, code, oom=oom)
    return f"the session of {instance.metadata.name} ends with {code}"


def crash_loops(simulation: Simulation, random: Random) -> str | None:
    name, code = random.choice(NAMES), random.choice((None, None, 1))
    simulation.world.engine.crash_on_start(name, code)
    return f"every start of {name} ends at once" if code else f"{name} starts properly"
