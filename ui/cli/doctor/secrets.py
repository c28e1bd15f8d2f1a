"""Which secrets this machine knows by value: the redactor learns them before anything is written.

They are read for that only. A secret that cannot be read here cannot have been read by what is collected either.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from controller.resources import Instance, Repository
from ui.cli.connection import find_token
from ui.cli.failures import Failure

from .redaction import Redactor, is_secret_name

if TYPE_CHECKING:
    from controller.settings import Settings
    from ui.cli.invocation import Invocation

CREDENTIALS = ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN")
SECRETS_DIRECTORY = Path("/run/secrets")
_FILE_BYTES = 64 * 1024
_MAX_FILES = 200
LONG_VALUE = 16
_LONG_LINE = 12


def learn_environment(redact: Redactor) -> None:
    """Learn what the environment of this process holds."""
    redact.learn_environment(os.environ.items())
    redact.learn(*(os.environ.get(name, "") for name in CREDENTIALS))


def learn_files(redact: Redactor, cli: Invocation, settings: Settings) -> None:
    """Learn the API token, Claude's credentials, and what instances were declared with, from files."""
    with contextlib.suppress(OSError, UnicodeDecodeError, Failure):
        redact.learn(find_token(cli) or "")
    redact.learn(read_start(settings.token_file))
    paths = [SECRETS_DIRECTORY / name for name in CREDENTIALS]
    if named := os.environ.get("CCO_SECRETS_FILE"):
        paths.append(Path(named))
    with contextlib.suppress(OSError):
        paths += sorted((settings.state_dir / "secrets").glob("*"))[:_MAX_FILES]
    for path in paths:
        for line in read_start(path).splitlines():
            name, separator, value = line.removeprefix("export ").partition("=")
            if not name.lstrip().startswith("#"):
                redact.learn(value.strip().strip("'\"") if separator else line)
    with contextlib.suppress(OSError):
        for path in sorted(settings.state_dir.glob("instances/*/manifest.json"))[:_MAX_FILES]:
            _learn_manifest(redact, read_start(path))


def learn_user_content(redact: Redactor, instances: Sequence[Instance], repositories: Sequence[Repository]) -> None:
    """Learn what users wrote into objects, in case a program printed it."""
    for instance in instances:
        learn_texts(redact, [instance.spec.prompt or ""])
        redact.learn(*(argument for argument in instance.spec.args if len(argument) >= LONG_VALUE))
        _learn_variables(redact, instance.spec.env.items())
    for repository in repositories:
        _learn_variables(redact, (repository.spec.defaults.env or {}).items())


def learn_texts(redact: Redactor, texts: Iterable[str]) -> None:
    """Learn prompts: as a whole, and every line that is not just a word."""
    for text in texts:
        redact.learn(text, *(line for line in text.splitlines() if len(line.strip()) >= _LONG_LINE))


def read_start(path: Path) -> str:
    """Return the first 64 KiB of a file, empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _learn_manifest(redact: Redactor, text: str) -> None:
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        spec = json.loads(text).get("spec") or {}
        learn_texts(redact, [str(spec.get("prompt") or "")])
        redact.learn(*(str(argument) for argument in spec.get("args") or () if len(str(argument)) >= LONG_VALUE))
        _learn_variables(redact, ((str(name), str(value)) for name, value in (spec.get("env") or {}).items()))


def _learn_variables(redact: Redactor, pairs: Iterable[tuple[str, str]]) -> None:
    redact.learn(*(value for name, value in pairs if is_secret_name(name) or len(value) >= LONG_VALUE))
