"""What still tells what was declared, without a database. Only looks.

In the order in which it is believed: the files that the controller wrote for this day (``controller.manifests``), the
labels of workloads, and what the workspace and the agent were told.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from controller.agents import AgentConfig
from controller.errors import CcoError, Terminal
from controller.manifests import FOLDER_NAME, Manifests, Unreadable, read_label
from controller.resources import (
    Instance,
    InstanceSpec,
    InstanceStatus,
    Metadata,
    OperatingMode,
    Repository,
    RepositorySpec,
    RepositoryStatus,
    WorkspaceStatus,
)
from controller.runtime.choice import Runtimes
from controller.runtime.protocol import LABEL_ATTEMPT, LABEL_MANIFEST, Belonging, BelongingKind
from controller.settings import Settings


@dataclass(frozen=True, slots=True)
class Known:
    """One instance and how it is known.

    Attributes:
        source: for people.
        left_out: fields of its spec that nothing tells any more.
        repository_path: of its repository, where that is told; ``None`` otherwise.
    """

    instance: Instance
    source: str
    left_out: tuple[str, ...] = ()
    repository_path: str | None = None


@dataclass(slots=True)
class Evidence:
    """Everything that was found. ``remarks`` are for people: what cannot be put back, and why."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    instances: dict[str, Known] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def gather(settings: Settings, runtimes: Runtimes | None, without: Collection[str] = ()) -> Evidence:
    """Look at everything.

    Args:
        settings: where the state directory is.
        runtimes: what may carry workloads; ``None`` = go by files alone.
        without: names of runtimes not to ask.

    Raises:
        Terminal: ``RuntimeNeeded``, a runtime could not be asked, or ``StateDirectoryUnusable``, a folder could not be
            read: instances might be missed; ``UnknownRuntime``.
    """
    _check_readable(settings.state_dir)
    found = Evidence()
    _read_files(Manifests(settings), found)
    workloads, unasked = ([], True) if runtimes is None else _workloads(runtimes, without, found)
    _read_labels(workloads, settings, found)
    _read_folders(settings, found, asked=not unasked)
    _note_attempts(workloads, found)
    _complete_repositories(found)
    return found


def _check_readable(state_dir: Path) -> None:
    folders = (state_dir / "instances", state_dir / FOLDER_NAME)
    try:
        for folder in folders:
            for entry in folder.iterdir() if folder.exists() else ():
                if entry.is_dir():
                    next(entry.iterdir(), None)
    except OSError as error:
        raise Terminal(
            "StateDirectoryUnusable",
            f"{error.filename} cannot be read: {error.strerror}; run this as the user that runs the controller (with "
            "Compose: docker compose run --rm controller python -m controller rebuild)",
        ) from error


def _read_files(manifests: Manifests, found: Evidence) -> None:
    for repository in manifests.repositories():
        if isinstance(repository, Unreadable):
            found.remarks.append(f"{repository.path} is unreadable ({repository.why})")
        else:
            found.repositories[repository.metadata.name] = repository
    for instance in manifests.instances():
        if isinstance(instance, Unreadable):
            found.remarks.append(f"{instance.path} is unreadable ({instance.why})")
        else:
            found.instances[instance.metadata.name] = Known(instance, "its manifest")


def _workloads(
    runtimes: Runtimes, without: Collection[str], found: Evidence
) -> tuple[list[tuple[str, Belonging]], bool]:
    """Return all workloads with their runtimes' names, and whether there is a runtime that was not asked."""
    workloads: list[tuple[str, Belonging]] = []
    unasked = False
    for name in {*without} - {*runtimes.names}:
        message = f"--without-runtime {name}: is not installed; there is: {', '.join(runtimes.names)}"
        raise Terminal("UnknownRuntime", message)
    needed = {runtimes.default, *(runtimes.name_of(known.instance) for known in found.instances.values())}
    for name in runtimes.names:
        try:
            belongings = runtimes.named(name).belongings() if name not in without else None
        except CcoError as error:
            if name in needed:
                raise _needed(name, error) from error
            found.remarks.append(
                f"runtime {name!r} is neither the setting 'runtime' nor that of a known instance, and could not be "
                f"asked ({error.message}): instances that only its workloads tell of will be listed as orphans"
            )
            belongings = None
        unasked = unasked or belongings is None
        workloads += ((name, each) for each in belongings or () if each.kind is BelongingKind.WORKLOAD)
    return workloads, unasked


def _needed(name: str, error: CcoError) -> Terminal:
    return Terminal(
        "RuntimeNeeded",
        f"runtime {name!r} cannot be asked what it runs ({error.message}): mend that, or leave it out with "
        f"'--without-runtime {name}' where it is not used; '--without-runtimes' goes by the files alone (instances "
        "that no file tells of are then unknown, and listed as orphans)",
    )


def _read_labels(workloads: Iterable[tuple[str, Belonging]], settings: Settings, found: Evidence) -> None:
    known_uids = {known.instance.metadata.uid for known in found.instances.values()}
    for runtime, workload in sorted(workloads, key=lambda pair: -_attempt(pair[1])):  # the newest attempt tells
        if workload.uid in known_uids:
            continue
        text = workload.labels.get(LABEL_MANIFEST)
        try:
            told = read_label(text or "")
        except ValueError as error:
            why = "has no manifest" if text is None else f"has an unreadable manifest ({error})"
            found.remarks.append(f"{workload.name} of instance {workload.instance!r} {why}")
            continue
        name = told.instance.metadata.name
        if told.instance.metadata.uid != workload.uid or name in found.instances:
            found.remarks.append(f"{workload.name} tells of an instance {name!r} that it does not belong to")
            continue
        known_uids.add(workload.uid)
        status = told.instance.status.model_copy(update={"runtime": runtime})
        spec = told.instance.spec if workload.running else _at_rest(told.instance.spec, OperatingMode.SUSPENDED)
        known = Known(
            told.instance.model_copy(update={"status": status, "spec": spec}),
            f"the label of {workload.name}",
            told.left_out,
            told.repository_path,
        )
        config = _agent_config(settings, name, workload.uid)
        found.instances[name] = known if config is None else _with_told(known, config)


def _at_rest(spec: InstanceSpec, mode: OperatingMode) -> InstanceSpec:
    """Return the spec at rest: a label tells what was wished when the workload was made, and since then it ended.

    Whoever stopped it must not find it running; whoever did not starts it with one command.
    """
    return spec.model_copy(update={"operating_mode": mode}) if spec.operating_mode is OperatingMode.RUNNING else spec


def _with_told(known: Known, config: AgentConfig) -> Known:
    """Fill in what no label carries from what the agent was told."""
    spec = known.instance.spec.model_copy(update={"prompt": config.prompt, "env": config.env})
    return replace(known, instance=known.instance.model_copy(update={"spec": spec}), left_out=())


def _read_folders(settings: Settings, found: Evidence, *, asked: bool) -> None:
    """Take what workspace and agent were told for instances that nothing else tells of.

    If runtimes were ``asked``, these have no workload, and are put back as stopped.
    """
    for folder in sorted((settings.state_dir / "instances").glob("*/")):
        name = folder.name
        if name in found.instances:
            continue
        place = _json(folder / "workspace.json")
        config = _agent_config(settings, name, str(place.get("uid")))
        if config is None:
            found.remarks.append(f"{folder}: nothing there tells how instance {name!r} was declared")
            continue
        instance = _guessed(config, place, _repository_at(found, str(place.get("repository"))), folder)
        if instance is None:
            found.remarks.append(f"{folder}: what the agent was told is no spec of this version")
            continue
        if asked:
            spec = _at_rest(instance.spec, OperatingMode.STOPPED)
            instance = instance.model_copy(update={"spec": spec})
        found.instances[name] = Known(
            instance,
            "what its agent was told",
            ("image", "resources", "restart_policy", "worktree_policy", "labels"),
            str(place.get("repository")),
        )


def _guessed(config: AgentConfig, place: Mapping[str, Any], repository: str, folder: Path) -> Instance | None:
    try:
        spec = InstanceSpec.model_validate(
            {
                "repository": repository,
                "branch": place.get("branch"),
                **config.model_dump(include={"prompt", "model", "permission_mode", "args", "layout", "env"}),
            }
        )
        made = datetime.fromtimestamp((folder / "workspace.json").stat().st_mtime, UTC)
        return Instance(
            metadata=Metadata(name=config.name, uid=config.uid, created_at=made),
            spec=spec,
            status=InstanceStatus(
                attempt=config.attempt,
                workspace=WorkspaceStatus(
                    path=config.workdir, git_dir=config.git_dir, branch=spec.branch or config.name
                ),
            ),
        )
    except (ValidationError, OSError):
        return None


def _repository_at(found: Evidence, path: str) -> str:
    """Return the name of the repository at a path: the known one's, else one made from the path."""
    for name, repository in found.repositories.items():
        if repository.spec.path == path:
            return name
    return Path(path).name.lower()


def _note_attempts(workloads: Iterable[tuple[str, Belonging]], found: Evidence) -> None:
    """Never count an attempt again that a workload carries already; and nothing that was asked for is still to do."""
    attempts: dict[str, int] = {}
    for _, workload in workloads:
        attempts[workload.uid] = max(_attempt(workload), attempts.get(workload.uid, 0))
    for name, known in found.instances.items():
        instance = known.instance
        status = instance.status.model_copy(
            update={
                "attempt": max(instance.status.attempt, attempts.get(instance.metadata.uid, 0)),
                "restarted_generation": instance.spec.restart_generation,
                "retried_generation": instance.spec.retry_generation,
            }
        )
        found.instances[name] = replace(known, instance=instance.model_copy(update={"status": status}))


def _complete_repositories(found: Evidence) -> None:
    """Register again, with a new uid, repositories that only their instances tell of."""
    for known in found.instances.values():
        name = known.instance.spec.repository
        if name in found.repositories:
            continue
        if known.repository_path is None:
            found.remarks.append(f"instance {known.instance.metadata.name!r}: its repository {name!r} is unknown")
            continue
        try:
            found.repositories[name] = Repository(
                metadata=Metadata(name=name, uid=str(uuid.uuid4()), created_at=datetime.now(UTC)),
                spec=RepositorySpec(path=known.repository_path),
                status=RepositoryStatus(),
            )
        except ValidationError:
            found.remarks.append(f"repository {name!r} at {known.repository_path!r} cannot be registered as it is told")
            continue
        found.remarks.append(f"repository {name!r} is known by its path alone; its other settings are the usual ones")


def _attempt(workload: Belonging) -> int:
    text = workload.labels.get(LABEL_ATTEMPT, "")
    return int(text) if text.isdecimal() else 0


def _agent_config(settings: Settings, name: str, uid: str) -> AgentConfig | None:
    """Return what the agent was told, if that is about the instance with this uid."""
    try:
        told = AgentConfig.model_validate_json((settings.instance_dir(name) / "run" / "instance.json").read_bytes())
    except (OSError, ValidationError):
        return None
    return told if (told.name, told.uid) == (name, uid) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
