"""Names of runs: `flow_run_name` and `task_run_name`, templates over the parameters, or functions."""

import inspect
import logging
import string
from collections.abc import Callable, Mapping
from typing import Any, Final

from tocsin.events.errors import Invalid
from tocsin.flows.portable import clean

LONGEST: Final = 200
"""Characters of a run's name."""

# Any below: parameters are the user's.
NameSpec = str | Callable[..., str]

logger = logging.getLogger(__name__)


class RunName:
    """A checked template such as `load-{table}`, or a function that gives the name."""

    def __init__(self, owner: str, option: str, spec: NameSpec, parameters: Mapping[str, Any]) -> None:
        """`option` names it in errors. Raises Invalid for a field that is no parameter."""
        self._owner, self._option, self._spec = owner, option, spec
        if isinstance(spec, str):
            self._check(spec, parameters)
            self._takes_parameters = False
        elif callable(spec):
            self._takes_parameters = _takes_one(owner, option, spec)
        else:
            raise Invalid(f"{owner}: {option} is a text such as 'load-{{table}}' or a function, not {spec!r}")

    def render(self, arguments: Mapping[str, Any]) -> str | None:
        """The name for these arguments; None, and a warning, when there is none: no work is lost for a name."""
        try:
            name = self._rendered(arguments)
        except Exception as error:  # code of the user's: a function, or the __format__ of a value
            logger.warning("%s: %s gave no name, the default is taken: %r", self._owner, self._option, error)
            return None
        if not isinstance(name, str) or not (cleaned := clean(name.strip(), LONGEST)):
            logger.warning("%s: %s gave %r, which is no name; the default is taken", self._owner, self._option, name)
            return None
        return cleaned if cleaned.isprintable() else repr(cleaned)[1:-1][:LONGEST]

    def _rendered(self, arguments: Mapping[str, Any]) -> Any:
        if isinstance(self._spec, str):
            return string.Formatter().vformat(self._spec, (), arguments)
        return self._spec(parameters=dict(arguments)) if self._takes_parameters else self._spec()

    def _check(self, template: str, parameters: Mapping[str, Any]) -> None:
        if not template.strip():
            raise Invalid(f"{self._owner}: {self._option} is empty; leave it out for the default")
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
        except ValueError as error:
            raise Invalid(f"{self._owner}: {self._option} {template!r}: {error}") from error
        for field in fields:
            first = field.partition(".")[0].partition("[")[0]
            if first not in parameters:
                known = ", ".join(parameters) or "none"
                raise Invalid(f"{self._owner}: {self._option} has {{{field}}}, which is no parameter; known: {known}")


def _takes_one(owner: str, option: str, function: Callable[..., Any]) -> bool:
    needed = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed not in ([], ["parameters"]):
        raise Invalid(f"{owner}: {option} takes nothing, or `parameters` (a dict), not {', '.join(needed)}")
    return bool(needed)
