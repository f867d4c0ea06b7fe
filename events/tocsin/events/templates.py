"""Templates that people write (Jinja2), rendered from plain data under a budget.

Whatever the template says, a rendering ends within a fraction of a second and within 64 kB, and sees text, numbers,
lists and objects only. A name that is not there, or null, renders as nothing: a page with a hole beats no page.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from tocsin.events.errors import Invalid

if TYPE_CHECKING:
    from tocsin.events.sandbox.environment import Compiled

# Any, in this file: a template's values are whatever JSON its context holds.

_CACHED: Final = 256
_MARKS: Final = ("{{", "{%", "{#")
_SHOWN: Final = 60


def render(source: str, context: dict[str, Any]) -> str:
    """The text that `source` makes of `context`.

    Raises `Invalid` with the template's line when it is no template, fails, or wants more than its budget.
    """
    if not is_template(source):
        return source
    return _rendered(source, plain_context(context))


def render_value(value: Any, context: dict[str, Any]) -> Any:
    """`value` with every text in it rendered; lists and objects are walked.

    A text that is exactly one `{{ expression }}` becomes that expression's value with its type (undefined: None).
    Raises `Invalid` like `render`.
    """
    if not _holds_template(value):
        return value
    return _walked(value, plain_context(context))


def check(source: str) -> None:
    """Raise `Invalid`, with the line, unless `source` is a template that may be rendered."""
    if is_template(source):
        _compiled(source)


def check_value(value: Any) -> None:
    """`check` every text in `value`."""
    match value:
        case str():
            check(value)
        case dict():
            for item in value.values():
                check_value(item)
        case list():
            for item in value:
                check_value(item)


def names_in(source: str) -> frozenset[str]:
    """The names that `source` reads from its context. Raises `Invalid` for what is no template."""
    if not is_template(source):
        return frozenset()
    _compiled(source)
    from tocsin.events.sandbox import environment

    return environment.names_in(source)


def is_template(source: str) -> bool:
    """Whether there is anything to render in `source`."""
    return any(mark in source for mark in _MARKS)


def plain_context(context: dict[str, Any]) -> dict[str, Any]:
    """`context` as plain data: times and ids become text, any other object is refused with `Invalid`."""
    from tocsin.events.sandbox.purse import plain

    try:
        made: dict[str, Any] = plain(context)
    except (TypeError, RecursionError) as error:
        raise Invalid(f"template context: {error}") from error
    return made


def _holds_template(value: Any) -> bool:
    match value:
        case str():
            return is_template(value)
        case dict():
            return any(map(_holds_template, value.values()))
        case list():
            return any(map(_holds_template, value))
    return False


def _walked(value: Any, context: dict[str, Any]) -> Any:
    match value:
        case str() if is_template(value):
            return _valued(value, context)
        case dict():
            return {key: _walked(item, context) for key, item in value.items()}
        case list():
            return [_walked(item, context) for item in value]
    return value


def _rendered(source: str, context: dict[str, Any]) -> str:
    from tocsin.events.sandbox.environment import run_text

    compiled = _compiled(source)
    text: str = _guarded(source, compiled, lambda: "".join(run_text(compiled, context)))
    return text


def _valued(source: str, context: dict[str, Any]) -> Any:
    from tocsin.events.sandbox.environment import run_value

    compiled = _compiled(source)
    if not compiled.lone:
        return _rendered(source, context)
    return _guarded(source, compiled, lambda: run_value(compiled, context))


def _guarded(source: str, compiled: "Compiled", run: Callable[[], Any]) -> Any:
    from tocsin.events.sandbox.environment import FAILURES, line_of

    try:
        return run()
    except FAILURES as error:
        line = line_of(error, compiled)
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise Invalid(f"template {_shown(source)}, line {line or 1}: {reason}") from error


@lru_cache(maxsize=_CACHED)
def _compiled(source: str) -> "Compiled":
    from tocsin.events.sandbox.environment import REFUSALS, compile_source

    try:
        return compile_source(source)
    except REFUSALS as error:
        raise Invalid(f"template {_shown(source)}, line {getattr(error, 'lineno', None) or 1}: {error}") from error


def _shown(source: str) -> str:
    return repr(source if len(source) <= _SHOWN else f"{source[:_SHOWN]}...")
