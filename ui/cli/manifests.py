"""Manifests: from files, folders or standard input to resource models, or to a list of what is wrong and where."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from controller.resources import InstanceManifest, RepositoryManifest

from .exit_codes import ExitCode
from .failures import Failure
from .yaml_nodes import MAX_BYTES, Document, UnreadableError, read_documents

Manifest = InstanceManifest | RepositoryManifest

KINDS: dict[str, type[InstanceManifest | RepositoryManifest]] = {
    "Repository": RepositoryManifest,
    "Instance": InstanceManifest,
}
"""In the order in which they are applied; deletion goes the other way."""

_SERVER_FIELDS = {"status"}
_SERVER_METADATA = {"uid", "generation", "resource_version", "created_at", "deletion_requested_at", "discard_work"}
_SUFFIXES = {".yaml", ".yml", ".json"}
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. ``where`` is ``file:line``."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def load_manifests(sources: Sequence[str]) -> list[Manifest]:
    """Return the manifests of files, folders (their ``*.yaml``, ``*.yml``, ``*.json``) and ``-``, repositories first.

    Fields that only the server writes (``status``, ``metadata.uid`` ...) are dropped, so that what ``get -o yaml``
    printed can be edited and applied; every other unknown field is an error.

    Raises:
        Failure: with every problem found (the first ten), each with file and line.
    """
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    seen: dict[tuple[str, str], str] = {}
    for name, data in _texts(sources):
        try:
            documents = [part for document in read_documents(data) for part in _items(document)]
        except UnreadableError as error:
            problems.append(Problem(_where(name, error.line), error.message))
            continue
        for document in documents:
            where = _where(name, document.line(()))
            try:
                manifest = parse_manifest(document)
            except ManifestError as error:
                problems.extend(Problem(_where(name, line), message) for line, message in error.problems)
                continue
            key = (manifest.kind, manifest.metadata.name)
            if key in seen:
                problems.append(Problem(where, f"{_id(*key)} is declared twice, first at {seen[key]}"))
            seen.setdefault(key, where)
            manifests.append(manifest)
    if problems:
        raise _failure(problems)
    if not manifests:
        raise Failure(
            f"{', '.join(sources)}: has no manifest", hint="'cco init' writes an example", code=ExitCode.INVALID
        )
    order = list(KINDS)
    return sorted(manifests, key=lambda manifest: order.index(manifest.kind))


class ManifestError(Exception):
    """A document is not a manifest; ``problems`` are (line, message)."""

    def __init__(self, problems: list[tuple[int, str]]) -> None:
        super().__init__("; ".join(message for _, message in problems))
        self.problems = problems


def parse_manifest(document: Document) -> Manifest:
    """Return the model of one document.

    Raises:
        ManifestError: with every wrong field.
    """
    value = document.value
    if not isinstance(value, dict):
        raise ManifestError([(document.line(()), "a manifest is a mapping with kind, metadata and spec")])
    kind = value.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        known = " or ".join(KINDS)
        what = "kind is missing" if kind is None else f"kind: {kind!r} is unknown{_near(str(kind), KINDS)}"
        raise ManifestError([(document.line(("kind",)), f"{what}; write {known}")])
    try:
        return model.model_validate(_without_server_fields(value))
    except ValidationError as error:
        raise ManifestError(
            [(document.line(path), message) for path, message in describe_errors(error, model)]
        ) from error


def describe_errors(error: ValidationError, model: type[BaseModel]) -> list[tuple[tuple[str | int, ...], str]]:
    """Return (path, sentence) for each wrong field; an unknown field gets the nearest known one."""
    described = []
    for item in error.errors(include_url=False):
        path = tuple(item["loc"])
        dotted = _dotted(path)
        match item["type"]:
            case "extra_forbidden":
                known = _fields_at(model, path[:-1])
                message = f"{dotted}: unknown field{_near(str(path[-1]), known) or _choices(known)}"
            case "missing":
                message = f"{dotted}: is required"
            case "string_type":
                message = f"{dotted}: {_short(item['input'])} is not text{_quoting(item['input'])}"
            case "enum" | "literal_error":
                message = (
                    f"{dotted}: {_short(item['input'])} is unknown; write {item.get('ctx', {}).get('expected', '')}"
                )
            case "value_error":  # raised by the models, in words that name the value
                message = f"{dotted}: {item['msg'].removeprefix('Value error, ')}"
            case _:
                message = f"{dotted}: {_short(item['input'])}: {item['msg']}"
        described.append((path, message))
    return described


def _texts(sources: Sequence[str]) -> Iterable[tuple[str, bytes]]:
    for source in sources:
        if source == "-":
            yield "<stdin>", sys.stdin.buffer.read(MAX_BYTES + 1)
            continue
        path = Path(source)
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file())
            if not files:
                raise Failure(f"{source}: has no *.yaml, *.yml or *.json file", code=ExitCode.NOT_FOUND)
        else:
            files = [path]
        for file in files:
            with file.open("rb") as stream:
                yield str(file), stream.read(MAX_BYTES + 1)


def _items(document: Document) -> list[Document]:
    """Return the items of a ``kind: List``, as ``get -o yaml`` prints several objects, or the document itself."""
    value = document.value
    if not isinstance(value, dict) or value.get("kind") != "List":
        return [document]
    parts = (document.part(("items", index)) for index in range(len(value.get("items") or ())))
    return [part for part in parts if part is not None]


def _without_server_fields(value: dict[str, Any]) -> dict[str, Any]:
    cleaned = {key: item for key, item in value.items() if key not in _SERVER_FIELDS}
    if isinstance(metadata := cleaned.get("metadata"), dict):
        cleaned["metadata"] = {key: item for key, item in metadata.items() if key not in _SERVER_METADATA}
    return cleaned


def _failure(problems: Sequence[Problem]) -> Failure:
    lines = [str(problem) for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"... and {len(problems) - _SHOWN} more")
    return Failure(
        "\n       ".join(lines), hint="nothing was changed; docs/cli.md shows every field", code=ExitCode.INVALID
    )


def _fields_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the field names of the model at the path; ``[]`` where there is a free mapping."""
    current: type[BaseModel] | None = model
    for step in path:
        field = current.model_fields.get(str(step)) if current is not None else None
        current = _model_in(field.annotation) if field is not None else None
    return list(current.model_fields) if current is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401  # an annotation can be any object
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in getattr(annotation, "__args__", ()))
    return next((part for part in found if part is not None), None)


def _near(word: str, known: Iterable[str]) -> str:
    folded = {name.lower().replace("_", ""): name for name in known}
    wanted = word.lower().replace("_", "").replace("-", "")
    begun = [name for name in folded if len(wanted) > 2 and name.startswith(wanted)]
    near = begun or difflib.get_close_matches(wanted, list(folded), n=1)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def _choices(known: Sequence[str]) -> str:
    return f"; known are {', '.join(known)}" if known else ""


def _dotted(path: Sequence[str | int]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "manifest"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _quoting(value: object) -> str:
    if isinstance(value, (bool, int, float)) or hasattr(value, "isoformat"):
        return ": put it in quotes"
    return ": leave the line out to unset it" if value is None else ""


def _where(name: str, line: int | None) -> str:
    return f"{name}:{line}" if line is not None else name


def _id(kind: str, name: str) -> str:
    return f"{kind.lower()}/{name}"
