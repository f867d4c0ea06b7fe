"""How a result becomes bytes, and comes back: JSON where nothing is lost by it, else a pickle; either compressed.

Reading a pickle runs code of its writer's choice; who reads one must know where it comes from (`results`).
"""

import json
import math
import pickle
import zlib
from typing import Any, Final, Protocol, runtime_checkable

from tocsin.events.errors import Invalid

COMPRESSED: Final = "compressed/"

# Any below: a result is whatever the user's function returned.


@runtime_checkable
class Serializer(Protocol):
    """A way to write results down. `name` stands in the row of each result, and finds the serializer again."""

    @property
    def name(self) -> str:
        """Unlike that of any other."""
        ...

    def dumps(self, value: Any) -> bytes:
        """The value as bytes. Raises Invalid when it would not come back as it is."""
        ...

    def loads(self, body: bytes) -> Any:
        """The value that `dumps` wrote."""
        ...


class JsonSerializer:
    """JSON, readable for anybody and safe to read; only for values that come back as they are."""

    name = "json"

    def dumps(self, value: Any) -> bytes:
        """UTF-8. Raises Invalid for a value that JSON would change, such as a tuple or NaN."""
        if not same_after_json(value):
            raise Invalid(f"a result of type {type(value).__name__} does not come back from JSON as it is; use pickle")
        return json.dumps(value).encode()

    def loads(self, body: bytes) -> Any:
        """The value."""
        return json.loads(body)


class PickleSerializer:
    """Pickle; by cloudpickle what the standard library cannot, or what only this program's main module knows."""

    name = "pickle"

    def dumps(self, value: Any) -> bytes:
        """Protocol 5. Raises Invalid for what cannot be pickled, such as an open connection."""
        try:
            body = pickle.dumps(value, protocol=5)
            if b"__main__" not in body:
                return body
        except Exception:  # noqa: S110 - pickling runs the __reduce__ of any object; cloudpickle has the last word
            pass
        from cloudpickle import dumps

        try:
            by_value: bytes = dumps(value, protocol=5)
        except Exception as error:  # as above
            raise Invalid(f"a result of type {type(value).__name__} cannot be pickled: {error}") from error
        return by_value

    def loads(self, body: bytes) -> Any:
        """The value; runs what the pickle says."""
        return pickle.loads(body)  # noqa: S301 - `results` knows who wrote it


class CompressedSerializer:
    """What another serializer writes, compressed by zlib."""

    def __init__(self, inner: Serializer) -> None:
        self.inner = inner
        self.name = COMPRESSED + inner.name

    def dumps(self, value: Any) -> bytes:
        """The value, written by the inner one and compressed."""
        return zlib.compress(self.inner.dumps(value))

    def loads(self, body: bytes) -> Any:
        """The value."""
        return self.inner.loads(zlib.decompress(body))


JSON: Final = JsonSerializer()
PICKLE: Final = PickleSerializer()
KNOWN: Final[dict[str, Serializer]] = {
    one.name: one for one in (JSON, PICKLE, CompressedSerializer(JSON), CompressedSerializer(PICKLE))
}
SAFE: Final = frozenset({JSON.name, COMPRESSED + JSON.name})
"""Those whose bytes can be read whoever wrote them."""


def serializer_of(owner: str, given: "str | Serializer | None") -> Serializer | None:
    """The serializer that an option means; None: JSON where it loses nothing, else pickle. Raises Invalid."""
    if given is None:
        return None
    if isinstance(given, str):
        if given not in KNOWN:
            raise Invalid(f"{owner}: result_serializer {given!r} is unknown; known: {', '.join(KNOWN)}")
        return KNOWN[given]
    if isinstance(given, type) or not isinstance(given, Serializer):
        raise Invalid(f"{owner}: a result_serializer is one of {', '.join(KNOWN)}, or has name, dumps and loads")
    if given.name in KNOWN and given is not KNOWN[given.name]:
        known = type(KNOWN[given.name])
        if type(given) is not known:
            raise Invalid(f"{owner}: a result_serializer of your own needs a name of its own, not {given.name!r}")
    return given


def same_after_json(value: Any) -> bool:
    """Whether JSON brings back exactly this value: no tuple for a list, no text for a number's key, no NaN."""
    kind = type(value)
    if value is None or kind in (bool, int):
        return True
    if kind is str:
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    if kind is float:
        return math.isfinite(value)
    if kind is list:
        return all(same_after_json(entry) for entry in value)
    return kind is dict and all(type(key) is str and same_after_json(entry) for key, entry in value.items())
