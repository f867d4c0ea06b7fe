"""What commands print: a table for people, JSON for programs."""

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from cyclopts import Parameter
from pydantic import BaseModel

Output = Annotated[Literal["table", "json"], Parameter(name=["--output", "-o"], help="A table, or JSON for programs.")]
Limit = Annotated[int, Parameter(name=["--limit", "-n"], help="At most this many, newest first.")]

# Any: whatever a view's fields hold.
Row = Mapping[str, Any]


def show_rows(
    rows: Iterable[BaseModel | Row],
    output: Output,
    columns: Sequence[str],
    nothing: str,
    *,
    short: Collection[str] = (),
    limit: int | None = None,
) -> None:
    """Print rows: as a JSON list with every field, or as a table of `columns`; `nothing` says what to do about none.

    A table leaves out columns in which nothing stands, and shows the first letters only of the ids in `short`. A list
    that was cut at `limit` says so on stderr.
    """
    documents = [_document(row) for row in rows]
    if output == "json":
        print_json(documents)
    elif not documents:
        print(nothing)
    else:
        _print_table(documents, columns, short)
    if limit is not None and len(documents) >= limit:
        print(f"only the newest {limit:,} are shown; `--limit {limit * 10}` shows more", file=sys.stderr)


def show_one(row: BaseModel | Row, output: Output) -> None:
    """Print one thing: as a JSON object, or a line a field."""
    document = _document(row)
    if output == "json":
        print_json(document)
        return
    width = max(map(len, document))
    for name, value in document.items():
        print(f"{name.ljust(width)}  {cell(value)}")


def print_json(document: object) -> None:
    """Print one line of JSON."""
    sys.stdout.buffer.write(msgspec.json.encode(document, enc_hook=str) + b"\n")
    sys.stdout.flush()


def cell(value: object) -> str:
    """A value as people read it: times to the second, nothing for nothing, JSON for what has parts.

    A time without a zone is one of somebody's clocks and has no Z.
    """
    match value:
        case None:
            return ""
        case datetime() if value.tzinfo is None:
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
        case bool():
            return "yes" if value else "no"
        case dict() | list() | tuple():
            return msgspec.json.encode(value, enc_hook=str).decode() if value else ""
        case _:
            return plain(str(value)).replace("\n", " ")


def plain(text: str) -> str:
    """Text without terminal codes and other control characters; line breaks stay."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def _document(row: BaseModel | Row) -> dict[str, Any]:
    return row.model_dump() if isinstance(row, BaseModel) else dict(row)


def short_id(value: object) -> str:
    """As much of an id as tells it from others, for people to type: its time and a bit when it is made of the time."""
    return str(value)[: 13 if isinstance(value, UUID) and value.version == 7 else 8]


def _print_table(documents: Sequence[Row], columns: Sequence[str], short: Collection[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    filled = [column for column in columns if any(cell(document.get(column)) for document in documents)]
    for column in filled:
        whole = any(isinstance(document.get(column), UUID | datetime) for document in documents)
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=whole)
    for document in documents:
        values = ((document.get(column), column in short) for column in filled)
        table.add_row(*(Text(short_id(value) if shortened else cell(value)) for value, shortened in values))
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)
