"""Results that outlive their process: JSON in the row when nothing is lost by it, else a pickle beside the database.

A pickle runs code when it is read. So it is read only from our own folder, and only when its hash is the one that
the row tells: whoever can write the database is trusted, whoever can write the folder alone is not.
"""

import hashlib
import json
import math
import os
import pickle
from pathlib import Path
from typing import Any, Final

from tocsin.events.errors import Invalid, Unavailable
from tocsin.store.home import home

INLINE: Final = 64_000
"""Characters of JSON that still go into the row."""

# Any below: a result is whatever the user's function returned.


def keep(value: Any) -> dict[str, Any]:
    """Keep `value`; the answer goes into the row and `fetch` reads it. Raises Invalid when it cannot be pickled."""
    if same_after_json(value):
        text = json.dumps(value)
        if len(text) <= INLINE:
            return {"kind": "json", "text": text}
        return _write("json-file", text.encode())
    try:
        body = pickle.dumps(value, protocol=5)
    except Exception as error:  # pickling runs the __reduce__ of any object, which may raise anything
        raise Invalid(f"a result of type {type(value).__name__} cannot be kept: {error}") from error
    return _write("pickle", body)


def fetch(reference: dict[str, Any]) -> Any:
    """The value behind a reference. Raises Unavailable when its file is missing or is not what was written."""
    if reference["kind"] == "memory":
        return reference["value"]
    if reference["kind"] == "json":
        return json.loads(reference["text"])
    body = _read(reference)
    return json.loads(body) if reference["kind"] == "json-file" else pickle.loads(body)  # noqa: S301 - hash checked


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


def _write(kind: str, body: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(body).hexdigest()
    target = _folder() / digest
    if not target.exists():
        draft = target.with_name(f"{digest}.{os.getpid()}.{id(body):x}")
        with draft.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    return {"kind": kind, "file": digest, "sha256": digest, "bytes": len(body)}


def _read(reference: dict[str, Any]) -> bytes:
    file = _folder() / Path(reference["file"]).name
    try:
        body = file.read_bytes()
    except OSError as error:
        raise Unavailable(f"result {file}: {error.strerror}; was it kept under another TOCSIN_HOME?") from error
    if hashlib.sha256(body).hexdigest() != reference["sha256"]:
        raise Unavailable(f"result {file}: its contents are not what was written")
    return body


def _folder() -> Path:
    folder = home() / "results"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
