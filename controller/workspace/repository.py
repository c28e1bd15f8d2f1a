"""A user's repository: finding it without git, and saying what of it works only partly.

``locate`` reads files only, so that its owner is known before the first git runs (as that owner). From here
``worktree.py`` makes worktrees in it and ``collect.py`` brings commits to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controller.errors import Terminal, Unavailable

from .git import LONG, Git, check_version
from .safe_files import is_file, is_folder, is_there, read_text
from .types import RepositoryState

_MAX_ALTERNATES = 5  # git's own limit of nesting


@dataclass(frozen=True, slots=True)
class Repository:
    """A located repository.

    Attributes:
        path: as it was registered.
        git_dir: absolute path of the common git directory, without links.
        objects: absolute path of its object store, without links.
        owner: ``(uid, gid)`` of the git directory; git runs as this user.
    """

    path: str
    git_dir: str
    objects: str
    owner: tuple[int, int]

    @property
    def git(self) -> Git:
        """Git on the repository itself, without files."""
        return Git(self.git_dir, self.owner)

    @property
    def worktrees(self) -> str:
        """Where git keeps the administrative folders of worktrees."""
        return os.path.join(self.git_dir, "worktrees")


def locate(path: str) -> Repository:
    """Find the git directory of a repository.

    Raises:
        Terminal: ``RepositoryNotFound``, ``NotARepository``.
        Unavailable: ``RepositoryUnreadable``: permissions or a file system that does not answer.
    """
    if not os.path.isabs(path) or "\n" in path:
        raise Terminal("NotARepository", f"path {path!r} is not absolute: give the full path of the repository")
    try:
        if not is_folder(path, follow=True):
            os.stat(path)  # tells absence from anything else
            raise Terminal("NotARepository", f"path {path!r} is not a folder: give the folder of a git repository")
        git_dir = _git_dir(path)
        if git_dir is None:
            raise _not_a_repository(path)
        git_dir = os.path.realpath(git_dir)
        info = os.stat(git_dir)
        objects = os.path.realpath(os.path.join(git_dir, "objects"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Terminal(
            "RepositoryNotFound",
            f"path {path!r} does not exist: move the repository back, or leave a symbolic link to it there",
        ) from error
    except OSError as error:
        raise Unavailable("RepositoryUnreadable", f"path {path!r} cannot be read: {error.strerror}") from error
    return Repository(path, git_dir, objects, (info.st_uid, info.st_gid))


def _git_dir(path: str) -> str | None:
    """Return the common git directory of a repository, a bare repository or a linked worktree."""
    dot_git = os.path.join(path, ".git")
    if is_folder(dot_git, follow=True):
        found = dot_git
    elif is_file(dot_git, follow=True):
        line = read_text(dot_git) or ""
        if not line.startswith("gitdir: "):
            return None
        found = os.path.join(path, line.removeprefix("gitdir: "))
    else:
        found = path
    common = read_text(os.path.join(found, "commondir")) if is_folder(found, follow=True) else None
    if common:
        found = os.path.join(found, common)
    # HEAD may be a (dangling) link in very old repositories: its presence is enough
    return found if all(is_there(os.path.join(found, part)) for part in ("HEAD", "objects", "refs")) else None


def _not_a_repository(path: str) -> Terminal:
    parent = os.path.dirname(path)
    while parent != os.path.dirname(parent):
        if os.path.exists(os.path.join(parent, ".git")):
            return Terminal("NotARepository", f"path {path!r} lies inside the repository {parent!r}: register that one")
        parent = os.path.dirname(parent)
    return Terminal("NotARepository", f"path {path!r} is not a git repository: run 'git init' there and commit once")


def object_stores(repository: Repository) -> tuple[str, ...]:
    """Return the repository's object store and all it borrows from, each once, without links.

    Raises:
        Terminal: ``AlternateMissing``: a store it borrows from is gone, so the repository itself is broken.
    """
    stores: list[str] = []
    queue = [(repository.objects, 0)]
    while queue:
        store, depth = queue.pop(0)
        if store in stores or depth > _MAX_ALTERNATES:
            continue
        stores.append(store)
        for line in (read_text(os.path.join(store, "info", "alternates")) or "").splitlines():
            if not line or line.startswith("#"):
                continue
            other = os.path.realpath(os.path.join(store, line))
            if not is_folder(other, follow=True):
                raise Terminal(
                    "AlternateMissing",
                    f"repository {repository.path!r} borrows objects from {other!r}, which is not there: restore it, "
                    "or run 'git repack -a -d' while it is and remove objects/info/alternates",
                )
            queue.append((other, depth + 1))
    return tuple(stores)


def read_config(repository: Repository, *, home: str | None = None) -> Mapping[str, str]:
    """Return the repository's configuration, last value wins, names lower-cased as git prints them.

    ``home`` adds the personal configuration below it. Reading configuration runs nothing.
    """
    git = repository.git
    if home is not None:
        git = git.with_env({"HOME": home, "GIT_CONFIG_GLOBAL": os.path.join(home, ".gitconfig")})
    out = git.run("config", "--list", "--show-scope", "-z", "--includes", accept=(0, 1, 128) if home else (0,))
    if out.status != 0:  # an unreadable personal configuration is no reason to stop
        return read_config(repository)
    parts = out.fields()
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return dict(entry.partition("\n")[::2] for scope, entry in pairs if scope != "command")  # ours, see git.py


def filters_off(config: Mapping[str, str]) -> dict[str, str]:
    """Return environment that turns every configured filter driver off.

    Filters are programs of the user that attributes select, and an agent writes attributes (and, for LFS, the
    address that the user's credentials would be sent to). Values go by environment because ``-c`` cannot
    carry every name a driver may have.
    """
    drivers = sorted({name.rpartition(".")[0] for name in config if name.startswith("filter.") and name.count(".") > 1})
    settings = [
        (f"{driver}.{key}", value)
        for driver in drivers
        for key, value in (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false"))
    ]
    environment = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings):
        environment[f"GIT_CONFIG_KEY_{number}"] = name
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment


def inspect(path: str) -> RepositoryState:
    """Look at a repository; see :meth:`~controller.workspace.types.Workspaces.inspect_repository`."""
    check_version()
    repository = locate(path)
    git = repository.git
    branches: dict[str, str] = {}
    for line in git.run("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/").lines():
        commit, _, name = line.partition(" refs/heads/")
        branches[name] = commit
    symbolic = git.run("symbolic-ref", "-q", "HEAD", accept=(0, 1)).text
    default = symbolic.removeprefix("refs/heads/") if symbolic else None
    head = git.run("rev-parse", "--verify", "-q", "HEAD^{commit}", accept=(0, 1, 128)).text or None
    config = read_config(repository)
    bare = config.get("core.bare", "false") == "true"
    return RepositoryState(
        git_dir=repository.git_dir,
        default_branch=default,
        head=head,
        branches=tuple(sorted(name for name in branches if _printable(name))),
        owner=repository.owner,
        bare=bare,
        warnings=tuple(_warnings(repository, config, head)),
    )


def _printable(name: str) -> bool:
    return not any("\udc80" <= letter <= "\udcff" for letter in name)


def _warnings(repository: Repository, config: Mapping[str, str], head: str | None) -> Iterator[str]:
    attributes, modules = _top_files(repository, head)
    if modules:
        yield (
            "it has submodules: their folders stay empty in worktrees, and work inside them is neither brought home "
            "nor snapshotted"
        )
    drivers = {name.split(".")[1] for name in config if re.match(r"filter\.[^.]+\.(smudge|process)$", name)}
    if "filter=lfs" in attributes:
        drivers.add("lfs")
    if "lfs" in drivers:
        yield "it uses Git LFS: worktrees hold pointer files instead of the large files"
    if others := sorted(drivers - {"lfs"}):
        yield f"its filters ({', '.join(others)}) do not run: worktrees hold such files as they are stored"
    if is_shallow(repository):
        yield "it is a shallow clone: older history is not there for the agent either"
    if is_partial(config):
        yield "it is a partial clone: objects that were never fetched are missing for the agent"
    if config.get("core.sparsecheckout") == "true":
        yield "it uses sparse checkout: worktrees of instances hold all files"
    if repository.owner[0] == 0:
        yield (
            "it belongs to root: instances run as uid 1000, so root must add a worktree to git's safe.directory "
            "before using git in it"
        )


def _top_files(repository: Repository, head: str | None) -> tuple[str, bool]:
    """Return the text of ``.gitattributes`` and whether there is a ``.gitmodules``, both at HEAD."""
    if head is None:
        return "", False
    attributes = repository.git.run("cat-file", "blob", "--end-of-options", f"{head}:.gitattributes", accept=(0, 128))
    modules = repository.git.run("cat-file", "-e", "--end-of-options", f"{head}:.gitmodules", accept=(0, 128))
    return attributes.text if attributes.status == 0 else "", modules.status == 0


def is_shallow(repository: Repository) -> bool:
    """Tell whether history is cut off."""
    return bool(read_text(os.path.join(repository.git_dir, "shallow"), limit=64 << 20))


def is_partial(config: Mapping[str, str]) -> bool:
    """Tell whether objects may be missing on purpose (a clone with a filter)."""
    return any(name.endswith((".promisor", ".partialclonefilter")) for name in config) or (
        "extensions.partialclone" in config
    )


def require_complete(repository: Repository, commit: str) -> None:
    """Raise Terminal ``PartialClone`` when files of ``commit`` were never fetched: an agent could not fetch them."""
    out = repository.git.run(
        "rev-list", "--objects", "--missing=print", "--no-walk", "--end-of-options", commit, timeout=LONG
    )
    if any(line.startswith("?") for line in out.lines()):
        raise Terminal(
            "PartialClone",
            f"repository {repository.path!r} is a partial clone and lacks files of {commit[:12]}: "
            "run 'git fetch --refetch --no-filter' in it",
        )
