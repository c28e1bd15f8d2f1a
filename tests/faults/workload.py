"""The reference workload: a life of one instance in steps, and what the world looks like after each of them.

A step is what a person or the agent does, to the instance or behind the product's back; then controllers work until
nothing is left to do. The picture of the end leaves out what may differ between two runs that went equally well:
times, identifiers, and the names of commits (which contain times), replaced by what the commits hold.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from controller.reconcile.exits import HEALTHY_AFTER
from controller.runtime.protocol import LABEL_MANIFEST, WorkloadSpec

from .crash_world import Checkpoint, CrashWorld
from .facts import Facts, git, git_dir_of, read_facts
from .injector import Call, Injector

FORGIVEN_AFTER = HEALTHY_AFTER.total_seconds()
OTHER_IMAGE = "cc-orchestrator/instance:next"
UNTOLD = frozenset(
    {
        *("time", "last_transition_time", "started_at", "finished_at", "since", "id", "workload_id", "image_id"),
        *("last_transition_at", "last_activity", "usage", "last_at", "restarts", "retry_at", "measured_at"),
    }
)
"""Fields of a status that two equally good runs do not share: times, measurements, identifiers, and ``restarts``,
which counts the starts that a controller lived to write down."""


IDENTIFIER = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{7,40}\b")
"""A uid or (the beginning of) a commit's name in a message."""


@dataclass(frozen=True, slots=True)
class Step:
    """One act of a person or the agent.

    Attributes:
        drift: it is done to the world behind the product's back.
        mended_after: seconds until the resync that mends what a wrong answer has spoiled.
    """

    name: str
    act: Callable[[CrashWorld], None]
    drift: bool = False
    mended_after: float = 0.0


def _create(world: CrashWorld) -> None:
    world.store.repositories.create(world.repository_manifest())
    world.declare("web", prompt="Begin")


def _commit(world: CrashWorld) -> None:
    _agent_commits(world, "one.txt", "one\n")


def _commit_again(world: CrashWorld) -> None:
    """Rewrite the last commit, and tag and stash: everything an agent can leave."""
    world.let_agent_in()
    ref = world.ref()
    world.user.agent_writes(ref, "one.txt", "one, better\n")
    world.user.agent(ref, "commit", "-q", "--amend", "--all", "-m", "Add one, better")
    world.user.agent(ref, "tag", "v1")
    world.user.agent_writes(ref, "one.txt", "half an idea\n")
    world.user.agent(ref, "stash", "push", "-q", "-m", "half an idea")
    _moved(world, "again")


def _agent_commits(world: CrashWorld, path: str, content: str) -> None:
    world.let_agent_in()
    world.user.agent_commits(world.ref(), path, content)
    _moved(world, path)


def _moved(world: CrashWorld, version: str) -> None:
    world.agents.of(world.get().metadata.uid).refs_version = f"refs after {version}"


def _suspend(world: CrashWorld) -> None:
    world.change(operating_mode="Suspended")


def _resume(world: CrashWorld) -> None:
    world.change(operating_mode="Running")


def _recreate(world: CrashWorld) -> None:
    world.engine.images[OTHER_IMAGE] = "sha256:" + "2" * 64
    world.change(image=OTHER_IMAGE)


def _limits(world: CrashWorld) -> None:
    world.change(resources={"memory": "3Gi"})


def _prompt(world: CrashWorld) -> None:
    world.store.inputs.create("web", world.get().metadata.uid, "Go on")


def _configure(world: CrashWorld) -> None:
    world.change(model="claude-other")


def _restart(world: CrashWorld) -> None:
    world.change(restart_generation=world.get().spec.restart_generation + 1)


# Behind the product's back, each time with a commit that was not brought home, and with drafts: a changed file, a new
# one, and one that is staged. The next of these commits what the one before left.


def _removed(world: CrashWorld) -> None:
    """``docker rm -f``."""
    _leave_work(world, "removed.txt")
    world.engine.remove_by_hand(world.get().metadata.uid)


def _killed(world: CrashWorld) -> None:
    """``docker kill``."""
    _leave_work(world, "killed.txt")
    world.engine.crash(world.get().metadata.uid, 137)


def _worktree_gone(world: CrashWorld) -> None:
    """``rm -r`` of the worktree: the drafts went with it, the commits did not."""
    _leave_work(world, "gone.txt")
    shutil.rmtree(world.ref().worktree)


def _later(world: CrashWorld) -> None:
    """It is ready for so long that its failures are forgiven, and the next repair is not one too many."""
    world.tick(FORGIVEN_AFTER)


def _pruned(world: CrashWorld) -> None:
    """The repository forgets its worktree, whose drafts are still on the disk."""
    _leave_work(world, "pruned.txt")
    (admin,) = (world.user.repository / ".git" / "worktrees").iterdir()
    shutil.rmtree(admin)


def _leave_work(world: CrashWorld, path: str) -> None:
    """Commit one file, and leave drafts."""
    _agent_commits(world, path, "committed\n")
    ref = world.ref()
    world.user.agent_writes(ref, "README.md", f"changed before {path}\n")
    world.user.agent_writes(ref, "notes/draft.txt", f"written before {path}\n")
    world.user.agent_writes(ref, "staged.txt", f"staged before {path}\n")
    world.user.agent(ref, "add", "staged.txt")


def _delete(world: CrashWorld) -> None:
    """Delete with an uncommitted, an untracked file, and a commit that was not brought home."""
    world.let_agent_in()
    ref = world.ref()
    world.user.agent_commits(ref, "two.txt", "two\n")
    world.user.agent_writes(ref, "README.md", "changed\n")
    world.user.agent_writes(ref, "notes/idea.txt", "precious\n")
    world.store.instances.request_deletion("web")


STEPS = (
    Step("create", _create),
    Step("commit", _commit),
    Step("suspend", _suspend),
    Step("resume", _resume),
    Step("recreate", _recreate),
    Step("commit again", _commit_again),
    Step("limits", _limits),
    Step("prompt", _prompt),
    Step("configure", _configure),
    Step("restart", _restart),
    Step("removed by hand", _removed, drift=True),
    Step("killed", _killed, drift=True),
    Step("worktree gone", _worktree_gone, drift=True),
    # A failed look leaves it in doubt whether it was ready all the time, so that begins anew.
    Step("ten minutes later", _later, mended_after=FORGIVEN_AFTER),
    Step("registration pruned", _pruned, drift=True),
    Step("delete", _delete),
)


@dataclass(slots=True)
class Reference:
    """The run in which nothing goes wrong.

    Attributes:
        before: everything as it was when a step began, by the step's name.
        after: the picture when it had ended.
        calls: what the controller asked of the seams in it.
    """

    before: dict[str, Checkpoint] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    calls: dict[str, list[Call]] = field(default_factory=dict)


def record_reference(world: CrashWorld, folder: Path) -> Reference:
    """Run the workload with nothing going wrong."""
    reference = Reference()
    for number, step in enumerate(STEPS):
        reference.before[step.name] = world.checkpoint(folder / str(number))
        injector = Injector()
        with world.watched(injector):
            step.act(world)
            deaths = world.work()
        assert deaths == 0
        reference.calls[step.name] = injector.calls
        reference.after[step.name] = picture(world)
    return reference


# The picture ------------------------------------------------------------------------------------------------------


def picture(world: CrashWorld) -> Any:  # noqa: ANN401  # JSON
    """Return everything that has to be the same at the end of two runs."""
    facts = read_facts(world.settings.state_dir, world.facts_of_engine())
    raw = {
        "objects": [
            {
                "kind": row.kind,
                "name": row.name,
                "generation": row.generation,
                "deleting": row.deleting,
                "spec": row.spec,
                "status": status_without_times(row.status),
            }
            for row in facts.rows
        ],
        "inputs": [(each.text, str(each.state), each.reason) for each in _inputs(world)],
        "containers": sorted(
            [each.name, each.state, each.labels, _comparable(world.engine.containers[each.name].spec)]
            for each in facts.engine.containers
        ),
        "volumes": sorted(each.name for each in facts.engine.volumes),
        "folders": sorted(facts.folders),
        "state": _names_below(world.settings.state_dir / "instances"),
        "worktrees": _files_of_worktrees(world, facts),
        "refs": [refs_of(each.path) for each in facts.repositories],
    }
    return json.loads(_anonymous(world, json.dumps(raw, sort_keys=True, default=str)))


def _comparable(spec: WorkloadSpec) -> WorkloadSpec:
    """Return a spec without the status that was current when its workload was made."""
    labels = dict(spec.labels)
    if LABEL_MANIFEST in labels:
        manifest = json.loads(labels[LABEL_MANIFEST])
        manifest["instance"].pop("status", None)
        labels[LABEL_MANIFEST] = json.dumps(manifest, sort_keys=True)
    return replace(spec, labels=labels)


def _inputs(world: CrashWorld) -> Iterable[Any]:
    return () if world.gone() else world.store.inputs.list("web")


def status_without_times(value: Any) -> Any:  # noqa: ANN401  # JSON
    """Return a status without what two good runs do not share."""
    if isinstance(value, Mapping):
        return {
            key: status_without_times(each) for key, each in value.items() if key not in UNTOLD and not _is_commit(each)
        }
    if isinstance(value, list):
        told = [status_without_times(each) for each in value]
        return sorted(told, key=lambda each: each["type"]) if all(_is_condition(each) for each in value) else told
    return value


def _is_condition(value: object) -> bool:
    """Tell whether it is a condition: their order is that in which they were first set."""
    return isinstance(value, dict) and "last_transition_at" in value


def _is_commit(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40}", value) is not None


def _anonymous(world: CrashWorld, text: str) -> str:
    """Replace identifiers that are made anew in every run."""
    uids = [each.metadata.uid for each in world.store.instances.list()]
    uids += [each.metadata.uid for each in world.store.repositories.list()]
    for uid in uids:
        text = text.replace(uid, "UID").replace(uid[:8], "UID8")
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "A-UID", text)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "A-TIME", text)


def _names_below(folder: Path) -> list[str]:
    """Return the names of the controller's own files of instances; the agent's git directory is looked at as refs."""
    found = (str(each.relative_to(folder)) for each in folder.rglob("*")) if folder.is_dir() else ()
    return sorted(name for name in found if not re.match(r"[^/]+/(git|collect\.git)/", name))


def _files_of_worktrees(world: CrashWorld, facts: Facts) -> dict[str, str]:
    found: dict[str, str] = {}
    del facts
    folder = world.base / "repository.worktrees"
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and path.name != ".git":
            found[str(path.relative_to(folder))] = path.read_text(encoding="utf-8")
        elif path.is_dir():
            found[str(path.relative_to(folder))] = "a folder"
    for place in sorted((world.base / "repository" / ".git").glob("worktrees/*")):
        head = (place / "HEAD").read_text(encoding="utf-8").strip() if (place / "HEAD").is_file() else "no HEAD"
        found[f"registration {place.name}"] = f"{head}, {sorted(each.name for each in place.iterdir())}"
    return found


def refs_of(repository: str) -> list[str]:
    """Return the refs of a repository, each with a name for what its commit holds and comes from."""
    place = git_dir_of(repository)
    names = canonical_names(place)
    lines = git(place, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    found = []
    for line in lines:
        ref, _, value = line.partition(" ")
        ref = re.sub(r"(refs/cco/snapshots/[^/]+/).*", r"\1TIME", ref)
        ref = re.sub(r"[0-9a-f]{40}$", lambda match: names.get(match[0], match[0]), ref)
        found.append(f"{ref} {names.get(value, value)}")
    return sorted(found)


def canonical_names(place: Path) -> dict[str, str]:
    """Return for every commit a name made of its files, message and parents, without times."""
    names: dict[str, str] = {}
    for entry in git(place, "log", "--all", "--reverse", "--topo-order", "--format=%H %T %P%n%B%x00").split("\0"):
        head, _, message = entry.strip("\n").partition("\n")
        if head:
            commit, tree, *parents = head.split()
            holds = [tree, *(names[each] for each in parents), IDENTIFIER.sub("#", message.strip())]
            names[commit] = hashlib.sha256("\n".join(holds).encode()).hexdigest()[:10]
    return names
