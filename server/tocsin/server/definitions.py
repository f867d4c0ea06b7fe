"""Deployments and sources as people write them down: a YAML or JSON file, a Python file, a module, or an entrypoint."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import ValidationError

from tocsin.automations.yamltext import Document, Lines, read_json, read_yaml
from tocsin.events.errors import Invalid, TocsinError
from tocsin.flows.deployments import Deployment
from tocsin.server.flaws import each_once, refusal
from tocsin.triggers.hook import Hook
from tocsin.triggers.source import KafkaSource

Defined = TypeVar("Defined", Deployment, Hook, KafkaSource)


def deployments_in(target: str) -> list[Deployment]:
    """The deployments that `target` defines: `.yaml`, `.yml`, `.json` or `.py` file, or a module's dotted name.

    A document holds one deployment, a list of them, or an object with `deployments:`. Raises Invalid with the place.
    """
    path = Path(target)
    match path.suffix:
        case ".yaml" | ".yml" | ".json":
            placed = [(_deployment(value, path, lines), lines) for value, lines in values_in(path, "deployments")]
            each_once([(one.name, lines) for one, lines in placed], target, Deployment)
            found = [one for one, _ in placed]
        case ".py":
            # As in a document: what is relative is looked up from the folder of the file that says it.
            found = [_placed(one, str(path.resolve().parent)) for one in in_module(module_at(path), Deployment)]
        case _:
            found = in_module(module_named(target), Deployment)
    if not found:
        raise Invalid(f"{target}: no deployment in it; make one with Deployment(name=..., entrypoint=...)")
    return found


def sources_in(target: str) -> list[KafkaSource]:
    """The Kafka sources that `target` defines, as `deployments_in`; an object with `sources:`. Raises Invalid."""
    path = Path(target)
    match path.suffix:
        case ".yaml" | ".yml" | ".json":
            placed = [(_source(value, path, lines), lines) for value, lines in values_in(path, "sources")]
            each_once([(one.name, lines) for one, lines in placed], target, KafkaSource)
            found = [one for one, _ in placed]
        case ".py":
            found = in_module(module_at(path), KafkaSource)
        case _:
            found = in_module(module_named(target), KafkaSource)
    if not found:
        raise Invalid(f"{target}: no source in it; make one with KafkaSource(name=..., topic=..., mapping=...)")
    return found


def _source(value: Any, path: Path, lines: Lines) -> KafkaSource:  # Any: what a document holds, before it is checked
    try:
        return KafkaSource.model_validate(value)
    except ValidationError as error:
        raise refusal(error, value, str(path), lines, KafkaSource) from error


def _deployment(value: Any, path: Path, lines: Lines) -> Deployment:  # Any: as above
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise Invalid(f"{path}, line {lines.first}: a deployment is an object with name and entrypoint")
    try:
        # A relative entrypoint is looked up from the folder of the file that names it.
        return Deployment(**{"path": str(path.resolve().parent), **value})
    except Invalid as error:
        raise Invalid(f"{path}, line {lines.first}: {error}") from error


def values_in(path: Path, plural: str) -> Iterator[Document]:
    """What a YAML or JSON file holds: one thing, a list, or an object whose only member `plural` is a list.

    Each with the lines of what is in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"{path}: not UTF-8 text") from error
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error
    read = read_json if path.suffix == ".json" else read_yaml
    for value, lines in read(text, str(path)):
        match value:
            case None:
                continue
            case dict() if len(value) == 1 and isinstance(items := value.get(plural), list):
                yield from ((item, lines.below((plural, index))) for index, item in enumerate(items))
            case list(items):
                yield from ((item, lines.below((index,))) for index, item in enumerate(items))
            case _:
                yield value, lines


def in_module(module: ModuleType, kind: type[Defined]) -> list[Defined]:
    """The things of this kind that a module has under names of its own, alone or in lists, each once.

    Raises Invalid for two different ones of one name.
    """
    values = [value for name, value in vars(module).items() if not name.startswith("_")]
    flat = [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]
    found: dict[str, Defined] = {}
    for item in flat:
        if isinstance(item, kind) and found.setdefault(item.name, item) != item:
            raise Invalid(f'{module.__name__}: two different things are named "{item.name}"; rename one')
    return list(found.values())


def _placed(deployment: Deployment, folder: str) -> Deployment:
    return deployment if deployment.path else deployment.model_copy(update={"path": folder})


def module_at(path: Path) -> ModuleType:
    """The module in a Python file, imported. Raises Invalid with what went wrong in it."""
    if not path.is_file():
        raise Invalid(f"{path}: no such file")
    sys.path.insert(0, str(path.resolve().parent))
    name = f"tocsin_deployments_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise Invalid(f"{path}: Python cannot read it")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except TocsinError:
        raise
    except Exception as error:  # whatever a person's file raises, it is the file that has to be mended
        raise Invalid(f"{path}: {type(error).__name__}: {error}") from error
    return module


def module_named(name: str) -> ModuleType:
    """The module of this dotted name, looked for from the present folder too. Raises Invalid as `module_at`."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise Invalid(f"{name}: give a .yaml, .json or .py file, a module's name, or flows.py:flow")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except TocsinError:
        raise
    except Exception as error:  # as above
        raise Invalid(f"{name}: {type(error).__name__}: {error}") from error
