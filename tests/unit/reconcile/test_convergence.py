"""From any state, through any failures: the loop converges, loses nothing, and touches nothing that is not ours.

A planner that does nothing would pass "nothing is lost"; so a plan without actions must also mean satisfied or
blocked. ``test_mutants`` shows that these properties notice a planner that forgets one of its checks.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controller.errors import Terminal
from controller.reconcile.exits import MAX_FAILURES
from controller.reconcile.observed import work_out
from controller.reconcile.plan import plan
from controller.resources import ConditionStatus, OperatingMode
from controller.runtime.protocol import WorkloadState
from controller.workspace.types import Presence
from support.fake_workspaces import FakeWorktree
from support.world import REPOSITORY_PATH, World

NAMES = ("web", "api")
OCCUPIED = "alien"
FOREIGN = "cco-web-3"

names = st.sampled_from(NAMES)
runtime_verbs = st.sampled_from(["inspect", "create", "start", "stop", "remove", "remove_home", "update"])
git_verbs = st.sampled_from(["inspect", "create", "collect", "snapshot", "remove"])


class Fleet(RuleBasedStateMachine):
    """Two instances, their owner, their agents, and a world that fails."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="cco-convergence-"))
        self.world = World(self.directory)
        self.world.engine.occupy(FOREIGN)
        self.world.engine.images["other:1"] = "sha256:" + "2" * 64
        self.counter = 0
        self.commits: dict[str, set[str]] = {name: set() for name in NAMES}
        self.dirt: set[str] = set()
        self.given_up: set[str] = set()

    @initialize()
    def begin(self) -> None:
        """The folder where the instance ``alien`` would have its worktree is somebody else's."""
        self.world.register()
        self.world.git.worktrees[f"{REPOSITORY_PATH}.worktrees/{OCCUPIED}"] = FakeWorktree(
            "somebody", "theirs", dirty="mine"
        )
        self.world.declare(OCCUPIED)

    def teardown(self) -> None:
        try:
            self.converges()
        finally:
            self.world.close()
            shutil.rmtree(self.directory)

    # The owner ------------------------------------------------------------------------------------------------

    @rule(name=names, mode=st.sampled_from(list(OperatingMode)), policy=st.sampled_from(["Always", "OnFailure"]))
    def declares(self, name: str, mode: OperatingMode, policy: str) -> None:
        if self.world.gone(name):
            self.world.declare(name, operating_mode=mode, restart_policy=policy)
        elif self.changeable(name):
            self.world.change(name, operating_mode=mode, restart_policy=policy)

    @rule(name=names, model=st.sampled_from(["opus", "haiku"]), image=st.sampled_from([None, "other:1"]))
    def changes_the_spec(self, name: str, model: str, image: str | None) -> None:
        if self.changeable(name):
            self.world.change(name, model=model, image=image)

    @rule(name=names)
    def asks_for_a_restart(self, name: str) -> None:
        if self.changeable(name):
            self.world.change(name, restart_generation=self.world.get(name).spec.restart_generation + 1)

    @rule(name=names)
    def deletes(self, name: str) -> None:
        if not self.world.gone(name):
            self.world.store.instances.request_deletion(name)

    @rule(name=names)
    def sends_a_prompt(self, name: str) -> None:
        if not self.world.gone(name):
            self.world.store.inputs.create(name, self.world.get(name).metadata.uid, "go on")

    def changeable(self, name: str) -> bool:
        return not self.world.gone(name) and self.world.get(name).metadata.deletion_requested_at is None

    # Claude ---------------------------------------------------------------------------------------------------

    @rule(name=names)
    def commits_work(self, name: str) -> None:
        worktree = self.world.git.worktrees.get(f"{REPOSITORY_PATH}.worktrees/{name}")
        if worktree is not None and self.running(name):
            self.counter += 1
            worktree.commits.append(f"commit-{self.counter}")
            self.commits[name].add(f"commit-{self.counter}")
            self.world.agents.of(worktree.uid).refs_version = f"refs-{self.counter}"

    @rule(name=names)
    def leaves_work_uncommitted(self, name: str) -> None:
        worktree = self.world.git.worktrees.get(f"{REPOSITORY_PATH}.worktrees/{name}")
        if worktree is not None and self.running(name):
            self.counter += 1
            self.dirt.discard(worktree.dirty)  # the same files, written again
            worktree.dirty = f"dirt-{self.counter}"
            self.dirt.add(worktree.dirty)

    @rule(name=names, state=st.sampled_from(["idle", "working", "waiting", "starting"]))
    def does_something(self, name: str, state: str) -> None:
        if not self.world.gone(name):
            self.world.agents.of(self.world.get(name).metadata.uid).state = state

    # The world ------------------------------------------------------------------------------------------------

    @rule(name=names, code=st.sampled_from([0, 1, 137]), oom=st.booleans())
    def session_ends(self, name: str, code: int, *, oom: bool) -> None:
        if not self.world.gone(name):
            self.world.engine.crash(self.world.get(name).metadata.uid, code, oom=oom)

    @rule(name=names)
    def container_is_removed_by_hand(self, name: str) -> None:
        if not self.world.gone(name):
            self.world.engine.remove_by_hand(self.world.get(name).metadata.uid)

    @rule(name=names)
    def container_is_paused_by_hand(self, name: str) -> None:
        if not self.world.gone(name):
            self.world.engine.pause_by_hand(self.world.get(name).metadata.uid)

    @rule(name=names)
    def worktree_is_damaged(self, name: str) -> None:
        worktree = self.world.git.worktrees.get(f"{REPOSITORY_PATH}.worktrees/{name}")
        if worktree is not None:
            worktree.broken = "its registration was pruned"

    @rule(verb=runtime_verbs)
    def engine_fails_once(self, verb: str) -> None:
        self.world.engine.fail_next(verb)

    @rule(verb=runtime_verbs)
    def engine_loses_an_answer(self, verb: str) -> None:
        self.world.engine.lose_next_answer(verb)

    @rule(verb=git_verbs, terminal=st.booleans())
    def git_fails_once(self, verb: str, *, terminal: bool) -> None:
        self.world.git.fail_next(verb, Terminal("GitFailed", "it cannot work") if terminal else None)

    @rule(away=st.booleans())
    def engine_comes_and_goes(self, *, away: bool) -> None:
        (self.world.engine.go_away if away else self.world.engine.come_back)()

    @rule(present=st.booleans())
    def credentials_come_and_go(self, *, present: bool) -> None:
        self.world.credentials = present

    @rule(seconds=st.sampled_from([1, 30, 700]))
    def time_passes(self, seconds: int) -> None:
        self.world.tick(seconds)

    # The loop -------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from([*NAMES, OCCUPIED]))
    def passes(self, name: str) -> None:
        if not self.world.gone(name):
            self.world.one_pass(name)

    # What must always hold --------------------------------------------------------------------------------------

    def running(self, name: str) -> bool:
        if self.world.gone(name):
            return False
        mine = self.world.engine.of_uid(self.world.get(name).metadata.uid)
        return any(container.seen.state is WorkloadState.RUNNING for container in mine)

    @invariant()
    def at_most_one_runs_per_uid(self) -> None:
        alive = [c.spec.uid for c in self.world.engine.containers.values() if c.seen.state is WorkloadState.RUNNING]
        assert len(alive) == len(set(alive))

    @invariant()
    def no_commit_is_lost(self) -> None:
        for name in NAMES:
            kept = set(self.world.git.branches.get(name, ()))
            worktree = self.world.git.worktrees.get(f"{REPOSITORY_PATH}.worktrees/{name}")
            kept |= set(worktree.commits) if worktree is not None else set()
            assert self.commits[name] <= kept

    @invariant()
    def no_uncommitted_work_is_lost(self) -> None:
        kept = set(self.world.git.snapshots) | {worktree.dirty for worktree in self.world.git.worktrees.values()}
        assert self.dirt <= kept

    @invariant()
    def foreign_things_stay(self) -> None:
        assert FOREIGN in self.world.engine.foreign
        assert self.world.git.trespasses == []

    @precondition(lambda self: not self.world.engine.away)
    @rule(name=names)
    def an_empty_plan_means_satisfied_or_blocked(self, name: str) -> None:
        self.heal()
        if self.world.gone(name):
            return
        instance = self.world.get(name)
        reconciler = self.world.reconciler()
        seen, observed, wanted = reconciler.observe(instance)
        decision = plan(seen, observed, wanted, reconciler.pace, now=self.world.now)
        if decision.actions or decision.blocked is not None:
            return
        assert seen.metadata.deletion_requested_at is None
        assert wanted is not None
        assert wanted == work_out(
            seen, self.world.store.repositories.get("shop"), self.world.settings, attempt=seen.status.attempt
        )
        if seen.spec.operating_mode is OperatingMode.RUNNING:
            assert observed.workspace is not None
            assert observed.workspace.presence is Presence.READY
            (workload,) = observed.workloads
            assert workload.state is WorkloadState.RUNNING
            assert (workload.spec_hash, workload.limits) == (wanted.spec_hash, wanted.limits)
        else:
            assert not self.running(name)

    def heal(self) -> None:
        self.world.engine.come_back()
        self.world.git.failures.clear()
        self.world.engine.behave()

    def converges(self) -> None:
        """When the world stops failing, every object ends in a state with a reason, and then nothing is written."""
        self.heal()
        self.world.credentials = True
        for agent in self.world.agents.agents.values():
            agent.state = "idle"
        self.given_up = {name for name in NAMES if not self.world.gone(name) and self.failures(name) >= MAX_FAILURES}
        for name in NAMES:
            if self.world.gone(name):
                continue
            self.world.settle(name, passes=60, until=functools.partial(self.is_settled, name))
            self.world.settle(name)
        revision, changes = self.world.store.revision(), len(self.world.engine.changes)
        for name in NAMES:
            if not self.world.gone(name):
                self.world.one_pass(name)
        assert (self.world.store.revision(), len(self.world.engine.changes)) == (revision, changes), "still writing"

    def failures(self, name: str) -> int:
        return self.world.get(name).status.failures.count

    def is_settled(self, name: str) -> bool:
        if self.world.gone(name):
            return True
        instance = self.world.get(name)
        if instance.metadata.deletion_requested_at is not None:
            return False
        ready = self.world.condition("Ready", name)
        if instance.spec.operating_mode is not OperatingMode.RUNNING:
            return ready.reason == instance.spec.operating_mode
        if ready.reason == "CrashLoop":
            return name in self.given_up
        return ready.reason in {"Completed", "NameConflict"} or (
            ready.status is ConditionStatus.TRUE and ready.reason == "Ready"
        )


TestConvergence = Fleet.TestCase
TestConvergence.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    # Shrinking costs minutes here; a failing example is printed in full, and a person who wants it small removes this.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
