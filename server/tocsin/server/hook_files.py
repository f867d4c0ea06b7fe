"""Hooks as people write them down: a YAML or JSON file, a Python file, or a module."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tocsin.automations.yamltext import Lines
from tocsin.events.errors import Invalid
from tocsin.server.definitions import in_module, module_at, module_named, values_in
from tocsin.server.flaws import each_once, refusal
from tocsin.triggers.hook import Hook

# Any, in this file: what a document holds, before it is checked.


def hooks_in(target: str, environment: Mapping[str, str] = os.environ) -> list[Hook]:
    """The hooks that `target` defines: `.yaml`, `.yml`, `.json` or `.py` file, or a module's dotted name.

    A document holds one hook, a list of them, or an object with `hooks:`. A secret written `{env: NAME}` is taken from
    the environment. Raises Invalid with the place.
    """
    path = Path(target)
    match path.suffix:
        case ".yaml" | ".yml" | ".json":
            placed = [(_hook(value, path, environment, lines), lines) for value, lines in values_in(path, "hooks")]
            each_once([(hook.name, lines) for hook, lines in placed], target, Hook)
            found = [hook for hook, _ in placed]
        case ".py":
            found = in_module(module_at(path), Hook)
        case _:
            found = in_module(module_named(target), Hook)
    if not found:
        raise Invalid(f"{target}: no hook in it; make one with Hook(name=..., mapping=..., verify=...)")
    return found


def _hook(document: Any, path: Path, environment: Mapping[str, str], lines: Lines) -> Hook:
    match document:
        case {"verify": {"secret": secret}}:
            place = f"{path}, line {lines.of(('verify', 'secret'))}"
            opened = _opened(secret, place, environment)
            document = {**document, "verify": {**document["verify"], "secret": opened}}
    try:
        return Hook.model_validate(document)
    except ValidationError as error:
        raise refusal(error, document, str(path), lines, Hook) from error


def _opened(secret: Any, place: str, environment: Mapping[str, str]) -> Any:
    match secret:
        case {"env": str(name)} if len(secret) == 1:
            if not environment.get(name):
                raise Invalid(f"{place}: the secret is to come from {name}, which is not set")
            return environment[name]
        case list():
            return [_opened(one, place, environment) for one in secret]
    return secret
