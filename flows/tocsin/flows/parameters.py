"""A flow's parameters: bound to the function's signature, checked and coerced by pydantic."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from inspect import Parameter
from typing import Any, get_type_hints

from tocsin.events.errors import Invalid

# Any below: parameters and return values are the user's.


class Parameters:
    """The parameters of one function."""

    def __init__(self, owner: str, function: Callable[..., Any]) -> None:
        self.owner = owner
        self.signature = inspect.signature(function)
        self._function = function

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, defaults filled in. Raises Invalid for one too many or too few."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise Invalid(f"{self.owner}: {error}; its parameters are {self._shown()}") from error
        bound.apply_defaults()
        return dict(bound.arguments)

    def places(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
        """What each argument of a call is called, positional ones first. Raises Invalid for one that has no place."""
        try:
            self.signature.bind_partial(*args, **kwargs)
        except TypeError as error:
            raise Invalid(f"{self.owner}: {error}; its parameters are {self._shown()}") from error
        kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        plain = [name for name, parameter in self.signature.parameters.items() if parameter.kind in kinds]
        more = [f"argument {number + 1}" for number in range(len(plain), len(args))]
        return [*plain[: len(args)], *more, *kwargs]

    def by_name(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Like `bind`, for parameters that came as a JSON object."""
        flat: dict[str, Any] = {}
        rest = dict(given)
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                flat[name], rest = rest.pop(name, {}) | rest, {}
            elif name in rest:
                flat[name] = rest.pop(name)
            elif parameter.default is not parameter.empty:
                flat[name] = parameter.default
            elif parameter.kind is parameter.VAR_POSITIONAL:
                flat[name] = ()
            else:
                raise Invalid(f"{self.owner}: parameter {name!r} is missing; its parameters are {self._shown()}")
        if rest:
            raise Invalid(f"{self.owner}: no parameter {sorted(rest)[0]!r}; its parameters are {self._shown()}")
        return flat

    def spread(self, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Named arguments as the positional and keyword arguments of a call."""
        bound = inspect.BoundArguments(self.signature, dict(arguments))
        return bound.args, bound.kwargs

    def validated(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the annotations want them. Raises Invalid naming each parameter that does not fit."""
        from pydantic import ValidationError

        model, fields = self._model
        defaults = self.signature.parameters
        given = {field: arguments[name] for field, name in fields.items() if name in arguments}
        try:
            checked = model.model_validate(given)
        except ValidationError as error:
            raise Invalid(self._explained(error, fields)) from error
        return {
            name: arguments[name] if arguments[name] is defaults[name].default else getattr(checked, field)
            for field, name in fields.items()
            if name in arguments
        }

    @cached_property
    def _model(self) -> tuple[Any, dict[str, str]]:
        """A pydantic model with one field a parameter, and which field is which (a parameter may be called `copy`)."""
        from pydantic import ConfigDict, create_model

        hints = _hints(self._function)
        fields: dict[str, str] = {}
        definitions: dict[str, Any] = {}
        for index, (name, parameter) in enumerate(self.signature.parameters.items()):
            fields[f"p{index}"] = name
            hint = hints.get(name, Any)
            if parameter.kind is parameter.VAR_POSITIONAL:
                hint = tuple[hint, ...]  # type: ignore[valid-type]  # made at run time
            elif parameter.kind is parameter.VAR_KEYWORD:
                hint = dict[str, hint]  # type: ignore[valid-type]  # made at run time
            elif parameter.default is None:
                hint = hint | None if hint is not Any else Any
            definitions[f"p{index}"] = (hint, parameter.default if parameter.default is None else ...)
        config = ConfigDict(arbitrary_types_allowed=True)
        return create_model("Parameters", __config__=config, **definitions), fields

    def _explained(self, error: Any, fields: Mapping[str, str]) -> str:
        found = []
        for problem in error.errors(include_url=False, include_context=False):
            first, *rest = problem["loc"]
            place = ".".join(map(str, (fields.get(str(first), first), *rest)))
            found.append(f"parameter {place!r}: {problem['msg']} (got {problem['input']!r:.80})")
        return f"{self.owner}: " + "; ".join(found)

    def _shown(self) -> str:
        return ", ".join(self.signature.parameters) or "none"


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        return {}  # a name that only the type checker imports: nothing to check against
