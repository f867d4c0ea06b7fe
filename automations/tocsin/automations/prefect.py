"""Parameters of a deployment as Prefect's automations write them, read as ours.

{"__prefect_kind": "jinja", "template": "{{ event.id }}"}        "{{ event.id }}"
{"__prefect_kind": "json", "value": "[1, 2]"}                    [1, 2]
{"__prefect_kind": "json", "value": {… jinja of `{{ x | tojson }}`}}   "{{ x }}", which keeps the type of x
"""

import json
import re
from typing import Any, Final

# Any, in this file: JSON.

_KIND: Final = "__prefect_kind"
_AS_JSON: Final = re.compile(r"\s*\{\{((?:(?!\{\{|\}\}|\{%).)+)\|\s*tojson\s*\}\}\s*", re.DOTALL)


def read_parameters(given: Any) -> Any:
    """`given` with each value that names its kind replaced by what it stands for. Raises ValueError for one unknown."""
    match given:
        case {"__prefect_kind": str(kind)}:
            return _of_kind(kind, given)
        case {"__prefect_kind": None, **rest}:
            return read_parameters(rest.get("value", rest))
        case dict():
            return {name: read_parameters(value) for name, value in given.items()}
        case list():
            return [read_parameters(value) for value in given]
        case _:
            return given


def _of_kind(kind: str, given: dict[str, Any]) -> Any:
    match kind, given:
        case "jinja", {"template": str(template)}:
            return template
        case "json", {"value": {"__prefect_kind": "jinja", "template": str(template)}}:
            return _value_of(template)
        case "json", {"value": str(text)}:
            return _parsed(text)
    if kind == "workspace_variable":
        raise ValueError("workspace variables are not there; write the value itself")
    raise ValueError(f"{_KIND} {kind!r} cannot be read; known: jinja with a template, json with a value")


def _value_of(template: str) -> str:
    found = _AS_JSON.fullmatch(template)
    if found is None:
        raise ValueError(
            f"the JSON that template {template[:60]!r} gives is not known before it is rendered; write "
            "{{ expression }} alone, which keeps the value's type"
        )
    return f"{{{{ {found[1].strip()} }}}}"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{text[:60]!r} is no JSON: {error}") from error
