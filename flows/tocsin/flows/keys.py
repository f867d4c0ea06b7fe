"""A stable hash of a task's inputs: the same values give the same key in every process, different ones another.

Values are written down by type, so that `1`, `1.0`, `True` and `"1"` differ. Tables of pandas hash by content. What
has no stable form (an open connection, a lock, a lambda) is refused, never silently missed.
"""

import dataclasses
import hashlib
import pickle
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from importlib import import_module
from pathlib import PurePath
from typing import Any
from uuid import UUID

from tocsin.events.errors import Invalid

_PLAIN = (type(None), bool, int, float, str, bytes, datetime, date, time, timedelta, Decimal, UUID, complex)

# Any below: inputs are whatever the user passes.


def input_hash(arguments: Mapping[str, Any]) -> str:
    """64 hexadecimal digits for these arguments. Raises Invalid naming the argument that has no stable form."""
    digest = hashlib.sha256()
    for name in sorted(arguments):
        try:
            for part in _parts(arguments[name]):
                digest.update(b"%d:" % len(part) + part)
        except (TypeError, ValueError, AttributeError, pickle.PicklingError, RecursionError) as error:
            kind = type(arguments[name]).__name__
            raise Invalid(f"argument {name!r} ({kind}) has no stable hash: {error}") from error
        digest.update(b"=" + name.encode() + b";")
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    kind = type(value)
    if kind in _PLAIN:
        yield f"{kind.__name__} {value!r}".encode("utf-8", "surrogatepass")
    elif isinstance(value, Mapping):
        yield from _bracket(kind, sorted(b"".join(_framed(pair)) for pair in value.items()))
    elif isinstance(value, set | frozenset):
        yield from _bracket(kind, sorted(b"".join(_framed(entry)) for entry in value))
    elif isinstance(value, list | tuple):
        yield from _bracket(kind, [part for entry in value for part in _framed(entry)])
    elif isinstance(value, Enum):
        yield f"{kind.__module__}.{kind.__qualname__}.{value.name}".encode()
    elif isinstance(value, PurePath):
        yield f"path {value}".encode()
    elif hasattr(value, "model_dump"):
        yield from _bracket(kind, list(_framed(value.model_dump())))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        yield from _bracket(kind, [part for pair in named for part in _framed(pair)])
    else:
        yield from _foreign(value)


def _foreign(value: Any) -> Iterator[bytes]:
    module = type(value).__module__.partition(".")[0]
    if module == "pandas" and hasattr(value, "index"):
        hash_pandas_object = import_module("pandas.util").hash_pandas_object  # only who passes a table has it

        columns = list(map(str, getattr(value, "columns", [getattr(value, "name", "")])))
        yield repr((columns, [str(kind) for kind in getattr(value, "dtypes", [])])).encode()
        yield hash_pandas_object(value).to_numpy().tobytes()
    elif module == "numpy" and hasattr(value, "tobytes") and not getattr(value.dtype, "hasobject", True):
        yield f"{value.dtype.str} {value.shape}".encode()
        yield value.tobytes()
    else:
        yield pickle.dumps(value, protocol=5)


def _bracket(kind: type, parts: list[bytes]) -> Iterator[bytes]:
    yield f"{kind.__name__}({len(parts)}".encode()
    yield from parts
    yield b")"


def _framed(value: Any) -> Iterator[bytes]:
    for part in _parts(value):
        yield b"%d:" % len(part) + part
