"""The two error words of the loop: will a retry help, or not?

::

    CcoError
    ├── Retryable             the world is in the way for now; the pass is repeated after ``delay``
    │   └── Unavailable       a look failed: nothing is known, so nothing may be concluded
    ├── Terminal              no retry will help until somebody changes something
    │   ├── Conflict          something that is not ours stands where we must build
    │   └── Fenced            another controller has taken over: this process has no say any more
    └── StoreError            raised to API callers, never inside a pass
        ├── NotFound
        ├── AlreadyExists
        └── StaleWrite        the caller's resource_version is not the current one

Every error carries a ``reason`` (CamelCase, stable, becomes the condition's reason and the event's) and a
message for people that names the field, the value and the way out.
"""

from __future__ import annotations


class CcoError(Exception):
    """Base of every error this project raises on purpose.

    Attributes:
        reason: stable CamelCase word for machines, for example ``BaseBranchNotFound``.
        message: one or two sentences for people, with the way out.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Retryable(CcoError):
    """The same step may succeed later without anybody's help.

    Attributes:
        delay: seconds to wait at least before the next pass; it is more, by the queue's backoff, if it goes on.
    """

    def __init__(self, reason: str, message: str, *, delay: float | None = None) -> None:
        super().__init__(reason, message)
        self.delay = delay


class Unavailable(Retryable):
    """A look at the world failed; absence must not be concluded from it."""


class Terminal(CcoError):
    """Repeating the step is pointless until the spec or the world is changed by a person."""


class Conflict(Terminal):
    """Something we did not make occupies a name, a path or a branch; we never touch it."""


class Fenced(Terminal):
    """Another controller has taken over since; whatever this process would do now is no longer its to do."""


class StoreError(CcoError):
    """The store refused what an API caller asked for; nothing was written."""


class NotFound(StoreError):
    """No object of that kind has that name."""


class AlreadyExists(StoreError):
    """An object of that kind and name exists already."""


class StaleWrite(StoreError):
    """The object changed since the caller read it; read it again and repeat the change."""
