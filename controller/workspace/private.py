"""The private git directory: what the agent sees instead of the repository's own.

The layout of ``git clone --shared --no-checkout`` with ``core.worktree`` set, written as plain files: its objects
are the repository's (``objects/info/alternates``, mounted read-only), its refs and configuration are its own. It
is built aside and renamed, so one that exists is complete, and from then on it belongs to the agent: git never
runs on it outside the container again.

Only the instance's branch, the base branch and tags are in it. Refs of other branches would dangle, and make
every ``git gc`` of the agent fail, once the user deletes and prunes such a branch.
"""

from __future__ import annotations

import logging
import os
import pwd
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from controller.errors import Terminal, Unavailable
from controller.runtime.protocol import Mount

from . import refs
from .git import Git
from .record import StatePaths
from .repository import Repository, is_shallow, object_stores, read_config
from .safe_files import (
    chown_tree,
    is_folder,
    kind_at,
    open_directory,
    read_regular,
    read_start,
    read_text,
    remove_tree,
    write_file,
)
from .types import WorkspaceRef

logger = logging.getLogger(__name__)

# What the agent's git must share with the repository to see the same files as unchanged.
_SHARED = re.compile(
    r"core\.(autocrlf|eol|safecrlf|filemode|symlinks|ignorecase|precomposeunicode|whitespace)"
    r"|i18n\.(commitencoding|logoutputencoding)|user\.(name|email)|extensions\.objectformat"
)
_IDENTITY = {"user.name": "Claude", "user.email": "noreply@anthropic.com"}
_FIXED = {
    "core.bare": "false",
    "core.logallrefupdates": "true",
    # Nothing the agent ever committed may vanish before it is brought home.
    "gc.auto": "0",
    "gc.pruneexpire": "never",
    "gc.reflogexpire": "never",
    "gc.reflogexpireunreachable": "never",
    "maintenance.auto": "false",
}
_HEAD = re.compile(rb"ref:\s*refs/|[0-9a-f]{40}")
_HEAD_START = 256
UNSAVED = ("git.unsaved-", "git.damaged-")
"""Names of git directories that were set aside and hold commits that are nowhere else; nothing removes them unasked.

The second is what earlier versions called all that they set aside, whatever was in it.
"""
_BUILDING, _GOING = "git.new-", "git.gone-"
HALF = (_BUILDING, _GOING)
"""Names of those that are being made, or removed."""
_COPIED_LIMIT = 1 << 20
_MAX_SHALLOW = 64 << 20
_MAX_INDEX = 2 << 30
_MAX_SEED = 64 << 20


@dataclass(frozen=True, slots=True)
class Seed:
    """What a new private git directory starts with.

    Attributes:
        refs: full name to object.
        index: path of an index that describes the worktree, or ``None`` when it has to be read from the commit.
    """

    branch: str
    refs: Mapping[str, str]
    index: str | None


def exists(ref: WorkspaceRef) -> bool:
    """Tell whether the private git directory is there; its content is the agent's and is not looked at."""
    return is_folder(ref.private)


def is_damaged(ref: WorkspaceRef) -> bool:
    """Tell whether the agent has broken its own git directory so far that no git would use it."""
    kinds = [kind_at(os.path.join(ref.private, part)) for part in ("HEAD", "objects", "refs", "config")]
    return None in kinds or _is_no_head(os.path.join(ref.private, "HEAD"), kinds[0])


def _is_no_head(path: str, kind: int | None) -> bool:
    """Tell whether a HEAD names neither a ref nor a commit, as after a crash that left it empty: git then sees nothing.

    A link is one that git may follow inside the container; where it leads is not looked at.
    """
    if kind == stat.S_IFLNK:
        return False
    head = read_start(path, _HEAD_START)
    return head is None or _HEAD.match(head) is None


def seed_refs(repository: Repository, branch: str, base_branch: str | None) -> dict[str, str]:
    """Return the refs a private git directory starts with: branch, base branch (here and upstream) and tags."""
    wanted = [f"refs/heads/{branch}"]
    if base_branch is not None:
        wanted += [f"refs/heads/{base_branch}", f"refs/remotes/{base_branch}", f"refs/remotes/origin/{base_branch}"]
    return refs.read(repository.git, wanted, ["refs/tags/"])


def build(repository: Repository, ref: WorkspaceRef, seed: Seed) -> bool:
    """Make the private git directory and the file that points to it; False when it was there already."""
    paths = StatePaths.of(ref)
    line = f"gitdir: {ref.private}\n".encode(errors="surrogateescape")
    if read_text(paths.pointer) != f"gitdir: {ref.private}":
        # Owned by the container's user: git refuses a .git file of somebody else.
        write_file(paths.pointer, line, mode=0o400, owner=ref.owner)
    if exists(ref):
        return False
    _sweep(paths, HALF)
    building = os.path.join(paths.directory, _BUILDING + os.urandom(4).hex())
    config = read_config(repository, home=_home(repository))
    _lay_out(building, repository, ref, seed, config)
    git = Git(building, (os.geteuid(), os.getegid()), ref.worktree, umask=0o077)
    if seed.index is not None:
        _copy(seed.index, os.path.join(building, "index"))
        if repository.owner != ref.owner:  # the change of owner made its cached times stale
            git.run("update-index", "-q", "--refresh", accept=(0, 1), timeout=600.0)
    else:
        git.run("read-tree", "HEAD")
    chown_tree(building, ref.owner)
    write_file(paths.seed, _packed(seed.refs).encode(errors="surrogateescape"), mode=0o600)
    os.rename(building, ref.private)
    return True


def _packed(found: Mapping[str, str]) -> str:
    return "".join(f"{commit} {name}\n" for name, commit in sorted(found.items()))


def read_seed(paths: StatePaths) -> dict[str, str]:
    """Return the refs the private git directory started with, without ``refs/``: those need not be brought home."""
    lines = (read_text(paths.seed, limit=_MAX_SEED) or "").splitlines()
    return {name.removeprefix("refs/"): commit for commit, _, name in (line.partition(" ") for line in lines)}


def may_hold_more(ref: WorkspaceRef) -> bool:
    """Tell whether a damaged git directory may hold work that bringing its commits home could not see.

    Where the refs or the log of HEAD are gone, what was committed since the last time has no name, so nobody would miss
    it. Repositories of submodules are not brought home at all, and are lost with their workspace, not with a repair.
    """
    log = os.path.join(ref.private, "logs", "HEAD")
    named = is_folder(os.path.join(ref.private, "refs")) and kind_at(log) == stat.S_IFREG and os.lstat(log).st_size > 0
    modules = os.path.join(ref.private, "modules")
    if is_folder(modules) and os.listdir(modules):
        return True
    return not named and _has_objects(os.path.join(ref.private, "objects"))


def _has_objects(store: str) -> bool:
    """Tell whether git has put anything into an object store since it was made."""
    if not is_folder(store):
        return False
    pack = os.path.join(store, "pack")
    return not set(os.listdir(store)) <= {"info", "pack"} or (is_folder(pack) and bool(os.listdir(pack)))


def discard(ref: WorkspaceRef) -> None:
    """Remove the private git directory; at once, because refs that are half gone would look like other work."""
    going = os.path.join(StatePaths.of(ref).directory, _GOING + os.urandom(4).hex())
    os.rename(ref.private, going)
    remove_tree(going)


def set_aside(ref: WorkspaceRef) -> None:
    """Keep the private git directory under a name that says that work in it is saved nowhere else.

    Raises:
        Terminal: ``CommitsDamaged``, one is kept already. Each may be as large as an instance may become, and none is
            counted as the instance's: an agent must not be able to fill the disk with them.
    """
    for path in unsaved(ref):
        raise Terminal(
            "CommitsDamaged",
            f"{ref.private} is damaged, and not all commits in it could be brought home; it stays, because {path} was "
            "set aside for the same reason: move that one away, and this one is set aside",
        )
    aside = os.path.join(StatePaths.of(ref).directory, UNSAVED[0] + os.urandom(4).hex())
    os.rename(ref.private, aside)
    extra = {"cco_instance": ref.instance, "cco_path": aside}
    logger.warning("damaged git directory was set aside with commits that are not at home", extra=extra)


def unsaved(ref: WorkspaceRef) -> list[str]:
    """Return the git directories that were set aside with work in them; absolute paths."""
    directory = StatePaths.of(ref).directory
    try:
        names = os.listdir(directory)
    except FileNotFoundError:  # known by its lock alone
        return []
    return [os.path.join(directory, name) for name in sorted(names) if name.startswith(UNSAVED)]


def refuse_unsaved(ref: WorkspaceRef) -> None:
    """Raise Terminal ``CommitsDamaged`` while a git directory is set aside with work in it."""
    for path in unsaved(ref):
        raise Terminal(
            "CommitsDamaged",
            f"{path} was damaged and set aside with work of instance {ref.instance!r} that could not be brought "
            "home: move it away, to mend it with git and fetch from it what is whole, or give it up by name "
            "('cco delete --discard-work')",
        )


def remove(ref: WorkspaceRef, *, or_lose: bool = False) -> None:
    """Remove the private git directory and the pointer; with ``or_lose`` also what is set aside with work in it."""
    paths = StatePaths.of(ref)
    if exists(ref):
        discard(ref)
    _sweep(paths, (*HALF, *UNSAVED) if or_lose else HALF)
    for path in (paths.pointer, paths.seed):
        remove_tree(path)


def mounts(repository: Repository, ref: WorkspaceRef) -> tuple[Mount, ...]:
    """Return what the container sees; the objects are all it sees of the repository."""
    paths = StatePaths.of(ref)
    return (
        Mount(ref.worktree, ref.worktree),
        Mount(paths.pointer, os.path.join(ref.worktree, ".git"), read_only=True),
        Mount(ref.private, ref.private),
        *(Mount(store, store, read_only=True) for store in object_stores(repository)),
        *(Mount(repository.objects, path, read_only=True) for path in _former_paths(repository, ref)),
    )


def _former_paths(repository: Repository, ref: WorkspaceRef) -> list[str]:
    """Return where the objects were when the repository stood where there is a link to it now.

    The private git directory borrows from the path that was real when it was made.
    """
    written = (os.path.join(ref.repository, name) for name in (".git/objects", "objects"))
    return [path for path in written if path != repository.objects and os.path.realpath(path) == repository.objects]


def _sweep(paths: StatePaths, prefixes: tuple[str, ...]) -> None:
    for name in os.listdir(paths.directory):
        if name.startswith(prefixes):
            remove_tree(os.path.join(paths.directory, name))


def _copy(source: str, target: str) -> None:
    with open_directory(os.path.dirname(source)) as folder:
        content = read_regular(os.path.basename(source), folder, limit=_MAX_INDEX)
    if content is None:
        raise Unavailable("StateUnreadable", f"{source} is not a regular file")
    write_file(target, content, mode=0o600)


def _home(repository: Repository) -> str | None:
    """Return the home of the repository's owner: by its account, or the folder above that has a ``.gitconfig``.

    In a container the host's accounts are unknown, but homes may be mounted.
    """
    with suppress(KeyError):
        return pwd.getpwuid(repository.owner[0]).pw_dir
    folder = os.path.dirname(repository.path)
    while folder != os.path.dirname(folder):
        with suppress(OSError):
            if os.lstat(os.path.join(folder, ".gitconfig")).st_uid == repository.owner[0]:
                return folder
        folder = os.path.dirname(folder)
    return None


def _lay_out(directory: str, repository: Repository, ref: WorkspaceRef, seed: Seed, config: Mapping[str, str]) -> None:
    os.mkdir(directory, 0o700)
    for folder in ("objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags", "info", "logs"):
        os.mkdir(os.path.join(directory, folder), 0o700)
    chosen = {**_IDENTITY, **{name: value for name, value in config.items() if _SHARED.fullmatch(name)}, **_FIXED}
    chosen["core.repositoryformatversion"] = "1" if "extensions.objectformat" in chosen else "0"
    chosen["core.worktree"] = ref.worktree
    files = {
        "HEAD": f"ref: refs/heads/{seed.branch}\n",
        "config": format_config(chosen),
        "packed-refs": f"# pack-refs with:\n{_packed(seed.refs)}",
        "objects/info/alternates": f"{repository.objects}\n",
    }
    if is_shallow(repository):
        files["shallow"] = (read_text(os.path.join(repository.git_dir, "shallow"), limit=_MAX_SHALLOW) or "") + "\n"
    for name in ("info/exclude", "info/attributes"):
        text = read_text(os.path.join(repository.git_dir, name), limit=_COPIED_LIMIT)
        if text:
            files[name] = f"{text}\n"
    for name, text in files.items():
        write_file(os.path.join(directory, name), text.encode(errors="surrogateescape"), mode=0o600)


def format_config(values: Mapping[str, str]) -> str:
    """Return ``section.key`` pairs in git's configuration syntax."""
    lines: list[str] = []
    for name, value in sorted(values.items()):
        section, _, key = name.partition(".")
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        lines.append(f'[{section}]\n\t{key} = "{escaped}"\n')
    return "".join(lines)
