"""Controllers with one mistake in them: each must be caught by a short run, or the simulation proves nothing.

Each is a context manager that puts one mistake into the product, or takes one precaution away from it.
"""

# ruff: noqa: ANN401  # mutants wrap whatever there is

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from controller.errors import Unavailable
from controller.reconcile import exits, reconciler
from controller.reconcile.actions import Plan, Release, SnapshotWork, StopWorkload
from controller.reconcile.execute import Executor
from controller.reconcile.loop import Controller, Request
from controller.reconcile.reconciler import InstanceReconciler
from controller.reconcile.sources import ResyncSource
from controller.reconcile.workqueue import Workqueue
from controller.resources import InputState
from controller.runtime.protocol import Workload
from controller.workspace.types import Presence, WorkspaceState
from support.delayed_agents import DelayedAgents
from support.fake_runtime import FakeRuntime
from support.fake_workspaces import FakeWorkspaces

Mutant = Callable[[], AbstractContextManager[object]]


def _replaced(owner: Any, name: str, function: Callable[..., Any]) -> AbstractContextManager[object]:
    """Put a function in another's place; it gets the original as its first argument."""
    original = getattr(owner, name)

    def mutated(*args: Any, **kwargs: Any) -> Any:
        return function(original, *args, **kwargs)

    return mock.patch.object(owner, name, mutated)


def takes_a_failed_look_for_absence() -> AbstractContextManager[object]:
    def inspect(original: Callable[..., Any], runtime: FakeRuntime, uid: str) -> tuple[Workload, ...]:
        try:
            found: tuple[Workload, ...] = original(runtime, uid)
        except Unavailable:
            return ()
        return found

    def inspect_workspace(original: Callable[..., Any], *args: Any, **how: bool) -> WorkspaceState:
        try:
            found: WorkspaceState = original(*args, **how)
        except Unavailable:
            return WorkspaceState(Presence.ABSENT)
        return found

    @contextmanager
    def both() -> Iterator[None]:
        with _replaced(FakeRuntime, "inspect", inspect), _replaced(FakeWorkspaces, "inspect", inspect_workspace):
            yield

    return both()


def acts_on_an_old_look() -> AbstractContextManager[object]:
    """It believes what it saw of a container for a pass more."""

    def inspect(original: Callable[..., Any], runtime: FakeRuntime, uid: str) -> tuple[Workload, ...]:
        seen: dict[str, tuple[int, tuple[Workload, ...]]] = vars(runtime).setdefault("seen", {})
        count, old = seen.get(uid, (0, ()))
        found: tuple[Workload, ...] = original(runtime, uid) if count % 3 == 0 else old
        seen[uid] = (count + 1, found)
        return found

    return _replaced(FakeRuntime, "inspect", inspect)


def saves_before_it_stops() -> AbstractContextManager[object]:
    """What is written until the end of the stop is not saved."""

    def plan(original: Callable[..., Any], instance: Any, observed: Any, wanted: Any, *args: Any, **how: Any) -> Plan:
        made: Plan = original(instance, observed, wanted, *args, **how)
        if instance.metadata.deletion_requested_at is None:
            return made
        others = tuple(each for each in made.actions if not isinstance(each, SnapshotWork))
        stops = any(isinstance(each, StopWorkload) for each in others)
        first = (SnapshotWork("the instance is being deleted"),) if stops else ()
        return Plan((*first, *others), made.blocked, made.requeue_after)

    return _replaced(reconciler, "plan", plan)


def removes_a_worktree_unseen() -> AbstractContextManager[object]:
    """It goes by what it saw at the beginning of the pass, whatever was written into the worktree since."""

    def remove(_original: Callable[..., Any], workspaces: FakeWorkspaces, ref: Any, **_how: bool) -> None:
        with workspaces.git.call("remove"):
            workspaces.git.check_ours("remove", ref)
            workspaces.git.worktrees.pop(ref.worktree, None)

    return _replaced(FakeWorkspaces, "remove", remove)


def releases_the_row_first() -> AbstractContextManager[object]:
    """What the deletion leaves behind when it is cut off, nobody knows of any more."""

    def plan(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Plan:
        made: Plan = original(*args, **kwargs)
        ordered = sorted(made.actions, key=lambda action: not isinstance(action, Release))
        return Plan(tuple(ordered), made.blocked, made.requeue_after)

    return _replaced(reconciler, "plan", plan)


def counts_an_exit_twice() -> AbstractContextManager[object]:
    def account(original: Callable[..., Any], instance: Any, *args: Any) -> Any:
        forgetful = instance.status.model_copy(update={"last_exit": None})
        return original(instance.model_copy(update={"status": forgetful}), *args)

    return _replaced(reconciler, "account", account)


def never_gives_up() -> AbstractContextManager[object]:
    """Failures are not counted, so that every start is the first one."""
    return _replaced(exits, "_is_failure", lambda _original, *_: False)


def loses_done() -> AbstractContextManager[object]:
    return _replaced(Workqueue, "done", lambda _original, *_: None)


def forgets_hints_that_come_during_a_pass() -> AbstractContextManager[object]:
    def done(original: Callable[..., Any], queue: Workqueue[Request], key: Request) -> None:
        queue._dirty.discard(key)  # noqa: SLF001  # a mistake in its own inside
        original(queue, key)

    return _replaced(Workqueue, "done", done)


def works_on_one_name_twice_at_once() -> AbstractContextManager[object]:
    def get(original: Callable[..., Any], queue: Workqueue[Request], *args: Any) -> Request | None:
        key: Request | None = original(queue, *args)
        if key is not None:
            queue._processing.discard(key)  # noqa: SLF001  # a mistake in its own inside
        return key

    return _replaced(Workqueue, "get", get)


def tries_again_at_once() -> AbstractContextManager[object]:
    def add_rate_limited(_original: Callable[..., Any], queue: Workqueue[Request], key: Request, *_: float) -> float:
        queue.add(key)
        return 0.0

    return _replaced(Workqueue, "add_rate_limited", add_rate_limited)


def never_looks_again_by_itself() -> AbstractContextManager[object]:
    """It relies on events, which may be lost."""

    def run(_original: Callable[..., Any], _source: ResyncSource, _queue: object, stop: threading.Event) -> None:
        stop.wait(1e9)

    return _replaced(ResyncSource, "run", run)


def drops_what_fails() -> AbstractContextManager[object]:
    """A pass that fails is not tried again, and nobody looks again by himself either."""

    def settle(original: Callable[..., Any], controller: Controller, request: Request) -> None:
        with mock.patch.object(controller.queue, "add_rate_limited", return_value=0.0):
            original(controller, request)

    @contextmanager
    def both() -> Iterator[None]:
        with _replaced(Controller, "_settle", settle), never_looks_again_by_itself():
            yield

    return both()


def takes_no_attempt_from_the_world() -> AbstractContextManager[object]:
    """It believes its own status, which a crash may have kept it from writing."""

    def observe(original: Callable[..., Any], self: InstanceReconciler, instance: Any) -> Any:
        attempt = instance.status.attempt
        seen, *rest = original(self, instance)
        status = seen.status.model_copy(update={"attempt": attempt})
        return (seen.model_copy(update={"status": status}), *rest)

    return _replaced(InstanceReconciler, "observe", observe)


def believes_what_an_older_agent_said() -> AbstractContextManager[object]:
    return _replaced(reconciler, "_current", lambda _original, heard, *_: heard)


def takes_a_prompt_for_typed() -> AbstractContextManager[object]:
    """A prompt counts as accepted when it was handed over, and dies with the container."""

    def execute(original: Callable[..., Any], executor: Executor, action: Any, instance: Any, *rest: Any) -> Any:
        done = original(executor, action, instance, *rest)
        if type(action).__name__ == "DeliverInput":
            executor.inputs.set_state(action.input.id, InputState.ACCEPTED)
        return done

    return _replaced(Executor, "execute", execute)


def stops_listening_never() -> AbstractContextManager[object]:
    """The socket of a deleted instance stays open."""
    return _replaced(DelayedAgents, "forget", lambda _original, *_: None)


MUTANTS: dict[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        takes_a_failed_look_for_absence,
        acts_on_an_old_look,
        saves_before_it_stops,
        removes_a_worktree_unseen,
        releases_the_row_first,
        counts_an_exit_twice,
        never_gives_up,
        loses_done,
        forgets_hints_that_come_during_a_pass,
        works_on_one_name_twice_at_once,
        tries_again_at_once,
        never_looks_again_by_itself,
        drops_what_fails,
        takes_no_attempt_from_the_world,
        believes_what_an_older_agent_said,
        takes_a_prompt_for_typed,
        stops_listening_never,
    )
}
