"""What a person sees: what would be put back, and, told to, that it was."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime

from controller.errors import Terminal
from controller.leadership import take
from controller.runtime.choice import Runtimes
from controller.settings import Settings
from controller.store.installation import check_uuid, known_installation

from . import database
from .evidence import Evidence, gather


def rebuild(
    settings: Settings,
    say: Callable[[str], object],
    *,
    yes: bool = False,
    with_runtimes: bool = True,
    without: Collection[str] = (),
    installation: str | None = None,
    again: str = "python -m controller rebuild --yes",
) -> None:
    """Put a lost or damaged database together again; without ``yes``, only say what that would be.

    Args:
        settings: where the state directory is.
        say: takes one line for people.
        yes: do it.
        with_runtimes: ask runtimes for workloads, whose labels tell of instances that no file tells of.
        without: names of runtimes that are not asked.
        installation: the installation's id, where the state directory does not tell it any more.
        again: the command that does what was only said.

    Raises:
        Terminal: ``ControllerRunning``, ``DatabaseSound``, ``InstallationUnknown``, ``UnknownRuntime``,
            ``RuntimeNeeded`` or ``NothingFound``; nothing was changed.
    """
    if not settings.state_dir.is_dir():
        message = f"state_dir {str(settings.state_dir)!r} does not exist: set CCO_STATE_DIR to the right folder"
        raise Terminal("StateDirectoryUnusable", message)
    lock = take(settings.state_dir)
    try:
        wrong = database.damage(settings.database)
        identity = _identity(settings, installation)
        found = gather(settings, Runtimes.from_settings(settings, identity) if with_runtimes else None, without)
        if not found.instances and not found.repositories:
            raise Terminal(
                "NothingFound",
                f"nothing in {settings.state_dir} or on a workload tells of an instance or a repository: if that is "
                f"right, remove {settings.state_dir / 'installation'} to begin with an empty database",
            )
        say(f"database: {settings.database}: " + ("is not there" if wrong is None else f"is damaged: {wrong}"))
        for line in _describe(identity, found):
            say(line)
        if not yes:
            say(f"Nothing was changed. To put this back: {again}")
            return
        for path in database.set_aside(settings.database, datetime.now(UTC)):
            say(f"kept: {path}")
        for line in database.make(settings.database, identity, found):
            say(f"note: {line}")
        say("The database was made anew. Prompts that waited, events and deletions under way are not in it.")
    finally:
        lock.release()


def _identity(settings: Settings, given: str | None) -> str:
    known = known_installation(settings.database)
    if known is not None:
        if given is not None and given != known:
            message = f"--installation {given}: this state directory belongs to installation {known}"
            raise Terminal("InstallationMismatch", message)
        return known
    if given is None:
        raise Terminal(
            "InstallationUnknown",
            f"{settings.state_dir / 'installation'} is not there: name the id with --installation. Containers carry "
            "it: docker ps --all --format '{{.Label \"cc-orchestrator.installation\"}}' "
            "--filter label=cc-orchestrator.installation; so do the records of runtime 'process' in "
            f"{settings.state_dir / 'process' / 'workloads'}",
        )
    return check_uuid(given)


def _describe(identity: str, found: Evidence) -> Iterator[str]:
    yield f"installation: {identity}"
    for name, repository in sorted(found.repositories.items()):
        yield f"repository {name}: {repository.spec.path}"
    for name, known in sorted(found.instances.items()):
        instance = known.instance
        lacks = f"; not known any more: {', '.join(known.left_out)}" if known.left_out else ""
        yield (
            f"instance {name} (uid {instance.metadata.uid}, branch {instance.branch}, "
            f"{instance.spec.operating_mode}): from {known.source}{lacks}"
        )
    for remark in found.remarks:
        yield f"note: {remark}"
