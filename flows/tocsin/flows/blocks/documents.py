"""The fields of a block as JSON, and back. Secrets stand apart in it, so that whoever stores it can seal them.

    value                                   in the document
    SecretStr, SecretBytes, Secret[T]       {"$secret": "..."}, {"$secret-bytes": "<base64>"}, {"$secret-json": ...}
    bytes                                   {"$bytes": "<base64>"}
    a block that is stored                  {"$block": [type, name]}, opened with "fields" beside it
    a block that is not                     {"$inline": type, "fields": {...}}
    a dict with a key that begins with $    the key with another $ before it

Everything else is what pydantic makes of it in JSON; the type of the field brings it back. Pure but for the sealing.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pydantic
from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import PydanticSerializationError, to_jsonable_python

from tocsin.events.errors import Invalid
from tocsin.flows.portable import MASK, portable
from tocsin.flows.portable import shown as covered

SECRET: Final = "$secret"  # noqa: S105 - marks one, is none
SECRET_BYTES: Final = "$secret-bytes"  # noqa: S105
SECRET_JSON: Final = "$secret-json"  # noqa: S105
BYTES: Final = "$bytes"
BLOCK: Final = "$block"
INLINE: Final = "$inline"
SECRETS: Final = (SECRET, SECRET_BYTES, SECRET_JSON)

# Any below: JSON, and the values of users' fields.
Made = Callable[[str, str | None, dict[str, Any]], Any]
"""Makes a block of its type, its name if it is stored, and its fields."""


class Part(BaseModel):
    """What stands in a document in a form of its own: a block."""

    def as_part(self, where: str) -> Any:
        """Its form."""
        raise NotImplementedError


def document_of(value: Any, where: str) -> Any:
    """The document of a value. Raises Invalid, naming the place `where`, for what JSON has no form for."""
    match value:
        case None | bool() | str() if type(value) in (type(None), bool, str):
            return value
        case int() | float() if type(value) in (int, float):
            return value
        case SecretStr():
            return {SECRET: value.get_secret_value()}
        case SecretBytes():
            return {SECRET_BYTES: b64encode(value.get_secret_value()).decode()}
        case pydantic.Secret():
            return {SECRET_JSON: document_of(value.get_secret_value(), where)}
        case bytes():
            return {BYTES: b64encode(value).decode()}
        case Part():
            return value.as_part(where)
        case BaseModel():
            return {name: document_of(part, f"{where}.{name}") for name, part in _fields(value)}
        case Mapping():
            return _object(value, where)
        case list() | tuple():
            return [document_of(part, f"{where}.{at}") for at, part in enumerate(value)]
        case set() | frozenset():
            return sorted((document_of(part, where) for part in value), key=repr)
    return _plain(value, where)


def value_of(document: Any, made: Made) -> Any:
    """The value of a document in which secrets are open; `made` makes the blocks in it."""
    match document:
        case {"$secret": text}:
            return SecretStr(text)
        case {"$secret-bytes": text}:
            return SecretBytes(b64decode(text))
        case {"$secret-json": inner}:
            return value_of(inner, made)
        case {"$bytes": text}:
            return b64decode(text)
        case {"$block": [slug, name], "fields": fields}:
            return made(slug, name, fields)
        case {"$inline": slug, "fields": fields}:
            return made(slug, None, fields)
        case dict():
            return {_unescaped(key): value_of(part, made) for key, part in document.items()}
        case list():
            return [value_of(part, made) for part in document]
    return document


def mapped(document: Any, change: Callable[[dict[str, Any]], Any | None]) -> Any:
    """The document with every object in it replaced by what `change` gives for it, from outside in; None: kept."""
    match document:
        case dict():
            changed = change(document)
            return changed if changed is not None else {key: mapped(part, change) for key, part in document.items()}
        case list():
            return [mapped(part, change) for part in document]
    return document


def sealed(document: Any, seal: Callable[[str], str]) -> Any:
    """The document with its secrets sealed."""

    def change(found: dict[str, Any]) -> Any | None:
        return next(({kind: seal(json.dumps(found[kind]))} for kind in SECRETS if kind in found), None)

    return mapped(document, change)


def opened(document: Any, unseal: Callable[[str], str]) -> Any:
    """The document of `sealed` with its secrets open."""

    def change(found: dict[str, Any]) -> Any | None:
        return next(({kind: json.loads(unseal(found[kind]))} for kind in SECRETS if kind in found), None)

    return mapped(document, change)


def without_fields(document: Any) -> Any:
    """The document as it is stored: of a block that it refers to, the reference alone."""

    def change(found: dict[str, Any]) -> Any | None:
        return {BLOCK: found[BLOCK]} if BLOCK in found else None

    return mapped(document, change)


def shown(document: Any, name: str = "") -> Any:
    """The document as people may see it: secrets covered, also those that only look like one (`portable.shown`)."""
    match document:
        case {"$secret": _} | {"$secret-bytes": _} | {"$secret-json": _}:
            return MASK
        case {"$bytes": text}:
            return f"{len(b64decode(text)):,} bytes"
        case {"$block": [slug, name]}:
            return {"block": f"{slug}/{name}"}
        case {"$inline": slug, "fields": fields}:
            return {"type": slug, **{key: shown(part, key) for key, part in fields.items()}}
        case dict():
            return {_unescaped(key): shown(part, key) for key, part in document.items()}
        case list():
            return [shown(part, name) for part in document]
    return covered(portable(document), name)


def references(document: Any) -> Iterator[tuple[str, str]]:
    """Type and name of each stored block that the document refers to."""
    match document:
        case {"$block": [slug, name]}:
            yield slug, name
        case dict():
            for part in document.values():
                yield from references(part)
        case list():
            for part in document:
                yield from references(part)


def secrets_in(document: Any) -> Iterator[str]:
    """Every text in an open document that may never be seen."""
    match document:
        case {"$secret": text}:
            yield text
        case {"$secret-bytes": text}:
            yield text
            yield b64decode(text).decode("utf-8", "replace")
        case {"$secret-json": inner}:
            yield from _texts(inner)
        case dict():
            for part in document.values():
                yield from secrets_in(part)
        case list():
            for part in document:
                yield from secrets_in(part)


def _texts(document: Any) -> Iterator[str]:
    match document:
        case str():
            yield document
        case dict():
            for part in document.values():
                yield from _texts(part)
        case list():
            for part in document:
                yield from _texts(part)


def _fields(model: BaseModel) -> Iterator[tuple[str, Any]]:
    for name, field in type(model).model_fields.items():
        alias = field.validation_alias
        yield (alias if isinstance(alias, str) else name), getattr(model, name)
    yield from (model.__pydantic_extra__ or {}).items()


def _object(value: Mapping[Any, Any], where: str) -> dict[str, Any]:
    made = {_escaped(_key(key, where)): document_of(part, f"{where}.{key}") for key, part in value.items()}
    if len(made) < len(value):
        raise Invalid(f"{where}: two keys of it are the same text in JSON; use texts as keys")
    return made


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        return str(key)
    (text,) = _plain({key: None}, where)
    return str(text)


def _escaped(key: str) -> str:
    return f"${key}" if key.startswith("$") else key


def _unescaped(key: str) -> str:
    return key[1:] if key.startswith("$$") else key


def _plain(value: Any, where: str) -> Any:
    try:
        return to_jsonable_python(value)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise Invalid(f"{where}: a {type(value).__name__} has no form in JSON; give the field another type") from error
