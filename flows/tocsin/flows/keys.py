"""A stable hash of a task's inputs: the same values give the same key in every process, different ones another.

Values are written down by type and content, so that `1`, `1.0`, `True` and `"1"` differ, and neither the order of a
dict nor the seed of Python's hashes, nor whether two parts are one object, makes a difference. A foreign object is
taken apart as pickle would, but not pickled: a pickle's bytes differ between equal values. What has no stable form (an
open connection, a lock, a lambda) is refused, never silently missed.
"""

import copyreg
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, Final
from uuid import UUID

from tocsin.events.errors import Invalid
from tocsin.flows.keys_code import code_hash
from tocsin.flows.keys_tables import array_parts, is_array, is_table, is_timestamp, table_parts

FORM: Final = b"tocsin 2"
"""Changes when the same value would get another key."""

# Any below: inputs are whatever the user passes.
Leaf = Callable[[Any], bytes]


def input_hash(arguments: Mapping[str, Any]) -> str:
    """64 hexadecimal digits for these arguments. Raises Invalid naming the argument that has no stable form."""
    digest = sha256(FORM)
    for name in sorted(arguments):
        digest.update(encoded(name))
        digest.update(_argument(name, arguments[name]))
    return digest.hexdigest()


def encoded(value: Any) -> bytes:
    """The value as bytes that tell where they end. Raises TypeError and others for what has no stable form."""
    kind = type(value)
    write = _LEAVES.get(kind)
    if write is not None:
        return _leaf(kind.__name__.encode(), write(value))
    if kind is list or kind is tuple:
        return _node(kind.__name__.encode(), map(encoded, value))
    if kind is dict:
        return _mapping(b"dict", value)
    return _other(value, kind)


def _argument(name: str, value: Any) -> bytes:
    try:
        return encoded(value)
    except RecursionError as error:
        raise Invalid(_refusal(name, value, "it contains itself, or is nested too deeply")) from error
    except Exception as error:  # taking an object apart runs its own code, which may raise anything
        raise Invalid(_refusal(name, value, str(error))) from error


def _refusal(name: str, value: Any, why: str) -> str:
    way_out = f"leave it out with cache_policy=INPUTS - {name!r}, or give the key yourself with cache_key_fn"
    return f"argument {name!r} ({type(value).__name__}) has no stable hash: {why}; {way_out}"


def _leaf(tag: bytes, body: bytes) -> bytes:
    return b"%b %d:%b" % (tag, len(body), body)


def _node(tag: bytes, parts: Iterable[bytes]) -> bytes:
    return b"%b#%b" % (tag, sha256(b"".join(parts)).digest())


def _mapping(tag: bytes, value: Mapping[Any, Any]) -> bytes:
    return _node(tag, sorted(encoded(key) + encoded(entry) for key, entry in value.items()))


def _zoned(value: datetime | time, zone: tzinfo | None) -> bytes:
    plain = value.replace(tzinfo=None).isoformat()
    name = getattr(zone, "key", None) or getattr(zone, "zone", None) or value.tzname()
    return f"{plain} {value.fold} {value.utcoffset()} {name}".encode()


_LEAVES: Final[dict[type, Leaf]] = {
    type(None): lambda _: b"",
    bool: lambda value: b"1" if value else b"0",
    int: lambda value: b"%x" % value,  # decimal digits are limited in number
    float: lambda value: repr(value).encode(),
    complex: lambda value: repr(value).encode(),
    str: lambda value: value.encode("utf-8", "surrogatepass"),
    bytes: lambda value: value,
    bytearray: bytes,
    datetime: lambda value: _zoned(value, value.tzinfo),
    date: lambda value: value.isoformat().encode(),
    time: lambda value: _zoned(value, value.tzinfo),
    timedelta: lambda value: b"%d %d %d" % (value.days, value.seconds, value.microseconds),
    Decimal: lambda value: str(value).encode(),
    UUID: lambda value: value.bytes,
}


def _other(value: Any, kind: type) -> bytes:
    tag = _name(kind)
    if isinstance(value, type | FunctionType | BuiltinFunctionType | MethodType | ModuleType):
        return _code(value)
    if isinstance(value, Enum):
        return _leaf(tag, str(value.name).encode())
    if isinstance(value, PurePath):
        return _leaf(b"path", str(value).encode("utf-8", "surrogatepass"))
    if is_timestamp(value):
        return _leaf(tag, f"{value.isoformat()} {value.unit} {value.tz}".encode())
    if is_table(value):
        return _node(b"table", table_parts(value, encoded))
    if is_array(value):
        return _node(tag, array_parts(value, encoded))
    if isinstance(value, set | frozenset):
        return _node(tag, [*sorted(map(encoded, value)), _extra(value)])
    if isinstance(value, dict | MappingProxyType) and not isinstance(value, OrderedDict):
        return _mapping(tag, value) + _extra(value)
    fields = _fields(value, kind)
    if fields is not None:
        return _mapping(tag, fields)
    return _taken_apart(value, kind)


def _name(kind: type) -> bytes:
    return f"{kind.__module__}.{kind.__qualname__}".encode()


def _extra(value: Any) -> bytes:
    """What a class of somebody's own adds to its content."""
    return encoded(value.__dict__) if getattr(value, "__dict__", None) else b""


def _fields(value: Any, kind: Any) -> dict[str, Any] | None:
    """The fields of a model, a dataclass and their like; None for another object."""
    if hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_fields"):
        more = {"extra": value.__pydantic_extra__, "private": value.__pydantic_private__}
        return {name: getattr(value, name) for name in kind.model_fields} | {f" {k}": v for k, v in more.items() if v}
    if dataclasses.is_dataclass(kind):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(kind)}
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    if hasattr(kind, "__struct_fields__"):
        return {name: getattr(value, name) for name in kind.__struct_fields__}
    return None


def _code(value: Any) -> bytes:
    """A class or module by its name, a function by its name and its code."""
    if isinstance(value, ModuleType):
        return _leaf(b"module", value.__name__.encode())
    name = f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, type):
        return _leaf(b"class", name.encode())
    if "<locals>" in name or "<lambda>" in name:
        raise TypeError(f"another process could not tell which function {value.__qualname__} is")
    owner = getattr(value, "__self__", None)
    bound = encoded(owner) if owner is not None and not isinstance(owner, ModuleType) else b""
    inner = getattr(value, "__func__", value)
    code = code_hash(inner, encoded) if isinstance(inner, FunctionType) else ""
    return _leaf(b"function", f"{name} {code}".encode()) + bound


def _taken_apart(value: Any, kind: type) -> bytes:
    """How pickle would build it again: by which callable, from what, with which state."""
    if kind is object:
        raise TypeError("a bare object() has no content to tell it by")
    reducer = copyreg.dispatch_table.get(kind)
    form = reducer(value) if reducer else value.__reduce_ex__(4)
    if isinstance(form, str):
        return _leaf(b"global", f"{kind.__module__}.{form}".encode())
    make, arguments, *rest = form
    state, entries, pairs = (*rest, None, None, None)[:3]
    parts = [_code(make), encoded(arguments), encoded(state), encoded(list(entries or ())), encoded(list(pairs or ()))]
    return _node(_name(kind), parts)
