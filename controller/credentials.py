"""Claude's credentials: read by the controller, handed to agents over their sockets, never kept anywhere else.

Sources, the first that has a name wins: a file per name in ``/run/secrets`` (Compose and Docker secrets), the file
named by ``CCO_SECRETS_FILE`` (lines ``NAME=value``), the environment.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import Terminal

logger = logging.getLogger(__name__)

NAMES = ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN")
"""What Claude Code can log in with, by its own variable names."""

SECRETS_DIRECTORY = Path("/run/secrets")
SECRETS_FILE_VARIABLE = "CCO_SECRETS_FILE"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Reads the sources anew at every call, so a changed file needs no restart. The values never show in ``repr``.

    Args:
        environment: searched last; usually a copy of ``os.environ`` taken at start.
        directory: holds a file per name.
        file: holds lines ``NAME=value``.
    """

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    directory: Path = SECRETS_DIRECTORY
    file: Path | None = None

    @classmethod
    def from_environment(cls) -> Credentials:
        """Take the credentials out of this process's environment, so that no child process inherits them."""
        taken = {name: value for name in NAMES if (value := os.environ.pop(name, ""))}
        file = os.environ.get(SECRETS_FILE_VARIABLE)
        return cls(environment=taken, file=Path(file) if file else None)

    def read(self) -> dict[str, str]:
        """Return what is set, by name; empty when there is nothing.

        Raises:
            Terminal: ``InvalidSecretsFile``; the message names the line, never its content.
        """
        values = dict(self.environment)
        if self.file is not None:
            values.update(_read_file(str(self.file)))
        for name in NAMES:
            text = _read_secret(f"{self.directory}/{name}")
            if text:
                values[name] = text
        return {name: values[name] for name in NAMES if values.get(name)}

    def present(self) -> bool:
        """Tell whether there is anything to log in with; an unreadable source counts as nothing and is logged."""
        try:
            return bool(self.read())
        except Terminal as error:
            logger.warning("credentials unreadable", extra={"cco_reason": error.reason, "cco_error": error.message})
            return False


def _read_secret(path: str) -> str:
    """Return the content of a file, empty when it is not there; called for each report of each agent."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, encoding="utf-8") as file:
            return file.read().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise Terminal("InvalidSecretsFile", f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:  # not chained: it carries what it could not decode
        raise Terminal("InvalidSecretsFile", f"{path}: is not text in UTF-8") from None


def _read_file(path: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for number, line in enumerate(_read_secret(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, separator, value = text.removeprefix("export ").partition("=")
        if not separator:
            raise Terminal("InvalidSecretsFile", f"{path}, line {number}: write NAME=value")
        if text := value.strip().strip("'\""):
            values[name.strip()] = text
    return values
