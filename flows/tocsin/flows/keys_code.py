"""A function's code as a hash: what it runs, not what its file says by now.

Taken are the bytecode with its names and constants, inner functions, defaults, and what it closes over: functions by
their code, values that cannot change by value, anything else by its type. Not taken are comments, the docstring, and
the functions that it calls by a global name. The bytecode differs between minor versions of Python.
"""

from collections.abc import Callable, Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from types import CodeType, FunctionType
from typing import Any, Final
from uuid import UUID

_FIXED: Final = (type(None), bool, int, float, complex, str, bytes, date, time, timedelta, Decimal, UUID, Enum)

# Any below: constants, defaults and closed over values are whatever the user wrote.
Encode = Callable[[Any], bytes]


def code_hash(function: Callable[..., Any], encode: Encode) -> str:
    """16 hexadecimal digits; `encode` writes constants and defaults down, and raises for what it cannot."""
    digest = sha256()
    for part in _function(function, encode, set()):
        digest.update(b"%d:%b" % (len(part), part))
    return digest.hexdigest()[:16]


def _function(function: Any, encode: Encode, seen: set[int]) -> Iterator[bytes]:
    inner = function
    while not isinstance(inner, FunctionType) and hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    if id(inner) in seen:  # it calls itself
        return
    seen.add(id(inner))
    if not isinstance(inner, FunctionType):
        yield f"{type(inner).__module__} {type(inner).__qualname__} {getattr(inner, '__qualname__', '')}".encode()
        return
    yield from _code(inner.__code__, encode, inner.__doc__)
    yield encode(inner.__defaults__)
    yield encode(inner.__kwdefaults__)
    for name, cell in zip(inner.__code__.co_freevars, inner.__closure__ or (), strict=True):
        yield name.encode()
        yield from _closed_over(cell, encode, seen)


def _code(code: CodeType, encode: Encode, doc: str | None = None) -> Iterator[bytes]:
    yield code.co_code
    yield getattr(code, "co_exceptiontable", b"")
    for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
        yield " ".join(names).encode("utf-8", "surrogatepass")
    yield b"%d %d %d %d" % (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    for place, constant in enumerate(code.co_consts):
        if isinstance(constant, CodeType):
            yield from _code(constant, encode)
        elif place == 0 and doc is not None and constant == doc:
            yield encode(None)  # as when there is none
        else:
            yield encode(constant)


def _closed_over(cell: Any, encode: Encode, seen: set[int]) -> Iterator[bytes]:
    try:
        value = cell.cell_contents
    except ValueError:
        yield b"not set yet"
        return
    if isinstance(value, FunctionType) or hasattr(value, "__wrapped__"):
        yield from _function(value, encode, seen)
    elif _is_fixed(value):
        yield encode(value)
    else:
        yield f"{type(value).__module__}.{type(value).__qualname__}".encode()


def _is_fixed(value: Any) -> bool:
    if isinstance(value, tuple | frozenset):
        return all(map(_is_fixed, value))
    return isinstance(value, _FIXED)
