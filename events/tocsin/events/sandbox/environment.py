"""The environment templates are compiled for and run in."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, wraps
from types import GeneratorType
from typing import Any, Final

from jinja2 import ChainableUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import pass_context

from tocsin.events.sandbox.filters import FILTERS
from tocsin.events.sandbox.purse import ITERATIONS, VALUE_CAP, Purse, TooMuch, plain, storable
from tocsin.events.sandbox.syntax import (
    CONCAT,
    LOOP,
    READ,
    SOURCE_CAP,
    Refused,
    check_tree,
    lone_expression,
    make_paying,
)

# Any, in this file: a template's values are whatever JSON its context holds.

TESTS: Final = (
    "boolean", "defined", "divisibleby", "even", "false", "float", "integer", "mapping", "none", "number", "odd",
    "sequence", "string", "true", "undefined",
)  # fmt: skip
REFUSALS: Final = (Refused, TemplateSyntaxError)
"""What `compile_source` raises."""

FAILURES: Final = (
    TooMuch, TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError,
    MemoryError,
)  # fmt: skip
"""What a run may raise: the template's fault, never the caller's."""

_BITS: Final = 4_096
_PURSE: Final = "\0purse"
_RESULT: Final = "result"


@dataclass(frozen=True)
class Compiled:
    """A template ready to run. `lone`: it is exactly one `{{ expression }}`, whose value can be had as it is."""

    template: Template
    lone: bool


def compile_source(source: str) -> Compiled:
    """The template that `source` says. Raises `Refused` or Jinja's `TemplateSyntaxError`, both with a line."""
    if len(source) > SOURCE_CAP:
        raise Refused(f"{len(source)} characters; a template has at most {SOURCE_CAP}", 1)
    try:
        return _compile(source)
    except RecursionError as error:
        raise Refused("nested too deep", 1) from error
    except (SyntaxError, ValueError, OverflowError, MemoryError) as error:
        # Python refuses what Jinja made of it: a number of 5,000 digits, 21 loops inside one another.
        raise Refused(f"it cannot be compiled: {error}", 1) from error


def names_in(source: str) -> frozenset[str]:
    """The names that the template, which has been compiled before, reads from its context."""
    return frozenset(find_undeclared_variables(_environment().parse(source)))


def run_text(compiled: Compiled, context: dict[str, Any]) -> Iterator[str]:
    """The pieces of the rendered text in order; raises what goes wrong inside."""
    if compiled.lone:
        value = run_value(compiled, context)
        text = "" if value is None else str(value)
        Purse().print(len(text))
        yield text
        return
    purse = Purse()
    for piece in compiled.template.root_render_func(_bound(compiled.template, context, purse)):
        purse.print(len(piece))
        yield str(storable(piece))


def run_value(compiled: Compiled, context: dict[str, Any]) -> Any:
    """The value of a lone expression; undefined is None, lists and objects are copies."""
    purse = Purse()
    bound = _bound(compiled.template, context, purse)
    for _ in compiled.template.root_render_func(bound):
        pass
    value = bound.vars[_RESULT]
    purse.read(value)
    return plain(storable(_without_views(value)))


def line_of(error: BaseException, compiled: Compiled) -> int | None:
    """The line of the template at which `error` came up."""
    own = compiled.template.root_render_func.__code__.co_filename
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == own:
            line = compiled.template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox with bounded operators, counted filters and nothing callable but `range`."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=ChainableUndefined, finalize=_finalized, keep_trailing_newline=True, cache_size=0)
        self.globals.clear()
        self.globals["range"] = _range
        self.filters = {name: _paid(name, made) for name, made in FILTERS.items()}
        self.filters |= {LOOP: _loop, READ: _read, CONCAT: _concat}
        self.tests = {name: self.tests[name] for name in TESTS}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The result of an operator, or `TooMuch` before it is made."""
        return _OPERATORS[operator](left, right)


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    return _Environment()


def _compile(source: str) -> Compiled:
    environment = _environment()
    tree = environment.parse(source)
    check_tree(tree)
    expression = lone_expression(tree)
    if expression is not None:
        target = nodes.Name(_RESULT, "store", lineno=expression.lineno)
        tree = nodes.Template([nodes.Assign(target, expression, lineno=expression.lineno)], lineno=1)
    tree = make_paying(tree)
    tree.set_environment(environment)
    code = environment.compile(tree, "template", "<template>")
    return Compiled(Template.from_code(environment, code, environment.globals, None), expression is not None)


def _bound(template: Template, context: dict[str, Any], purse: Purse) -> Context:
    return template.new_context({**context, _PURSE: purse})


def _purse(context: Context) -> Purse:
    purse: Purse = context.parent[_PURSE]
    return purse


@pass_context
def _finalized(context: Context, value: Any) -> Any:
    if type(value) is not str:
        _purse(context).read(value)
    return "" if value is None else value


@pass_context
def _range(context: Context, *bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > ITERATIONS:
        raise TooMuch(f"range() of {len(numbers)}; the most is {ITERATIONS}")
    return numbers


@pass_context
def _loop(context: Context, value: Any, body: int) -> Any:
    if not isinstance(value, Undefined):
        _purse(context).iterate(len(value), body)
    return value


@pass_context
def _read(context: Context, value: Any) -> Any:
    _purse(context).read(value)
    return value


@pass_context
def _concat(context: Context, *parts: Any) -> str:
    for part in parts:
        _purse(context).read(part)
    texts = [str(part) for part in parts]
    _bounded(sum(map(len, texts)))
    return "".join(texts)


def _paid(name: str, made: Callable[..., Any]) -> Callable[..., Any]:
    """The filter `made` as one that pays for what it reads and what it gives."""
    wanted = getattr(made, "jinja_pass_arg", None)

    @pass_context
    @wraps(made, updated=())
    def paid(context: Context, value: Any, *arguments: Any, **named: Any) -> Any:
        purse = _purse(context)
        for item in (value, *arguments, *named.values()):
            purse.read(item)
        first = {"context": context, "environment": context.environment, "eval_context": context.eval_ctx}
        given = () if wanted is None else (first[wanted.name],)
        result = made(*given, value, *arguments, **named)
        if isinstance(result, GeneratorType) or hasattr(result, "__next__"):
            result = list(result)
        if isinstance(result, tuple):
            result = list(result)
        purse.read(result)
        return result

    return paid


def _without_views(value: Any) -> Any:
    if isinstance(value, Undefined):
        return None
    if isinstance(value, dict):
        return {key: _without_views(item) for key, item in value.items()}
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value
    return [_without_views(item) for item in value]


def _bounded(size: int) -> None:
    if size > VALUE_CAP:
        raise TooMuch(f"an operator would make a value of size {size}; the most is {VALUE_CAP}")


def _add(left: Any, right: Any) -> Any:
    _bounded(_length(left) + _length(right))
    return left + right


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list) else 0


def _multiply(left: Any, right: Any) -> Any:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, str | list) and isinstance(other, int):
            _bounded(len(one) * other)
    if isinstance(left, int) and isinstance(right, int):
        _bits(left.bit_length() + right.bit_length())
    return left * right


def _power(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        _bits(left.bit_length() * abs(right))
    return left**right


def _modulo(left: Any, right: Any) -> Any:
    if isinstance(left, str):
        raise TypeError("% formats no text here; write {{ a ~ b }}, or round, tojson, truncate")
    return left % right


def _bits(count: int) -> None:
    if count > _BITS:
        raise TooMuch(f"a number of {count} bits; the most is {_BITS}")


_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": _add,
    "*": _multiply,
    "**": _power,
    "%": _modulo,
}
