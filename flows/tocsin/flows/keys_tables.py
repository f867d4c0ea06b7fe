"""Tables of pandas and arrays of numpy by content, exactly.

The row hashes of pandas will not do: in a column of mixed types they take `1` for `"1"` and NaN for `"nan"`, they do
not see the order of categories, and they hash tuples with the seed of the process. So the buffers themselves are
hashed, text as its letters, and anything else value by value.
"""

import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Final

_NUMBERS: Final = "biufcmM"
"""Kinds of numpy whose buffer says everything."""

# Any below: pandas and numpy are there only for who passes a table, so nothing is imported and nothing typed.
Encode = Callable[[Any], bytes]


def is_table(value: Any) -> bool:
    """Whether it is a DataFrame, a Series or an Index, or of a class made from one."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series | pandas.Index)


def is_array(value: Any) -> bool:
    """Whether it is an array or a number of numpy, or an array of pandas."""
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.api.extensions.ExtensionArray):
        return True
    # numpy.float64 is numpy's and a float; a masked array hides values, and is taken apart like any object
    return numpy is not None and (type(value) in (numpy.ndarray, numpy.memmap) or isinstance(value, numpy.generic))


def is_timestamp(value: Any) -> bool:
    """Whether it is a moment or a span of pandas, finer than the standard library's."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.Timestamp)


def table_parts(value: Any, encode: Encode) -> Iterator[bytes]:
    """What tells a table from others: index, columns in order with their names and types, and every value."""
    pandas = sys.modules["pandas"]
    if isinstance(value, pandas.Index):  # of whatever class: a range is an index like any other
        yield b"index"
        yield from _index(value, encode)
        return
    yield f"{type(value).__module__}.{type(value).__qualname__}".encode()
    yield from _index(value.index, encode)
    yield encode(dict(value.attrs))
    if isinstance(value, pandas.Series):
        yield encode(value.name)
        yield from _column(value.array, encode)
        return
    yield from _index(value.columns, encode)
    for place in range(value.shape[1]):
        yield from _column(value.iloc[:, place].array, encode)


def array_parts(value: Any, encode: Encode) -> Iterator[bytes]:
    """What tells an array from others: type, shape and every value."""
    yield from _column(value, encode)


def _index(index: Any, encode: Encode) -> Iterator[bytes]:
    """By its values: a range is the numbers in it, levels of a MultiIndex that no row uses do not count."""
    yield encode(list(index.names))
    for level in range(index.nlevels):
        yield from _column(index.get_level_values(level).array, encode)


def _column(array: Any, encode: Encode) -> Iterator[bytes]:
    kind = array.dtype
    plain = array.to_numpy() if hasattr(array, "to_numpy") and hasattr(kind, "char") else array
    yield f"{kind} {getattr(array, 'shape', ())}".encode()
    if hasattr(kind, "char"):  # one of numpy's own types
        yield from _of_numpy(plain, encode)
    elif hasattr(kind, "categories"):
        yield b"ordered" if kind.ordered else b"not ordered"
        yield from _index(kind.categories, encode)
        yield _buffer(array.codes)
    elif hasattr(kind, "tz") or kind.name.startswith("period"):
        yield _buffer(array.view("i8"))
    elif getattr(getattr(kind, "numpy_dtype", None), "kind", "O") in "biuf":
        yield _buffer(array.isna())
        yield _buffer(array.to_numpy(dtype=kind.numpy_dtype, na_value=0))
    elif getattr(kind, "storage", "") == "pyarrow":
        yield _of_arrow(array, encode)
    else:
        yield _objects(array.to_numpy(dtype=object), encode)


def _of_arrow(array: Any, encode: Encode) -> bytes:
    """A column of text as Arrow keeps it, hashed like the same column of Python's: in the buffers that are there."""
    arrow, numpy = sys.modules["pyarrow"], sys.modules["numpy"]
    chunked = array.__arrow_array__()
    lost = [(place, array.dtype.na_value) for place in numpy.flatnonzero(array.isna()).tolist()]
    chunks = chunked.chunks if isinstance(chunked, arrow.ChunkedArray) else [chunked]
    # concatenated, so that it begins at offset 0; filled, as nothing is said about the letters under a missing one
    whole = arrow.concat_arrays([chunk.cast(arrow.large_string()).fill_null("") for chunk in chunks])
    if whole.offset or not len(whole):
        return _objects(array.to_numpy(dtype=object), encode)
    _, offsets, letters = whole.buffers()
    ends = numpy.frombuffer(offsets, "<i8", len(whole) + 1)
    spelled = memoryview(letters)[int(ends[0]) : int(ends[-1])] if letters else b""
    return _spelled(spelled, numpy.diff(ends), encode(lost) if lost else b"")


def _of_numpy(array: Any, encode: Encode) -> Iterator[bytes]:
    kind = array.dtype
    if kind.names:  # a record may have holes, in which anything stands
        for name in kind.names:
            yield encode(name)
            yield from _column(array[name], encode)
    elif kind.kind in _NUMBERS + "SUV":
        yield _buffer(array)
    else:
        yield _objects(array.ravel(), encode)


def _buffer(array: Any) -> bytes:
    """The hash of its values in order, wherever in memory they stand."""
    whole = array.ndim and array.flags.c_contiguous and array.dtype.kind in "biufc"
    return sha256(array if whole else array.tobytes()).digest()


def _objects(array: Any, encode: Encode) -> bytes:
    """The hash of objects: a column of text in one go, anything else one by one."""
    values = array.tolist()
    kinds = set(map(type, values))
    if kinds == {str}:
        return _text(values, b"")
    if kinds <= {str, float, type(None)} and str in kinds:
        missing = [(place, value) for place, value in enumerate(values) if type(value) is not str]
        return _text([value if type(value) is str else "" for value in values], encode(missing))
    digest = sha256(b"objects")
    for value in values:
        digest.update(encode(value))
    return digest.digest()


def _text(values: list[str], missing: bytes) -> bytes:
    """The hash of text: all letters in a row, how many bytes each has of them, and what stands where none is."""
    letters = "".join(values).encode("utf-8", "surrogatepass")
    plain = len(letters) == sum(map(len, values))
    counts = map(len, values) if plain else (len(value.encode("utf-8", "surrogatepass")) for value in values)
    return _spelled(letters, sys.modules["numpy"].fromiter(counts, "<i8", len(values)), missing)


def _spelled(letters: Any, counts: Any, missing: bytes) -> bytes:
    return sha256(b"text" + b"".join(sha256(part).digest() for part in (letters, counts, missing))).digest()
