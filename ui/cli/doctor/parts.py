"""Instances, repositories and containers as they may be told to others.

Prompts, arguments and values of variables are the user's own and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.resources import Instance, Repository

LEFT_OUT = "[left-out]"
_PLAIN_VARIABLES = frozenset({"HOME", "LANG", "PATH", "TERM", "CCO_INSTANCE", "CCO_STATE_DIR", "CCO_ROOT"})
_MANIFEST_LABEL = "cc-orchestrator.manifest"


def instance_data(instance: Instance) -> dict[str, Any]:
    """Return an instance without what its user wrote into it."""
    data = instance.model_dump(mode="json", exclude_none=True)
    _without_content(data["spec"])
    session = data["status"].get("session") or {}
    if "detail" in session:
        session["detail"] = LEFT_OUT
    return data


def repository_data(repository: Repository) -> dict[str, Any]:
    """Return a repository without what its user wrote into its defaults."""
    data = repository.model_dump(mode="json", exclude_none=True)
    _without_content(data["spec"].get("defaults") or {})
    return data


def container_data(container: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``docker inspect`` says of a container, without the values of its variables."""
    data = dict(container)
    config = dict(data.get("Config") or {})
    config["Env"] = [_variable(each) for each in config.get("Env") or ()]
    labels = dict(config.get("Labels") or {})
    if _MANIFEST_LABEL in labels:
        labels[_MANIFEST_LABEL] = LEFT_OUT
    config["Labels"] = labels
    data["Config"] = config
    return data


def environment_of(container: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the container's variables, so that secret ones can be recognised elsewhere."""
    pairs = (str(each).partition("=") for each in (container.get("Config") or {}).get("Env") or ())
    return [(name, value) for name, _, value in pairs]


def _without_content(spec: dict[str, Any]) -> None:
    if "prompt" in spec:
        spec["prompt"] = LEFT_OUT
    if spec.get("args"):
        spec["args"] = [LEFT_OUT] * len(spec["args"])
    if spec.get("env"):
        spec["env"] = dict.fromkeys(spec["env"], LEFT_OUT)


def _variable(text: object) -> str:
    name, _, value = str(text).partition("=")
    return f"{name}={value if name in _PLAIN_VARIABLES else LEFT_OUT}"
