"""Reading YAML that nobody vouches for: bounded in size, depth and expansion, with the line of every value.

``yaml.safe_load`` alone expands aliases without end, recurses as deep as the text nests, keeps the last of two equal
keys and forgets where a value stood. Here a document is checked as a stream of events first, then as a graph of
nodes, and only then becomes Python values.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import yaml

MAX_BYTES = 1024**2
MAX_DEPTH = 32
MAX_VALUES = 20_000

_MERGE = "tag:yaml.org,2002:merge"


class UnreadableError(Exception):
    """The text cannot be used; ``line`` counts from 1, ``None`` where no line is to blame."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its value, and the nodes that know the lines."""

    value: Any
    node: yaml.Node

    def line(self, path: Sequence[str | int]) -> int:
        """Return the line (from 1) of the deepest part of the path that is written down."""
        node = self.node
        line: int = node.start_mark.line
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            line, node = found
        return line + 1

    def part(self, path: Sequence[str | int]) -> Document | None:
        """Return the document's value at the path as a document of its own, or ``None``."""
        node, value = self.node, self.value
        for step in path:
            found = _child(node, step)
            if found is None:
                return None
            node, value = found[1], value[step]
        return Document(value, node)


class _Loader(yaml.SafeLoader):
    """Keys are text as written: ``ON:`` is a name for a variable here, never a truth value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  # the base class's signature
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}


def read_documents(data: bytes) -> list[Document]:
    """Return the documents of a YAML (or JSON) text; empty documents are left out.

    Raises:
        UnreadableError: too big, too deep, too much after expanding aliases, not UTF-8, not YAML, an unknown tag,
            a key twice, or an alias that contains itself.
    """
    if len(data) > MAX_BYTES:
        raise UnreadableError(f"is {len(data)} bytes; at most {MAX_BYTES} (1 MiB) are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"is not UTF-8 (byte {error.start})") from error
    try:
        _check_depth(text)
        loader = _Loader(text)
        documents = []
        while loader.check_node():
            node = loader.get_node()
            if node is not None and not _is_empty(node):
                _check_expansion(node)
                _check_keys(node)
                documents.append(Document(loader.construct_document(node), node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "a mistake"
        raise UnreadableError(f"is not valid YAML: {problem}", _line(mark)) from error
    except yaml.YAMLError as error:
        raise UnreadableError(f"is not valid YAML: {' '.join(str(error).split())}") from error
    except (ValueError, OverflowError) as error:  # a date such as 2026-13-45, an integer such as 0b
        raise UnreadableError(f"has a value YAML cannot read: {error}") from error
    return documents


class _Mark(Protocol):
    """A place in the text, by PyYAML's Python or its C parser."""

    line: int


def _line(mark: _Mark | None) -> int | None:
    return mark.line + 1 if mark is not None else None


def _check_depth(text: str) -> None:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise UnreadableError(f"nests deeper than {MAX_DEPTH} levels", _line(event.start_mark))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if count > 2 * MAX_VALUES:
            raise UnreadableError(f"has more than {MAX_VALUES} values", _line(event.start_mark))


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _check_expansion(root: yaml.Node) -> None:
    """Measure the document as if every alias were written out, without writing them out; refuse a circle."""
    measured: dict[int, tuple[int, int]] = {}
    open_nodes: set[int] = set()

    def measure(node: yaml.Node, depth: int) -> tuple[int, int]:
        line = node.start_mark.line + 1
        if id(node) in open_nodes:
            raise UnreadableError("has an alias that contains itself", line)
        if id(node) not in measured:
            if depth > MAX_DEPTH:
                raise UnreadableError(f"nests deeper than {MAX_DEPTH} levels", line)
            open_nodes.add(id(node))
            parts = [measure(child, depth + 1) for child in _children(node)]
            open_nodes.discard(id(node))
            measured[id(node)] = (
                1 + sum(size for size, _ in parts),
                1 + max((height for _, height in parts), default=0),
            )
        size, height = measured[id(node)]
        if size > MAX_VALUES:
            raise UnreadableError(f"has more than {MAX_VALUES} values once its aliases are expanded", line)
        if depth + height > MAX_DEPTH + 1:
            raise UnreadableError(f"nests deeper than {MAX_DEPTH} levels once its aliases are expanded", line)
        return size, height

    measure(root, 0)


def _check_keys(root: yaml.Node) -> None:
    seen_nodes: set[int] = set()
    todo = [root]
    while todo:
        node = todo.pop()
        if id(node) in seen_nodes:
            continue
        seen_nodes.add(id(node))
        todo.extend(_children(node))
        if not isinstance(node, yaml.MappingNode):
            continue
        keys: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise UnreadableError("has a key that is not plain text", line)
            if key.tag != _MERGE and key.value in keys:
                raise UnreadableError(f"has the key {key.value!r} twice in one mapping", line)
            keys.add(key.value)


def _child(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    """Return line (from 0) and node of a mapping's or a sequence's child."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child = node.value[step]
        return child.start_mark.line, child
    return None
