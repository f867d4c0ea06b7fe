"""Deployments and sources as people write them down: a YAML or JSON file, a Python file, a module, or an entrypoint."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from tocsin.automations.yamltext import read_json, read_yaml
from tocsin.events.errors import Invalid, TocsinError
from tocsin.flows.deployments import Deployment
from tocsin.triggers.hook import Hook
from tocsin.triggers.source import KafkaSource, source_of

Defined = TypeVar("Defined", Deployment, Hook, KafkaSource)


def deployments_in(target: str) -> list[Deployment]:
    """The deployments that `target` defines: `.yaml`, `.yml`, `.json` or `.py` file, or a module's dotted name.

    A document holds one deployment, a list of them, or an object with `deployments:`. Raises Invalid with the place.
    """
    path = Path(target)
    match path.suffix:
        case ".yaml" | ".yml" | ".json":
            found = [_deployment(value, path) for value in values_in(path, "deployments")]
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
            found = [source_of(value) for value in values_in(path, "sources")]
        case ".py":
            found = in_module(module_at(path), KafkaSource)
        case _:
            found = in_module(module_named(target), KafkaSource)
    if not found:
        raise Invalid(f"{target}: no source in it; make one with KafkaSource(name=..., topic=..., mapping=...)")
    return found


def _deployment(value: Any, path: Path) -> Deployment:  # Any: what a document holds, before it is checked
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise Invalid(f"{path}: a deployment is an object with name and entrypoint")
    try:
        # A relative entrypoint is looked up from the folder of the file that names it.
        return Deployment(**{"path": str(path.resolve().parent), **value})
    except Invalid as error:
        raise Invalid(f"{path}: {error}") from error


def values_in(path: Path, plural: str) -> Iterator[Any]:  # Any: as above
    """What a YAML or JSON file holds: one thing, a list, or an object whose only member `plural` is a list."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"{path}: not UTF-8 text") from error
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error
    read = read_json if path.suffix == ".json" else read_yaml
    for value, _ in read(text, str(path)):
        match value:
            case None:
                continue
            case dict() if len(value) == 1 and isinstance(value.get(plural), list):
                yield from value[plural]
            case list(items):
                yield from items
            case _:
                yield value


def in_module(module: ModuleType, kind: type[Defined]) -> list[Defined]:
    """The things of this kind that a module has under names of its own, alone or in lists; the last one of a name."""
    values = [value for name, value in vars(module).items() if not name.startswith("_")]
    flat = [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]
    return list({item.name: item for item in flat if isinstance(item, kind)}.values())


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
