"""What people, Claude and a failing world do: one function each, told in one line.

An action that makes no sense now does nothing and returns ``None``. ``ACTIONS`` weighs them for the seeded runs; the
hypothesis machine picks freely.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from controller.errors import CcoError, Terminal
from controller.resources import Instance, OperatingMode
from controller.runtime.protocol import WorkloadState
from support.fake_workspaces import FakeWorktree
from support.stepped_store import locked

from .simulation import NAMES, Simulation

Action = Callable[[Simulation, Random], str | None]

RUNTIME_VERBS = ("inspect", "create", "start", "stop", "remove", "remove_home", "update")
GIT_VERBS = ("inspect", "create", "collect", "snapshot", "remove")
OTHER_IMAGE = "other:1"
FOREIGN = "somebody"


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
    simulation.world.declare(name, restart_policy=policy, worktree_policy=keep)
    return f"declares {name} ({policy}, {keep})"


def changes_the_mode(simulation: Simulation, random: Random) -> str | None:
    if (instance := changeable(simulation, random)) is None:
        return None
    mode = random.choice((*OperatingMode, OperatingMode.RUNNING))
    simulation.world.change(instance.metadata.name, operating_mode=mode)
    return f"wants {instance.metadata.name} {mode}"


def changes_the_spec(simulation: Simulation, random: Random) -> str | None:
    if (instance := changeable(simulation, random)) is None:
        return None
    change: dict[str, object] = random.choice(
        (
            {"model": random.choice(("opus", "haiku"))},
            {"image": random.choice((None, OTHER_IMAGE))},
            {"resources": {"memory": random.choice((2**30, 2**31))}},
            {"restart_policy": random.choice(("Always", "OnFailure"))},
        )
    )
    simulation.world.change(instance.metadata.name, **change)
    return f"changes {instance.metadata.name}: {change}"


def asks_for_a_restart(simulation: Simulation, random: Random) -> str | None:
    if (instance := changeable(simulation, random)) is None:
        return None
    simulation.world.change(instance.metadata.name, restart_generation=instance.spec.restart_generation + 1)
    return f"asks {instance.metadata.name} to restart"


def deletes(simulation: Simulation, random: Random) -> str | None:
    if (instance := changeable(simulation, random)) is None:
        return None
    simulation.world.store.instances.request_deletion(instance.metadata.name, instance.metadata.uid)
    return f"deletes {instance.metadata.name}"


def sends_a_prompt(simulation: Simulation, random: Random) -> str | None:
    if (instance := some(simulation, random)) is None:
        return None
    simulation.world.store.inputs.create(instance.metadata.name, instance.metadata.uid, "go on")
    return f"sends {instance.metadata.name} a prompt"


def edits_a_file(simulation: Simulation, random: Random) -> str | None:
    """A person may do this at any time, whether or not the instance runs."""
    if (worktree := worktree_of(simulation, some(simulation, random))) is None or worktree.broken:
        return None
    return f"edits in {worktree.branch}: {simulation.ledger.leaves_dirt(worktree)}"


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


# The world ----------------------------------------------------------------------------------------------------


def agent_falls_silent(simulation: Simulation, random: Random) -> str | None:
    if (instance := some(simulation, random)) is None:
        return None
    uid = instance.metadata.uid
    if random.random() < 0.5:
        simulation.world.boxes.mute(uid)
        return f"the agent of {instance.metadata.name} falls silent"
    simulation.world.boxes.unmute(uid)
    return f"the agent of {instance.metadata.name} speaks"


def container_is_removed(simulation: Simulation, random: Random) -> str | None:
    if (instance := some(simulation, random)) is None:
        return None
    simulation.world.engine.remove_by_hand(instance.metadata.uid)
    return f"docker rm -f {instance.metadata.name}"


def container_is_paused(simulation: Simulation, random: Random) -> str | None:
    if (instance := some(simulation, random)) is None:
        return None
    simulation.world.engine.pause_by_hand(instance.metadata.uid)
    return f"docker pause {instance.metadata.name}"


def name_is_taken(simulation: Simulation, random: Random) -> str | None:
    name = f"cco-{random.choice(NAMES)}-{random.randint(1, 6)}"
    if name in simulation.world.engine.containers:
        return None
    simulation.world.engine.occupy(name)
    return f"somebody makes a container {name}"


def image_comes_and_goes(simulation: Simulation, random: Random) -> str | None:
    images = simulation.world.engine.images
    if random.random() < 0.5:
        images.pop(OTHER_IMAGE, None)
        return f"{OTHER_IMAGE} is removed"
    images[OTHER_IMAGE] = "sha256:" + "2" * 64
    return f"{OTHER_IMAGE} is built"


def worktree_is_damaged(simulation: Simulation, random: Random) -> str | None:
    if (worktree := worktree_of(simulation, some(simulation, random))) is None:
        return None
    worktree.broken = "its registration was pruned"
    if random.random() < 0.3:  # the folder too, and with it what was in no ref
        simulation.ledger.forgets(worktree.dirty)
        worktree.dirty = ""
    return f"the worktree {worktree.branch} is damaged"


def engine_fails(simulation: Simulation, random: Random) -> str | None:
    verb, engine = random.choice(RUNTIME_VERBS), simulation.world.engine
    if random.random() < 0.5:
        engine.fail_next(verb)
        return f"the next {verb} fails"
    engine.lose_next_answer(verb)
    return f"the answer to the next {verb} is lost"


def engine_comes_and_goes(simulation: Simulation, random: Random) -> str | None:
    engine = simulation.world.engine
    match random.randrange(5):
        case 0:
            engine.go_away()
            return "the engine goes away"
        case 1 | 2:
            engine.come_back()
            return "the engine is there"
        case 3:
            engine.break_watches()
            return "the event stream breaks"
        case _:
            engine.drop_events = not engine.drop_events
            return f"events are {'lost' if engine.drop_events else 'told'}"


def git_fails(simulation: Simulation, random: Random) -> str | None:
    verb, terminal = random.choice(GIT_VERBS), random.random() < 0.3
    simulation.world.git.fail_next(verb, Terminal("GitFailed", "it cannot work") if terminal else None)
    return f"the next git {verb} fails{' for good' if terminal else ''}"


def database_is_locked(simulation: Simulation, random: Random) -> str | None:
    if random.random() < 0.2:
        simulation.world.stepped.log_is_gone = True
        return "the change log forgets"
    count = random.randint(1, 4)
    simulation.world.stepped.failures += [locked() for _ in range(count)]
    return f"the next {count} writes find the database locked"


def credentials_come_and_go(simulation: Simulation, random: Random) -> str | None:
    simulation.world.credentials = random.random() < 0.7
    return f"credentials are {'there' if simulation.world.credentials else 'missing'}"


def time_passes(simulation: Simulation, random: Random) -> str | None:
    """While threads stand still in the middle of things, too."""
    seconds = random.choice((0.1, 1.0, 5.0, 30.0, 200.0, 700.0))
    simulation.pass_time(seconds)
    return f"{seconds} s pass"


def clock_jumps(simulation: Simulation, random: Random) -> str | None:
    seconds = random.choice((-3600, 3600, -86400, 86400))
    simulation.world.tick(seconds)
    return f"the clock jumps by {seconds} s"


# The controller -----------------------------------------------------------------------------------------------


def controller_is_killed(simulation: Simulation, random: Random) -> str | None:
    if simulation.process is None:
        return None
    simulation.kill_controller()
    if random.random() < 0.7:
        simulation.start_controller()
    return f"the controller is killed{' and started' if simulation.process else ''}"


def controller_is_started(simulation: Simulation, random: Random) -> str | None:
    del random
    if simulation.process is not None:
        return None
    simulation.start_controller()
    return "the controller is started"


def controller_is_stopped(simulation: Simulation, random: Random) -> str | None:
    del random
    if simulation.process is None:
        return None
    simulation.stop_controller()
    return "the controller has stopped"


ACTIONS: dict[Action, int] = {
    declares: 12,
    changes_the_mode: 6,
    changes_the_spec: 6,
    asks_for_a_restart: 4,
    deletes: 5,
    sends_a_prompt: 4,
    edits_a_file: 4,
    commits: 8,
    leaves_work_uncommitted: 8,
    works: 8,
    session_ends: 8,
    crash_loops: 2,
    agent_falls_silent: 4,
    container_is_removed: 4,
    container_is_paused: 3,
    name_is_taken: 1,
    image_comes_and_goes: 3,
    worktree_is_damaged: 3,
    engine_fails: 8,
    engine_comes_and_goes: 5,
    git_fails: 6,
    database_is_locked: 4,
    credentials_come_and_go: 2,
    time_passes: 8,
    clock_jumps: 1,
    controller_is_killed: 5,
    controller_is_started: 5,
    controller_is_stopped: 1,
}

_KINDS, _WEIGHTS = tuple(ACTIONS), tuple(ACTIONS.values())


def act(simulation: Simulation, action: Action, random: Random) -> None:
    """Do one thing and write it down; an API call that is refused did nothing."""
    try:
        told = action(simulation, random)
    except CcoError as error:
        told = f"{action.__name__}: refused, {error.reason}"
    if told is not None:
        simulation.tell(f"* {told}")


def chaos(simulation: Simulation, actions: int) -> None:
    """Do many things, and let the controller work in between, for a moment or a while."""
    random = simulation.random
    for _ in range(actions):
        act(simulation, random.choices(_KINDS, _WEIGHTS)[0], random)
        for _ in range(random.choice((0, 1, 3, 10, 40, 100))):
            simulation.step()


def play(simulation: Simulation, actions: int) -> None:
    """Play a whole run: chaos, one fault that stays for a while, peace; sometimes everything is deleted at last."""
    random = simulation.random
    chaos(simulation, actions)
    if random.random() < 0.3:
        simulation.start_controller()
        simulation.stand(f"runtime.{random.choice(RUNTIME_VERBS)}")
    elif random.random() < 0.3:
        simulation.start_controller()
        simulation.stand(f"git.{random.choice(GIT_VERBS)}")
    simulation.heal()
    simulation.converge()
    if random.random() < 0.5:
        for name in simulation.world.instance_names():
            simulation.world.store.instances.request_deletion(name)
        simulation.tell("* deletes everything")
        simulation.converge()
