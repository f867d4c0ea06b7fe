"""`tocsin block`: configuration and secrets that flows load by name. Secrets are taken in, and never shown."""

import inspect
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter
from pydantic import ValidationError

from tocsin.events.errors import Invalid
from tocsin.flows.blocks import kinds, stored
from tocsin.flows.blocks.requests import FindKinds, Kind, PutKind
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, show_one, show_rows

app = App(name="block", help="Create, list, show and remove blocks: configuration and secrets of flows.")

Which = Annotated[str, Parameter(help="Type and name: gcs-bucket/reports.")]
Pairs = list[str] | None


@app.command
def ls(
    *, kind: Annotated[str | None, Parameter(name="--type", help="Only of this type.")] = None, output: Output = "table"
) -> None:
    """List blocks by type and name."""
    with opened() as store, store.read() as session:
        rows = [msgspec.structs.asdict(one) for one in stored.list_blocks(session, kind)]
    show_rows(rows, output, ("type", "name", "updated"), "no blocks; `tocsin block create TYPE NAME` creates one")


@app.command
def show(which: Which, /, *, output: Output = "table") -> None:
    """Show a block. Secrets are masked."""
    with opened() as store, store.read() as session:
        found = stored.show_block(session, *_named(which))
    row = msgspec.structs.asdict(found)
    show_one(row if output == "json" else {**row.pop("fields"), **row}, output)


@app.command(name=["rm", "remove"])
def remove(which: Which, /, *, output: Output = "table") -> None:
    """Forget a block. One that another block or a notifier refers to stays."""
    with opened() as store, store.begin() as session:
        stored.remove_block(session, *_named(which))
    show_rows([{"block": which, "change": "removed"}], output, ("block", "change"), "")


@app.command
def types(*, output: Output = "table") -> None:
    """List the classes of blocks on record, those that come with tocsin among them."""
    with opened() as store, store.read() as session:
        known = {row.slug: row.model_dump() for row in stored.list_types(session)}
    ours = {slug: {"slug": slug, "entrypoint": where} for slug, where in kinds.OURS.items()}
    rows = [row for _, row in sorted({**ours, **known}.items())]
    show_rows(rows, output, ("slug", "entrypoint", "description"), "")


@app.command
def register(
    target: Annotated[str, Parameter(help="A .py file, or a module's dotted name.")], /, *, output: Output = "table"
) -> None:
    """Put the classes of blocks that a file or module defines on record, so that `create` finds them."""
    from tocsin.flows.blocks.block import Block

    module = kinds.load(target)
    found = [
        one.kind()
        for one in vars(module).values()
        if inspect.isclass(one) and issubclass(one, Block) and one.__module__ == module.__name__
    ]
    if not found:
        raise Invalid(f"{target}: it defines no subclass of tocsin.flows.blocks.Block")
    if target.endswith(".py"):
        place = Path(target).resolve()
        found = [
            msgspec.structs.replace(one, entrypoint=f"{place}:{one.entrypoint.partition(':')[2]}") for one in found
        ]
    with opened() as store, store.begin() as session:
        for kind in found:
            PutKind(kind=kind, now=datetime.now(UTC)).perform(session)
    show_rows([{"type": one.slug, "change": "registered"} for one in found], output, ("type", "change"), "")


@app.command
def create(
    kind: Annotated[str, Parameter(help="Type of the block; `tocsin block types` lists them.")],
    name: Annotated[str, Parameter(help="How flows will call it.")],
    /,
    *,
    field: Annotated[
        Pairs, Parameter(name="--set", help="`field=value`; repeat it. JSON, else a text.", negative=())
    ] = None,
    env: Annotated[Pairs, Parameter(help="`field=VARIABLE` of the environment; repeat it.", negative=())] = None,
    file: Annotated[Pairs, Parameter(help="`field=PATH` of a file with the value, - for stdin.", negative=())] = None,
    overwrite: Annotated[bool, Parameter(help="Take the place of one that is there.", negative=())] = False,
    output: Output = "table",
) -> None:
    """Create a block. A secret field is taken by --env or --file, so that no shell keeps it in its history."""
    with opened() as store, store.begin() as session:
        cls = kinds.kind_of(kind, FindKinds().perform(session))
        block = _made(cls, kind, name, _fields(cls, field, env, file))
        block.putting(name, overwrite, datetime.now(UTC)).perform(session)
    show_rows([{"block": f"{kind}/{name}", "change": "created"}], output, ("block", "change"), "")


def _in_file(kind: Kind, file: Path) -> Kind:
    return msgspec.structs.replace(kind, entrypoint=f"{file}:{kind.entrypoint.rpartition(':')[2]}")


def _named(which: str) -> tuple[str, str]:
    slug, sign, name = which.partition("/")
    if not (slug and sign and name):
        raise Invalid(f"block {which!r}: give its type and its name, such as gcs-bucket/reports")
    return slug, name


def _made(cls: Any, kind: str, name: str, fields: dict[str, Any]) -> Any:  # Any: a subclass of Block
    try:
        return cls(**fields)
    except ValidationError as error:  # its own text may show a value
        said = "; ".join(
            f"{'.'.join(map(str, flaw['loc'])) or 'it'}: {flaw['msg']}"
            for flaw in error.errors(include_input=False)[:5]
        )
    raise Invalid(f"block {kind}/{name}: {said}")


def _fields(cls: Any, given: Pairs, env: Pairs, file: Pairs) -> dict[str, Any]:  # Any: values of fields
    fields: dict[str, Any] = {}
    for name, value in map(_pair, given or []):
        if "Secret" in str(cls.model_fields[name].annotation if name in cls.model_fields else ""):
            raise Invalid(f"{name} is a secret; give it by --env {name}=VARIABLE or --file {name}=PATH")
        fields[name] = _json_or_text(value)
    for name, variable in map(_pair, env or []):
        if variable not in os.environ:
            raise Invalid(f"{name} is to come from {variable}, which is not set")
        fields[name] = os.environ[variable]
    for name, path in map(_pair, file or []):
        fields[name] = _contents(name, path)
    return fields


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise Invalid(f"{name[:40]!r}: give it as field=value")
    return name, value


def _json_or_text(value: str) -> Any:  # Any: JSON
    try:
        return json.loads(value)
    except ValueError:
        return value


def _contents(name: str, path: str) -> str:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{name}: {path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from error
    return text.removesuffix("\n")
