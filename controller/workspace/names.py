"""Names of everything we write into a user's repository, all below ``refs/cco/``, and of a worktree's lock.

::

    refs/cco/instances/NAME/ATTEMPT/heads/BRANCH   the agent's branches, as brought home
    refs/cco/instances/NAME/ATTEMPT/*              its other refs (stash, tags/*, notes/*, ...), as they lie below refs/
    refs/cco/instances/NAME/ATTEMPT/HEAD           the commit it is on, when that is no branch's
    refs/cco/instances/NAME/history/COMMIT         what a ref above, or the branch, pointed to before a rewrite
    refs/cco/instances/NAME/uids/UID/base          where the branch started; also keeps that commit alive
    refs/cco/instances/NAME/uids/UID/brought       the branch's value that we set last
    refs/cco/instances/NAME/uids/UID/pending       a snapshot that is being written
    refs/cco/snapshots/NAME/TIME-COMMIT            uncommitted work
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
_UID = re.compile(r"[0-9A-Za-z-]{1,64}")
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|^\.|\.lock(/|$)|^/|[/.]$")
_MAX_REF_BYTES = 1024
_MAX_COMPONENT_BYTES = 250  # a file name holds 255, and git appends ".lock"


@dataclass(frozen=True, slots=True)
class RefNames:
    """The refs of one instance."""

    instance: str
    uid: str
    attempt: int

    @property
    def root(self) -> str:
        """Everything of every instance that ever had this name, except snapshots."""
        return f"refs/cco/instances/{self.instance}/"

    @property
    def home(self) -> str:
        """Where this attempt's refs are brought."""
        return f"{self.root}{self.attempt}/"

    @property
    def base(self) -> str:
        """Where the branch started."""
        return f"{self.root}uids/{self.uid}/base"

    @property
    def brought(self) -> str:
        """The value of the user's branch that we set last."""
        return f"{self.root}uids/{self.uid}/brought"

    @property
    def pending(self) -> str:
        """A snapshot that is being written."""
        return f"{self.root}uids/{self.uid}/pending"

    @property
    def snapshots(self) -> str:
        """Prefix of the snapshots."""
        return f"refs/cco/snapshots/{self.instance}/"

    def history(self, commit: str) -> str:
        """Return the ref that keeps a commit which nothing else would keep."""
        return f"{self.root}history/{commit}"


def lock_reason(instance: str, uid: str) -> str:
    """Return the reason a worktree of ours is locked with, which is also how we know it again.

    ``git worktree add --lock --reason`` writes it before anything else of the worktree exists.
    """
    return f"cc-orchestrator {instance} {uid}"


def is_instance_name(name: str) -> bool:
    """Tell whether the name can be one component of a ref and of a path."""
    return _NAME.fullmatch(name) is not None


def is_uid(uid: str) -> bool:
    """Tell whether the uid can be one component of a ref and part of a lock reason."""
    return _UID.fullmatch(uid) is not None


def is_ref_name(name: str) -> bool:
    """Tell whether git accepts the name of a branch or ref (``git check-ref-format``), and a file system too."""
    encoded = name.encode(errors="surrogateescape")
    return (
        0 < len(encoded) <= _MAX_REF_BYTES
        and name != "@"
        and _BAD_REF.search(name) is None
        and all(len(part) <= _MAX_COMPONENT_BYTES for part in encoded.split(b"/"))
    )
