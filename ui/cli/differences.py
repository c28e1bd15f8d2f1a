"""What an apply would change, as a unified diff of the manifests before and after. Pure."""

from __future__ import annotations

import difflib

from controller.resources import Instance, Repository

from .rendering.serial import to_yaml

Thing = Instance | Repository

_STYLES = {"+": "added", "-": "removed", "@": "moving"}


def diff_lines(name: str, before: Thing | None, after: Thing) -> list[tuple[str, str]]:
    """Return (line, style) pairs; ``before`` ``None`` means that the object would be created."""
    old = manifest_lines(before) if before is not None else []
    new = manifest_lines(after)
    labels = (f"{name} (now)" if before is not None else "/dev/null", f"{name} (applied)")
    return [(line, _STYLES.get(line[:1], "")) for line in difflib.unified_diff(old, new, *labels, lineterm="")]


def manifest_lines(thing: Thing) -> list[str]:
    """Return the part of an object that a user declares, as YAML lines; server-owned fields are left out."""
    declared = {
        "kind": thing.kind,
        "metadata": {"name": thing.metadata.name, "labels": thing.metadata.labels},
        "spec": thing.spec.model_dump(mode="json", exclude_none=True),
    }
    return to_yaml(declared).splitlines()
