"""`tocsin source`: which Kafka topics of others become events, and how."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from tocsin.events.bus import Record
from tocsin.events.clock import micros
from tocsin.events.codec import encode, strict_json
from tocsin.events.errors import BadEvent, Invalid
from tocsin.server import ways_in
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, print_json, show_one, show_rows
from tocsin.server.definitions import sources_in
from tocsin.triggers import source_store
from tocsin.triggers.source import KafkaSource, event_of

app = App(name="source", help="Kafka topics of others as sources of events.")

Name = Annotated[str, Parameter(help="Which source.")]
Target = Annotated[str, Parameter(help="A .yaml, .json or .py file, or a module's dotted name.")]
Repeated = Annotated[list[str] | None, Parameter(negative=())]


@app.command
def apply(target: Target, /, *more: Target, output: Output = "table") -> None:
    """Put the sources that files or modules define on record; running processors read them at once."""
    found = [source for one in (target, *more) for source in sources_in(one)]
    with opened() as store, store.begin() as session:
        applied = source_store.apply(session, found, datetime.now(UTC))
    rows = [{"name": one.name, "change": one.change} for one in applied]
    show_rows(rows, output, ("name", "change"), "")


@app.command
def ls(*, output: Output = "table") -> None:
    """List sources and how many messages each has come past."""
    with opened() as store, store.read() as session:
        rows = ways_in.sources(session)
    nothing = "no sources; `tocsin source apply FILE` puts some on record"
    show_rows(rows, output, ("name", "topic", "format", "handled", "updated"), nothing)


@app.command
def show(name: Name, /, *, output: Output = "table") -> None:
    """Show how a source is defined."""
    with opened() as store, store.read() as session:
        source = source_store.get(session, name)
    show_one(source.model_dump(mode="json", exclude_none=True), output)


@app.command
def rm(name: Name, /, *, output: Output = "table") -> None:
    """Forget a source. How far it has come stays known: one of the same name goes on there."""
    with opened() as store, store.begin() as session:
        source_store.remove(session, name, datetime.now(UTC))
    show_rows([{"name": name, "change": "removed"}], output, ("name", "change"), "")


@app.command(name="test")
def try_out(
    source: Annotated[str, Parameter(help="A source on record, or a file with one source.")],
    message: Annotated[str, Parameter(help="A file with one message, or - for the standard input.")] = "-",
    /,
    *,
    key: Annotated[str, Parameter(help="The message's key.")] = "",
    header: Annotated[Repeated, Parameter(help="A header, `name=value`; repeat it.")] = None,
    output: Output = "table",
) -> int:
    """Say which event a message would become. Nothing is written. Exit code 1 when it would be a dead letter."""
    found, now = _source(source), datetime.now(UTC)
    body = sys.stdin.buffer.read() if message == "-" else _read(Path(message))
    headers = tuple(_header(one) for one in header or ())
    record = Record(found.topic, key, body, f"test/{found.topic}", 0, 0, micros(now), headers)
    try:
        event = event_of(found, record, now)
    except BadEvent as error:
        print(f"tocsin: a dead letter: {error}", file=sys.stderr)
        return 1
    if event is None:
        print("no event: it is passed over (where, since, or an empty message)")
        return 0
    document: dict[str, Any] = strict_json(encode(event))  # Any: the event's own JSON
    if output == "json":
        print_json(document)
    else:
        show_one(document, output)
    return 0


def _source(name: str) -> KafkaSource:
    if Path(name).suffix in (".yaml", ".yml", ".json", ".py"):
        found = sources_in(name)
        if len(found) > 1:
            raise Invalid(f"{name}: {len(found)} sources; apply them and give the name of one")
        return found[0]
    with opened() as store, store.read() as session:
        return source_store.get(session, name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error


def _header(text: str) -> tuple[str, bytes]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise Invalid(f"header {text!r}: write name=value")
    return name, value.encode()
