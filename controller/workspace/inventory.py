"""Everything of ours on disk, whether an instance is still declared for it or not; files are read, git is not run.

Three places are looked at: the worktrees of repositories (ours are locked in our name), the instance folders in the
state directory, and the folders in which worktrees stand, for what a removal that was cut off has left. Whose each
thing is, ``workspace.json`` says, or the lock; ``controller/orphans`` decides what follows from that.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from controller.errors import CcoError, Conflict

from . import private, record
from .adoption import adopt
from .names import is_instance_name, is_uid, lock_reason
from .record import Record, StatePaths
from .repository import Repository, locate
from .safe_files import TooLargeError, is_folder, read_text, remove_tree
from .types import WorkspaceRef
from .worktree import Registration, registrations

_BRANCH = "ref: refs/heads/"
_REMAINS = re.compile(r"(?P<name>[a-z0-9-]+)\.removed-(?P<uid>[0-9A-Za-z-]{1,8})")
_ADOPTED = ".orphan-"
_RUN, _MANIFEST = "run", "manifest.json"
_OWN_FILES = (_RUN, _MANIFEST, f".{_MANIFEST}.new")


class HoldingKind(StrEnum):
    """What a thing on disk is; see :class:`~controller.resources.orphan.OrphanKind`."""

    WORKTREE = "worktree"
    GIT_DIRECTORY = "git-directory"
    SET_ASIDE = "set-aside"
    QUARANTINE = "quarantine"
    REMAINS = "remains"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class Holding:
    """One thing on disk.

    Attributes:
        uid: whose it is; empty where nothing says it.
        ref: the workspace it is part of, for the verbs of ``Workspaces``; ``None`` where too little is known of it.
        ours: our state directory knows the uid; a lock alone may be another installation's.
        detail: what is odd about it, for people.
    """

    kind: HoldingKind
    path: str
    instance: str
    uid: str
    ref: WorkspaceRef | None
    created_at: datetime | None
    ours: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FailedLook:
    """A place that could not be looked at."""

    part: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """What there is, and where nobody could look."""

    holdings: tuple[Holding, ...] = ()
    failures: tuple[FailedLook, ...] = ()


class StateInventory:
    """Looks at one state directory and the repositories it has to do with.

    Args:
        state_dir: the controller's.
        worktree_base: the setting ``worktree_base_path``.
    """

    def __init__(self, state_dir: Path, worktree_base: Path | None = None) -> None:
        self._instances = str(state_dir / "instances")
        self._worktree_base = worktree_base

    # Looking ------------------------------------------------------------------------------------------------

    def take(self, repositories: Iterable[str]) -> Inventory:
        """Return everything of ours.

        Args:
            repositories: absolute paths of those that are registered; those that our own records name are added.
        """
        return _Survey(self._instances, self._worktree_base).run(repositories)

    # Acting -------------------------------------------------------------------------------------------------

    def adopt(self, holding: Holding) -> None:
        """Write down whose a worktree is that only its lock tells of, so that its work can be saved; idempotent.

        Raises:
            Conflict: ``NotOurs``, what was seen there stands elsewhere by now.
        """
        ref = holding.ref
        if ref is None or _ADOPTED not in ref.private:
            return
        if adopt(locate(ref.repository), ref) is None:
            raise Conflict("NotOurs", f"{ref.worktree} is not the worktree that was seen there: it is left as it is")

    def tidy(self, holding: Holding) -> None:
        """Remove the instance's folder with what the controller itself put there; anything else in it stays.

        Raises:
            Conflict: ``NotEmpty``.
        """
        folder = holding.path if holding.ref is None else os.path.dirname(holding.ref.private)
        if os.path.dirname(folder) != self._instances or not is_folder(folder):
            return
        if stranger := sorted(set(os.listdir(folder)).difference(_OWN_FILES)):
            raise Conflict(
                "NotEmpty", f"{folder} holds {stranger[0]!r}, which is not ours: look, and remove it by hand"
            )
        for name in _OWN_FILES:
            remove_tree(os.path.join(folder, name))
        os.rmdir(folder)


class _Survey:
    """One look; what fails is noted and the rest goes on."""

    def __init__(self, instances: str, worktree_base: Path | None) -> None:
        self._instances = instances
        self._worktree_base = worktree_base
        self._found: list[Holding] = []
        self._failures: list[FailedLook] = []
        self._known: dict[str, WorkspaceRef] = {}
        self._named: dict[str, str] = {}
        self._registered: set[str] = set()

    def run(self, repositories: Iterable[str]) -> Inventory:
        with self._looking(self._instances):
            for name in _subfolders(self._instances):
                with self._looking(os.path.join(self._instances, name)):
                    self._instance(os.path.join(self._instances, name))
        whole = not self._failures
        paths = list(dict.fromkeys([*repositories, *(ref.repository for ref in self._known.values())]))
        for path in paths:
            with self._looking(f"repository {path}"):
                repository = locate(path)
                for registration in registrations(repository):
                    with self._looking(registration.worktree or registration.admin):
                        self._registration(repository, registration, whole=whole)
        self._forgotten()
        for folder in sorted(self._folders(paths)):
            with self._looking(folder):
                self._remains(folder)
        self._empty_folders()
        return Inventory(tuple(self._found), tuple(self._failures))

    @contextmanager
    def _looking(self, part: str) -> Iterator[None]:
        try:
            yield
        except CcoError as error:
            self._failures.append(FailedLook(part, error.reason, error.message))
        except OSError as error:
            self._failures.append(FailedLook(part, "LookFailed", f"{error.filename or part}: {error.strerror}"))

    # Instance folders of the state directory ------------------------------------------------------------------

    def _instance(self, folder: str) -> None:
        name = os.path.basename(folder).partition(_ADOPTED)[0]
        if not is_instance_name(name):
            return
        git = os.path.join(folder, "git")
        memory = record.load(StatePaths(folder))
        ref = None if memory is None else _recorded(name, git, memory)
        if ref is not None:
            self._known[ref.uid] = ref
        else:
            self._named[folder] = _declared_uid(folder)
        made = _oldest(os.path.join(folder, each) for each in ("seed-refs", "gitfile", "git", "workspace.json"))
        parts = {"git": HoldingKind.GIT_DIRECTORY, "collect.git": HoldingKind.QUARANTINE}
        for entry in _subfolders(folder):
            kind = HoldingKind.SET_ASIDE if entry.startswith((*private.UNSAVED, *private.HALF)) else parts.get(entry)
            if kind is not None:
                detail = "" if ref is not None else "its workspace.json is gone, so nothing says whose it is"
                self._add(
                    Holding(kind, os.path.join(folder, entry), name, "", None, made, ours=True, detail=detail), ref
                )

    def _empty_folders(self) -> None:
        """Note folders that nothing else was found of: those of a removal, or of a creation, that was cut off."""
        full = {os.path.dirname(each.path) for each in self._found}
        full |= {os.path.dirname(each.ref.private) for each in self._found if each.ref is not None}
        known = {os.path.dirname(ref.private): ref for ref in self._known.values()}
        for folder in sorted({*known, *self._named} - full):
            name = os.path.basename(folder).partition(_ADOPTED)[0]
            found = Holding(
                HoldingKind.FOLDER, folder, name, self._named.get(folder, ""), None, _oldest([folder]), True
            )
            self._add(found, known.get(folder))

    def _add(self, found: Holding, ref: WorkspaceRef | None) -> None:
        if ref is not None:
            found = replace(found, instance=ref.instance, uid=ref.uid, ref=ref)
        self._found.append(found)

    # Repositories -------------------------------------------------------------------------------------------

    def _registration(self, repository: Repository, registration: Registration, *, whole: bool) -> None:
        words = (registration.lock or "").split(" ")
        if len(words) != 3 or not is_instance_name(words[1]) or not is_uid(words[2]):
            return
        name, uid = words[1:]
        if registration.lock != lock_reason(name, uid):
            return
        self._registered.add(uid)
        ref = self._known.get(uid)
        detail = ""
        if ref is None:
            ref, detail = self._locked(repository, registration, name, uid)
            if not whole:
                ref, detail = None, "the state directory could not be read in full, where more may be known of it"
        path = registration.worktree or registration.admin
        made = _oldest([os.path.join(registration.admin, "locked")])
        found = Holding(HoldingKind.WORKTREE, path, name, uid, None, made, uid in self._known, detail)
        self._add(found, ref)

    def _locked(
        self, repository: Repository, registration: Registration, name: str, uid: str
    ) -> tuple[WorkspaceRef | None, str]:
        """Return the workspace of a worktree that only its lock tells of, in an instance folder of its own."""
        if registration.worktree is None or not is_folder(registration.worktree):
            return None, "its files are gone; 'git worktree unlock' and 'git worktree prune' forget it"
        if not (registration.head or "").startswith(_BRANCH):
            return None, "it is not on a branch, so commits in it may have no other name"
        return WorkspaceRef(
            instance=name,
            uid=uid,
            repository=repository.path,
            branch=(registration.head or "").removeprefix(_BRANCH),
            base_branch=None,
            worktree=registration.worktree,
            private=os.path.join(self._instances, f"{name}{_ADOPTED}{uid[:8]}", "git"),
            attempt=1,
            owner=_owner(registration.worktree) or repository.owner,
        ), ""

    def _forgotten(self) -> None:
        """Note worktrees that their repository has forgotten and only our memory knows."""
        for uid, ref in self._known.items():
            if uid in self._registered:
                continue
            with self._looking(ref.worktree):
                if is_folder(ref.worktree):
                    made, detail = _oldest([ref.worktree]), "its repository no longer knows it as a worktree"
                    self._add(Holding(HoldingKind.WORKTREE, ref.worktree, "", "", None, made, True, detail), ref)

    def _folders(self, repositories: Iterable[str]) -> set[str]:
        """Return the folders in which worktrees of ours stand."""
        found = {f"{path.rstrip('/')}.worktrees" for path in repositories}
        found |= {os.path.dirname(ref.worktree) for ref in self._known.values()}
        found |= {os.path.dirname(each.path) for each in self._found if each.kind is HoldingKind.WORKTREE}
        if self._worktree_base is not None:
            base = str(self._worktree_base)
            found |= {os.path.join(base, name) for name in _subfolders(base)}
        return found

    def _remains(self, folder: str) -> None:
        for name in _subfolders(folder):
            match = _REMAINS.fullmatch(name)
            if match is None or not is_instance_name(match["name"]):
                continue
            path = os.path.join(folder, name)
            refs_of = [ref for uid, ref in self._known.items() if path == f"{ref.worktree}.removed-{uid[:8]}"]
            detail = "" if refs_of else "only its name says that it was a worktree of ours: look, and remove it by hand"
            found = Holding(HoldingKind.REMAINS, path, match["name"], "", None, _oldest([path]), bool(refs_of), detail)
            self._add(found, refs_of[0] if refs_of else None)


def _recorded(name: str, private: str, memory: Record) -> WorkspaceRef:
    attempt = (memory.collected or "").partition(":")[0]
    return WorkspaceRef(
        instance=name,
        uid=memory.uid,
        repository=memory.repository,
        branch=memory.branch,
        base_branch=None,
        worktree=memory.worktree,
        private=private,
        # Refs are named by the attempt. What another attempt brought home stays under its own names.
        attempt=max(1, int(attempt)) if attempt.isdecimal() else 1,
        owner=_owner(private) or _owner(memory.worktree) or (os.geteuid(), os.getegid()),
    )


def _declared_uid(folder: str) -> str:
    """Return the uid that the controller's own files of an instance name, if they do."""
    for path in (os.path.join(folder, _RUN, "instance.json"), os.path.join(folder, _MANIFEST)):
        try:
            values = json.loads(read_text(path) or "{}")
            uid = values.get("uid") or (values.get("metadata") or {}).get("uid")
        except (ValueError, AttributeError, NotADirectoryError, TooLargeError):
            continue
        if isinstance(uid, str) and is_uid(uid):
            return uid
    return ""


def _subfolders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _oldest(paths: Iterable[str]) -> datetime | None:
    """Return when the first of these was last written: files that are written once tell the age of the rest."""
    times: list[float] = []
    for path in paths:
        with suppress(FileNotFoundError):
            times.append(os.lstat(path).st_mtime)
    return datetime.fromtimestamp(min(times), UTC) if times else None


def _owner(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_uid, found.st_gid
