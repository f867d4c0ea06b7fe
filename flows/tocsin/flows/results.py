"""Results that outlive their process: small JSON in the row, else a file in a storage.

A pickle runs code when it is read, so it is read only when we know who wrote it. From our own folder: when its hash is
the one that the row tells; whoever can write the database is trusted, whoever can write the folder alone is not. From
any other storage: when it was signed, too, with a key that stands neither there nor in the database.
"""

import json
from hashlib import sha256
from typing import Any, Final

from tocsin.events.errors import Invalid, Unavailable
from tocsin.flows.keeping import KEPT_AS_NEEDED, Keeping
from tocsin.flows.serializers import JSON, KNOWN, PICKLE, SAFE, Serializer, same_after_json
from tocsin.flows.storage import configured, storage_at, without_password

INLINE: Final = 64_000
"""Characters of JSON that still go into the row."""

_PURPOSE: Final = "result"

# Any below: a result is whatever the user's function returned, a reference is JSON.
Reference = dict[str, Any]


def keep(value: Any, how: Keeping = KEPT_AS_NEEDED, name: str | None = None) -> Reference:
    """Keep `value`, in a file of this `name` (default: its hash); the answer goes into the row and `fetch` reads it.

    Raises Invalid when it cannot be written down, Unavailable when the storage does not take it.
    """
    if how.serializer is None and how.storage is None and name is None and same_after_json(value):
        text = json.dumps(value)
        if len(text) <= INLINE:
            return {"kind": "json", "text": text}
    writer = how.serializer or (JSON if same_after_json(value) else PICKLE)
    try:
        body = writer.dumps(value)
    except Invalid:
        raise
    except Exception as error:  # a serializer of the user's may raise anything
        raise Invalid(f"a result of type {type(value).__name__} cannot be kept by {writer.name}: {error}") from error
    return _stored(body, writer, how.storage if how.storage is not None else configured(), name)


def fetch(reference: Reference, how: Keeping = KEPT_AS_NEEDED) -> Any:
    """The value behind a reference; `how` it was kept knows serializers of the user's own.

    Raises Unavailable when its file is missing, is not what was written, or cannot be read here.
    """
    if reference["kind"] == "memory":
        return reference["value"]
    if reference["kind"] == "json":
        return json.loads(reference["text"])
    reader = _reader(reference, how)
    body = _read(reference, how)
    try:
        return reader.loads(body)
    except Exception as error:  # reading a pickle imports and builds what it names, and may raise anything
        why = f"{type(error).__name__}: {error}"
        raise Unavailable(f"result {reference['file']} cannot be read by {reader.name}: {why}") from error


def size(reference: Reference) -> int:
    """Bytes that the result takes, wherever it lies."""
    return len(reference["text"]) if reference["kind"] == "json" else int(reference.get("bytes", 0))


def _stored(body: bytes, writer: Serializer, url: str, name: str | None) -> Reference:
    digest = sha256(body).hexdigest()
    reference: Reference = {"kind": "file", "file": name or digest, "sha256": digest, "bytes": len(body)}
    reference |= {"serializer": writer.name, "storage": without_password(url)}
    if url and writer.name not in SAFE:
        from tocsin.store.secrets import signature  # only for pickles outside our own folder

        reference["signature"] = signature(_PURPOSE, _signed(reference))
    storage_at(url).write(reference["file"], body)
    return reference


def _reader(reference: Reference, how: Keeping) -> Serializer:
    name = reference["serializer"]
    if how.serializer is not None and how.serializer.name == name:
        return how.serializer
    if name not in KNOWN:
        raise Unavailable(f"result {reference['file']}: its serializer {name!r} is not the one of this task")
    return KNOWN[name]


def _read(reference: Reference, how: Keeping) -> bytes:
    _check_signature(reference)
    body = storage_at(_way_to(reference["storage"], how)).read(reference["file"])
    if sha256(body).hexdigest() != reference["sha256"]:
        raise Unavailable(f"result {reference['file']}: its contents are not what was written")
    return body


def _check_signature(reference: Reference) -> None:
    if not reference["storage"] or reference["serializer"] in SAFE:
        return
    from tocsin.store.secrets import is_signed

    if not is_signed(reference.get("signature", ""), _PURPOSE, _signed(reference)):
        why = "it is not signed with a key of this machine; set TOCSIN_SECRET_KEY to the same on all"
        raise Unavailable(f"result {reference['file']} in {reference['storage']}: {why}")


def _signed(reference: Reference) -> bytes:
    return f"{reference['serializer']} {reference['sha256']}".encode()


def _way_to(kept: str, how: Keeping) -> str:
    """The storage's address as it is configured here, with the password that no row has."""
    for url in (how.storage, configured()):
        if url and without_password(url) == kept:
            return url
    return kept
