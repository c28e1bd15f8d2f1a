"""`instance.json`: what this container is to run, written by the controller before the container starts.

Read once by `supervisor`. A later replacement changes nothing here: the agent goes on reporting the hash it started
with, and the controller restarts the container when it wants the new one applied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

SCHEMA = 1

T = TypeVar("T")


class ConfigError(Exception):
    """The configuration cannot be used; the message names the field and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class InstanceConfig:
    """One instance as the controller declared it; nothing in it is secret."""

    name: str
    uid: str
    attempt: int
    config_hash: str
    workdir: Path
    git_dir: Path
    session_id: str
    prompt: str | None
    model: str | None
    permission_mode: str
    args: tuple[str, ...]
    layout: str
    env: Mapping[str, str]
    base_url: str | None
    heartbeat_seconds: float

    @property
    def tmux_session(self) -> str:
        """Name of the tmux session."""
        return f"cc-orchestrator-{self.name}"


def load(path: Path) -> InstanceConfig:
    """Read the configuration.

    Raises:
        FileNotFoundError: it is not there yet.
        ConfigError: it is there and cannot be used.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold an object, not {type(data).__name__}")
    return parse(data)


def parse(data: Mapping[str, Any]) -> InstanceConfig:
    """Check every field; fields of a newer controller are passed over.

    Raises:
        ConfigError: a field is missing or has the wrong type.
    """
    schema = _field(data, "schema", int)
    if schema != SCHEMA:
        raise ConfigError(f"schema {schema} is not the {SCHEMA} this agent knows: controller and image do not match")
    heartbeat = _number(data, "heartbeat_seconds", 5.0)
    if not 0.1 <= heartbeat <= 3600:
        raise ConfigError(f"heartbeat_seconds must be between 0.1 and 3600, got {heartbeat}")
    args = _optional(data, "args", list) or []
    env = _optional(data, "env", dict) or {}
    if not all(isinstance(arg, str) for arg in args):
        raise ConfigError("args must be a list of strings")
    if not all(isinstance(value, str) for value in env.values()):
        raise ConfigError("env must map names to strings")
    return InstanceConfig(
        name=_field(data, "name", str),
        uid=_field(data, "uid", str),
        attempt=_field(data, "attempt", int),
        config_hash=_field(data, "config_hash", str),
        workdir=Path(_field(data, "workdir", str)),
        git_dir=Path(_field(data, "git_dir", str)),
        session_id=_field(data, "session_id", str),
        prompt=_optional(data, "prompt", str) or None,
        model=_optional(data, "model", str) or None,
        permission_mode=_optional(data, "permission_mode", str) or "manual",
        args=tuple(args),
        layout=_optional(data, "layout", str) or "default",
        env=dict(env),
        base_url=_optional(data, "base_url", str) or None,
        heartbeat_seconds=heartbeat,
    )


def _field(data: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = _optional(data, name, kind)
    if value is None or value == "":
        raise ConfigError(f"{name} is missing")
    return value


def _optional(data: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    value = data.get(name)
    if value is None:
        return None
    # True is an int to Python, not to whoever wrote the file.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"{name} must be {kind.__name__}, got {type(value).__name__}")
    return value


def _number(data: Mapping[str, Any], name: str, default: float) -> float:
    value = data.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{name} must be a number, got {type(value).__name__}")
    return float(value)
