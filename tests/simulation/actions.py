"""What happens in a run, and how often: people, Claude and a failing world take turns with the controller.

``ACTIONS`` weighs them for the seeded runs; the hypothesis machine picks freely.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from api.client import ApiError
from controller.errors import CcoError

from . import failures, people
from .simulation import Simulation

Action = Callable[[Simulation, Random], str | None]

ACTIONS: dict[Action, int] = {
    people.declares: 12,
    people.changes_the_mode: 6,
    people.changes_the_spec: 6,
    people.asks_for_a_restart: 4,
    people.deletes: 5,
    people.gives_work_up: 1,
    people.asks_for_another_try: 2,
    people.sends_a_prompt: 4,
    people.edits_a_file: 4,
    people.commits: 8,
    people.leaves_work_uncommitted: 8,
    people.works: 8,
    people.session_ends: 8,
    people.crash_loops: 2,
    failures.agent_falls_silent: 4,
    failures.container_is_removed: 4,
    failures.container_is_paused: 3,
    failures.name_is_taken: 1,
    failures.folder_is_taken: 1,
    failures.disk_fills: 2,
    failures.repository_comes_and_goes: 2,
    failures.image_comes_and_goes: 3,
    failures.worktree_is_damaged: 3,
    failures.engine_fails: 8,
    failures.engine_comes_and_goes: 5,
    failures.a_look_fails: 6,
    failures.git_fails: 6,
    failures.database_is_locked: 4,
    failures.credentials_come_and_go: 2,
    failures.time_passes: 8,
    failures.clock_jumps: 1,
    failures.controller_is_killed: 5,
    failures.controller_is_started: 5,
    failures.controller_is_stopped: 1,
}


_ALWAYS = frozenset({people.declares, failures.controller_is_started, failures.time_passes})
_LOSE_HINTS = frozenset(
    {
        *(
            failures.a_look_fails,
            failures.engine_fails,
            failures.engine_comes_and_goes,
            failures.git_fails,
            failures.database_is_locked,
            failures.credentials_come_and_go,
            failures.clock_jumps,
        ),
        *(
            failures.disk_fills,
            failures.repository_comes_and_goes,
            failures.name_is_taken,
            failures.folder_is_taken,
            failures.image_comes_and_goes,
            failures.worktree_is_damaged,
        ),
    }
)
"""After these only the next look at everything tells that something changed."""


def moods(simulation: Simulation, random: Random) -> dict[Action, int]:
    """Return weights for one run: some things never happen in it, others often, so that runs differ more."""
    never = _LOSE_HINTS if simulation.calm else frozenset[Action]()
    return {
        action: weight if action in _ALWAYS else 0 if action in never else weight * random.choice((0, 1, 1, 4))
        for action, weight in ACTIONS.items()
    }


def may(simulation: Simulation, action: Action) -> bool:
    """Tell whether this can happen in such a run: in a calm one, nothing that loses a hint."""
    return not (simulation.calm and action in _LOSE_HINTS)


def act(simulation: Simulation, action: Action, random: Random) -> None:
    """Do one thing and write it down; an API call that is refused did nothing."""
    try:
        told = action(simulation, random)
    except (CcoError, ApiError) as error:
        told = f"{action.__name__}: refused, {error.reason}"
    if told is not None:
        simulation.tell(f"* {told}")


WORST_MOMENTS: dict[str, tuple[Action, ...]] = {
    "git.inspect": (failures.a_look_fails, people.session_ends, people.edits_a_file),
    "runtime.inspect": (failures.a_look_fails, people.session_ends, failures.container_is_removed),
    "git.remove": (people.edits_what_is_being_deleted, failures.controller_is_killed),
    "git.snapshot": (people.edits_a_file, failures.controller_is_killed),
    "git.collect": (people.edits_a_file, failures.controller_is_killed),
    "runtime.create": (failures.controller_is_killed, failures.engine_fails, failures.container_is_removed),
    "runtime.start": (failures.controller_is_killed, failures.engine_fails, failures.container_is_removed),
    "runtime.stop": (people.session_ends, people.leaves_work_uncommitted, people.commits, failures.engine_fails),
    "runtime.remove": (people.edits_what_is_being_deleted, failures.controller_is_killed, failures.engine_fails),
    "runtime.remove_home": (failures.controller_is_killed, failures.engine_fails),
    "instances.purge": (failures.controller_is_killed, failures.database_is_locked),
    "instances.update_status": (
        failures.controller_is_killed,
        people.changes_the_spec,
        people.deletes,
        people.session_ends,
    ),
    "inputs.set_state": (failures.controller_is_killed, people.session_ends),
    "links.send_input": (people.session_ends, people.works),
}
"""What hurts most just before a side effect, by where the thread is."""

WORST_CHANCE = 0.04
RARE_MOMENTS = frozenset({"git.remove", "git.snapshot", "runtime.remove", "runtime.remove_home", "instances.purge"})
RARE_CHANCE = 0.6


def tempt(simulation: Simulation, random: Random) -> None:
    """See whether a thread stands before a side effect, and maybe do there what hurts most."""
    for thread in simulation.schedule.threads:
        hurting = WORST_MOMENTS.get(thread.where)
        chance = RARE_CHANCE if thread.where in RARE_MOMENTS else WORST_CHANCE
        if hurting is not None and random.random() < chance:
            action = random.choice(hurting)
            if may(simulation, action):
                act(simulation, action, random)
            return


def chaos(simulation: Simulation, actions: int) -> None:
    """Do many things, and let the controller work in between, for a moment or a while."""
    random = simulation.random
    weights = moods(simulation, random)
    for action in random.choices(tuple(weights), tuple(weights.values()), k=actions):
        act(simulation, action, random)
        for _ in range(random.choice((0, 1, 3, 10, 40, 100))):
            simulation.step()
            tempt(simulation, random)
        if random.random() < 0.05:
            simulation.check_promptness()
    simulation.check_promptness()


def play(simulation: Simulation, actions: int) -> None:
    """Play a whole run: chaos, one fault that stays for a while, peace; sometimes everything is deleted at last."""
    random = simulation.random
    chaos(simulation, actions)
    if simulation.calm:
        pass
    elif random.random() < 0.3:
        simulation.start_controller()
        simulation.stand(f"runtime.{random.choice(failures.RUNTIME_VERBS)}")
    elif random.random() < 0.3:
        simulation.start_controller()
        simulation.stand(f"git.{random.choice(failures.GIT_VERBS)}")
    simulation.heal()
    simulation.converge()
    if random.random() < 0.5:
        for instance in simulation.world.store.instances.list():
            simulation.door.delete(instance.metadata.name, instance.metadata.uid)
        simulation.tell("* people.deletes everything")
        simulation.converge()
