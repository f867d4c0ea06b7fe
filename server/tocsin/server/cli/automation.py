"""`tocsin automation`: say what is to be done when something happens."""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

from cyclopts import App, Parameter

from tocsin.automations import documents, proposal
from tocsin.automations import store as stored
from tocsin.automations.diffs import Difference
from tocsin.automations.export import Format, export
from tocsin.automations.proposal import Planned
from tocsin.events.errors import Invalid
from tocsin.server import commands, reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Limit, Output, cell, print_json, show_one, show_rows

app = App(name="automation", help="Plan, apply, list and explain automations.")

CHANGES: Final = 2
"""The exit code of `plan --check` when an apply would change something."""

Name = Annotated[str, Parameter(help="Which automation.")]
_MARKS: Final = {"created": "+", "updated": "~", "unchanged": "="}


@app.command
def plan(
    target: Annotated[str, Parameter(help="A .yaml, .json or .py file, or a module's dotted name.")],
    /,
    *more: Annotated[str, Parameter(help="More of them.")],
    check: Annotated[bool, Parameter(help="End with exit code 2 when anything would change.", negative=())] = False,
    output: Output = "table",
) -> int:
    """Say what `apply` would do, field by field, and what the automations name and nobody has. Nothing is written."""
    found = documents.load_all([target, *more])
    with opened() as store, store.read() as session:
        planned = proposal.propose(session, found)
    if output == "json":
        show_rows([_planned_row(one) for one in planned], output, (), "")
    else:
        for line in _planned_lines(planned):
            print(line)
    return CHANGES if check and any(one.change != "unchanged" for one in planned) else 0


@app.command
def apply(
    target: Annotated[str, Parameter(help="A .yaml, .json or .py file, or a module's dotted name.")],
    /,
    *more: Annotated[str, Parameter(help="More of them.")],
    strict: Annotated[bool, Parameter(help="Refuse names that nobody has.", negative=())] = False,
    output: Output = "table",
) -> None:
    """Put the automations (notifiers, routes) that files or modules define on record; others are left alone."""
    found = documents.load_all([target, *more])
    with opened() as store, store.begin() as session:
        warnings = proposal.warnings_of(session, found)
        if strict and warnings:
            raise Invalid("; ".join(warnings))
        applied = commands.apply_automations(session, found, datetime.now(UTC))
    for warning in warnings:
        print(f"tocsin: warning: {warning}", file=sys.stderr)
    rows = [{"kind": "notifier", "name": block.name, "change": "put"} for block in found.notifiers]
    rows += [{"kind": "mute window", "name": window.name, "change": "put"} for window in found.routing.mute_windows]
    rows += [{"kind": "route", "name": route.name, "change": "put"} for route in found.routing.routes]
    rows += [{"kind": "inhibition", "name": one.name, "change": "put"} for one in found.routing.inhibitions]
    rows += [{"kind": "automation", "name": one.name, "change": one.change} for one in applied]
    show_rows(rows, output, ("kind", "name", "change"), "")


@app.command(name="export")
def write_out(
    *names: Annotated[str, Parameter(help="Which automations (default: all).")],
    output: Annotated[Format, Parameter(name=["--output", "-o"], help="As what it is written.")] = "yaml",
) -> None:
    """Print automations as a file that `apply` reads. Secrets are masked; applied, a mask keeps the stored secret."""
    with opened() as store, store.read() as session:
        listed = [stored.get(session, name) for name in names] if names else stored.list_automations(session)
    print(export([one.automation for one in listed], output), end="")


@app.command
def remove(name: Name, /, *, output: Output = "table") -> None:
    """Forget an automation. What it has planned is still done, and whoever was told that it fired hears of the end."""
    with opened() as store, store.begin() as session:
        stored.remove(session, name, datetime.now(UTC))
    show_rows([{"name": name, "change": "removed"}], output, ("name", "change"), "")


for _name, _where, _help in (
    ("simulate", "tocsin.server.cli.simulating:run", "Say what would fire, on a file of events or on the log."),
    ("replay", "tocsin.server.cli.replaying:run", "Give an automation a stretch of the log once more."),
    ("explain", "tocsin.server.cli.explaining:run", "Say why an automation fired on an event, or did not."),
):
    app.command(_where, name=_name, help=_help)


@app.command
def enable(name: Name, /, *, output: Output = "table") -> None:
    """Switch an automation on, also one that the loop guard has switched off."""
    _switch(name, True, output)


@app.command
def disable(name: Name, /, *, output: Output = "table") -> None:
    """Switch an automation off: it fires no more, and still resolves what it has opened."""
    _switch(name, False, output)


@app.command
def ls(*, output: Output = "table") -> None:
    """List automations."""
    with opened() as store, store.read() as session:
        rows = reads.automations(session)
    nothing = "no automations; `tocsin automation apply FILE` puts some on record"
    show_rows(rows, output, ("name", "enabled", "updated"), nothing)


@app.command
def show(name: Name, /, *, limit: Limit = 10, output: Output = "table") -> None:
    """Show an automation, what it met and fired, its last firings and what came of them. Secrets are masked."""
    with opened() as store, store.read() as session:
        one = reads.automation(session, name)
        tally = reads.tally(session, name)
        firings = reads.firings(session, automation=name, limit=limit)
        invocations = reads.invocations(session, automation=name, limit=limit)
    if output == "json":
        lists = {"firings": [row.model_dump() for row in firings], "invocations": [i.model_dump() for i in invocations]}
        print_json({**one.model_dump(), "tally": tally.model_dump(), **lists})
        return
    show_one(one, output)
    print()
    show_one(tally, output)
    print()
    show_rows(firings, output, ("recorded", "state", "key", "count", "event_id"), "it has not fired")
    show_rows(invocations, output, ("due", "action", "state", "tries", "reason"), "it has done nothing")


def _switch(name: str, enabled: bool, output: Output) -> None:
    with opened() as store, store.begin() as session:
        change = stored.enable(session, name, enabled, datetime.now(UTC))
    show_rows([{"name": name, "enabled": enabled, "change": change}], output, ("name", "enabled", "change"), "")


def _planned_row(one: Planned) -> dict[str, object]:
    changed = [{"field": each.field, "before": each.before, "after": each.after} for each in one.differences]
    return {
        "kind": one.kind,
        "name": one.name,
        "change": one.change,
        "differences": changed,
        "warnings": list(one.warnings),
    }


def _planned_lines(planned: Sequence[Planned]) -> Iterator[str]:
    for one in planned:
        yield f"{_MARKS[one.change]} {one.kind} {one.name}: {one.change}"
        yield from (f"    {_changed(each)}" for each in one.differences)
        yield from (f"    warning: {warning}" for warning in one.warnings)


def _changed(one: Difference) -> str:
    if one.before == one.after:
        return f"{one.field}: changed"  # a secret: both sides are its mask
    return f"{one.field}: {_value(one.before)} -> {_value(one.after)}"


def _value(value: object) -> str:
    return '""' if value == "" else cell(value) or "none"
