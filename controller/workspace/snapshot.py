"""Saving uncommitted work as a commit that no branch has, and telling whether there is any.

``examine`` compares the worktree with the agent's commit and with the newest snapshot; ``take`` feeds what differs
to ``git fast-import``, which needs neither index nor worktree, so neither is touched.
"""

from __future__ import annotations

import logging
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import IO

from controller.errors import Retryable

from . import private, refs
from .adoption import adopt
from .agent_refs import AgentRefs, read_refs
from .allowance import MAX_FILE, MAX_NAMES, MAX_SNAPSHOT, file_too_large, snapshot_too_large
from .git import LONG, SLOWEST, Git
from .locks import folder_lock
from .names import RefNames
from .record import Record, StatePaths
from .refs import InstanceRefs, Move
from .repository import Repository, locate, read_config
from .safe_files import is_there, open_directory, open_regular
from .scan import LINK, SUBMODULE, Entry, Tree, read_tree, scan
from .types import Unsaved, WorkspaceRef

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Findings:
    """What a worktree holds, compared with what is saved.

    Attributes:
        parent: the commit the files belong to; ``None`` when there is none.
        saved: files of ``parent``.
        files: files of the worktree.
        snapshot: the newest snapshot, if it holds exactly these files.
        uncollected: the agent has commits that were not brought home, or a git directory of its that was set aside has.
    """

    parent: str | None
    saved: Tree
    files: Tree
    snapshot: str | None
    uncollected: bool

    @property
    def clean(self) -> bool:
        """Nothing in the worktree is uncommitted."""
        return self.files == self.saved

    @property
    def unsaved(self) -> Unsaved:
        """The answer of a deep look."""
        if self.uncollected or not (self.clean or self.snapshot):
            return Unsaved.UNSAVED
        return Unsaved.NONE if self.clean else Unsaved.SNAPSHOTTED


def examine(repository: Repository, ref: WorkspaceRef, memory: Record | None, now: InstanceRefs) -> Findings:
    """Look at all of a worktree; nothing is changed."""
    git = repository.git
    agent = read_refs(ref.private)
    uncollected = is_uncollected(memory, agent) or bool(private.unsaved(ref))
    parent = working_commit(agent, now, ref.branch)
    if not is_there(ref.worktree):
        return Findings(parent, {}, {}, None, uncollected)
    saved = read_tree(git, parent) if parent is not None else {}
    files = scan(repository, ref.worktree, saved, _declared_submodules(git, parent, saved))
    _keep_empty_submodules(saved, files)
    _forgive_line_ends(repository, ref, saved, files)
    snapshot = now.snapshot
    if files == saved or snapshot is None or read_tree(git, snapshot) != files:
        snapshot = None
    return Findings(parent, saved, files, snapshot, uncollected)


def working_commit(agent: AgentRefs | None, now: InstanceRefs, branch: str) -> str | None:
    """Return the commit the worktree's files belong to: the agent's HEAD once it is at home, else the branch."""
    if agent is not None and agent.head is not None and agent.head in {*now.home.values(), now.head, now.base}:
        return agent.head
    return now.head or now.home.get(f"heads/{branch}") or now.brought or now.base


def is_uncollected(memory: Record | None, agent: AgentRefs | None) -> bool:
    """Tell whether the agent's refs or reflogs say anything that was not brought home by any attempt."""
    if agent is None:
        return False
    collected = memory.collected if memory is not None else None
    return collected is None or collected.partition(":")[2] != agent.fingerprint()


def _declared_submodules(git: Git, parent: str | None, saved: Tree) -> frozenset[str]:
    """Return the submodules ``.gitmodules`` declares; any other nested repository is saved like a folder."""
    if ".gitmodules" not in saved or not any(entry.mode == SUBMODULE for entry in saved.values()):
        return frozenset()
    arguments = ("--blob", f"{parent}:.gitmodules", "-z", "--get-regexp", r"^submodule\..*\.path$")
    said, whole = git.read("config", *arguments, limit=MAX_NAMES, accept=(0, 1, 128))
    found = os.fsdecode(said).split("\0") if whole else []
    paths = {field.partition("\n")[2].rstrip("/") for field in found}
    return frozenset(path for path in paths if path in saved and saved[path].mode == SUBMODULE)


def _keep_empty_submodules(saved: Tree, files: dict[str, Entry]) -> None:
    links = {path: entry for path, entry in saved.items() if entry.mode == SUBMODULE}
    names = sorted(files) if links else []
    for path, entry in links.items():
        after = bisect_left(names, f"{path}/")
        if not names[after : after + 1] or not names[after].startswith(f"{path}/"):
            files.setdefault(path, entry)


def _forgive_line_ends(repository: Repository, ref: WorkspaceRef, saved: Tree, files: dict[str, Entry]) -> None:
    """Take files as unchanged that differ by line ends alone where git would store them with Unix ones."""
    suspects = [path for path, entry in files.items() if path in saved and entry.unix == saved[path].oid]
    if not suspects:
        return
    everywhere = read_config(repository).get("core.autocrlf", "false") in {"true", "input"}
    git = replace(repository.git, work_tree=ref.worktree).with_env({"GIT_INDEX_FILE": "/nonexistent/index"})
    names = b"".join(os.fsencode(path) + b"\0" for path in suspects)
    answer = git.run("check-attr", "-z", "--stdin", "text", "eol", stdin=names).fields()
    for path, _, value in zip(answer[::3], answer[1::3], answer[2::3], strict=True):
        if everywhere or value in {"set", "auto", "crlf", "lf"}:
            files[path] = replace(files[path], oid=saved[path].oid)


def take(ref: WorkspaceRef, message: str) -> str | None:
    """Save what is uncommitted; see :meth:`~controller.workspace.types.Workspaces.snapshot`.

    Raises:
        Terminal: ``CommitsDamaged``, when that is done: a git directory was set aside with work that nothing saves.
    """
    repository = locate(ref.repository)
    paths = StatePaths.of(ref)
    memory = adopt(repository, ref)
    if memory is None:
        return None
    with folder_lock(paths.directory):
        names = RefNames(ref.instance, ref.uid, ref.attempt)
        now = refs.read_instance_refs(repository.git, names, ref.branch)
        commit = save(repository, ref, examine(repository, ref, memory, now), message)
        private.refuse_unsaved(ref)  # last: what can be saved is
        return commit


def save(repository: Repository, ref: WorkspaceRef, found: Findings, message: str) -> str | None:
    """Save what was found, for a caller who holds the instance's lock; returns as :func:`take`."""
    if found.clean or found.snapshot is not None:
        return found.snapshot
    names = RefNames(ref.instance, ref.uid, ref.attempt)
    commit = _import(repository, ref, names, found, message)
    time = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    refs.force(
        repository.git,
        [Move(f"{names.snapshots}{time}-{commit[:12]}", commit, None), Move(names.pending, None, commit)],
    )
    logger.info("uncommitted work was saved", extra={"cco_instance": ref.instance, "cco_commit": commit})
    return commit


def _import(repository: Repository, ref: WorkspaceRef, names: RefNames, found: Findings, message: str) -> str:
    """Write the snapshot's commit with ``git fast-import`` to the pending ref and return it."""
    changed = {path: entry for path, entry in found.files.items() if found.saved.get(path) != entry}
    facts = f"Instance: {ref.instance}\nUid: {ref.uid}\nAttempt: {ref.attempt}\nBranch: {ref.branch}\n"
    text = f"{message.strip()}\n\n{facts}".encode(errors="surrogateescape")
    arguments = ("--quiet", "--force", "--done", "--date-format=now")
    git = repository.git.with_env(_ANY_NAME)
    total = sum(entry.size for entry in changed.values())
    if total > MAX_SNAPSHOT:
        raise snapshot_too_large(ref.worktree, total, [(entry.size, entry.path) for entry in changed.values()])
    patience = LONG + total / SLOWEST
    with git.feed("fast-import", *arguments, timeout=patience) as (sink, answers), open_directory(ref.worktree) as root:
        sink.write(f"reset {names.pending}\n\ncommit {names.pending}\nmark :1\n".encode())
        sink.write(b"committer cc-orchestrator <cc-orchestrator@localhost> now\n")
        sink.write(b"data %d\n%s\n" % (len(text), text))
        if found.parent is not None:
            sink.write(f"from {found.parent}\n".encode())
        for path in found.saved:
            if path not in found.files:
                sink.write(b"D %s\n" % _quote(path))
        for path, entry in sorted(changed.items()):
            _write_entry(sink, root, path, entry)
        sink.write(b"\nget-mark :1\ndone\n")
        sink.flush()
        return answers.readline().decode().strip()


# Windows and macOS reserve names that an agent may use; a snapshot has to hold them.
_ANY_NAME = {
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "core.protectNTFS",
    "GIT_CONFIG_VALUE_0": "false",
    "GIT_CONFIG_KEY_1": "core.protectHFS",
    "GIT_CONFIG_VALUE_1": "false",
}


def _write_entry(sink: IO[bytes], root: int, path: str, entry: Entry) -> None:
    if entry.mode == SUBMODULE:
        sink.write(b"M %s %s %s\n" % (entry.mode.encode(), entry.oid.encode(), _quote(path)))
        return
    *parents, name = entry.path.split("/")
    with ExitStack() as stack:
        folder = root
        try:
            for parent in parents:
                folder = stack.enter_context(open_directory(parent, dir_fd=folder))
            if entry.mode == LINK:
                target = os.fsencode(os.readlink(name, dir_fd=folder))
                sink.write(b"M %s inline %s\ndata %d\n%s\n" % (LINK.encode(), _quote(path), len(target), target))
                return
        except OSError as error:
            raise _changing(entry.path) from error
        fd = open_regular(name, folder)
        if fd is None:
            raise _changing(entry.path)
        stack.callback(os.close, fd)
        size = os.fstat(fd).st_size
        if size > MAX_FILE:
            raise file_too_large(entry.path, size)
        sink.write(b"M %s inline %s\ndata %d\n" % (entry.mode.encode(), _quote(path), size))
        for piece in _exactly(fd, size, entry.path):
            sink.write(piece)
        sink.write(b"\n")


def _exactly(fd: int, size: int, path: str) -> Iterator[bytes]:
    while size > 0:
        piece = os.read(fd, min(size, _CHUNK))
        if not piece:
            raise _changing(path)
        size -= len(piece)
        yield piece


def _changing(path: str) -> Retryable:
    return Retryable("WorktreeChanging", f"{path!r} changed while it was being saved", delay=1.0)


def _quote(path: str) -> bytes:
    escaped = os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + escaped + b'"'
