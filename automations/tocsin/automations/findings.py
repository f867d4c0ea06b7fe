"""What is wrong with a definition, in words that name the field and the way out."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tocsin.automations import actions
from tocsin.automations.model import Automation
from tocsin.automations.yamltext import Lines
from tocsin.triggers.event import EventTrigger

_MODELS: Final[tuple[type[BaseModel], ...]] = (
    Automation,
    EventTrigger,
    actions.RunDeployment,
    actions.RetryFlowRun,
    actions.SendNotification,
    actions.CallWebhook,
    actions.DoNothing,
)
_FIELDS: Final = sorted({name for model in _MODELS for name in model.model_fields})


def findings(error: ValidationError, lines: Lines) -> str:
    """All that `error` found, one after the other: `line 3, actions.0.notifier: Field required`."""
    return "; ".join(_finding(found, lines) for found in error.errors())


def _finding(found: ErrorDetails, lines: Lines) -> str:
    return ", ".join(_where(found["loc"], lines)) + _said(found, separator=": " if found["loc"] or lines.first else "")


def _where(path: tuple[str | int, ...], lines: Lines) -> Iterator[str]:
    """The line and the field; names of union members, which no document holds, are left out."""
    if lines.first:
        yield f"line {lines.of(path)}"
    if known := [part for part in path if not (isinstance(part, str) and "-" in part)]:
        yield ".".join(map(str, known))


def _said(found: ErrorDetails, separator: str) -> str:
    context: dict[str, Any] = found.get("ctx", {})  # Any: pydantic's own values
    match found["type"]:
        case "extra_forbidden":
            return separator + "unknown field" + _nearest(str(found["loc"][-1]))
        case "union_tag_invalid":
            return f"{separator}unknown type {context['tag']!r}; known: {', '.join(actions.KNOWN)}"
        case _:
            return separator + found["msg"].removeprefix("Value error, ")


def _nearest(name: str) -> str:
    found = get_close_matches(name, _FIELDS, n=1)
    return f"; did you mean {found[0]}?" if found else ""
