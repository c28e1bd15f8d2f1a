"""How the world and the controller fail: one function each, told in one line, as in ``people``."""

from __future__ import annotations

from random import Random

from controller.errors import Terminal
from controller.reconcile.observed import DiskVerdict
from support.fake_workspaces import FakeWorktree
from support.stepped_store import locked
from support.world import REPOSITORY_PATH

from .people import OTHER_IMAGE, some, worktree_of
from .simulation import NAMES, Simulation

RUNTIME_VERBS = ("inspect", "create", "start", "stop", "remove", "remove_home", "update")
GIT_VERBS = ("inspect", "create", "collect", "snapshot", "remove")
FOREIGN = "somebody"


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


def folder_is_taken(simulation: Simulation, random: Random) -> str | None:
    """Let somebody have a folder of his own where an instance would have its worktree, or take it away again."""
    path = f"{REPOSITORY_PATH}.worktrees/{random.choice(NAMES)}"
    worktrees = simulation.world.git.worktrees
    there = worktrees.get(path)
    if simulation.passing:  # a folder that comes between look and act is refused by git, not by the planner
        return None
    if there is None:
        worktrees[path] = FakeWorktree(FOREIGN, "theirs", dirty="theirs")
        return f"somebody makes a folder {path}"
    if there.uid == FOREIGN and random.random() < 0.5:
        del worktrees[path]
        return f"somebody takes his folder {path} away"
    return None


def disk_fills(simulation: Simulation, random: Random) -> str | None:
    """The disk is too full to start anything, or one instance fills it and has to go."""
    world = simulation.world
    if random.random() < 0.5:
        world.disk_full = None if world.disk_full else "the disk is 95% full"
        return f"the disk is {'full' if world.disk_full else 'empty'}"
    if (instance := some(simulation, random)) is None:
        return None
    world.disk[instance.metadata.uid] = DiskVerdict(evict="it holds most of a full disk")
    simulation.ledger.evicted.add(instance.metadata.uid)
    return f"{instance.metadata.name} fills the disk"


def repository_comes_and_goes(simulation: Simulation, random: Random) -> str | None:
    repositories = simulation.world.git.repositories
    if random.random() < 0.4:
        repositories.clear()
        return "the repository is moved away"
    repositories.update(simulation.repositories)
    return "the repository is there"


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


def a_look_fails(simulation: Simulation, random: Random) -> str | None:
    if random.random() < 0.5:
        simulation.world.engine.fail_next("inspect")
        return "the next look at containers fails"
    simulation.world.git.fail_next("inspect")
    return "the next look at a worktree fails"


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
    if random.random() < 0.3:
        return "the controller is killed"
    simulation.start_controller()
    return "the controller is killed and started"


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
