"""Automations as documents: YAML or JSON files, Python files and modules.

A file holds one automation, a list of them, or an object with `automations:`. Errors name file, line and field.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from pydantic import ValidationError

import tocsin
from tocsin.automations.findings import findings
from tocsin.automations.model import Automation
from tocsin.automations.routing import Routing, routing_in, together
from tocsin.automations.yamltext import Document, Lines, read_json, read_yaml
from tocsin.events.errors import Invalid
from tocsin.notifiers.blocks import AnyBlock, Block

# Any, in this file: what a document holds, before it is checked.

SIZE_CAP: Final = 2_000_000
"""Bytes of a file."""

_HOLDER: Final = "automations"
_NOT_THEIRS: Final = ("<", sys.prefix, sys.base_prefix, *(f"{room}/" for room in tocsin.__path__))
"""How the file names of frames begin that no person wrote who applies an automation."""

_NO_LINES: Final = Lines({}, 0)

T = TypeVar("T")


@dataclass(frozen=True)
class Loaded:
    """What a file or module defines; `lines`, by an automation's name, tells where a document has it."""

    automations: tuple[Automation, ...]
    notifiers: tuple[AnyBlock, ...] = ()
    routing: Routing = field(default_factory=Routing)
    lines: Mapping[str, Lines] = field(default_factory=dict)


def load(target: str) -> Loaded:
    """What `target` defines: a `.yaml`, `.yml` or `.json` file, a `.py` file, or a module's dotted name.

    A Python file or module is imported, and every automation, notifier and route it names at its top level is taken,
    alone or in a list, mute windows and inhibitions too. Raises `Invalid` with file, line and field.
    """
    path = Path(target)
    match path.suffix:
        case ".yaml" | ".yml" | ".json":
            return _loaded(_parsed(_read(path), target), target)
        case ".py":
            return _collected(_module_at(path), target)
        case _:
            return _collected(_module_named(target), target)


def load_all(targets: Iterable[str]) -> Loaded:
    """What several files or modules define together. Raises `Invalid` as `load` does, and when there is nothing."""
    found = [(target, load(target)) for target in targets]
    for target, one in found:
        if not (one.automations or one.notifiers or one.routing):
            raise Invalid(f"{target}: no automation, notifier or route in it")
    _each_once([(target, automation.name) for target, one in found for automation in one.automations])
    return Loaded(
        tuple(automation for _, one in found for automation in one.automations),
        tuple(block for _, one in found for block in one.notifiers),
        together((target, one.routing) for target, one in found),
        {name: lines for _, one in found for name, lines in one.lines.items()},
    )


def _each_once(named: Iterable[tuple[str, str]]) -> None:
    homes: dict[str, str] = {}
    for target, name in named:
        if homes.setdefault(name, target) != target:
            raise Invalid(f'automation "{name}" is defined twice, in {homes[name]} and in {target}')


def parse(text: str, source: str) -> list[Automation]:
    """The automations that a document's text holds; `source` names it in errors (`….json`: read as JSON)."""
    return [automation for automation, _ in _parsed(text, source)]


def automation_from(value: Any, source: str = "automation") -> Automation:
    """The automation that a JSON object describes. Raises `Invalid` with the field."""
    return _automation(value, source, _NO_LINES)


def _loaded(found: Iterable[tuple[Automation, Lines]], source: str) -> Loaded:
    """What a document holds. Raises `Invalid` with both lines for two automations of one name."""
    automations: list[Automation] = []
    placed: dict[str, Lines] = {}
    for automation, lines in found:
        if (first := placed.get(automation.name)) is not None:
            raise Invalid(
                f'{source}: automation "{automation.name}" is defined twice, on line {first.first} and on line '
                f"{lines.first}; give each a name of its own"
            )
        automations.append(automation)
        placed[automation.name] = lines
    return Loaded(tuple(automations), lines=placed)


def _parsed(text: str, source: str) -> Iterator[tuple[Automation, Lines]]:
    documents = read_json(text, source) if source.endswith(".json") else read_yaml(text, source)
    return ((_automation(value, source, lines), lines) for value, lines in _each(documents, source))


def _automation(value: Any, source: str, lines: Lines) -> Automation:
    try:
        return Automation.model_validate(value)
    except ValidationError as error:
        name = f' "{value["name"]}"' if isinstance(value, dict) and isinstance(value.get("name"), str) else ""
        raise Invalid(f"{source}: automation{name}: {findings(error, lines)}") from error


def _each(documents: Iterable[Document], source: str) -> Iterator[Document]:
    for value, lines in documents:
        match value:
            case None:
                continue
            case {"automations": list(items), **rest} if not rest:
                yield from ((item, lines.below((_HOLDER, index))) for index, item in enumerate(items))
            case list(items):
                yield from ((item, lines.below((index,))) for index, item in enumerate(items))
            case dict():
                yield value, lines
            case _:
                raise Invalid(f"{source}, line {lines.first}: expected an automation or a list of them")


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > SIZE_CAP:
            raise Invalid(f"{path}: larger than {SIZE_CAP} bytes")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"{path}: not UTF-8 text") from error
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error


def _collected(module: ModuleType, target: str) -> Loaded:
    values = [value for name, value in vars(module).items() if not name.startswith("_")]
    return Loaded(
        _unique(values, Automation, target),
        _unique(values, Block, target),  # type: ignore[arg-type]  # every block is one of AnyBlock
        routing_in(values, target),
    )


def _unique(values: Iterable[Any], kind: type[T], target: str) -> tuple[T, ...]:
    """The values of this kind, also those in lists, each once; two different ones of one name are refused."""
    flat = [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]
    found: dict[str, T] = {}
    for item in flat:
        if not isinstance(item, kind):
            continue
        name: str = item.name  # type: ignore[attr-defined]
        if found.setdefault(name, item) != item:
            raise Invalid(f'{target}: two different {kind.__name__.lower()}s are named "{name}"')
    return tuple(found.values())


def _module_at(path: Path) -> ModuleType:
    if not path.is_file():
        raise Invalid(f"{path}: no such file")
    name = f"tocsin_file_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:  # whatever a person's file raises, it is the file that has to be mended
        del sys.modules[name]
        raise _failed(str(path), error) from error
    return module


def _module_named(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise Invalid(f"{name}: give a .yaml, .json or .py file, or a module's name")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except Exception as error:  # as above
        raise _failed(name, error) from error


def _failed(source: str, error: Exception) -> Invalid:
    if isinstance(error, ValidationError):
        return Invalid(f"{source}{_line(error)}: {error.title.lower()}: {findings(error, _NO_LINES)}")
    return Invalid(f"{source}{_line(error)}: {type(error).__name__}: {error}")


def _line(error: Exception) -> str:
    """The line of the person's own file where it went wrong, not that of a library it called."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    trace, line = error.__traceback__, None
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_NOT_THEIRS):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}" if line else ""
