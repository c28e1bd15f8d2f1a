"""Which fields an apply would change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.resources import Instance, Repository
from controller.resources.base import Model


def changed_fields(before: Instance | Repository, labels: Mapping[str, str], spec: Model) -> tuple[str, ...]:
    """Return dotted paths below ``metadata`` and ``spec``, sorted; empty when nothing differs."""
    found = list(_differences("metadata.labels", before.metadata.labels, labels))
    if before.spec != spec:
        found += _differences("spec", before.spec.model_dump(mode="json"), spec.model_dump(mode="json"))
    return tuple(sorted(found))


def _differences(path: str, before: object, after: object) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in before.keys() | after.keys():
            if key in before and key in after:
                yield from _differences(f"{path}.{key}", before[key], after[key])
            else:
                yield f"{path}.{key}"
    else:
        yield path
