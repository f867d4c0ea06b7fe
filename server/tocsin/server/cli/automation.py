"""`tocsin automation`: say what is to be done when something happens."""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from tocsin.automations import documents
from tocsin.events.errors import Invalid
from tocsin.server import commands, reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Limit, Output, print_json, show_one, show_rows

app = App(name="automation", help="Apply, list and show automations.")

Name = Annotated[str, Parameter(help="Which automation.")]


@app.command
def apply(
    target: Annotated[str, Parameter(help="A .yaml, .json or .py file, or a module's dotted name.")],
    /,
    *,
    output: Output = "table",
) -> None:
    """Put the automations (and notifiers) that a file or module defines on record; others are left alone."""
    found = documents.load(target)
    if not (found.automations or found.notifiers):
        raise Invalid(f"{target}: no automation or notifier in it")
    with opened() as store, store.begin() as session:
        applied = commands.apply_automations(session, found, datetime.now(UTC))
    rows = [{"kind": "notifier", "name": block.name, "change": "put"} for block in found.notifiers]
    rows += [{"kind": "automation", "name": one.name, "change": one.change} for one in applied]
    show_rows(rows, output, ("kind", "name", "change"), "")


@app.command
def ls(*, output: Output = "table") -> None:
    """List automations."""
    with opened() as store, store.read() as session:
        rows = reads.automations(session)
    nothing = "no automations; `tocsin automation apply FILE` puts some on record"
    show_rows(rows, output, ("name", "enabled", "updated"), nothing)


@app.command
def show(name: Name, /, *, limit: Limit = 10, output: Output = "table") -> None:
    """Show an automation, its last firings and what came of them. Secrets are masked."""
    with opened() as store, store.read() as session:
        one = reads.automation(session, name)
        firings = reads.firings(session, automation=name, limit=limit)
        invocations = reads.invocations(session, automation=name, limit=limit)
    if output == "json":
        lists = {"firings": [row.model_dump() for row in firings], "invocations": [i.model_dump() for i in invocations]}
        print_json({**one.model_dump(), **lists})
        return
    show_one(one, output)
    print()
    show_rows(firings, output, ("recorded", "state", "key", "count", "event_id"), "it has not fired")
    show_rows(invocations, output, ("due", "action", "state", "tries", "reason"), "it has done nothing")
