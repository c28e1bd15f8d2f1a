"""What the exit status of a command means; scripts may rely on it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command; ``MEANINGS`` has the words."""

    OK = 0
    GENERAL = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    INVALID = 5
    UNAVAILABLE = 6
    TIMEOUT = 7
    FAILED = 8
    DENIED = 9
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.GENERAL: "`diff` found differences, or an error that has no code of its own",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.NOT_FOUND: "no such object, file or repository",
    ExitCode.CONFLICT: "the object exists already, or somebody changed it at the same time",
    ExitCode.INVALID: "a manifest, a value or the configuration is refused",
    ExitCode.UNAVAILABLE: "the server or the controller does not answer, or failed",
    ExitCode.TIMEOUT: "what was waited for did not happen in time",
    ExitCode.FAILED: "the object cannot get there without somebody's help, a prompt was rejected, a check failed",
    ExitCode.DENIED: "the token is missing or wrong",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
    ExitCode.BROKEN_PIPE: "the reader of the output went away",
}
