"""What really happened, written down as it happens, by nobody the product could mislead.

The ledger sits inside the fakes: it sees every change of a container and every write of a status, and knows each
piece of work that Claude or a person ever made. What it finds wrong it keeps in :attr:`Ledger.violations`.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

from controller.errors import NotFound
from controller.resources import InputState, InstanceStatus
from controller.runtime.protocol import WorkloadState
from support.fake_engine import ALIVE, FakeContainer
from support.fake_workspaces import FakeWorktree

from .process import SimulatedWorld

WINDOW_SECONDS = 60.0
MOST_PASSES = 400
"""Passes of one instance within a minute that no amount of hints explains."""


@dataclass
class Work:
    """One thing somebody made in a worktree."""

    uid: str
    branch: str
    commit: bool


@dataclass
class Counted:
    """How many exits the ledger saw, and how many the product has on record."""

    exits: int = 0
    failures: int = 0
    unaccounted: int = 0


@dataclass
class Ledger:
    """See the module's docstring.

    Attributes:
        work: every commit and every uncommitted file, by its content.
        given_up: uids whose owner said that what cannot be saved may go.
        evicted: uids that filled the disk.
        passes: when the passes of each instance began, the last minute of them.
        attempts: the same for calls that would start something.
    """

    world: SimulatedWorld
    violations: list[str] = field(default_factory=list)
    work: dict[str, Work] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)
    evicted: set[str] = field(default_factory=set)
    passes: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    attempts: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    total_passes: int = 0
    starts: Counter[str] = field(default_factory=Counter)
    counted: dict[str, Counted] = field(default_factory=lambda: defaultdict(Counted))
    _generations: dict[str, int] = field(default_factory=dict)
    _states: dict[str, WorkloadState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world.engine.observers.append(self._container_changed)
        self.world.stepped.watch = self._store_written

    def now(self) -> float:
        return self.world.schedule.now

    # Containers -----------------------------------------------------------------------------------------------

    def _container_changed(self, container: FakeContainer) -> None:
        uid, seen = container.spec.uid, container.seen
        alive = [each.seen.name for each in self.world.engine.of_uid(uid) if each.seen.state in ALIVE]
        if len(alive) > 1:
            self.violations.append(f"two workloads live for one uid: {', '.join(alive)}")
        before = self._states.get(seen.id)
        self._states[seen.id] = seen.state
        if seen.state is WorkloadState.EXITED and before in {WorkloadState.RUNNING, WorkloadState.PAUSED}:
            self.counted[uid].exits += 1
            self.counted[uid].unaccounted += 1
            if self.world.schedule.current is not None and not self._has_cause(container):
                self.violations.append(f"{container.spec.name} was stopped, and nothing asked for that")
        if seen.state is WorkloadState.RUNNING and before not in {WorkloadState.RUNNING, WorkloadState.PAUSED}:
            self.starts[uid] += 1
            self._generations[uid] = self._generation(uid)

    def _generation(self, uid: str) -> int:
        try:
            return self.world.stepped.store.instances.get_by_uid(uid).metadata.generation
        except NotFound:
            return -1

    def _has_cause(self, container: FakeContainer) -> bool:
        """Tell whether a person, the disk, the worktree or a silent agent gave reason to stop it, or it just ended."""
        uid = container.spec.uid
        if self.world.engine.ends_at_once(container.spec.name):
            return True
        try:
            instance = self.world.stepped.store.instances.get_by_uid(uid)
        except NotFound:
            return True
        worktrees = [each for each in self.world.git.worktrees.values() if each.uid == uid]
        return (
            instance.metadata.deletion_requested_at is not None
            or instance.metadata.generation != self._generations.get(uid)
            or instance.status.restarted_generation != instance.spec.restart_generation
            or uid in self.evicted
            or not worktrees
            or bool(worktrees[0].broken)
            or self.world.boxes.was_silent(uid)
        )

    def _store_written(self, method: str, arguments: tuple[object, ...]) -> None:
        if method == "instances.update_status":
            uid, status = arguments[:2]
            assert isinstance(uid, str)
            assert isinstance(status, InstanceStatus)
            self._status_written(uid, status)
        accepted = method == "inputs.set_state" and arguments[1] is InputState.ACCEPTED
        if accepted and arguments[0] not in self.world.boxes.typed:
            self.violations.append(f"prompt {arguments[0]} is recorded as accepted, but was never typed")

    def _status_written(self, uid: str, status: InstanceStatus) -> None:
        """An exit counts once: failures on record may only grow by as much as there were exits since."""
        known, count = self.counted[uid], status.failures.count
        if count > known.failures:
            known.unaccounted -= count - known.failures
            if known.unaccounted < 0:
                self.violations.append(f"{self.world.name_of(uid)}: {count} failures on record, but fewer exits")
        known.failures = count

    # Work -----------------------------------------------------------------------------------------------------

    def commits(self, worktree: FakeWorktree) -> str:
        """Let something be committed in a worktree; returns it."""
        content = f"commit-{len(self.work) + 1}"
        worktree.commits.append(content)
        self.work[content] = Work(worktree.uid, worktree.branch, commit=True)
        return content

    def leaves_dirt(self, worktree: FakeWorktree) -> str:
        """Let files be changed in a worktree; the same files again are the same work, newer."""
        self.work.pop(worktree.dirty, None)
        worktree.dirty = f"dirt-{len(self.work) + 1}-{self.now():.3f}"
        self.work[worktree.dirty] = Work(worktree.uid, worktree.branch, commit=False)
        return worktree.dirty

    def forgets(self, content: str) -> None:
        """Somebody threw this away himself."""
        self.work.pop(content, None)

    def check_work(self) -> None:
        """Every piece of work must be in a branch, in a snapshot, or still in a worktree."""
        git = self.world.git
        kept = set(git.snapshots)
        for worktree in git.worktrees.values():
            kept |= {worktree.dirty, *worktree.commits}
        for content, work in self.work.items():
            if (
                work.uid in self.given_up
                or content in kept
                or (work.commit and content in git.branches.get(work.branch, ()))
            ):
                continue
            self.violations.append(f"lost: {content} of branch {work.branch}")
        self.violations += [f"not ours, but asked for: {trespass}" for trespass in git.trespasses]

    # Pace -----------------------------------------------------------------------------------------------------

    def begins_pass(self, name: str) -> None:
        self.total_passes += 1
        self._note(self.passes[name])
        if len(self.passes[name]) > MOST_PASSES:
            self.violations.append(f"hot loop: {MOST_PASSES} passes of {name} within a minute")

    def begins_attempt(self, name: str) -> None:
        self._note(self.attempts[name])

    def _note(self, times: deque[float]) -> None:
        times.append(self.now())
        while times[0] < self.now() - WINDOW_SECONDS:
            times.popleft()

    def forget_pace(self) -> None:
        """Begin to count anew."""
        self.passes.clear()
        self.attempts.clear()

    def check_pace(self, *, passes: int, attempts: int) -> None:
        """Tell who did more within a minute than a loop that waits between its tries would."""
        for what, each, most in (("passes", self.passes, passes), ("attempts", self.attempts, attempts)):
            for name, times in each.items():
                if len(times) > most:
                    self.violations.append(f"hot loop: {len(times)} {what} of {name} within a minute")
