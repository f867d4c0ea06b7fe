"""What a command is given as text, in a file, or on stdin; and events as it shows them."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.events.errors import Invalid

if TYPE_CHECKING:
    from tocsin.events.model import Event

# Any, in this file: JSON of any shape.


def content(option: str, given: str) -> bytes:
    """`given` itself; of `@FILE` what the file holds, of `-` what comes on stdin. Raises Invalid naming the file."""
    if given == "-":
        return sys.stdin.buffer.read()
    if not given.startswith("@"):
        return given.encode()
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise Invalid(f"{option} {given}: {error.strerror}") from error


def json_object(option: str, given: str) -> dict[str, Any]:
    """The JSON object that is `given` like a `content`. Raises Invalid."""
    from tocsin.events.codec import strict_json
    from tocsin.events.errors import BadEvent

    try:
        found = strict_json(content(option, given))
    except BadEvent as error:
        raise Invalid(f"{option} {given[:80]!r}: {error}") from error
    if not isinstance(found, dict):
        raise Invalid(f"{option} {given[:80]!r}: give a JSON object, such as '{{\"rows\": 3}}'")
    return found


def event_row(event: "Event") -> dict[str, Any]:
    """An event as it is shown."""
    import msgspec

    return {**msgspec.structs.asdict(event), "resource": event.resource, "id": str(event.id)}


def write_one(event: "Event", source: str) -> None:
    """Print an event as a CloudEvent on one line."""
    from tocsin.events.cloudevents import to_http

    _write(to_http(event, "structured", source)[1])


def write_batch(events: "Iterable[Event]", source: str) -> None:
    """Print events as one batch of CloudEvents."""
    from tocsin.events.cloudevents import to_batch

    _write(to_batch(list(events), source)[1])


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.flush()
