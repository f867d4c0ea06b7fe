"""Notifiers as people write them down: a YAML or JSON file; secrets by name or from the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tocsin.events.errors import Invalid
from tocsin.notifiers.blocks import KINDS, AnyBlock
from tocsin.server.definitions import values_in

# Any, in this file: what a document holds, before it is checked.


def notifiers_in(target: str, environment: Mapping[str, str] = os.environ) -> list[AnyBlock]:
    """The notifiers that a `.yaml`, `.yml` or `.json` file defines: one, a list, or an object with `notifiers:`.

    A field written `{secret: NAME}` refers to a secret on record, `{env: NAME}` is taken from the environment. Raises
    Invalid with the place, without any value.
    """
    path = Path(target)
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise Invalid(f"{target}: give a .yaml or .json file; a Python file goes to `tocsin automation apply`")
    found = [_block(value, f"{path}, line {lines.first}", environment) for value, lines in values_in(path, "notifiers")]
    names = [block.name for block in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Invalid(f"{target}: two notifiers are named {', '.join(twice)}")
    if not found:
        raise Invalid(f"{target}: no notifier in it; give a list of objects with kind and name")
    return found


def _block(document: Any, place: str, environment: Mapping[str, str]) -> AnyBlock:
    if not isinstance(document, dict) or not all(isinstance(name, str) for name in document):
        raise Invalid(f"{place}: a notifier is an object with kind and name")
    kind, name = document.get("kind"), document.get("name", "without a name")
    if not isinstance(kind, str) or kind not in KINDS:
        raise Invalid(f'{place}: notifier "{name}": give its kind; known: {", ".join(sorted(KINDS))}')
    fields = {field: _opened(value, f'{place}: notifier "{name}"', environment) for field, value in document.items()}
    try:
        return KINDS[kind].model_validate(fields)
    except ValidationError as error:  # its own text may show a value
        flaws = error.errors(include_input=False, include_url=False, include_context=False)
        said = "; ".join(f"{'.'.join(map(str, flaw['loc']))}: {flaw['msg']}" for flaw in flaws)
        raise Invalid(f'{place}: notifier "{name}": {said}') from None


def _opened(value: Any, place: str, environment: Mapping[str, str]) -> Any:
    match value:
        case {"secret": str(name)} if len(value) == 1:
            return f"secret:{name}"
        case {"env": str(name)} if len(value) == 1:
            if not environment.get(name):
                raise Invalid(f"{place}: a field is to come from {name}, which is not set")
            return environment[name]
    return value
