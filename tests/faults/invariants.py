"""The eight invariants as pure judgements of what ``facts``, ``baseline`` and the recorders found.

Every judgement returns a :class:`Verdict`: what was looked at, and what is wrong. None of them knows how it came to
this; whoever breaks something on purpose has to see it here (``test_verify.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from .baseline import Baseline, Draft, all_commits, blob, foreign
from .facts import INSTALLATION, UID, Container, Facts, Row, git, git_dir_of

ATTEMPTS_A_MINUTE = 10
CPU_SHARE = 0.05
ALIVE = frozenset({"running", "paused", "restarting"})
ON_THE_WAY = frozenset(
    {
        *("Pending", "CreatingWorkspace", "StartingWorkload", "StartingSession", "NotRunning", "NoReportYet"),
        *("Stopping", "Resuming", "Deleting", "WaitingForRepository", "StartQueued", "AgentUnreachable"),
    }
)
"""Reasons that must not last: they name no cause that a person could see to."""
TRANSITIONS = frozenset({"Ready", "InputDelivered", "InputResolved", "CommitsCollected"})
"""Events that are no attempt at anything."""
MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the answer.

    Attributes:
        facts: what was looked at.
        wrong: what violates the invariant; empty when it holds.
        measured: whether anything was looked at: a recorder may not have run.
    """

    name: str
    facts: str
    wrong: tuple[str, ...] = ()
    measured: bool = True

    @property
    def holds(self) -> bool:
        return not self.wrong

    def __str__(self) -> str:
        word = "VIOLATED" if self.wrong else "ok" if self.measured else "not measured"
        return f"{self.name} {word:12} {self.facts}" + "".join(f"\n     - {each}" for each in self.wrong)


def acknowledged(facts: Facts, baseline: Baseline | None) -> Verdict:
    """I1: acknowledged = durable."""
    wrong = [f"the database is damaged: {facts.damage}"] if facts.damage else []
    known = {row.uid: row for row in facts.rows}
    for wish in baseline.acknowledged if baseline is not None else ():
        about = f"{wish.kind} {wish.name} ({wish.uid[:8]})"
        row = known.get(wish.uid)
        if row is None:
            if not facts.buried.get(wish.uid, wish.deleting):
                wrong.append(f"{about} is gone and nobody asked for that")
        elif row.generation < wish.generation:
            wrong.append(f"{about} is at generation {row.generation}, {wish.generation} was acknowledged")
        elif row.generation == wish.generation and row.spec != wish.spec:
            wrong.append(f"{about} has another spec than was acknowledged")
        elif wish.deleting and not row.deleting:
            wrong.append(f"the deletion of {about} was acknowledged and is forgotten")
    count = len(baseline.acknowledged) if baseline is not None else 0
    return Verdict("I1", f"{count} acknowledged specs, {len(facts.rows)} rows, database sound", tuple(wrong))


def no_work_lost(facts: Facts, baseline: Baseline | None) -> Verdict:
    """I2: every commit is reachable from a ref, every draft is on disk or in a snapshot."""
    if baseline is None:
        return Verdict("I2", "no baseline", measured=False)
    wrong: list[str] = []
    for repository, commits in baseline.commits.items():
        reachable = set(all_commits_of(facts, repository))
        wrong += [f"commit {commit[:12]} of {repository} is lost" for commit in commits if commit not in reachable]
    for draft in baseline.drafts:
        if not _is_kept(draft):
            wrong.append(f"uncommitted {draft.path} of {draft.instance} is neither on disk nor in a snapshot")
    known = sum(map(len, baseline.commits.values()))
    return Verdict("I2", f"{known} commits and {len(baseline.drafts)} uncommitted files known", tuple(wrong))


def all_commits_of(facts: Facts, repository: str) -> Iterable[str]:
    """Yield what refs of the repository reach, and what is still in a private git directory of an instance."""
    if Path(repository).is_dir():
        yield from git(git_dir_of(repository), "rev-list", "--all").split()
    for private in sorted((facts.state_dir / "instances").glob("*/git*")):
        if (private / "HEAD").is_file():
            yield from all_commits(private)


def _is_kept(draft: Draft) -> bool:
    path = Path(draft.worktree) / draft.path
    if path.is_file() and blob(path.read_bytes()) == draft.blob:
        return True
    place = git_dir_of(draft.repository)
    names = git(place, "for-each-ref", "--format=%(refname)", "refs/cco/", "refs/heads/").splitlines()
    asked = "".join(f"{name}:{draft.path}\n" for name in names).encode()
    return draft.blob in git(place, "cat-file", "--batch-check=%(objectname)", stdin=asked).split()


def at_most_one(facts: Facts, overlaps: Sequence[str] | None) -> Verdict:
    """I3: at most one running container per uid, now and at every recorded moment."""
    running = Counter(each.uid for each in facts.engine.containers if each.uid and each.state in ALIVE)
    wrong = [f"{count} containers of uid {uid} run now" for uid, count in running.items() if count > 1]
    recorded = "no recording" if overlaps is None else "event stream recorded"
    return Verdict("I3", f"{running.total()} running, {recorded}", (*wrong, *(overlaps or ())))


def no_orphans(facts: Facts) -> Verdict:
    """I4: labelled containers = desired; worktrees, volumes and folders belong to a row."""
    rows = {row.uid: row for row in facts.instances()}
    wrong = [
        f"{kind} {name} belongs to no instance"
        for kind, name, uid in _belongings(facts)
        if uid not in rows and name != ""
    ]
    wrong += [f"folder instances/{name} belongs to no instance" for name in facts.folders - _names(rows.values())]
    for row in rows.values():
        wrong += _not_as_desired(row, [each for each in facts.ours() if each.uid == row.uid])
    count = len(facts.ours())
    return Verdict("I4", f"{count} containers, {len(rows)} instances, {len(facts.folders)} folders", tuple(wrong))


def _names(rows: Iterable[Row]) -> frozenset[str]:
    return frozenset(row.name for row in rows)


def _belongings(facts: Facts) -> Iterable[tuple[str, str, str]]:
    for container in facts.ours():
        yield "container", container.name, container.uid
    for volume in facts.engine.volumes:
        if volume.labels.get(INSTALLATION) == facts.installation:
            yield "volume", volume.name, volume.labels.get(UID, "")
    for repository in facts.repositories:
        for worktree in repository.worktrees:
            if worktree.lock.startswith("cc-orchestrator "):
                yield "worktree", worktree.path, worktree.lock.split(" ")[-1]
        for aside in Path(repository.path).parent.glob(f"{Path(repository.path).name}.worktrees/*.removed-*"):
            yield "folder", str(aside), ""


def _not_as_desired(row: Row, containers: Sequence[Container]) -> Iterable[str]:
    """Yield how many containers there are that should not be, or the other way round."""
    mode = row.spec.get("operating_mode", "Running")
    alive = [each for each in containers if each.state in ALIVE]
    ready = row.condition("Ready").get("status")
    if len(containers) > 1:
        yield f"{row.name} has {len(containers)} containers: {', '.join(each.name for each in containers)}"
    if ready == "True" and not alive:
        yield f"{row.name} is said to be ready and no container of it runs"
    if mode != "Running" and alive:
        yield f"{row.name} is to be {mode} and {alive[0].name} is {alive[0].state}"
    if mode == "Stopped" and containers:
        yield f"{row.name} is to be Stopped and {containers[0].name} is still there"


def hands_off(facts: Facts, baseline: Baseline | None) -> Verdict:
    """I5: what is not ours is as it was."""
    if baseline is None:
        return Verdict("I5", "no baseline", measured=False)
    now = foreign(facts)
    wrong = [
        f"{name} {'was changed' if name in now else 'is gone'}"
        for name, digest in baseline.foreign.items()
        if now.get(name) != digest
    ]
    return Verdict("I5", f"{len(baseline.foreign)} things that are not ours", tuple(wrong))


def converged(facts: Facts) -> Verdict:
    """I6: ready, at rest, or stopped with a reason that names the cause; nothing on its way for ever."""
    wrong: list[str] = []
    words: Counter[str] = Counter()
    for row in facts.instances():
        ready = row.condition("Ready")
        words[str(ready.get("reason"))] += 1
        wrong += _not_converged(row, ready)
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(words.items())) or "no instances"
    return Verdict("I6", told, tuple(wrong))


def _not_converged(row: Row, ready: Mapping[str, str]) -> Iterable[str]:
    if not ready:
        yield f"{row.name} has no condition Ready"
    elif row.status.get("observed_generation") != row.generation:
        yield f"{row.name}: generation {row.generation} was not looked at"
    elif ready["reason"] in ON_THE_WAY or ready["status"] == "Unknown":
        yield f"{row.name} is still {ready['reason']}: {ready.get('message', '')}"
    elif row.deleting and not ready.get("message"):
        yield f"{row.name} is being deleted and nothing says why that takes so long"
    elif ready["status"] == "False" and not ready.get("message"):
        yield f"{row.name} is not ready ({ready['reason']}) and no message says why"


def no_hot_loop(
    facts: Facts, *, cpu: float | None = None, starts: Mapping[str, Sequence[float]] | None = None
) -> Verdict:
    """I7: at most ten attempts a minute and instance; the controller takes less than 5 % of a core.

    Args:
        cpu: share of one core over some seconds.
        starts: uid to the times (in seconds) at which a container of it was started, from the engine's events.
    """
    rates = {name: most_in_a_minute(facts, name) for name in {each.name for each in facts.happenings}}
    wrong = [f"{name}: {rate:.0f} attempts in a minute" for name, rate in rates.items() if rate > ATTEMPTS_A_MINUTE]
    for uid, times in (starts or {}).items():
        most = max((sum(1 for time in times if start <= time < start + 60) for start in times), default=0)
        if most > ATTEMPTS_A_MINUTE:
            wrong.append(f"containers of uid {uid} were started {most} times in a minute")
    if cpu is not None and cpu >= CPU_SHARE:
        wrong.append(f"the controller takes {cpu:.1%} of a core")
    told = "CPU not measured" if cpu is None else f"controller at {cpu:.1%} of a core"
    return Verdict("I7", f"at most {max(rates.values(), default=0):.0f} attempts a minute, {told}", tuple(wrong))


def most_in_a_minute(facts: Facts, name: str) -> float:
    """Return the most equal attempts of an instance in any minute; counted ones are spread evenly over their time."""
    times: dict[str, list[datetime]] = {}
    for each in facts.happenings:
        if each.name == name and each.reason not in TRANSITIONS:
            step = (each.last - each.first) / max(each.count - 1, 1)
            found = times.setdefault(each.reason, [])
            found += [each.first + step * number for number in range(min(each.count, MOST_COUNTED))]
    return max((_most(sorted(found), timedelta(minutes=1)) for found in times.values()), default=0.0)


def _most(times: Sequence[datetime], window: timedelta) -> float:
    most, first = 0, 0
    for last, time in enumerate(times):
        while time - times[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return float(most)


def quiescent(writes: Sequence[str] | None, watched: str = "") -> Verdict:
    """I8: the sweep after convergence writes nothing; see ``recorders.Quiet``."""
    if writes is None:
        return Verdict("I8", "no recording", measured=False)
    return Verdict("I8", watched, tuple(writes))
