"""`tocsin variable`: values by name that flows and deployments share."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from tocsin.events.errors import NotFound
from tocsin.events.ids import uuid7
from tocsin.flows import variables
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, print_json, show_one, show_rows

app = App(name="variable", help="Set, get, list and remove variables: values that flows share.")

Name = Annotated[str, Parameter(help="Which variable.")]


@app.command
def ls(
    *,
    tag: Annotated[str | None, Parameter(help="Only those with this tag.")] = None,
    output: Output = "table",
) -> None:
    """List variables by name."""
    with opened() as store, store.read() as session:
        rows = [msgspec.structs.asdict(one) for one in variables.list_variables(session, tag)]
    nothing = "no variables; `tocsin variable set NAME VALUE` sets one"
    show_rows(rows, output, ("name", "value", "tags", "updated"), nothing)


@app.command(name="get")
def show(name: Name, /, *, output: Output = "table") -> None:
    """Print the value of a variable: a text as it stands, anything else as JSON; with `-o json` all that is known."""
    with opened() as store, store.read() as session:
        found = variables.get_variable(session, name)
    if output == "json":
        show_one(msgspec.structs.asdict(found), output)
    elif isinstance(found.value, str):
        print(found.value)
    else:
        print_json(found.value)


@app.command(name="set")
def put(
    name: Name,
    value: Annotated[str, Parameter(help="JSON, else a text.", allow_leading_hyphen=True)],
    /,
    *,
    tag: Annotated[list[str] | None, Parameter(help="Repeat it for several.", negative=())] = None,
    text: Annotated[bool, Parameter(help="Take the value as a text even if it is JSON.", negative=())] = False,
    overwrite: Annotated[bool, Parameter(help="Change one that is there.", negative=())] = False,
    output: Output = "table",
) -> None:
    """Set a variable."""
    now = datetime.now(UTC)
    wanted = variables.PutVariable(
        name=name, value=_value(value, text), tags=tag or [], overwrite=overwrite, written=uuid7(), now=now
    )
    with opened() as store, store.begin() as session:
        made = wanted.perform(session)
    show_one(msgspec.structs.asdict(made), output)


@app.command(name=["rm", "remove"])
def remove(name: Name, /, *, output: Output = "table") -> None:
    """Forget a variable."""
    with opened() as store, store.begin() as session:
        if not variables.RemoveVariable(name=name).perform(session):
            raise NotFound(f'unknown variable "{name}"; `tocsin variable ls` lists them')
    show_rows([{"name": name, "change": "removed"}], output, ("name", "change"), "")


def _value(text: str, is_text: bool) -> Any:  # Any: JSON
    if is_text:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
