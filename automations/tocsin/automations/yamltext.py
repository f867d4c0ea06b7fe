"""YAML and JSON text as plain values, each with the line it stands on.

YAML is read as people mean it: `no`, `on`, `12:30` and `2026-03-02` are text; a key given twice is refused; anchors may
be used, a bomb of them may not.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tocsin.events.errors import Invalid

# Any, in this file: what a document holds, before it is checked.

NODE_CAP: Final = 100_000
DEPTH_CAP: Final = 50

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Lines:
    """The line of each value by its path; `first` is that of the whole."""

    found: Mapping[Path, int]
    first: int

    def of(self, path: Sequence[str | int]) -> int:
        """The line of the value at `path`, or of the nearest one around it; parts that no document has are skipped."""
        known: Path = ()
        for part in path:
            if (*known, part) in self.found:
                known = (*known, part)
        return self.found.get(known, self.first)

    def below(self, path: Path) -> "Lines":
        """The lines of what stands at `path`, by paths from there."""
        size = len(path)
        inner = {known[size:]: line for known, line in self.found.items() if known[:size] == path}
        return Lines(inner, self.of(path))


Document = tuple[Any, Lines]


def read_yaml(text: str, source: str) -> list[Document]:
    """The documents of a YAML text. Raises `Invalid` with source and line."""
    try:
        return [_document(node, source) for node in _nodes(text)]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Invalid(f"{source}, line {line}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise Invalid(f"{source}: {error}") from error
    except RecursionError as error:
        raise Invalid(f"{source}: nested too deep") from error


def read_json(text: str, source: str) -> list[Document]:
    """The one document of a JSON text. Raises `Invalid` with source and line."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            keys = [key for key, _ in pairs]
            raise Invalid(f'{source}: key "{next(key for key in keys if keys.count(key) > 1)}" is given twice')
        return made

    def no_constant(name: str) -> float:
        raise Invalid(f"{source}: {name} is not JSON; use null or text")

    try:
        value = json.loads(text, object_pairs_hook=once, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise Invalid(f"{source}, line {error.lineno}: {error.msg}") from error
    except RecursionError as error:
        raise Invalid(f"{source}: nested too deep") from error
    return [(value, _lines_of_json(text, source))]


def _lines_of_json(text: str, source: str) -> Lines:
    """JSON is YAML, nearly: where it is not, errors go without a line."""
    try:
        return read_yaml(text, source)[0][1]
    except (Invalid, IndexError):
        return Lines({}, 1)


RESOLVERS: Final = tuple(
    (f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{expression})$"), [*first, ""])
    for tag, expression, first in (
        ("bool", r"true|True|false|False", "tTfF"),
        ("null", r"~|null|Null|", "~nN"),
        ("int", r"[-+]?(?:0|[1-9][0-9]{0,18})", "-+0123456789"),
        ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?", "-+.0123456789"),
    )
)
"""Which plain words are not text: the tag, how the word looks, and how it begins."""


class _Loader(yaml.SafeLoader):
    """SafeLoader without YAML 1.1's surprises."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  (PyYAML's own name, filled below)


for _tag, _expression, _first in RESOLVERS:
    _Loader.add_implicit_resolver(_tag, _expression, _first)


def _nodes(text: str) -> Iterator[Node]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield node
    finally:
        loader.dispose()


def _document(node: Node, source: str) -> Document:
    reader = _Reader(source)
    value = reader.read(node, ())
    return value, Lines(reader.lines, node.start_mark.line + 1)


class _Reader:
    """Makes values of nodes and notes their lines; anchors are written out, up to a bound."""

    def __init__(self, source: str) -> None:
        self.lines: dict[Path, int] = {}
        self._source = source
        self._scalars = yaml.constructor.SafeConstructor()

    def read(self, node: Node, path: Path) -> Any:
        self.lines[path] = line = node.start_mark.line + 1
        if len(self.lines) > NODE_CAP or len(path) > DEPTH_CAP:
            raise Invalid(f"{self._source}, line {line}: too large or nested too deep (anchors are written out)")
        match node:
            case MappingNode(tag="tag:yaml.org,2002:map"):
                return self._mapping(node, path)
            case SequenceNode(tag="tag:yaml.org,2002:seq"):
                return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
            case ScalarNode():
                return self._scalars.construct_object(node)
        raise Invalid(f"{self._source}, line {line}: {node.tag} is not plain data")

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key_node, ScalarNode):
                raise Invalid(f"{self._source}, line {line}: a key is plain text")
            if key in made:
                raise Invalid(f'{self._source}, line {line}: key "{key}" is given twice')
            made[key] = self.read(value_node, (*path, key))
            self.lines[(*path, key)] = line
        return made
